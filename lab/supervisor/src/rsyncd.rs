//! The receiving end of the mover at a site's file server: an rsync daemon over the export.

use std::path::PathBuf;

use anyhow::Result;

use crate::inputs::system;
use crate::place::Site;
use crate::process::{Probe, Process, Stage};
use crate::root::Root;

fn folder(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("rsync")
}

/// The text of the daemon's configuration.
pub fn config(root: &Root, site: Site) -> String {
    // Numeric owners and no chroot: the names of the host mean nothing at the other site.
    format!(
        "use chroot = no\nmunge symlinks = no\nnumeric ids = yes\nreverse lookup = no\nhosts allow = 10.77.0.0/24\n\
         pid file = {pid}\nlock file = {lock}\nlog file = /dev/stderr\n\n\
         [leeward]\npath = {export}\nread only = no\nuid = root\ngid = root\n",
        pid = folder(root, site).join("rsyncd.pid").display(),
        lock = folder(root, site).join("rsyncd.lock").display(),
        export = root.export(site).display(),
    )
}

fn config_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("rsyncd.conf")
}

/// Writes the configuration, and takes away the pid file of a daemon that was killed: it would refuse to start.
pub(crate) fn prepare(root: &Root, site: Site) -> Result<()> {
    fs_err::create_dir_all(folder(root, site))?;
    fs_err::write(config_file(root, site), config(root, site))?;
    Ok(())
}

/// The rsync daemon.
pub(crate) fn process(root: &Root, site: Site) -> Process {
    Process::new("rsyncd", site, Stage::Base, &system("rsync"), folder(root, site))
        .args(["--daemon", "--no-detach", "--port=873"])
        .args([format!("--address={}", site.address()), format!("--config={}", config_file(root, site).display())])
        .ready(Probe::Tcp((site.address(), 873).into()))
}
