//! What the tests of the whole driver share: a running `lab-csi`, file systems to run it on, and when not to run.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

/// How long the driver may take to begin to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says that a test was not run, and why. With LEEWARD_REQUIRE_LAB=1 that is a failure.
pub(crate) fn not_run(why: &str) {
    assert!(std::env::var("LEEWARD_REQUIRE_LAB").as_deref() != Ok("1"), "not run, but required: {why}");
    eprintln!("NOT RUN: {why}");
}

/// Waits for a child at most so long; kills it then.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// A running driver; killed when dropped.
pub(crate) struct Driver {
    process: Child,
    pub(crate) socket: PathBuf,
}

impl Driver {
    /// Serves `export` on a socket in `dir` and waits until it does.
    pub(crate) fn start(dir: &Path, export: &Path) -> Driver {
        let socket = dir.join("csi.sock");
        let process = Command::new(env!("CARGO_BIN_EXE_lab-csi"))
            .arg("--endpoint")
            .arg(format!("unix://{}", socket.display()))
            .args(["--server", "10.77.0.1", "--share", "/export", "--path"])
            .arg(export)
            .stderr(Stdio::from(std::fs::File::create(dir.join("lab-csi.log")).unwrap()))
            .spawn()
            .unwrap();
        let mut driver = Driver { process, socket };
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(&driver.socket).is_err() {
            let ended = driver.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "lab-csi does not serve: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        driver
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.process)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal_terminate();
        self.wait()
    }

    pub(crate) fn signal_terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.process, PATIENCE).expect("lab-csi did not end after SIGTERM")
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) async fn connect(&self) -> Channel {
        Endpoint::from_shared(format!("unix://{}", self.socket.display())).unwrap().connect().await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls a method of the controller service.
pub(crate) async fn call<Q, A>(channel: &Channel, method: &'static str, request: Q) -> Result<A, tonic::Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(method);
    grpc.unary(Request::new(request), path, tonic_prost::ProstCodec::default()).await.map(tonic::Response::into_inner)
}

/// A file system of its own; unmounted when dropped.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
}

impl Mounted {
    /// An XFS with reflinks in a file, or why there is none.
    pub(crate) fn xfs(dir: &Path) -> Result<Mounted, String> {
        let image = dir.join("xfs.img");
        std::fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))?;
        Mounted::mount(dir, Command::new("mount").args(["-o", "loop"]).arg(&image))
    }

    /// A small file system in memory, or why there is none.
    pub(crate) fn tmpfs(dir: &Path, size: &str) -> Result<Mounted, String> {
        let options = format!("size={size}");
        Mounted::mount(dir, Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]))
    }

    fn mount(dir: &Path, command: &mut Command) -> Result<Mounted, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a file system takes root".to_owned());
        }
        let path = dir.join("mounted");
        std::fs::create_dir(&path).unwrap();
        run(command.arg(&path))?;
        Ok(Mounted { path })
    }

    /// Bytes free now.
    pub(crate) fn free(&self) -> u64 {
        let file = std::fs::File::open(&self.path).unwrap();
        // XFS hands out blocks late and takes them back late: only after a sync does the number stand.
        rustix::fs::syncfs(&file).unwrap();
        let stat = rustix::fs::fstatvfs(&file).unwrap();
        stat.f_bfree * stat.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.path)) {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim()))
}
