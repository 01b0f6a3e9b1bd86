//! [`Lab`]: two sites on one machine, brought up, broken, mended and taken down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::error::LabError;
use crate::inputs::Inputs;
use crate::place::{Place, Site};
use crate::process::Process;
use crate::progress::Progress;
use crate::record::Record;
use crate::root::{Root, State};
use crate::secrets::Secrets;
use crate::sweep::sweep;
use crate::topology::Topology;
use crate::velero::{PluginSet, VeleroBuild};
use crate::{mover, network, objects, probe, sshd, start, velero};

/// A lab that is up. It goes on running when this is dropped and when the program ends; only [`Lab::down`] ends it.
#[derive(Debug, Clone)]
pub struct Lab {
    root: Root,
    inputs: Inputs,
    topology: Topology,
    secrets: Secrets,
}

/// What is known about a process of the lab.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProcStatus {
    /// Where it runs.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Its pid; `None` when it does not run.
    pub pid: Option<i32>,
    /// Its memory in bytes (resident set).
    pub resident_bytes: u64,
    /// Its log.
    pub log: PathBuf,
}

impl Lab {
    /// Brings the lab up. One that is up is taken as it is, and what has ended of it is started again; one that was left
    /// half-way, or was made of other programs, is taken down first.
    ///
    /// When `stopped` is ready before the lab is, what was begun is taken down again, and that is an error. This is done
    /// here, under the lock: a child that was just started holds the lock, too, until its exec has closed the file, so
    /// whoever lets go of it and calls [`Lab::down`] at once may be told that another command is at work.
    pub async fn up(
        root: &Root,
        inputs: &Inputs,
        progress: &dyn Progress,
        stopped: impl Future<Output = std::io::Result<()>>,
    ) -> Result<Self> {
        check_rights()?;
        inputs.check()?;
        root.claim()?;
        let _lock = root.lock()?;
        tokio::select! {
            // First, so that a signal's handler is there before anything is.
            biased;
            stopped = stopped => {
                stopped?;
                Self::clear(root, progress).await?;
                anyhow::bail!("stopped before the lab was up; it was taken down again");
            }
            up = Self::up_locked(root, inputs, progress) => up,
        }
    }

    async fn up_locked(root: &Root, inputs: &Inputs, progress: &dyn Progress) -> Result<Self> {
        let found = network::find();
        found.check_owner(root)?;
        if root.is_lab() {
            match root.state() {
                Ok(Some(state)) if state.complete && state.inputs == *inputs && found.is_whole() => {
                    progress.step(None, "the lab is up already");
                    let lab = Self::open(root, state)?;
                    lab.start_missing(progress).await?;
                    return Ok(lab);
                }
                _ => {
                    progress.step(None, "taking down what is left of another start");
                    sweep(root).await?;
                    root.erase()?;
                }
            }
        }
        network::check_free(root).await?;
        let plugins = Site::ALL.map(|site| (site, PluginSet::Leeward)).into();
        let mut state = State { complete: false, inputs: inputs.clone(), plugins };
        root.write_state(&state)?;
        let secrets = Secrets::load_or_make(root)?;
        start::all(root, inputs, &secrets, progress).await?;
        state.complete = true;
        root.write_state(&state)?;
        progress.step(None, "the lab is up");
        Self::open(root, state)
    }

    /// The lab that is up at `root`.
    pub fn attach(root: &Root) -> Result<Self> {
        match root.state()? {
            Some(state) if state.complete => Self::open(root, state),
            _ => Err(LabError::NotUp { root: root.path().to_owned() }.into()),
        }
    }

    /// Ends and removes everything of the lab at `root`; fine when there is nothing.
    pub async fn down(root: &Root, progress: &dyn Progress) -> Result<()> {
        check_rights()?;
        if !root.is_lab() {
            progress.step(None, "no lab is up");
            // Still to be refused: a network that is there without a lab.
            return Ok(network::find().check_owner(root)?);
        }
        let _lock = root.lock()?;
        Self::clear(root, progress).await
    }

    async fn clear(root: &Root, progress: &dyn Progress) -> Result<()> {
        sweep(root).await?;
        root.erase()?;
        progress.step(None, "the lab is down");
        Ok(())
    }

    fn open(root: &Root, state: State) -> Result<Self> {
        let secrets = Secrets::load(root)?;
        let topology = Topology::new(root, &state.inputs, &secrets);
        Ok(Self { root: root.clone(), inputs: state.inputs, topology, secrets })
    }

    async fn start_missing(&self, progress: &dyn Progress) -> Result<()> {
        for process in &self.topology.processes {
            if Self::record(&self.root, process).is_none() {
                progress.step(Some(process.place), &format!("starting {} again", process.name));
                self.start(process).await?;
            }
        }
        Ok(())
    }

    async fn start(&self, process: &Process) -> Result<()> {
        let record = process.start(&self.root)?;
        probe::ready(&self.root, process, &record).await
    }

    fn record(root: &Root, process: &Process) -> Option<Record> {
        Record::read(&root.pid(process.place, &process.name)).filter(Record::alive)
    }

    /// The lab's folder.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The programs it is made of.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Its secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// All its processes as data.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A site's kubeconfig, with all rights.
    pub fn kubeconfig(&self, site: Site) -> PathBuf {
        self.root.kubeconfig(site)
    }

    /// A site's API server.
    pub async fn cluster(&self, site: Site) -> Result<Cluster> {
        Cluster::new(&self.root, site).await
    }

    /// The folder a site's NFS server exports, as the host sees it.
    pub fn export(&self, site: Site) -> PathBuf {
        self.root.export(site)
    }

    /// The log of a process.
    pub fn log_path(&self, place: impl Into<Place>, process: &str) -> PathBuf {
        self.root.log(place, process)
    }

    /// The words in front of a command that is to run at a site's file server.
    pub fn ssh(&self, site: Site) -> Vec<String> {
        vec!["ssh".into(), "-F".into(), sshd::client_config_file(&self.root).display().to_string(), site.name().into()]
    }

    /// The words that are Leeward's mover at a site's file server.
    pub fn mover(&self, site: Site) -> Vec<String> {
        let config = mover::config_file(&self.root, site);
        vec![self.inputs.mover.display().to_string(), "--config".into(), config.display().to_string()]
    }

    /// `kubectl` for a site.
    pub fn kubectl(&self, site: Site) -> Command {
        let mut command = Command::new(&self.inputs.kube);
        command.arg("kubectl").arg("--kubeconfig").arg(self.kubeconfig(site)).env("NO_PROXY", "*");
        command
    }

    /// `velero` for a site.
    pub fn velero(&self, site: Site) -> Command {
        let mut command = Command::new(velero::program(&self.root, site));
        command.arg("--kubeconfig").arg(self.kubeconfig(site)).env("NO_PROXY", "*");
        command
    }

    /// All processes and whether they run.
    pub fn status(&self) -> Vec<ProcStatus> {
        let status = |process: &Process| {
            let pid = Self::record(&self.root, process).map(|record| record.pid);
            ProcStatus {
                place: process.place,
                name: process.name.clone(),
                pid,
                resident_bytes: pid.and_then(resident_bytes).unwrap_or_default(),
                log: self.root.log(process.place, &process.name),
            }
        };
        self.topology.processes.iter().map(status).collect()
    }

    /// Cuts a site off: it goes on running, and nobody reaches it.
    pub async fn kill_site(&self, site: Site) -> Result<()> {
        self.cut(site).await
    }

    /// Brings a site back that was cut off.
    pub async fn heal_site(&self, site: Site) -> Result<()> {
        self.plug(site).await
    }

    /// Pulls the cable of a place, which may be the object store's.
    pub async fn cut(&self, place: impl Into<Place>) -> Result<()> {
        network::set_link(&self.root, place.into(), false).await
    }

    /// Plugs the cable of a place in again.
    pub async fn plug(&self, place: impl Into<Place>) -> Result<()> {
        network::set_link(&self.root, place.into(), true).await
    }

    /// Whether the cable of a place is plugged in.
    pub fn is_plugged(&self, place: impl Into<Place>) -> bool {
        network::link_is_up(place.into())
    }

    /// Asks a process to end, and ends it when it does not.
    pub async fn stop_proc(&self, place: impl Into<Place>, process: &str) -> Result<()> {
        let process = self.topology.find(place, process)?;
        match Self::record(&self.root, process) {
            Some(record) => record.stop(process.stop.signal(), process.grace()).await,
            None => Ok(()),
        }
    }

    /// Kills a process without asking, as a crash would.
    pub async fn kill_proc(&self, place: impl Into<Place>, process: &str) -> Result<()> {
        let process = self.topology.find(place, process)?;
        match Self::record(&self.root, process) {
            Some(record) => record.stop(Signal::KILL, Duration::from_secs(10)).await,
            None => Ok(()),
        }
    }

    /// Starts a process and waits until it is ready; fine when it runs.
    pub async fn start_proc(&self, place: impl Into<Place>, process: &str) -> Result<()> {
        self.start(self.topology.find(place, process)?).await
    }

    /// Starts a site's Velero anew, with these plug-ins, and waits until its backup location is available again.
    pub async fn restart_velero(&self, site: Site, plugins: PluginSet) -> Result<()> {
        self.stop_proc(site, "velero").await?;
        velero::prepare(&self.root, site, &self.inputs, &plugins, &self.secrets)?;
        if let Some(mut state) = self.root.state()? {
            state.plugins.insert(site, plugins);
            self.root.write_state(&state)?;
        }
        let cluster = self.cluster(site).await?;
        start::forget_validation(&cluster).await?;
        self.start_proc(site, "velero").await?;
        start::wait_for_velero(&self.root, &cluster, self.topology.find(site, "velero")?).await
    }

    /// Puts another version of Velero in the place of a site's, with its CRDs and these plug-ins, and waits until its
    /// backup location is available again. What Velero stored in the cluster and in the bucket stays.
    ///
    /// Interrupted, it leaves the site without a running Velero; calling it again goes on.
    pub async fn swap_velero(&self, site: Site, build: &VeleroBuild, plugins: PluginSet) -> Result<()> {
        build.check()?;
        let crds = objects::read_crds(std::slice::from_ref(&build.crds)).await?;
        self.stop_proc(site, "velero").await?;
        objects::apply_crds(&self.cluster(site).await?, &crds).await?;
        velero::link(&self.root, site, &build.velero, &build.velero_plugin_for_aws)?;
        self.restart_velero(site, plugins).await
    }

    /// The version of a site's Velero, as its program says it, such as `v1.18.2`.
    pub async fn velero_version(&self, site: Site) -> Result<String> {
        velero::version(&self.root, site).await
    }

    /// What Velero loads at each site.
    pub fn plugins(&self) -> Result<BTreeMap<Site, PluginSet>> {
        Ok(self.root.state()?.map(|state| state.plugins).unwrap_or_default())
    }

    /// The name of the StorageClass and the VolumeSnapshotClass of both sites.
    pub const fn storage_class(&self) -> &'static str {
        objects::CLASS
    }
}

fn check_rights() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

fn resident_bytes(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
