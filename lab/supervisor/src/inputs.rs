//! [`Inputs`]: the programs and files a lab is started with, as paths.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::velero::VeleroBuild;

/// Everything that a lab is made of. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// One binary with kube-apiserver, kube-controller-manager and kubectl, picked by its first argument.
    pub kube: PathBuf,
    /// Velero, server and command line.
    pub velero: PathBuf,
    /// Velero's plug-in for S3.
    pub velero_plugin_for_aws: PathBuf,
    /// KubeVirt's virt-controller.
    pub virt_controller: PathBuf,
    /// The CSI snapshot-controller.
    pub snapshot_controller: PathBuf,
    /// The CSI csi-snapshotter.
    pub csi_snapshotter: PathBuf,
    /// The CSI csi-provisioner.
    pub csi_provisioner: PathBuf,
    /// YAML files with the CRDs of Velero, the snapshots and KubeVirt, each with a name of its own.
    pub crds: Vec<PathBuf>,
    /// The lab's CSI driver.
    pub lab_csi: PathBuf,
    /// The lab's node: kubelet and virt-handler played, guests real.
    pub lab_node: PathBuf,
    /// The lab's S3 server.
    pub lab_s3: PathBuf,
    /// Leeward's Velero plug-ins.
    pub plugin: PathBuf,
    /// Leeward's mover.
    pub mover: PathBuf,
    /// The guests' kernel.
    pub guest_kernel: PathBuf,
    /// The guests' initial file system.
    pub guest_initrd: PathBuf,
    /// Whether files of the exports cannot share blocks, as on file servers without reflinks.
    #[serde(default)]
    pub without_reflinks: bool,
}

/// Programs of the system, by name, and the Debian package that has each.
const SYSTEM: [(&str, &str); 12] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
    ("losetup", "mount"),
    ("mkfs.xfs", "xfsprogs"),
    ("openssl", "openssl"),
    ("etcd", "etcd-server"),
    ("rpcbind", "rpcbind"),
    ("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
];

impl Inputs {
    /// The same lab with this Velero at both sites.
    #[must_use]
    pub fn with_velero(mut self, build: VeleroBuild) -> Self {
        self.velero = build.velero;
        self.velero_plugin_for_aws = build.velero_plugin_for_aws;
        // CRD files are told apart by their names alone.
        self.crds.retain(|file| file.file_name() != build.crds.file_name());
        self.crds.insert(0, build.crds);
        self
    }

    /// Refuses when a file is missing, naming the first.
    pub(crate) fn check(&self) -> Result<(), LabError> {
        let files = [
            &self.kube,
            &self.velero,
            &self.velero_plugin_for_aws,
            &self.virt_controller,
            &self.snapshot_controller,
            &self.csi_snapshotter,
            &self.csi_provisioner,
            &self.lab_csi,
            &self.lab_node,
            &self.lab_s3,
            &self.plugin,
            &self.mover,
            &self.guest_kernel,
            &self.guest_initrd,
        ];
        for file in files.into_iter().chain(&self.crds) {
            if !file.is_file() {
                return Err(LabError::MissingProgram {
                    program: file.display().to_string(),
                    remedy: "run `cargo xtask lab up`, which builds the lab's parts".into(),
                });
            }
        }
        for (program, package) in SYSTEM {
            find(program, package)?;
        }
        Ok(())
    }
}

/// The folders the system's programs are looked for in; not `$PATH`, which often lacks the `sbin` ones.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn find(program: &str, package: &str) -> Result<PathBuf, LabError> {
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file()).ok_or_else(|| {
        LabError::MissingProgram {
            program: program.to_owned(),
            remedy: format!("install it: apt-get install {package}"),
        }
    })
}

/// The path of one of [`SYSTEM`]'s programs; its bare name when it is missing, which [`Inputs::check`] has reported.
pub(crate) fn system(program: &str) -> PathBuf {
    find(program, "").unwrap_or_else(|_| PathBuf::from(program))
}
