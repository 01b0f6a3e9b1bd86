use super::*;
use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

const GANESHA: &str = "EXPORT { Export_Id = 1; Access_Type = RW; FSAL { Name = VFS; } }\n";

/// An NFS server whose export is a folder here, and which follows its configuration, or not.
struct Played {
    export: PathBuf,
    config: PathBuf,
    /// What it says to a write instead of following its configuration.
    says: RefCell<Option<String>>,
    /// The only version of NFS it speaks.
    speaks: Cell<u8>,
}

impl Client for Played {
    fn write(&self, url: &str, version: u8, word: &str) -> Result<(), String> {
        if version != self.speaks.get() {
            return Err("no answer within 2 s".to_owned());
        }
        if let Some(says) = &*self.says.borrow() {
            return Err(says.clone());
        }
        let text = fs::read_to_string(&self.config).unwrap();
        let text: String = text.lines().map(|line| line.split('#').next().unwrap()).collect();
        if !text.contains("RW;") && !text.contains("(rw") {
            return Err(format!("Failed to open {url}: NFS{version}ERR_ROFS"));
        }
        let place = self.export.join(url.strip_prefix("nfs://h/export/").unwrap());
        fs::write(place, word).map_err(|error| error.to_string())
    }

    fn read(&self, url: &str, _: u8) -> Result<Vec<u8>, String> {
        let place = self.export.join(url.strip_prefix("nfs://h/export/").unwrap());
        fs::read(place).map_err(|error| error.to_string())
    }
}

/// A file server: its folder, its configuration, its NFS server.
struct Bed {
    folder: tempfile::TempDir,
    config: Config,
    client: Played,
    server: Option<Child>,
}

const PATIENCE: Patience = Patience { seconds: 0, probe_seconds: 1 };

impl Bed {
    fn new(server: &str, table: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("export")).unwrap();
        fs::write(at(table), text).unwrap();
        let nfs = if server.is_empty() { String::new() } else { format!("nfs: {{ url: nfs://h/export, {server} }}\n") };
        let yaml = format!("site: east\nexport: export\n{nfs}");
        fs::write(at("mover.yaml"), yaml).unwrap();
        let config = Config::read(&at("mover.yaml")).unwrap();
        let client = Played { export: at("export"), config: at(table), says: RefCell::default(), speaks: Cell::new(3) };
        Self { folder, config, client, server: None }
    }

    /// With a ganesha that notes SIGHUP.
    fn ganesha() -> Self {
        let server = "ganesha: { config: ganesha.conf, pidFile: ganesha.pid, exportId: 1 }";
        let mut bed = Self::new(server, "ganesha.conf", GANESHA);
        let script = "#!/bin/sh\ntrap 'echo >> hung-up' HUP\necho $$ > ganesha.pid\nwhile :; do sleep 0.02; done\n";
        bed.program("ganesha.nfsd", script);
        bed.server = Some(bed.start("ganesha.nfsd"));
        bed
    }

    /// With the kernel's server, whose exportfs is this.
    fn kernel(exportfs: &str) -> Self {
        let server = "kernel: { exports: exports, path: /srv/vm, exportfs: exportfs }";
        let bed = Self::new(server, "exports", "/srv/vm h(rw,sync)\n");
        bed.program("exportfs", &format!("#!/bin/sh\ncd \"${{0%/*}}\"\n{exportfs}\n"));
        bed
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn start(&self, name: &str) -> Child {
        let program = self.at(name);
        for _ in 0..500 {
            // While another test forks, the program is still open for writing in its child.
            // A shell cannot trap what was ignored when it began, as SIGHUP is below nohup(1).
            let mut command = Command::new("env");
            command.arg("--default-signal=HUP").arg(&program);
            let started = command.current_dir(self.folder.path()).stdin(Stdio::null()).spawn();
            if let Ok(mut child) = started {
                while child.try_wait().unwrap().is_none() {
                    if fs::read_to_string(self.at("ganesha.pid")).is_ok_and(|pid| pid.ends_with('\n')) {
                        return child;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} does not start");
    }

    fn gate(&self) -> Gate<'_> {
        Gate::new(&self.config, &self.client).unwrap()
    }

    fn fence(&self) -> Result<String, String> {
        self.gate().fence(PATIENCE).map(|fenced| fenced.refused_by).map_err(|error| crate::refusal::text(&error))
    }

    fn unfence(&self) -> Result<(), String> {
        self.gate().unfence(PATIENCE).map_err(|error| crate::refusal::text(&error))
    }

    /// How often ganesha was told, once it was told that often.
    fn hung_up(&self, times: usize) -> bool {
        for _ in 0..500 {
            if fs::read_to_string(self.at("hung-up")).unwrap_or_default().len() == times {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn says(said: Result<impl std::fmt::Debug, String>, words: &[&str]) {
    let said = said.unwrap_err();
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
}

#[test]
fn a_fence_is_made_repeated_and_taken_away() {
    let bed = Bed::ganesha();
    let refused = bed.fence().unwrap();
    assert!(refused.starts_with("NFSv3: ") && refused.contains("NFS3ERR_ROFS"), "{refused}");
    assert!(bed.hung_up(1) && !bed.text("ganesha.conf").contains("Access_Type = RW;"));
    assert_eq!(bed.gate().access().unwrap().0, Access::Ro);
    bed.client.speaks.set(4);
    assert!(bed.fence().unwrap().ends_with("NFS4ERR_ROFS"));
    assert!(bed.hung_up(2), "a server may not have heard it the first time");
    bed.unfence().unwrap();
    assert!(bed.hung_up(3));
    assert_eq!(bed.text("ganesha.conf"), GANESHA);
    bed.unfence().unwrap();
    assert_eq!(bed.text("ganesha.conf"), GANESHA, "there was nothing to take away");
    assert_eq!(fs::read_dir(bed.at("export/.leeward/probe")).unwrap().count(), 0, "probes leave nothing");
}

#[test]
fn what_is_no_refusal_is_no_proof() {
    let bed = Bed::ganesha();
    for (said, words) in [
        ("NFS3ERR_ACCES", &["LW-0769", "NFS3ERR_ACCES"][..]),
        // Whatever a path is called.
        ("Failed to open nfs://h/ROFS/x: timed out", &["LW-0769", "before the fence"]),
    ] {
        *bed.client.says.borrow_mut() = Some(said.to_owned());
        says(bed.fence(), words);
        says(bed.unfence(), &["LW-0770", said]);
    }
    *bed.client.says.borrow_mut() = None;
    bed.client.speaks.set(2);
    says(bed.fence(), &["LW-0769", "NFSv3: no answer", "NFSv4: no answer"]);
    assert!(bed.text("ganesha.conf").contains("Access_Type = RO;"), "a server that comes back is fenced");
}

#[test]
fn a_probe_that_goes_elsewhere_says_so() {
    let mut bed = Bed::ganesha();
    fs::create_dir_all(bed.at("other/.leeward/probe")).unwrap();
    bed.client.export = bed.at("other");
    let (access, answer) = bed.gate().access().unwrap();
    assert!(access == Access::Unknown && answer.contains("another one is exported"), "{answer}");
    // The other one is read-only for clients: that says nothing of ours.
    says(bed.fence(), &["LW-0769", "NFS3ERR_ROFS", "cannot be told", "before the fence"]);
    let probe = fs::read_dir(bed.at("other/.leeward/probe")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read(probe.path()).unwrap(), probe.file_name().as_encoded_bytes());
}

#[test]
fn another_program_does_not_get_the_signal() {
    let bed = Bed::ganesha();
    let written = |bed: &Bed| says(bed.fence(), &["LW-0768", "ganesha.conf", "was not told"]);
    // This very test, nobody, every process, and a file that is none or is not there.
    for pid in [&std::process::id().to_string(), "1000000000", "-1", "0", "1", "none", ""] {
        fs::write(bed.at("ganesha.pid"), pid).unwrap();
        written(&bed);
    }
    fs::remove_file(bed.at("ganesha.pid")).unwrap();
    written(&bed);
    assert!(bed.text("ganesha.conf").contains("Access_Type = RO;"));
    assert!(!bed.at("hung-up").exists());
}

#[test]
fn a_server_that_is_not_known_is_not_told() {
    let bed = Bed::new("", "ganesha.conf", GANESHA);
    let error = Gate::new(&bed.config, &bed.client).err().unwrap();
    assert!(error.to_string().contains("[LW-0766]"), "{error}");
    let bed = Bed::ganesha();
    fs::write(bed.at("ganesha.conf"), GANESHA.replace("Export_Id = 1", "Export_Id = 2")).unwrap();
    says(bed.fence(), &["LW-0767", "nfs.ganesha.exportId"]);
    fs::remove_file(bed.at("ganesha.conf")).unwrap();
    *bed.client.says.borrow_mut() = Some(String::new());
    says(bed.fence(), &["LW-0767", "nfs.ganesha.config"]);
    fs::write(bed.at("ganesha.conf"), GANESHA).unwrap();
    fs::remove_dir(bed.at("export/.leeward/probe")).unwrap();
    fs::write(bed.at("export/.leeward/probe"), "").unwrap();
    says(bed.fence(), &["LW-0771", ".leeward/probe"]);
    assert!(bed.text("ganesha.conf").contains("Access_Type = RO;"), "it is read-only, if not proven to be");
}

#[test]
fn probes_that_were_cut_off_are_cleared_away() {
    let bed = Bed::ganesha();
    let folder = bed.at("export/.leeward/probe");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(bed.at("export/.leeward"), fs::Permissions::from_mode(0o750)).unwrap();
    let young = format!("west-{}", Timestamp::now().as_nanosecond());
    for name in ["west-1700000000000000000", "something", &young] {
        fs::write(folder.join(name), "x").unwrap();
    }
    assert_eq!(bed.gate().access().unwrap().0, Access::Rw);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [young.as_str()]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&bed.at("export/.leeward"))), (0o777, 0o711));
}

#[test]
fn the_kernel_s_server_is_told_by_exportfs() {
    let bed = Bed::kernel("echo \"$*\" >> told; cat exports >> told");
    assert!(bed.fence().unwrap().contains("NFS3ERR_ROFS"));
    let fenced = "# leeward-was /srv/vm h(rw,sync)\n/srv/vm h(ro,sync)\n";
    assert_eq!(bed.text("told"), format!("-ra\n{fenced}"), "it is told after its table was changed");
    bed.fence().unwrap();
    assert_eq!(bed.text("exports"), fenced);
    bed.unfence().unwrap();
    bed.unfence().unwrap();
    assert_eq!(bed.text("exports"), "/srv/vm h(rw,sync)\n");
    assert_eq!(bed.text("told").matches("-ra\n").count(), 4);
}

#[test]
fn what_exportfs_says_is_told_where_it_matters() {
    let bed = Bed::kernel("echo 'exportfs: h: unknown' >&2; exit 1");
    bed.fence().unwrap();
    bed.unfence().unwrap();
    *bed.client.says.borrow_mut() = Some("NFS3ERR_ACCES".to_owned());
    says(bed.fence(), &["LW-0769", "NFS3ERR_ACCES", "exportfs: h: unknown"]);
    fs::remove_file(bed.at("exportfs")).unwrap();
    says(bed.fence(), &["LW-0768", "exportfs", "No such file"]);
}

#[test]
fn another_table_that_lets_clients_write_is_found() {
    let bed = Bed::kernel("touch told");
    fs::create_dir(bed.at("exports.d")).unwrap();
    fs::write(bed.at("exports.d/.hidden.exports"), "/srv/vm h(rw)").unwrap();
    fs::write(bed.at("exports.d/other"), "/srv/vm h(rw)").unwrap();
    bed.fence().unwrap();
    fs::write(bed.at("exports.d/other.exports"), "/srv h(rw)").unwrap();
    says(bed.fence(), &["LW-0767", "exports.d/other.exports", "/srv,"]);
    bed.unfence().unwrap();
}
