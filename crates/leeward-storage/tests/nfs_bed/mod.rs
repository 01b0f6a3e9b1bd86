//! Two file servers on this machine: folders, and Leeward's real mover at each. The control command runs scripts here; a
//! file cuts it off. The mover's verbs go through a wrapper, so that tests can kill one, and act while it is about to run.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod mover;

use leeward_model::{
    address::VolumeAddress,
    name::{PointId, SiteName},
};
use leeward_storage::{
    PointManifest, StorageAdapter,
    contract::Bed,
    nfs::{NfsAdapter, NfsSite, StorageConfig, Timeouts},
};
use mover::Serving;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub struct NfsBed {
    pub adapter: NfsAdapter,
    root: tempfile::TempDir,
    serving: BTreeMap<SiteName, Serving>,
}

pub fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

/// Refuses to run while a file of this name exists, as a lost site does; then finds the wrapper before anything else.
const CONTROL: &str = r#"[ ! -e "$0/cut" ] || exec sleep 600; PATH="$0/bin:$PATH" exec "$@""#;

impl NfsBed {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let names = ["east", "west"].map(site);
        let mut sites = BTreeMap::new();
        for name in &names {
            let folder = root.path().join(name.as_str());
            fs::create_dir_all(folder.join("bin")).unwrap();
            fs::create_dir_all(folder.join("export")).unwrap();
            let wrapper = folder.join("bin/leeward-mover");
            fs::write(&wrapper, mover::wrapper()).unwrap();
            fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
            let config = folder.join("mover.yaml");
            let nfs = NfsSite {
                server: "127.0.0.1".into(),
                export: format!("/{name}"),
                path: folder.join("export"),
                control: ["sh", "-c", CONTROL, folder.to_str().unwrap()].map(str::to_owned).to_vec(),
                mover: ["leeward-mover", "--config", config.to_str().unwrap()].map(str::to_owned).to_vec(),
            };
            sites.insert(name.clone(), nfs);
        }
        let serving = mover::serve_all(root.path(), &names);
        let timeouts = Timeouts { probe_seconds: 2, connect_seconds: 2, stall_seconds: 5, fence_seconds: 5 };
        let adapter = NfsAdapter::new(StorageConfig { sites, timeouts }).unwrap();
        Self { adapter, root, serving }
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

    /// Shell commands for the wrapper to run before the next verbs of the mover at the site, which are in `$@`.
    pub fn hook(&self, site: &SiteName, commands: &str) {
        fs::write(self.at(site, "hook"), commands).unwrap();
    }

    pub fn unhook(&self, site: &SiteName) {
        fs::remove_file(self.at(site, "hook")).unwrap();
    }

    /// The process of the mover's last `sync` at the site, if there was one.
    pub fn syncing(&self, site: &SiteName) -> Option<String> {
        fs::read_to_string(self.at(site, "sync.pid")).ok()
    }

    /// How many bytes of a link the site may use in a second; 0: as many as go.
    pub fn limit(&self, site: &SiteName, bytes_per_second: u64) {
        let config = self.at(site, "mover.yaml");
        let text = fs::read_to_string(&config).unwrap();
        let kept: String =
            text.lines().filter(|line| !line.starts_with("limits:")).map(|line| format!("{line}\n")).collect();
        fs::write(config, format!("{kept}limits: {{ bytesPerSecond: {bytes_per_second} }}\n")).unwrap();
    }

    /// The mover that takes points at the site.
    pub fn serving(&mut self, site: &SiteName) -> &mut Serving {
        self.serving.get_mut(site).unwrap()
    }
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
