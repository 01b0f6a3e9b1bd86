//! Two file servers on this machine: folders, and an rsync daemon each. The control command runs scripts here; a file cuts
//! it off. `rsync` goes through a wrapper, so that tests can slow it down, kill it, and act while it is about to run.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use leeward_model::{
    address::VolumeAddress,
    name::{PointId, SiteName},
};
use leeward_storage::{
    PointManifest, StorageAdapter,
    contract::Bed,
    nfs::{GaneshaControl, NfsAdapter, NfsSite, StorageConfig, Timeouts},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct NfsBed {
    pub adapter: NfsAdapter,
    root: tempfile::TempDir,
    daemons: Vec<Child>,
}

pub fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

/// Refuses to run while a file of this name exists, as a lost site does; then finds the wrapper before the real rsync.
const CONTROL: &str = r#"[ ! -e "$0/cut" ] || exec sleep 600; PATH="$0/bin:$PATH" exec "$@""#;
/// Notes its process id, runs the bed's hook if there is one, and becomes the real rsync.
const RSYNC: &str = r#"#!/bin/sh
here=$(dirname -- "$0")/..
echo $$ >"$here/rsync.pid"
if [ -f "$here/hook" ]; then . "$here/hook"; fi
exec /usr/bin/rsync ${RSYNC_MORE-} "$@"
"#;

impl NfsBed {
    pub fn new() -> Self {
        Self::with_timeouts(Timeouts { probe_seconds: 2, connect_seconds: 2, stall_seconds: 5, fence_seconds: 5 })
    }

    pub fn with_timeouts(timeouts: Timeouts) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (mut sites, mut daemons) = (BTreeMap::new(), Vec::new());
        for name in ["east", "west"] {
            let folder = root.path().join(name);
            fs::create_dir_all(folder.join("bin")).unwrap();
            fs::create_dir_all(folder.join("export")).unwrap();
            let wrapper = folder.join("bin/rsync");
            fs::write(&wrapper, RSYNC).unwrap();
            let mut mode = fs::metadata(&wrapper).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
            fs::set_permissions(&wrapper, mode).unwrap();
            let (daemon, port) = start_rsync(&folder);
            daemons.push(daemon);
            let control = ["sh", "-c", CONTROL, folder.to_str().unwrap()].map(str::to_owned).to_vec();
            let nfs = NfsSite {
                server: "127.0.0.1".into(),
                export: format!("/{name}"),
                path: folder.join("export"),
                control,
                rsync: format!("rsync://127.0.0.1:{port}/leeward"),
                ganesha: GaneshaControl {
                    config: folder.join("ganesha.conf"),
                    pid_file: folder.join("ganesha.pid"),
                    export_id: 1,
                },
            };
            sites.insert(site(name), nfs);
        }
        let adapter = NfsAdapter::new(StorageConfig { sites, timeouts }).unwrap();
        Self { adapter, root, daemons }
    }

    /// A path at a site, outside its export.
    pub fn at(&self, site: &SiteName, path: &str) -> PathBuf {
        self.root.path().join(site.as_str()).join(path)
    }

    /// A path in a site's export.
    pub fn export(&self, site: &SiteName, path: &str) -> PathBuf {
        self.at(site, "export").join(path)
    }

    fn folder(&self, site: &SiteName, address: &VolumeAddress) -> PathBuf {
        self.export(site, address.nfs().unwrap().directory.strip_prefix(&format!("/{site}/")).unwrap())
    }

    /// Shell commands for the wrapper to run before the next rsyncs at the site; in the volume's folder.
    pub fn hook(&self, site: &SiteName, commands: &str) {
        fs::write(self.at(site, "hook"), commands).unwrap();
    }

    pub fn unhook(&self, site: &SiteName) {
        fs::remove_file(self.at(site, "hook")).unwrap();
    }

    /// The rsync daemon of the site.
    pub fn daemon(&self, site: &SiteName) -> u32 {
        self.daemons[usize::from(site.as_str() == "west")].id()
    }
}

impl Drop for NfsBed {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn start_rsync(folder: &Path) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "use chroot = false\n[leeward]\npath = {}\nread only = false\nuid = 0\ngid = 0\n",
        folder.join("export").display()
    );
    fs::write(folder.join("rsyncd.conf"), config).unwrap();
    let log = fs::File::create(folder.join("rsyncd.log")).unwrap();
    let daemon = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", folder.join("rsyncd.conf").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the rsync daemon does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (daemon, port)
}

pub fn address(site: &SiteName, name: &str) -> VolumeAddress {
    let pv =
        json!({"metadata": {"name": "x"}, "spec": {"nfs": {"server": "127.0.0.1", "path": format!("/{site}/{name}")}}});
    VolumeAddress::from_pv(&pv).unwrap()
}

#[async_trait::async_trait]
impl Bed for NfsBed {
    fn adapter(&self) -> &dyn StorageAdapter {
        &self.adapter
    }
    fn sites(&self) -> (SiteName, SiteName) {
        (site("east"), site("west"))
    }
    fn address(&self, site: &SiteName, name: &str) -> VolumeAddress {
        address(site, name)
    }
    async fn write(&self, site: &SiteName, address: &VolumeAddress, file: &str, bytes: &[u8]) -> bool {
        let path = self.folder(site, address).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).is_ok()
    }
    async fn read(&self, site: &SiteName, address: &VolumeAddress, file: &str) -> Option<Vec<u8>> {
        fs::read(self.folder(site, address).join(file)).ok()
    }
    async fn damage(&self, manifest: &PointManifest, key: &str, file: &str) {
        let path = format!(".leeward/points/{}/{}/{key}/{file}", manifest.group, manifest.point);
        flip(&self.export(&manifest.to, &path));
    }
    async fn kept_aside(&self, site: &SiteName, point: &PointId, key: &str, file: &str) -> Vec<Vec<u8>> {
        let newest = self.export(site, &format!(".leeward/given-up/{point}/{key}/{file}"));
        let older = (1..).map(|number| PathBuf::from(format!("{}.~{number}~", newest.display())));
        older.take_while(|path| path.exists()).chain([newest.clone()]).filter_map(|path| fs::read(path).ok()).collect()
    }
    async fn set_reachable(&self, site: &SiteName, reachable: bool) {
        let cut = self.at(site, "cut");
        if reachable { fs::remove_file(cut).unwrap() } else { fs::write(cut, "").unwrap() }
    }
}

/// Turns over one bit, leaving length and times alone.
pub fn flip(path: &Path) {
    let times = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(times).unwrap();
}
