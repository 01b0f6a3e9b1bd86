//! [`Parts`]: where the lab's programs and CRDs are.

use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;
use thiserror::Error;

use crate::builder::{BuildError, Builder};
use crate::cache::{Cache, CacheError};
use crate::debian::{self, DebianError};
use crate::guest_kernel::{self, GuestKernel, KernelError};
use crate::preflight::{PreflightError, preflight};
use crate::progress::Progress;
use crate::recipe::{self, Crds, RECIPES, Recipe};

/// Every program the lab runs that Debian does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// `kube {kube-apiserver|kube-controller-manager|kubectl} [FLAGS]`.
    pub kube: PathBuf,
    /// Velero's server and command line.
    pub velero: PathBuf,
    /// Holds a plug-in to its contract with Velero.
    pub plugin_contract: PathBuf,
    /// Alone in its folder, so that the folder can serve as Velero's `--plugin-dir`.
    pub velero_plugin_for_aws: PathBuf,
    /// KubeVirt's controller.
    pub virt_controller: PathBuf,
    /// The controller of VolumeSnapshots.
    pub snapshot_controller: PathBuf,
    /// Side-car that takes snapshots by CSI.
    pub csi_snapshotter: PathBuf,
    /// Side-car that makes volumes by CSI.
    pub csi_provisioner: PathBuf,
    /// The conformance test of CSI drivers.
    pub csi_sanity: PathBuf,
    /// CRDs of these programs.
    pub crds: CrdFiles,
}

/// Files of YAML documents, each a CRD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CrdFiles {
    /// 19 of KubeVirt.
    pub kubevirt: PathBuf,
    /// 13 of Velero.
    pub velero: PathBuf,
    /// 6 of snapshots and group snapshots.
    pub snapshot: PathBuf,
}

/// All that must be there before the lab can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// The lab's programs.
    pub parts: Parts,
    /// The kernel of its guests.
    pub guest_kernel: GuestKernel,
}

/// The lab could not be made ready.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The machine does not do.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Debian's packages could not be installed.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// A part could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The guest's kernel could not be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Checks the machine, then makes all that is missing. When all is there it takes a fraction of a second.
///
/// Packages and kernel come down while the compiler works: they wait for the network and for the disk, not for a core.
pub fn prepare(progress: &Progress) -> Result<Prepared, PrepareError> {
    preflight(progress)?;
    let cache = Cache::from_env()?;
    let builder = Builder::new(&cache, sources(), progress)?;
    let mut plan = vec![debian::forecast(&cache)?, guest_kernel::forecast(&cache)];
    for recipe in RECIPES {
        plan.push(builder.forecast(recipe)?);
    }
    progress.plan("the lab", &plan);

    thread::scope(|scope| {
        let aside = scope.spawn(|| -> Result<GuestKernel, PrepareError> {
            debian::install_debian_packages(progress)?;
            Ok(guest_kernel::ensure(&cache, progress)?)
        });
        let parts = build(&cache, &builder);
        let guest_kernel = aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Prepared { guest_kernel: guest_kernel?, parts: parts? })
    })
}

/// Builds the programs that are missing, one after the other: each build keeps all cores busy.
pub fn ensure_parts(progress: &Progress) -> Result<Parts, BuildError> {
    let cache = Cache::from_env()?;
    let builder = Builder::new(&cache, sources(), progress)?;
    let plan = RECIPES.into_iter().map(|recipe| builder.forecast(recipe)).collect::<Result<Vec<_>, _>>()?;
    progress.plan("the lab's programs", &plan);
    build(&cache, &builder)
}

fn build(cache: &Cache, builder: &Builder<'_>) -> Result<Parts, BuildError> {
    for folder in ["parts", "logs"].map(|name| cache.root().join(name)) {
        fs_err::create_dir_all(&folder).map_err(CacheError::of("create", &folder))?;
    }
    let mut folders = Vec::new();
    for recipe in RECIPES {
        folders.push((recipe.name, builder.ensure(recipe)?));
    }
    // RECIPES has every name that is asked for here: one list gives both.
    let folder = |recipe: &Recipe| -> &Path {
        folders.iter().find(|(name, _)| *name == recipe.name).map_or(Path::new(""), |(_, folder)| folder.as_path())
    };
    let program = |recipe: &Recipe, name: &str| folder(recipe).join("bin").join(name);
    let crds = |recipe: &Recipe, crds: Crds| folder(recipe).join("crds").join(crds.file());
    Ok(Parts {
        kube: program(&recipe::KUBE, "kube"),
        velero: program(&recipe::VELERO, "velero"),
        plugin_contract: program(&recipe::PLUGIN_CONTRACT, "plugincontract"),
        velero_plugin_for_aws: program(&recipe::VELERO_PLUGIN_FOR_AWS, "velero-plugin-for-aws"),
        virt_controller: program(&recipe::KUBEVIRT, "virt-controller"),
        snapshot_controller: program(&recipe::CSI, "snapshot-controller"),
        csi_snapshotter: program(&recipe::CSI, "csi-snapshotter"),
        csi_provisioner: program(&recipe::CSI, "csi-provisioner"),
        csi_sanity: program(&recipe::CSI_SANITY, "csi-sanity"),
        crds: CrdFiles {
            kubevirt: crds(&recipe::KUBEVIRT, Crds::KubeVirt),
            velero: crds(&recipe::VELERO, Crds::Velero),
            snapshot: crds(&recipe::CSI, Crds::Snapshot),
        },
    })
}

/// MiB that building what is missing takes. If that cannot be told, all of it.
pub(crate) fn missing_mebibytes(cache: &Cache) -> u64 {
    let quiet = Progress::memory();
    let builder = Builder::new(cache, sources(), &quiet).ok();
    let missing = |recipe: &Recipe| {
        let forecast = builder.as_ref().and_then(|builder| builder.forecast(recipe).ok());
        forecast.is_none_or(|forecast| forecast.takes.is_some())
    };
    RECIPES.into_iter().filter(|recipe| missing(recipe)).map(|recipe| recipe.mebibytes).sum()
}

/// The lab's Go modules in this checkout.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("go")
}
