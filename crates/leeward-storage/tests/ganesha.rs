//! The fence against real NFS servers: one nfs-ganesha per site, each in namespaces of its own.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "nfs_bed/mover.rs"]
#[allow(dead_code, unreachable_pub, reason = "only the program is needed here")]
mod mover;

use leeward_model::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, SiteName},
};
use leeward_storage::{
    Access, Consistency, PointManifest, StorageAdapter, StorageError, SyncRequest, SyncVolume, VolumeRef,
    contract::{self, Bed},
    nfs::{NfsAdapter, NfsSite, StorageConfig, Timeouts},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The address of both servers: each is alone in its network.
const SERVER: &str = "10.99.0.1";
const START: &str = r#"
set -e
ip link set lo up
ip address add 10.99.0.1/32 dev lo
mount -t tmpfs tmpfs /run
rpcbind -w
exec ganesha.nfsd -F -f "$1/ganesha.conf" -L "$1/ganesha.log" -p "$1/ganesha.pid" -N NIV_EVENT
"#;

struct Server {
    /// `unshare`; its end is the end of all that runs in the namespaces.
    outer: Child,
    /// The first process in them, as seen from here.
    inner: u32,
    root: PathBuf,
}

impl Server {
    fn start(root: &Path, more: &str) -> Self {
        fs::create_dir_all(root.join("export")).unwrap();
        fs::create_dir_all(root.join("recovery")).unwrap();
        let text = format!(
            "NFS_CORE_PARAM {{ Protocols = 3, 4; Bind_addr = {SERVER}; mount_path_pseudo = true; Enable_NLM = false; \
             Enable_RQUOTA = false; Enable_UDP = false; fsid_device = true; }}\n\
             NFSv4 {{ RecoveryRoot = {root}/recovery; Graceless = true; }}\n\
             EXPORT {{ Export_Id = 7; Path = {root}/export; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; \
             SecType = sys; Transports = TCP; Disable_ACL = true; FSAL {{ Name = VFS; }}\n\
             {more} CLIENT {{ Clients = {SERVER}; Access_Type = RW; Squash = No_Root_Squash; }} }}\n",
            root = root.display(),
        );
        fs::write(root.join("ganesha.conf"), text).unwrap();
        let outer = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START, "sh"])
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(root.join("start.log")).unwrap())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let mut server = Self { outer, inner: 0, root: root.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(inner) = fs::read_to_string(&children).unwrap().split_whitespace().next() {
                server.inner = inner.parse().unwrap();
                let mut listed = server.enter(&["nfs-ls", &format!("nfs://{SERVER}/export")]);
                if listed.status().unwrap().success() {
                    return server;
                }
            }
            assert!(Instant::now() < deadline, "ganesha does not serve: see {}", root.display());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn prefix(&self) -> Vec<String> {
        ["nsenter", "--target", &self.inner.to_string(), "--net", "--mount", "--pid"].map(str::to_owned).to_vec()
    }

    fn enter(&self, what: &[&str]) -> Command {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).args(what).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The server as adapters know it, with a mover that takes `export` to be what the server exports.
    fn nfs(&self, name: &str, export: &Path) -> NfsSite {
        let config = self.root.join("mover.yaml");
        let text = format!(
            "site: {name}\nexport: {}\nnfs: {{ url: 'nfs://{SERVER}/export', \
             ganesha: {{ config: ganesha.conf, pidFile: ganesha.pid, exportId: 7 }} }}\n",
            export.display()
        );
        fs::write(&config, text).unwrap();
        NfsSite {
            server: SERVER.into(),
            export: "/export".into(),
            path: export.to_owned(),
            control: self.prefix(),
            mover: vec![path_word(mover::program()), "--config".into(), path_word(&config)],
        }
    }

    fn config(&self) -> String {
        fs::read_to_string(self.root.join("ganesha.conf")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `unshare` waits for the first process, and all others end with that.
        let _ = Command::new("kill").args(["-9", &self.inner.to_string()]).status();
        let _ = self.outer.wait();
    }
}

struct GaneshaBed {
    adapter: NfsAdapter,
    servers: BTreeMap<SiteName, Server>,
    root: tempfile::TempDir,
}

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

impl GaneshaBed {
    /// None where namespaces cannot be made or the programs are missing.
    fn new() -> Option<Self> {
        Self::with("Attr_Expiration_Time = 0;")
    }

    fn with(more: &str) -> Option<Self> {
        let mut able = Command::new("unshare");
        able.args(["--net", "--mount", "--pid", "--fork", "ganesha.nfsd", "-v"]);
        let able = able_quietly(&mut able);
        if !able.status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs root and nfs-ganesha");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let (mut sites, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for name in ["east", "west"] {
            let folder = root.path().join(name);
            let server = Server::start(&folder, more);
            let nfs = server.nfs(name, &folder.join("export"));
            sites.insert(site(name), nfs);
            servers.insert(site(name), server);
        }
        let timeouts = Timeouts { probe_seconds: 3, connect_seconds: 5, stall_seconds: 5, fence_seconds: 5 };
        let adapter = NfsAdapter::new(StorageConfig { sites, timeouts }).unwrap();
        Some(Self { adapter, servers, root })
    }
}

fn path_word(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn able_quietly(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

#[async_trait::async_trait]
impl Bed for GaneshaBed {
    fn adapter(&self) -> &dyn StorageAdapter {
        &self.adapter
    }
    fn sites(&self) -> (SiteName, SiteName) {
        (site("east"), site("west"))
    }
    fn address(&self, _: &SiteName, name: &str) -> VolumeAddress {
        let pv = json!({"spec": {"nfs": {"server": SERVER, "path": format!("/export/{name}")}}});
        VolumeAddress::from_pv(&pv).unwrap()
    }
    async fn write(&self, site: &SiteName, address: &VolumeAddress, file: &str, bytes: &[u8]) -> bool {
        let location = address.nfs().unwrap();
        let folder = self.servers[site].root.join(location.directory.strip_prefix('/').unwrap());
        fs::create_dir_all(&folder).unwrap();
        let source = self.root.path().join("word");
        fs::write(&source, bytes).unwrap();
        // nfs-cp does not write to a file that is there.
        let url = format!("nfs://{}{}/{file}.new", location.server, location.directory);
        let written = self.servers[site].enter(&["nfs-cp", source.to_str().unwrap(), &url]).status().unwrap().success();
        if written {
            fs::rename(folder.join(format!("{file}.new")), folder.join(file)).unwrap();
        }
        written
    }
    async fn read(&self, site: &SiteName, address: &VolumeAddress, file: &str) -> Option<Vec<u8>> {
        let location = address.nfs().unwrap();
        let url = format!("nfs://{}{}/{file}", location.server, location.directory);
        let output = self.servers[site].enter(&["nfs-cat", &url]).stdout(Stdio::piped()).output().unwrap();
        output.status.success().then_some(output.stdout)
    }
    async fn damage(&self, _: &PointManifest, _: &str, _: &str) {}
    async fn kept_aside(&self, _: &SiteName, _: &PointId, _: &str, _: &str) -> Vec<Vec<u8>> {
        Vec::new()
    }
    async fn set_reachable(&self, _: &SiteName, _: bool) {}
}

#[tokio::test]
async fn passes_the_contract() {
    let Some(bed) = GaneshaBed::new() else { return };
    let east = site("east");
    let before = bed.servers[&east].config();
    contract::fences(&bed).await;
    assert_eq!(bed.servers[&east].config(), before, "what a fence changed is changed back");
    let proof = bed.adapter.fence(&east).await.unwrap();
    assert!(proof.refused_by.contains("NFS3ERR_ROFS"), "{}", proof.refused_by);
    assert!(!bed.servers[&east].config().contains("Access_Type = RW;"), "a server that starts again stays fenced");
}

#[tokio::test]
async fn what_is_no_refusal_is_no_proof() {
    let Some(bed) = GaneshaBed::new() else { return };
    let east = site("east");
    let config_path = bed.servers[&east].root.join("ganesha.conf");
    // A fence that does not reach the server: the pid file is of another process, which must not be signalled.
    let pid_file = bed.servers[&east].root.join("ganesha.pid");
    let pid = fs::read_to_string(&pid_file).unwrap();
    fs::write(&pid_file, "1000000").unwrap();
    let unproven = bed.adapter.fence(&east).await;
    assert!(matches!(&unproven, Err(StorageError::ServerConfig { .. })), "{unproven:?}");
    assert!(!bed.adapter.is_fenced(&east).await.unwrap(), "the configuration says read-only, and writes go through");
    fs::write(&pid_file, &pid).unwrap();
    bed.adapter.fence(&east).await.unwrap();
    bed.adapter.unfence(&east).await.unwrap();

    // A server that refuses everything is not fenced: it may come back.
    let text = fs::read_to_string(&config_path).unwrap();
    let none = text.replace("Access_Type = RW", "Access_Type = NONE");
    fs::write(&config_path, none).unwrap();
    assert!(bed.servers[&east].enter(&["kill", "-HUP", pid.trim()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match bed.adapter.is_fenced(&east).await {
            Err(StorageError::ProbeInconclusive { last, .. }) => {
                break assert!(last.contains("MNT3ERR_ACCES"), "{last}");
            }
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    }
    let unproven = bed.adapter.fence(&east).await;
    assert!(matches!(&unproven, Err(StorageError::FenceUnproven { .. })), "{unproven:?}");
    let status = bed.adapter.status(&east).await.unwrap();
    assert!(status.reachable && status.access == Access::Unknown && status.free_bytes > 0, "{status:?}");
}

#[tokio::test]
async fn a_probe_that_lands_elsewhere_says_so() {
    let Some(bed) = GaneshaBed::new() else { return };
    let east = site("east");
    let other = bed.root.path().join("other");
    fs::create_dir_all(&other).unwrap();
    let server = &bed.servers[&east];
    let nfs = server.nfs("east", &other);
    fs::create_dir_all(server.root.join("export/.leeward/probe")).unwrap();
    let config = StorageConfig { sites: [(east.clone(), nfs)].into(), timeouts: Timeouts::default() };
    let adapter = NfsAdapter::new(config).unwrap();
    let told = adapter.is_fenced(&east).await;
    assert!(
        matches!(&told, Err(StorageError::ProbeInconclusive { last, .. }) if last.contains("another one is exported")),
        "{told:?}"
    );
    // That the other one is read-only says nothing of ours.
    let unproven = adapter.fence(&east).await;
    assert!(
        matches!(&unproven, Err(StorageError::FenceUnproven { last, .. }) if last.contains("ROFS") && last.contains("cannot be told")),
        "{unproven:?}"
    );
    assert!(adapter.is_fenced(&east).await.is_err());
}

/// Presents over an image that a client has just read, and tells how long until the point's own was what clients saw.
async fn present_over_a_used_image(bed: &GaneshaBed) -> Duration {
    let west = site("west");
    let root = &bed.servers[&west].root;
    fs::create_dir_all(root.join("export/source")).unwrap();
    fs::write(root.join("export/source/disk.img"), "new").unwrap();
    let request = SyncRequest {
        group: GroupName::parse("shop").unwrap(),
        point: PointId::parse("rp-1").unwrap(),
        base: None,
        from: west.clone(),
        to: west.clone(),
        epoch: Epoch(1),
        volumes: vec![SyncVolume {
            key: "pv-1".into(),
            source: bed.address(&west, "source"),
            consistency: Consistency::Stopped,
            at: jiff::Timestamp::UNIX_EPOCH,
            seed: None,
        }],
        carried: vec![],
    };
    let manifest = bed.adapter.sync(&request).await.unwrap();
    let volume = VolumeRef { key: "pv-1".into(), address: bed.address(&west, "vol") };
    fs::create_dir_all(root.join("export/vol")).unwrap();
    fs::write(root.join("export/vol/disk.img"), "old").unwrap();
    assert_eq!(bed.read(&west, &volume.address, "disk.img").await.unwrap(), b"old");
    let began = Instant::now();
    bed.adapter.present(&west, &manifest, std::slice::from_ref(&volume)).await.unwrap();
    let took = began.elapsed();
    assert_eq!(bed.read(&west, &volume.address, "disk.img").await.unwrap(), b"new", "what clients see is the point");
    assert_eq!(fs::read_dir(root.join("export/vol")).unwrap().count(), 1, "nothing is left behind");
    took
}

#[tokio::test]
async fn clients_see_what_was_presented() {
    let Some(bed) = GaneshaBed::new() else { return };
    let took = present_over_a_used_image(&bed).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn a_server_that_remembers_is_waited_for() {
    let Some(bed) = GaneshaBed::with("Attr_Expiration_Time = 8;") else { return };
    present_over_a_used_image(&bed).await;
}
