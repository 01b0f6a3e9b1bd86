//! [`Topology`]: the whole lab as plain data: what runs where, how it is started, how it is seen to be ready.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::error::LabError;
use crate::inputs::{Inputs, system};
use crate::place::{Place, Site};
use crate::process::{Probe, Process, Stage, Stop};
use crate::root::Root;
use crate::secrets::Secrets;
use crate::site::{API_PORT, certs};
use crate::{ganesha, mover, sshd, velero};

/// All processes of a lab.
#[derive(Debug, Clone, Serialize)]
pub struct Topology {
    /// In the order of places, and of start within a place.
    pub processes: Vec<Process>,
}

impl Topology {
    /// The lab at `root`, made of `inputs`.
    pub fn new(root: &Root, inputs: &Inputs, secrets: &Secrets) -> Self {
        let mut processes = vec![s3(root, inputs, secrets)];
        for site in Site::ALL {
            let mut own = vec![etcd(root, site), apiserver(root, inputs, site), controller_manager(root, inputs, site)];
            own.extend(ganesha::processes(root, site));
            own.extend([sshd::process(root, site), mover::process(root, inputs, site), velero::process(root, site)]);
            own.push(virt_controller(root, inputs, site));
            own.extend(csi(root, inputs, site));
            own.push(node(root, inputs, site));
            own.sort_by_key(|process| process.stage);
            processes.extend(own);
        }
        Self { processes }
    }

    /// The processes of a place.
    pub fn at(&self, place: impl Into<Place>) -> impl Iterator<Item = &Process> {
        let place = place.into();
        self.processes.iter().filter(move |process| process.place == place)
    }

    /// One process.
    pub fn find(&self, place: impl Into<Place>, name: &str) -> Result<&Process> {
        let place = place.into();
        self.at(place).find(|process| process.name == name).ok_or_else(|| {
            LabError::UnknownProcess {
                place: place.name().into(),
                process: name.into(),
                known: self.at(place).map(|process| process.name.as_str()).collect::<Vec<_>>().join(", "),
            }
            .into()
        })
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn s3(root: &Root, inputs: &Inputs, secrets: &Secrets) -> Process {
    let listen = (Place::Object.address(), velero::S3_PORT).into();
    let folder = root.place(Place::Object);
    Process::new("s3", Place::Object, Stage::Base, &inputs.lab_s3, folder.clone())
        .args([format!("--listen={listen}"), format!("--root={}", text(&folder.join("data")))])
        .args([format!("--bucket={}", velero::BUCKET)])
        .env("LAB_S3_ACCESS_KEY", &secrets.s3_access_key)
        .env("LAB_S3_SECRET_KEY", &secrets.s3_secret_key)
        .ready(Probe::Tcp(listen))
}

fn etcd(root: &Root, site: Site) -> Process {
    let folder = root.place(site).join("etcd");
    let (client, peer) = (format!("http://{}:2379", site.address()), format!("http://{}:2380", site.address()));
    let mut process = Process::new("etcd", site, Stage::Base, &system("etcd"), folder.clone())
        .args([format!("--name={site}"), format!("--data-dir={}", text(&folder.join("data")))])
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .args([format!("--initial-cluster={site}={peer}")])
        // The lab's state is thrown away; a disk flush for each write would be most of the start.
        .args(["--unsafe-no-fsync", "--log-level=warn", "--logger=zap"])
        .ready(Probe::Tcp((site.address(), 2379).into()));
    process.stop = Stop::Int;
    process
}

fn apiserver(root: &Root, inputs: &Inputs, site: Site) -> Process {
    let folder = certs(root, site);
    let file = |flag: &str, name: &str| format!("--{flag}={}", text(&folder.join(name)));
    Process::new("kube-apiserver", site, Stage::Api, &inputs.kube, folder.clone())
        .args(["kube-apiserver".to_owned(), format!("--etcd-servers=http://{}:2379", site.address())])
        .args([format!("--bind-address={}", site.address()), format!("--secure-port={API_PORT}")])
        .args([file("tls-cert-file", "server.crt"), file("tls-private-key-file", "server.key")])
        .args([file("service-account-key-file", "sa.pub"), file("service-account-signing-key-file", "sa.key")])
        .args([file("token-auth-file", "tokens.csv"), format!("--cert-dir={}", text(&folder))])
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16"])
        .args(["--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false"])
        // etcd 3.4 tells no watch progress, so the size estimates run into their time limit, three times a second.
        .args(["--feature-gates=SizeBasedListCostEstimate=false"])
        .ready(Probe::KubeReady)
}

fn controller_manager(root: &Root, inputs: &Inputs, site: Site) -> Process {
    let folder = certs(root, site);
    let file = |flag: &str, name: &str| format!("--{flag}={}", text(&folder.join(name)));
    Process::new("kube-controller-manager", site, Stage::Controllers, &inputs.kube, folder.clone())
        .args(["kube-controller-manager".to_owned(), format!("--kubeconfig={}", text(&root.kubeconfig(site)))])
        .args([file("service-account-private-key-file", "sa.key"), file("root-ca-file", "ca.crt")])
        .args([format!("--bind-address={}", site.address()), format!("--cert-dir={}", text(&folder))])
        .args(["--leader-elect=false", "--controllers=*", "--profiling=false"])
        .args(["--kube-api-qps=200", "--kube-api-burst=400", "--pvclaimbinder-sync-period=5s"])
        .ready(Probe::Tcp((site.address(), 10257).into()))
}

fn virt_controller(root: &Root, inputs: &Inputs, site: Site) -> Process {
    let folder = certs(root, site);
    let file = |flag: &str, name: &str| format!("--{flag}={}", text(&folder.join(name)));
    Process::new("virt-controller", site, Stage::Workers, &inputs.virt_controller, root.place(site).join("kubevirt"))
        .args([format!("--kubeconfig={}", text(&root.kubeconfig(site)))])
        .args(["--launcher-image=leeward.io/lab/virt-launcher", "--exporter-image=leeward.io/lab/virt-exporter"])
        .args([file("prom-cert-file", "server.crt"), file("prom-key-file", "server.key")])
        .args([format!("--listen={}", site.address()), "--port=8182".into()])
        // It ends when it cannot renew its lease; two busy cores must not be enough for that. Started anew it takes its
        // own lease over at once: its name is the machine's.
        .args(["--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=45s"])
        .args(["--leader-elect-retry-period=1s"])
        .ready(Probe::Tcp((site.address(), 8182).into()))
}

fn csi(root: &Root, inputs: &Inputs, site: Site) -> [Process; 4] {
    let folder = root.place(site).join("csi");
    let socket = folder.join("csi.sock");
    let driver = Process::new("lab-csi", site, Stage::Workers, &inputs.lab_csi, folder.clone())
        .args([format!("--endpoint=unix://{}", text(&socket)), format!("--server={}", site.address())])
        .args([format!("--share={}", site.share()), format!("--path={}", text(&root.export(site)))])
        .ready(Probe::Unix(socket.clone()));
    let sidecar = |name: &str, program: &Path| {
        Process::new(name, site, Stage::Sidecars, program, folder.clone())
            .args([format!("--kubeconfig={}", text(&root.kubeconfig(site)))])
            .args(["--leader-election=false", "--kube-api-qps=100", "--kube-api-burst=200", "--retry-interval-max=5s"])
    };
    // Off by default, though its API is v1.
    let groups = |process: Process| process.args(["--feature-gates=CSIVolumeGroupSnapshot=true"]);
    let address = format!("--csi-address={}", text(&socket));
    let with_driver = |process: Process| process.args([address.as_str(), "--timeout=60s", "--extra-create-metadata"]);
    let snapshots =
        Process { stage: Stage::Workers, ..groups(sidecar("snapshot-controller", &inputs.snapshot_controller)) };
    [
        driver,
        snapshots,
        with_driver(sidecar("csi-provisioner", &inputs.csi_provisioner)),
        groups(with_driver(sidecar("csi-snapshotter", &inputs.csi_snapshotter))),
    ]
}

fn node(root: &Root, inputs: &Inputs, site: Site) -> Process {
    let state = root.place(site).join("guests");
    let mut process = Process::new("lab-node", site, Stage::Workers, &inputs.lab_node, state.clone())
        .args([format!("--site={site}"), format!("--kubeconfig={}", text(&root.kubeconfig(site)))])
        .args([format!("--state={}", text(&state)), format!("--kernel={}", text(&inputs.guest_kernel))])
        .args([format!("--initrd={}", text(&inputs.guest_initrd))]);
    process.grace_s = 10;
    process
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let part = |name: &str| Path::new("/parts").join(name);
        let inputs = Inputs {
            kube: part("kube"),
            velero: part("velero"),
            velero_plugin_for_aws: part("velero-plugin-for-aws"),
            virt_controller: part("virt-controller"),
            snapshot_controller: part("snapshot-controller"),
            csi_snapshotter: part("csi-snapshotter"),
            csi_provisioner: part("csi-provisioner"),
            crds: Vec::new(),
            lab_csi: part("lab-csi"),
            lab_node: part("lab-node"),
            lab_s3: part("lab-s3"),
            plugin: part("leeward-velero-plugin"),
            mover: part("leeward-mover"),
            guest_kernel: part("vmlinuz"),
            guest_initrd: part("guest.cpio.gz"),
            without_reflinks: false,
        };
        let secrets = Secrets { s3_access_key: "key".into(), s3_secret_key: "secret".into(), admin_token: "t".into() };
        Topology::new(&Root::at("/lab"), &inputs, &secrets)
    }

    #[test]
    fn the_whole_lab_is_this() {
        let mut topology = topology();
        for process in &mut topology.processes {
            // Where Debian put a program is the machine's affair.
            if !["/parts", "/lab"].iter().any(|ours| process.argv[0].starts_with(ours)) {
                process.argv[0] = process.argv[0].rsplit('/').next().unwrap_or_default().to_owned();
            }
        }
        insta::assert_json_snapshot!(topology);
    }

    #[test]
    fn names_are_unique_in_a_place_and_stages_are_in_order() {
        let topology = topology();
        for place in Place::ALL {
            let processes: Vec<_> = topology.at(place).collect();
            let names: std::collections::BTreeSet<_> = processes.iter().map(|process| &process.name).collect();
            assert_eq!(names.len(), processes.len());
            assert!(processes.is_sorted_by_key(|process| process.stage));
        }
        let error = topology.find(Site::East, "etc").unwrap_err().to_string();
        assert!(error.contains("etcd") && error.ends_with("[LW-0910]"), "{error}");
    }

    #[test]
    fn no_secret_is_on_a_command_line() {
        // Command lines are readable for everybody on the machine.
        for process in topology().processes {
            assert!(!process.argv.iter().any(|word| word.contains("secret")), "{:?}", process.argv);
        }
    }
}
