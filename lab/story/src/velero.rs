//! Plain Velero as a user calls it, without any of Leeward's own commands.

use anyhow::{Context, Result, ensure};
use kube::api::PostParams;
use leeward_lab::{Cluster, Lab, Site};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Time for a backup of a few dozen claims, on two cores that also run two clusters.
pub const BACKED_UP: Duration = Duration::from_secs(240);
/// The phases in which Backups and Restores end.
pub const ENDS: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

/// A site's Velero.
#[derive(Clone)]
pub struct Velero<'a> {
    lab: &'a Lab,
    site: Site,
    namespace: String,
}

impl<'a> Velero<'a> {
    /// The site's own.
    #[must_use]
    pub fn at(lab: &'a Lab, site: Site) -> Self {
        Self::of(lab, site, leeward_lab::velero::NAMESPACE)
    }

    /// Another one at the site, of this namespace.
    #[must_use]
    pub fn of(lab: &'a Lab, site: Site, namespace: &str) -> Self {
        Self { lab, site, namespace: namespace.to_owned() }
    }

    async fn cluster(&self) -> Result<Cluster> {
        self.lab.cluster(self.site).await
    }

    /// Runs its command line; what that prints.
    ///
    /// # Errors
    /// The command fails.
    pub async fn call(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::from(self.lab.velero(self.site));
        let output = command.arg("--namespace").arg(&self.namespace).args(args).output().await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`velero {}` at {}: {said}", args.join(" "), self.site);
        Ok(said)
    }

    /// The phase of a Backup or Restore.
    ///
    /// # Errors
    /// It is not there.
    pub async fn phase(&self, kind: &str, name: &str) -> Result<String> {
        let object = self.cluster().await?.api("velero.io/v1", kind, Some(&self.namespace)).get(name).await?;
        let object = serde_json::to_value(object)?;
        Ok(object.pointer("/status/phase").and_then(Value::as_str).unwrap_or("without a phase").to_owned())
    }

    /// Begins a metadata-only backup of a namespace. `annotations` is what Leeward's plug-in is told, `KEY=VALUE,…`.
    ///
    /// # Errors
    /// Velero does not take it.
    pub async fn begin(&self, name: &str, namespace: &str, annotations: &str, more: &[&str]) -> Result<()> {
        let mut args = vec!["backup", "create", name, "--include-namespaces", namespace];
        args.extend(["--snapshot-volumes=false", "--default-volumes-to-fs-backup=false"]);
        args.extend(more);
        if annotations.is_empty() {
            return self.call(&args).await.map(drop);
        }
        // Velero 1.14 has no `--annotations`, but prints what it would create.
        args.extend(["--output", "json"]);
        let mut backup: Value = serde_json::from_str(&self.call(&args).await?)?;
        for (key, value) in annotations.split(',').filter_map(|annotation| annotation.split_once('=')) {
            backup["metadata"]["annotations"][key] = value.into();
        }
        let backups = self.cluster().await?.api("velero.io/v1", "Backup", Some(&self.namespace));
        backups.create(&PostParams::default(), &serde_json::from_value(backup)?).await?;
        Ok(())
    }

    /// Waits for a backup's end: its phase then.
    ///
    /// # Errors
    /// It does not end within [`BACKED_UP`].
    pub async fn end_of(&self, name: &str) -> Result<String> {
        let began = Instant::now();
        loop {
            let phase = self.phase("Backup", name).await?;
            if ENDS.contains(&phase.as_str()) {
                return Ok(phase);
            }
            ensure!(began.elapsed() < BACKED_UP, "backup {name} at {} is still {phase}", self.site);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// [`Self::begin`] and [`Self::end_of`].
    ///
    /// # Errors
    /// As there.
    pub async fn back_up(&self, name: &str, namespace: &str, annotations: &str, more: &[&str]) -> Result<String> {
        self.begin(name, namespace, annotations, more).await?;
        self.end_of(name).await
    }

    /// The lines of a backup's log that are errors.
    ///
    /// # Errors
    /// There is no log.
    pub async fn errors(&self, backup: &str) -> Result<Vec<String>> {
        let log = self.call(&["backup", "logs", backup]).await?;
        Ok(log.lines().filter(|line| line.contains("level=error")).map(str::to_owned).collect())
    }

    /// What a backup holds, as its archive names it: `persistentvolumes/cluster/NAME`,
    /// `persistentvolumeclaims/namespaces/NAMESPACE/NAME`.
    ///
    /// # Errors
    /// The backup cannot be downloaded.
    pub async fn contents(&self, backup: &str) -> Result<BTreeSet<String>> {
        let file: PathBuf = self.lab.root().path().join(format!("{backup}.tar.gz"));
        let path = file.to_str().context("a path")?;
        self.call(&["backup", "download", backup, "--force", "--output", path]).await?;
        let listed = Command::new("tar").args(["-tzf", path]).output().await?;
        fs_err::remove_file(&file)?;
        ensure!(listed.status.success(), "tar -tzf {path}: {}", String::from_utf8_lossy(&listed.stderr));
        // Each object is there twice, once more by the version of its API.
        let listed = String::from_utf8_lossy(&listed.stdout);
        let objects = listed.lines().filter(|line| !line.contains("-preferredversion/"));
        let name = |line: &str| Some(line.strip_prefix("resources/")?.strip_suffix(".json")?.to_owned());
        Ok(objects.filter_map(name).collect())
    }

    /// Deletes a backup and waits until it is gone.
    ///
    /// # Errors
    /// It does not go within [`BACKED_UP`].
    pub async fn delete(&self, backup: &str) -> Result<()> {
        self.call(&["backup", "delete", backup, "--confirm"]).await?;
        let backups = self.cluster().await?.api("velero.io/v1", "Backup", Some(&self.namespace));
        let began = Instant::now();
        while backups.get_opt(backup).await?.is_some() {
            ensure!(began.elapsed() < BACKED_UP, "backup {backup} at {} does not go away", self.site);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
