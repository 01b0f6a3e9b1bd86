//! What every first process has to do: mount the kernel's file systems, load drivers, switch the machine off.

use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
};
use std::{
    fs::{self, File},
    io,
};

/// Mounts devtmpfs, proc and sysfs on the directories that the initramfs has.
pub(crate) fn mount_all() -> io::Result<()> {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        mount(kind, target, kind, MountFlags::empty(), None)?;
    }
    Ok(())
}

/// Loads the drivers named in `/modules.order`. Their disks are there when this returns: virtio's drivers look for
/// devices before the call that loads them ends.
pub(crate) fn load_modules() -> io::Result<()> {
    for name in fs::read_to_string("/modules.order")?.lines() {
        let file = File::open(format!("/modules/{name}"))?;
        finit_module(&file, c"", 0)
            .map_err(|errno| io::Error::other(format!("cannot load module {name}: {}", io::Error::from(errno))))?;
    }
    Ok(())
}

/// Writes back whatever any file system still holds.
pub(crate) fn sync() {
    rustix::fs::sync();
}

/// Switches the machine off. Returns only if the kernel refuses.
pub(crate) fn power_off() -> io::Result<()> {
    sync();
    reboot(RebootCommand::PowerOff)?;
    Ok(())
}
