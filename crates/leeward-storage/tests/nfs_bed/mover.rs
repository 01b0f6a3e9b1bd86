//! Leeward's real mover, with certificates of the test only.
//!
//! `LEEWARD_MOVER` names the program; without it cargo builds it.

use leeward_model::name::SiteName;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use std::{
    collections::BTreeMap,
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The program; without it there is nothing to test.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match env::var_os("LEEWARD_MOVER") {
        Some(program) => PathBuf::from(program),
        None => built().expect("leeward-mover is neither named by LEEWARD_MOVER nor can cargo build it"),
    })
}

fn built() -> Option<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../leeward-mover/Cargo.toml");
    let build = Command::new(cargo)
        .args(["build", "--quiet", "--bin", "leeward-mover", "--message-format", "json", "--manifest-path", manifest])
        .stderr(Stdio::inherit())
        .output()
        .ok()
        .filter(|build| build.status.success())?;
    let said = build.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    said.filter_map(|line: serde_json::Value| Some(PathBuf::from(line["executable"].as_str()?))).next_back()
}

/// Notes the process of a `sync`, runs the bed's hook if there is one, and becomes the real program.
pub fn wrapper() -> String {
    format!(
        "#!/bin/sh\nhere=$(dirname -- \"$0\")/..\ncase \" $* \" in *' sync '*) echo $$ >\"$here/sync.pid\" ;; esac\n\
         if [ -f \"$here/hook\" ]; then . \"$here/hook\"; fi\nexec '{}' \"$@\"\n",
        program().display()
    )
}

/// A mover that takes points.
pub struct Serving {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Serving {
    fn start(folder: PathBuf, port: u16) -> Self {
        let process = Self::spawn(&folder, port);
        Self { folder, port, process }
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        let log = fs::File::options().create(true).append(true).open(folder.join("mover.log")).unwrap();
        let process = Command::new(program())
            .arg("serve")
            .arg("--config")
            .arg(folder.join("mover.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the mover does not listen: see {}", folder.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// Ends it, as a lost machine does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again.
    pub fn start_again(&mut self) {
        self.process = Self::spawn(&self.folder, self.port);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a mover in each site's folder below `root`.
pub fn serve_all(root: &Path, sites: &[SiteName; 2]) -> BTreeMap<SiteName, Serving> {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    // Held until all have one, so that no two get the same.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
    for (at, site) in sites.iter().enumerate() {
        let folder = root.join(site.as_str());
        certify(&authority, site, &folder);
        let peer = &sites[1 - at];
        let config = format!(
            "site: {site}\nexport: {}\nlisten: 127.0.0.1:{}\ntls: {{ cert: mover.crt, key: mover.key, ca: ca.crt }}\n\
             peers:\n  {peer}: {{ address: '127.0.0.1:{}', name: {peer}.leeward }}\n",
            folder.join("export").display(),
            ports[at],
            ports[1 - at],
        );
        fs::write(folder.join("mover.yaml"), config).unwrap();
    }
    let start = |(at, site): (usize, &SiteName)| (site.clone(), Serving::start(root.join(site.as_str()), ports[at]));
    sites.iter().enumerate().map(start).collect()
}

fn certify(authority: &CertifiedIssuer<'_, KeyPair>, site: &SiteName, folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::new([format!("{site}.leeward")]).unwrap();
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    fs::write(folder.join("mover.crt"), wanted.signed_by(&key, authority).unwrap().pem()).unwrap();
    fs::write(folder.join("mover.key"), key.serialize_pem()).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
}
