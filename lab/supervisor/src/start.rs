//! Starting a lab from nothing: network, then the object store and both sites side by side.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::inputs::Inputs;
use crate::place::{Place, Site};
use crate::process::{Process, Stage};
use crate::progress::Progress;
use crate::record::Record;
use crate::root::Root;
use crate::secrets::Secrets;
use crate::topology::Topology;
use crate::velero::PluginSet;
use crate::{export, ganesha, mover, network, objects, probe, site, sshd, velero};

/// How long a site may take until Velero has seen its backup location.
const VELERO_LIMIT: Duration = Duration::from_secs(90);

/// Starts everything. The root must be claimed, and nothing of a lab may be there.
pub(crate) async fn all(root: &Root, inputs: &Inputs, secrets: &Secrets, progress: &dyn Progress) -> Result<()> {
    progress.step(None, "making the network");
    network::create(root).await?;
    sshd::prepare_client(root).await?;
    mover::prepare(root)?;
    let start = Start {
        root,
        inputs,
        secrets,
        topology: Topology::new(root, inputs, secrets),
        crds: OnceCell::new(),
        progress,
    };
    let object = async {
        start.stage(Place::Object, Stage::Base).await?;
        progress.step(Some(Place::Object), "the object store serves");
        Ok(())
    };
    // Read while the servers start: it is half a second of pure work.
    let crds = async { start.crds().await.map(drop) };
    tokio::try_join!(object, crds, start.site(Site::East), start.site(Site::West))?;
    Ok(())
}

struct Start<'a> {
    root: &'a Root,
    inputs: &'a Inputs,
    secrets: &'a Secrets,
    topology: Topology,
    crds: OnceCell<Vec<Value>>,
    progress: &'a dyn Progress,
}

impl Start<'_> {
    async fn crds(&self) -> Result<&[Value]> {
        let crds = self.crds.get_or_try_init(|| objects::read_crds(&self.inputs.crds)).await?;
        Ok(crds)
    }

    /// Starts the processes of a stage, all at once, and waits until all are ready.
    async fn stage(&self, place: impl Into<Place>, stage: Stage) -> Result<()> {
        let processes = self.topology.at(place).filter(|process| process.stage == stage);
        try_join_all(processes.map(async |process| {
            let record = process.start(self.root)?;
            probe::ready(self.root, process, &record).await
        }))
        .await?;
        Ok(())
    }

    /// Refuses when a process without a probe of its own has ended meanwhile.
    fn check_alive(&self, site: Site) -> Result<()> {
        for process in self.topology.at(site) {
            let record = Record::read(&self.root.pid(site, &process.name));
            if !record.is_some_and(|record| record.alive()) {
                return Err(probe::died(self.root, process).into());
            }
        }
        Ok(())
    }

    async fn site(&self, site: Site) -> Result<()> {
        let step = |text: &str| self.progress.step(Some(site.into()), text);
        let files = async {
            ganesha::prepare(self.root, site)?;
            sshd::prepare(self.root, site)?;
            velero::link(self.root, site, &self.inputs.velero, &self.inputs.velero_plugin_for_aws)?;
            velero::prepare(self.root, site, self.inputs, &PluginSet::Leeward, self.secrets)
        };
        tokio::try_join!(
            files,
            site::prepare(self.root, site, self.secrets),
            export::mount(self.root, site, self.inputs.without_reflinks)
        )
        .with_context(|| format!("preparing {site}"))?;
        step("the export is mounted");
        self.stage(site, Stage::Base).await?;
        self.stage(site, Stage::Api).await?;
        step("the API server and the file server serve");

        let cluster = Cluster::new(self.root, site).await?;
        let resources = async {
            cluster.apply_all(&objects::namespaces()).await?;
            objects::apply_crds(&cluster, self.crds().await?).await?;
            cluster.apply_all(&objects::objects(site)).await?;
            step("custom resources and the lab's objects are there");
            self.stage(site, Stage::Workers).await?;
            self.stage(site, Stage::Sidecars).await
        };
        tokio::try_join!(self.stage(site, Stage::Controllers), resources)?;
        step("all processes run");
        wait_for_velero(self.root, &cluster, self.topology.find(site, "velero")?).await?;
        step("Velero sees its backup location");
        self.check_alive(site)
    }
}

/// Makes Velero's backup location look as if it had never been validated, so that [`wait_for_velero`] waits for the
/// Velero that is started next. Its phase stays: a Velero that starts with an unavailable location looks for backups to
/// sync only a minute later.
pub(crate) async fn forget_validation(cluster: &Cluster) -> Result<()> {
    let locations = cluster.api("velero.io/v1", "BackupStorageLocation", Some(velero::NAMESPACE));
    let patch = json!({ "status": { "lastValidationTime": null } });
    locations.patch("default", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until Velero has found its backup location available.
pub(crate) async fn wait_for_velero(root: &Root, cluster: &Cluster, velero: &Process) -> Result<()> {
    let locations = cluster.api("velero.io/v1", "BackupStorageLocation", Some(velero::NAMESPACE));
    let available = |location: &Value| {
        location["status"]["phase"] == "Available" && location["status"]["lastValidationTime"].is_string()
    };
    let ended = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let record = Record::read(&root.pid(velero.place, &velero.name));
            if record.is_none_or(|record| !record.alive()) {
                return probe::died(root, velero);
            }
        }
    };
    tokio::select! {
        seen = cluster.wait(&locations, "default", VELERO_LIMIT, "velero", available) => seen.map(drop),
        error = ended => Err(error.into()),
    }
}
