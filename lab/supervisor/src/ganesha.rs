//! The site's NFS server: nfs-ganesha with its own rpcbind.
//!
//! Facts (nfs-ganesha 4.3):
//! - rpcbind and ganesha meet at `/run/rpcbind.sock`, and a ganesha that stops takes mountd off *its* rpcbind: each site
//!   has its own `/run`.
//! - QEMU's NFS driver speaks NFSv3 through port 111 only, so rpcbind is needed and all ports are the standard ones.
//! - With `mount_path_pseudo`, NFSv3 mounts `Pseudo` and not the real path, like NFSv4.
//! - By default it remembers for 60 s which file a name is; a disk image that was put in place by a rename would be served
//!   in its old state until then. `Attr_Expiration_Time = 0` makes it look each time.
//! - The file is read again at SIGHUP; a changed `Access_Type` holds in less than a second, for open files too.

use std::path::PathBuf;

use anyhow::Result;

use crate::inputs::system;
use crate::place::Site;
use crate::process::{Probe, Process, Stage};
use crate::root::Root;

/// `Export_Id` of the site's export.
pub(crate) const EXPORT_ID: u16 = 1;

/// The folder of the server's configuration.
fn folder(root: &Root, site: Site) -> PathBuf {
    root.place(site).join("ganesha")
}

/// The configuration. `Access_Type = RW;` stands alone on its line: fencing edits it and sends SIGHUP to [`pid_file`].
pub fn config_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("ganesha.conf")
}

/// The file with the server's pid, written by the server itself.
pub fn pid_file(root: &Root, site: Site) -> PathBuf {
    folder(root, site).join("ganesha.pid")
}

/// The text of [`config_file`].
pub fn config(root: &Root, site: Site) -> String {
    format!(
        "NFS_CORE_PARAM {{
  Protocols = 3, 4;
  Bind_addr = {address};
  NFS_Port = 2049;
  MNT_Port = 20048;
  mount_path_pseudo = true;
  Enable_NLM = false;
  Enable_RQUOTA = false;
  Enable_UDP = false;
  fsid_device = true;
}}
NFSv4 {{
  RecoveryRoot = {recovery};
  Graceless = true;
  Lease_Lifetime = 5;
  Grace_Period = 5;
}}
EXPORT {{
  Export_Id = {EXPORT_ID};
  Path = {export};
  Pseudo = {share};
  Access_Type = RW;
  Squash = No_Root_Squash;
  SecType = sys;
  Attr_Expiration_Time = 0;
  Protocols = 3, 4;
  Transports = TCP;
  Disable_ACL = true;
  FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
",
        address = site.address(),
        recovery = folder(root, site).join("recovery").display(),
        export = root.export(site).display(),
        share = site.share(),
    )
}

/// Writes the configuration.
pub(crate) fn prepare(root: &Root, site: Site) -> Result<()> {
    fs_err::create_dir_all(folder(root, site).join("recovery"))?;
    fs_err::write(config_file(root, site), config(root, site))?;
    Ok(())
}

/// rpcbind and ganesha.
pub(crate) fn processes(root: &Root, site: Site) -> [Process; 2] {
    let run = root.place(site).join("run");
    let mut rpcbind = Process::new("rpcbind", site, Stage::Base, &system("rpcbind"), folder(root, site))
        .args(["-f", "-w"])
        .ready(Probe::Tcp((site.address(), 111).into()));
    rpcbind.private_run = Some(run.clone());
    let mut ganesha = Process::new("ganesha", site, Stage::Api, &system("ganesha.nfsd"), folder(root, site))
        .args(["-F", "-N", "NIV_EVENT", "-L", "STDERR", "-f"])
        .args([config_file(root, site).display().to_string(), "-p".into(), pid_file(root, site).display().to_string()])
        .ready(Probe::Tcp((site.address(), 2049).into()));
    ganesha.private_run = Some(run);
    [rpcbind, ganesha]
}
