//! Manifests that the source keeps of what it sent, so that they need not come over the link.
//!
//! ```text
//! <top>/<group>/<volume>/<file>.blocks       what the target had when the last transfer ended
//! <top>/<group>/<volume>/<file>.blocks.new   one that is being made
//! ```
//!
//! One is used only if its fingerprint is the one that the target names. Nothing here is synced: what a crash leaves is not
//! used unless it is right.

use crate::layer::{Kind, Layer, Stream};
use crate::manifest::{Fingerprint, Reader};
use crate::paths::name;
use crate::place::Place;
use leeward_model::name::GroupName;
use std::collections::BTreeSet;
use std::io::{self, BufReader, BufWriter, Read, Write};

const SUFFIX: &str = ".blocks";
const NEW: &str = ".new";
/// Bytes that are read or written at once.
const BUFFER: usize = 256 << 10;

/// The manifests of a group.
#[derive(Debug)]
pub struct Cache<'a, L> {
    layer: &'a L,
    folder: Place,
}

/// A manifest in it.
pub type Kept<F> = Reader<BufReader<Stream<F>>>;

/// Where they are inside an export.
///
/// # Panics
/// Never: it is a place.
#[must_use]
pub fn top() -> Place {
    name(".leeward/manifests")
}

impl<'a, L: Layer> Cache<'a, L> {
    /// Those of `group`, below `top`.
    ///
    /// # Panics
    /// Never: a group's name is a place.
    #[must_use]
    pub fn new(layer: &'a L, top: &Place, group: &GroupName) -> Self {
        Self { layer, folder: top.join(&name(group.as_str())) }
    }

    fn place(&self, disk: &Place) -> Place {
        self.folder.join(disk).with_suffix(SUFFIX)
    }

    /// The manifest of a disk, if it is the one with that fingerprint. Reads it twice: once to know that.
    #[must_use]
    pub fn find(&self, disk: &Place, fingerprint: Fingerprint) -> Option<Kept<L::File>> {
        let kept = || {
            Reader::new(BufReader::with_capacity(BUFFER, Stream::new(self.layer.open(&self.place(disk)).ok()?, 0))).ok()
        };
        (kept()?.check().ok()? == fingerprint).then(kept).flatten()
    }

    /// Keeps the manifest that comes from `from`, and reads it.
    ///
    /// # Errors
    /// The file system, or `from`.
    pub fn fetch(&self, disk: &Place, mut from: impl Read) -> io::Result<()> {
        let (new, mut file) = self.create(disk)?;
        io::copy(&mut from, &mut file)?;
        file.flush()?;
        self.layer.rename(&new, &self.place(disk))
    }

    /// Begins a new manifest of a disk.
    #[must_use]
    pub fn begin(&self, disk: &Place) -> Begun<L::File> {
        Begun(self.create(disk).ok().map(|(_, file)| file))
    }

    /// What was begun is the disk's manifest now. If it could not be written, there is none.
    pub fn keep(&self, disk: &Place) {
        let place = self.place(disk);
        // Without it the next transfer fetches the manifest.
        let _only_slower = self.layer.rename(&place.with_suffix(NEW), &place);
    }

    /// Removes what is about other disks than these.
    pub fn retain<'d>(&self, disks: impl Iterator<Item = &'d Place>) {
        let kept = disks.map(|disk| self.place(disk).into()).collect();
        sweep(self.layer, &self.folder, &kept);
    }

    fn create(&self, disk: &Place) -> io::Result<(Place, BufWriter<Stream<L::File>>)> {
        let new = self.place(disk).with_suffix(NEW);
        folders(self.layer, &new)?;
        self.layer.remove(&new)?;
        let file = self.layer.create(&new)?;
        Ok((new, BufWriter::with_capacity(BUFFER, Stream::new(file, 0))))
    }
}

/// Removes what is in `folder` and not in `kept`, which are places. What cannot be removed stays until the next time.
pub(crate) fn sweep<L: Layer>(layer: &L, folder: &Place, kept: &BTreeSet<String>) {
    for (name, kind) in layer.list(folder).unwrap_or_default() {
        let Ok(name) = Place::parse(&name) else { continue };
        let place = folder.join(&name);
        let below = format!("{}/", place.as_str());
        let holds = kept.range(below.clone()..).next().is_some_and(|kept| kept.starts_with(&below));
        match kind {
            Kind::Folder if holds => sweep(layer, &place, kept),
            _ if kept.contains(place.as_str()) => {}
            _ => {
                let _next_time = layer.remove(&place);
            }
        }
    }
}

/// Makes the folders that `place` is in.
pub(crate) fn folders<L: Layer>(layer: &L, place: &Place) -> io::Result<()> {
    let Some(parent) = place.parent() else { return Ok(()) };
    folders(layer, &parent)?;
    layer.create_folder(&parent)
}

/// A manifest that is being written. One that cannot be written is let go, without an error: it only saves time.
pub struct Begun<F: crate::layer::LayerFile>(Option<BufWriter<Stream<F>>>);

impl<F: crate::layer::LayerFile> Write for Begun<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.0 = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.as_mut().is_some_and(|file| file.flush().is_err()) {
            self.0 = None;
        }
        Ok(())
    }
}
