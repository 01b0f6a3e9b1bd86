//! The mover, as a subject of measurement.

use super::process::{Cost, run};
use super::shares::{counted, traced};
use anyhow::{Context, Result};
use rustix::process::Pid;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image's name in its volume.
pub(super) const IMAGE: &str = "disk.img";

/// What the mover says of a transfer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    /// What it cost.
    pub(super) cost: Cost,
    /// Bytes read at the source.
    pub(super) read: u64,
    /// Bytes of the blocks that differ.
    pub(super) changed: u64,
    /// Bytes on the link.
    pub(super) wire: u64,
}

/// The mover's program, and where its points are.
pub(super) struct Mover {
    pub(super) program: PathBuf,
    pub(super) east: PathBuf,
    pub(super) west: PathBuf,
    /// The process that receives, and the configuration of the one that sends; none if one process does both.
    pub(super) peer: Option<(Pid, PathBuf)>,
}

impl Mover {
    fn server(&self) -> Option<Pid> {
        self.peer.as_ref().map(|(server, _)| *server)
    }

    /// What makes point `point` of group `group` of the volumes, folders at east, from point `base`; its request is put into
    /// `request`.
    fn command(
        &self,
        request: &Path,
        group: &str,
        point: &str,
        base: Option<&str>,
        volumes: &[String],
    ) -> Result<Command> {
        let to = if self.peer.is_some() { "west" } else { "east" };
        let volumes: Vec<_> = volumes.iter().map(|volume| json!({"key": volume, "folder": volume})).collect();
        let asked = json!({
            "group": group, "point": point, "base": base, "from": "east", "to": to, "epoch": 1, "volumes": volumes,
        });
        fs_err::write(request, asked.to_string())?;
        let mut command = Command::new(&self.program);
        command.args(["sync", "--output", "json", "--request"]).arg(request);
        match &self.peer {
            Some((_, config)) => command.arg("--config").arg(config),
            None => command.arg("--export").arg(&self.east).arg("--to").arg(&self.west),
        };
        Ok(command)
    }

    /// Makes the point.
    pub(super) fn sync(&self, group: &str, point: &str, base: Option<&str>, volumes: &[String]) -> Result<Moved> {
        let request = tempfile::NamedTempFile::new()?;
        let mut command = self.command(request.path(), group, point, base, volumes)?;
        let (said, cost) = run(&mut command, self.server(), &self.west)?;
        let said: Value = serde_json::from_str(&said).context("what the mover says")?;
        let number = |pointer: &str| said.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let (read, changed) = (number("/cost/readBytes"), number("/cost/changedBytes"));
        Ok(Moved { cost, read, changed, wire: number("/cost/wireBytes") })
    }

    /// The same under strace: seconds by kind of work; null where strace is not installed.
    pub(super) fn shares(&self, group: &str, point: &str, base: Option<&str>, volumes: &[String]) -> Result<Value> {
        let [log, request] = [tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?];
        let command = self.command(request.path(), group, point, base, volumes)?;
        let Some(mut traced) = traced(&command, log.path()) else {
            return Ok(Value::Null);
        };
        let (_, cost) = run(&mut traced, self.server(), &self.west)?;
        counted(log.path(), cost.wall)
    }

    /// Where the point has the volume's image.
    pub(super) fn image(&self, group: &str, point: &str, volume: &str) -> PathBuf {
        self.west.join(".leeward/points").join(group).join(point).join(volume).join(IMAGE)
    }

    /// Forgets all points of a group, and what was sent of it.
    pub(super) fn forget(&self, group: &str) -> Result<()> {
        remove(&self.west.join(".leeward/points").join(group))?;
        self.forget_sent(group)
    }

    /// Forgets what was sent of a group, so that the file system does not tell what changed since.
    pub(super) fn forget_sent(&self, group: &str) -> Result<()> {
        remove(&self.east.join(".leeward/sent").join(group))
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    Ok(())
}
