//! The lab's programs that Debian has: which are missing, and how they are installed without starting any daemon.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs::File, io, io::Write};

use thiserror::Error;

use crate::cache::{Cache, CacheError};
use crate::progress::{Forecast, Progress};
use crate::run;

/// Debian packages the lab runs.
pub(crate) const PACKAGES: [&str; 15] = [
    "cpio",
    "etcd-server",
    "iproute2",
    "libnfs-utils",
    "nfs-ganesha",
    "nfs-ganesha-vfs",
    "openssh-client",
    "openssh-server",
    "openssl",
    "qemu-block-extra",
    "qemu-system-x86",
    "qemu-utils",
    "rpcbind",
    "util-linux",
    "xfsprogs",
];

/// Name of this work in plans, logs and timings.
pub(crate) const NAME: &str = "debian-packages";

/// Seconds for all packages on a bare Debian 12.
const SECONDS: u64 = 29;

/// Debian's switch against starting daemons at installation; the administrator's own stays.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What the lab writes there. The first line tells a left-over of a killed run from anybody else's file.
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Written by the Leeward lab while it installs packages; can be removed.\nexit 101\n";

/// The packages could not be installed.
#[derive(Debug, Error)]
pub enum DebianError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// dpkg or apt could not be run.
    #[error("cannot run Debian's package tools; the lab needs Debian 12 or a system with the same apt [LW-0962]")]
    Tools(#[source] io::Error),
    /// apt-get failed.
    #[error("apt-get {step} failed for {packages}; read {}, repair apt and run this again [LW-0962]", log.display())]
    Apt {
        /// `update` or `install`.
        step: &'static str,
        /// What was to be installed.
        packages: String,
        /// Full path of the log.
        log: PathBuf,
    },
    /// Daemons could not be kept from starting.
    #[error("cannot write {POLICY}, which keeps new daemons from starting; check that /usr is writable [LW-0963]")]
    Policy(#[source] io::Error),
}

/// Installs what is missing of the lab's Debian packages; starts no daemon.
pub fn install_debian_packages(progress: &Progress) -> Result<(), DebianError> {
    let cache = Cache::from_env()?;
    if missing()?.is_empty() {
        return Ok(());
    }
    let _lock = cache.lock(NAME, || progress.note("another process is installing packages, waiting"))?;
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let log_path = cache.log(NAME);
    let log = cache.new_log(NAME)?;
    let activity = progress.start(NAME, Some(takes(&cache)));
    progress.note(&format!("  installing {packages}"));
    let started = Instant::now();
    let _policy = Policy::set(Path::new(POLICY)).map_err(DebianError::Policy)?;

    let install: Vec<_> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(missing.iter().copied()).collect();
    for (step, arguments) in [("update", &["update"][..]), ("install", &install[..])] {
        if !run::logged(&mut apt(arguments), &log).map_err(DebianError::Tools)? {
            drop(activity);
            for line in run::tail(&log_path) {
                progress.note(&format!("  | {line}"));
            }
            progress.note(&format!("  whole log: {}", log_path.display()));
            return Err(DebianError::Apt { step, packages, log: log_path });
        }
    }
    activity.done();
    cache.record(NAME, started.elapsed())?;
    Ok(())
}

/// How long the installation takes, or that all is there.
pub(crate) fn forecast(cache: &Cache) -> Result<Forecast, DebianError> {
    let takes = (!missing()?.is_empty()).then(|| takes(cache));
    Ok(Forecast { name: NAME.to_owned(), takes })
}

/// An `apt-get` that asks nothing and waits for another one to finish.
pub(crate) fn apt(arguments: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    // RUNLEVEL=1: invoke-rc.d then takes the machine for one in single-user mode, for scripts that do not ask the policy.
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").env("LC_ALL", "C.UTF-8");
    apt.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Sandbox::User=root"]).args(arguments);
    apt
}

fn takes(cache: &Cache) -> Duration {
    cache.measured(NAME).unwrap_or(Duration::from_secs(SECONDS))
}

fn missing() -> Result<Vec<&'static str>, DebianError> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package}\\n"]).args(PACKAGES);
    // It ends with an error if it does not know one of them, which is just what is asked here.
    let output = query.output().map_err(DebianError::Tools)?;
    Ok(not_installed(&String::from_utf8_lossy(&output.stdout)))
}

fn not_installed(dpkg: &str) -> Vec<&'static str> {
    let installed: BTreeSet<_> = dpkg.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    PACKAGES.into_iter().filter(|package| !installed.contains(package)).collect()
}

/// While it lives, installing a daemon does not start it.
#[derive(Debug)]
struct Policy<'a> {
    /// The file to remove, if it is the lab's.
    own: Option<&'a Path>,
}

impl<'a> Policy<'a> {
    fn set(path: &'a Path) -> io::Result<Self> {
        match File::options().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                file.write_all(POLICY_TEXT.as_bytes())?;
                Ok(Self { own: Some(path) })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let left_over = fs_err::read_to_string(path).is_ok_and(|text| text == POLICY_TEXT);
                Ok(Self { own: left_over.then_some(path) })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.own {
            // If it cannot be removed, the next run recognises it and tries again.
            let _ = fs_err::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_what_dpkg_does_not_call_installed() {
        let all: String = PACKAGES.iter().map(|package| format!("installed {package}\n")).collect();
        assert!(not_installed(&all).is_empty());
        let some = all.replace("installed rpcbind\n", "").replace("installed cpio", "config-files cpio");
        assert_eq!(not_installed(&some), ["cpio", "rpcbind"]);
        assert_eq!(not_installed("").len(), PACKAGES.len());
    }

    #[test]
    fn own_policy_goes_away_and_a_left_over_of_it_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let policy = Policy::set(&path).unwrap();
        assert!(path.exists());
        drop(policy);
        assert!(!path.exists());
        fs_err::write(&path, POLICY_TEXT).unwrap();
        drop(Policy::set(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn the_administrators_policy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        fs_err::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(Policy::set(&path).unwrap());
        assert!(path.exists());
    }
}
