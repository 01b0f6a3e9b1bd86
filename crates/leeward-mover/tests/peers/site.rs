//! Sites for tests: a folder each, with an export, certificates and a configuration; and the mover's own processes.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

/// An authority that certificates come from.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
}

/// What a site's certificate is like.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) name: &'a str,
    pub(crate) expired: bool,
}

/// A site.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
}

impl Site {
    /// In `folder`, with a certificate for `<name>.leeward`.
    pub(crate) fn new(folder: &Path, name: &'static str, authority: &Authority) -> Self {
        let site = Self { name, folder: folder.join(name) };
        std::fs::create_dir_all(site.export()).unwrap();
        std::fs::write(site.folder.join("ca.crt"), &authority.pem).unwrap();
        site.certify(Named { authority, name: &format!("{name}.leeward"), expired: false });
        site
    }

    /// Gives it another certificate.
    pub(crate) fn certify(&self, Named { authority, name, expired }: Named<'_>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        std::fs::write(self.folder.join("mover.key"), key.serialize_pem()).unwrap();
        std::fs::write(self.folder.join("mover.crt"), certificate.pem()).unwrap();
    }

    pub(crate) fn export(&self) -> PathBuf {
        self.folder.join("export")
    }

    /// The file of a volume.
    pub(crate) fn file(&self, volume: &str, file: &str) -> PathBuf {
        let folder = self.export().join(volume);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(file)
    }

    /// The file of a volume in a point of group `shop`.
    pub(crate) fn in_point(&self, point: &str, volume: &str, file: &str) -> PathBuf {
        self.export().join(".leeward/points/shop").join(point).join(volume).join(file)
    }

    /// Writes its configuration: it listens anywhere, and `peer` is at `address`.
    pub(crate) fn configure(&self, peer: &str, address: SocketAddr, more: &Value) -> PathBuf {
        let mut config = json!({
            "site": self.name, "export": "export", "listen": "127.0.0.1:0",
            "tls": {"cert": "mover.crt", "key": "mover.key", "ca": "ca.crt"},
            "peers": {peer: {"address": address.to_string(), "name": format!("{peer}.leeward")}},
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let path = self.folder.join("mover.yaml");
        // JSON is YAML.
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leeward-mover"));
        command.arg("--config").arg(self.folder.join("mover.yaml")).args(["-o", "json"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `sync` with a request.
    pub(crate) fn begin(&self, request: &Value) -> Child {
        let mut child = self.command(&["sync", "--request", "-"]).spawn().unwrap();
        // A process that refuses at once does not read it.
        let _unread = child.stdin.take().unwrap().write_all(request.to_string().as_bytes());
        child
    }

    /// The answer to a request, or the error's text.
    pub(crate) fn sync(&self, request: &Value) -> Result<Value, String> {
        answer(&self.begin(request).wait_with_output().unwrap())
    }

    pub(crate) fn verify(&self, point: &str) -> Result<Value, String> {
        answer(&self.command(&["verify", "--group", "shop", point]).output().unwrap())
    }

    /// Runs `serve`.
    pub(crate) fn serve(&self) -> Serving {
        Serving::start(self.command(&["serve"]))
    }
}

/// What a verb printed.
pub(crate) fn answer(output: &Output) -> Result<Value, String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {stderr}"))?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(format!("{} {}", error["kind"].as_str().unwrap(), error["text"].as_str().unwrap())),
    }
}

/// A process that serves, killed at the end.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
    said: mpsc::Receiver<String>,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (say, said) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
        let mut before = Vec::new();
        loop {
            let Ok(line) = said.recv() else { panic!("it does not serve, {:?}: {before:?}", child.wait()) };
            if let Some((_, address)) = line.split_once("serves peers at ") {
                return Self { child, address: address.parse().unwrap(), said };
            }
            before.push(line);
        }
    }

    /// Waits for a line with this in it.
    pub(crate) fn says(&self, what: &str) -> String {
        loop {
            let line = self.said.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        peak(self.child.id())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a process ever had, in KiB.
pub(crate) fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A request for a point of group `shop` at `west`, of volumes that are folders of that name.
pub(crate) fn request(point: &str, base: Option<&str>, volumes: &[&str]) -> Value {
    let volumes: Vec<Value> = volumes.iter().map(|volume| json!({"key": volume, "folder": volume})).collect();
    json!({"group": "shop", "point": point, "base": base, "from": "east", "to": "west", "epoch": 1, "volumes": volumes})
}

/// Two sites that know each other, `west` serving.
pub(crate) struct Pair {
    pub(crate) east: Site,
    pub(crate) west: Site,
    pub(crate) serving: Serving,
    pub(crate) authority: Authority,
    _folder: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(&json!({}), &json!({}))
    }

    /// With more in the configurations.
    pub(crate) fn with(east_more: &Value, west_more: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let east = Site::new(folder.path(), "east", &authority);
        let west = Site::new(folder.path(), "west", &authority);
        west.configure("east", nowhere(), west_more);
        let serving = west.serve();
        east.configure("west", serving.address, east_more);
        Self { east, west, serving, authority, _folder: folder }
    }

    /// Kills what serves, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.serving = self.west.serve();
        self.east.configure("west", self.serving.address, &json!({}));
    }

    /// Whether the target's file in a point is the source's.
    pub(crate) fn assert_same(&self, point: &str, volume: &str, file: &str) {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        std::fs::File::open(self.east.file(volume, file)).unwrap().read_to_end(&mut one).unwrap();
        std::fs::File::open(self.west.in_point(point, volume, file)).unwrap().read_to_end(&mut other).unwrap();
        assert!(one == other, "{volume}/{file} of {point} is not what is at the source");
    }
}

/// Where nobody listens: TCP's discard port, which needs root and is run by nobody.
pub(crate) fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

/// Bytes that nothing makes shorter. The hash is compiled with optimisation, also for tests.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&rand::random::<[u8; 32]>()).finalize_xof().fill(&mut bytes);
    bytes
}
