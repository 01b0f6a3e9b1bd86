//! [`Recipe`]: how one part is made. The table [`RECIPES`] is all there is to know about the lab's Go programs.

use std::path::{Path, PathBuf};

/// One part: programs that are built together from one list of exact versions.
///
/// One Go module per level of Kubernetes: in a common one, Go would lift Velero and KubeVirt to levels that their authors
/// never tested.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// Name of the part, and of its folder under `lab/go` if it has one.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// `-X` settings for the linker: versions that the programs report. Clients misjudge an API server that says v0.0.0.
    pub(crate) settings: &'static [&'static str],
    /// Programs that must be there afterwards.
    pub(crate) programs: &'static [&'static str],
    pub(crate) crds: Option<Crds>,
    /// Seconds it takes on two cores with cold caches.
    pub(crate) seconds: u64,
    /// MiB it takes, with the downloads and compiled packages in Go's own caches (12 GiB for all, measured).
    pub(crate) mebibytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A module of this repository with these packages to build.
    Module(&'static [&'static str]),
    /// A published program whose module can be installed as it is.
    Published(&'static str),
}

/// CRDs that come with a part, and how to get them out of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crds {
    /// Velero's own `install` command prints them.
    Velero,
    /// They lie in a folder of a module.
    Snapshot,
    /// A program of the part prints them.
    KubeVirt,
}

impl Crds {
    /// File name below the part's folder `crds`.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Velero => "velero.yaml",
            Self::Snapshot => "snapshot.yaml",
            Self::KubeVirt => "kubevirt.yaml",
        }
    }
}

pub(crate) const KUBE: Recipe = Recipe {
    name: "kube",
    source: Source::Module(&["."]),
    settings: &[
        "k8s.io/component-base/version.gitVersion=v1.36.3",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=36",
        "k8s.io/component-base/version.gitTreeState=clean",
    ],
    programs: &["kube"],
    crds: None,
    seconds: 249,
    mebibytes: 4500,
};

pub(crate) const CSI: Recipe = Recipe {
    name: "csi",
    source: Source::Module(&["tool"]),
    settings: &[],
    programs: &["csi-provisioner", "csi-snapshotter", "snapshot-controller"],
    crds: Some(Crds::Snapshot),
    seconds: 57,
    mebibytes: 1200,
};

pub(crate) const VELERO: Recipe = Recipe {
    name: "velero",
    source: Source::Module(&["."]),
    settings: &[
        "github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.18.2",
        "github.com/vmware-tanzu/velero/pkg/buildinfo.GitTreeState=clean",
    ],
    programs: &["velero"],
    crds: Some(Crds::Velero),
    seconds: 118,
    mebibytes: 2400,
};

/// Not among [`RECIPES`]: built when a matrix asks for it.
pub(crate) const VELERO_1_16: Recipe = Recipe {
    name: "velero-1.16",
    settings: &[
        "github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.16.2",
        "github.com/vmware-tanzu/velero/pkg/buildinfo.GitTreeState=clean",
    ],
    seconds: 139,
    mebibytes: 1500,
    ..VELERO
};

/// Not among [`RECIPES`]: built when a matrix asks for it.
pub(crate) const VELERO_1_14: Recipe = Recipe {
    name: "velero-1.14",
    settings: &[
        "github.com/vmware-tanzu/velero/pkg/buildinfo.Version=v1.14.1",
        "github.com/vmware-tanzu/velero/pkg/buildinfo.GitTreeState=clean",
    ],
    seconds: 82,
    mebibytes: 1500,
    ..VELERO
};

/// One for all three Veleros: what Velero and an object store's plug-in say to each other is the same in all of them.
pub(crate) const VELERO_PLUGIN_FOR_AWS: Recipe = Recipe {
    name: "velero-plugin-for-aws",
    source: Source::Published("github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws@v1.14.3"),
    settings: &[],
    programs: &["velero-plugin-for-aws"],
    crds: None,
    seconds: 99,
    mebibytes: 1200,
};

/// Shares what it is compiled from with Velero.
pub(crate) const PLUGIN_CONTRACT: Recipe = Recipe {
    name: "plugincontract",
    source: Source::Module(&["."]),
    settings: &[],
    programs: &["plugincontract"],
    crds: None,
    seconds: 20,
    mebibytes: 300,
};

pub(crate) const CSI_SANITY: Recipe = Recipe {
    name: "csi-sanity",
    source: Source::Published("github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.6.0"),
    settings: &[],
    programs: &["csi-sanity"],
    crds: None,
    seconds: 10,
    mebibytes: 300,
};

pub(crate) const KUBEVIRT: Recipe = Recipe {
    name: "kubevirt",
    source: Source::Module(&["./..."]),
    settings: &["kubevirt.io/client-go/version.gitVersion=v1.8.4"],
    programs: &["kubevirt-crds", "virt-controller"],
    crds: Some(Crds::KubeVirt),
    seconds: 196,
    mebibytes: 2600,
};

/// All parts, in the order in which they are built: the ones that others share compiled packages with come first.
pub(crate) const RECIPES: [&Recipe; 7] =
    [&KUBE, &CSI, &VELERO, &PLUGIN_CONTRACT, &VELERO_PLUGIN_FOR_AWS, &CSI_SANITY, &KUBEVIRT];

impl Recipe {
    /// Folder of the part's module, if it has one.
    pub(crate) fn module(&self, go: &Path) -> Option<PathBuf> {
        match self.source {
            Source::Module(_) => Some(go.join(self.name)),
            Source::Published(_) => None,
        }
    }

    /// Arguments of `go`, without where the programs go.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut linker = "-s -w".to_owned();
        for setting in self.settings {
            linker.push_str(" -X ");
            linker.push_str(setting);
        }
        // -mod=readonly: only what the committed go.mod and go.sum name is ever built.
        ["-mod=readonly", "-trimpath", "-buildvcs=false"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("-ldflags={linker}")])
            .collect()
    }

    /// What is built: package patterns, or a package at a version.
    pub(crate) fn targets(&self) -> &[&str] {
        match &self.source {
            Source::Module(packages) => packages,
            Source::Published(package) => std::slice::from_ref(package),
        }
    }
}
