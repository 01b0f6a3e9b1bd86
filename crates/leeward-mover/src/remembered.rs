//! Clones of what was sent last, at the source: where the file system shares blocks, the next transfer reads only what does not
//! lie where it lay then.
//!
//! ```text
//! <top>/<group>/<volume>/<file>.<fingerprint>       what was sent; the blocks it does not share with the volume are what it costs
//! <top>/<group>/<volume>/<file>.new                 one that is being made
//! ```
//!
//! Laws:
//! - A clone is used only against a target that holds bytes of the very fingerprint in the clone's name.
//! - It gets that name after the file it was cloned from was found not to have changed since before it was read, and after it is
//!   on stable storage itself.
//! - Whoever writes into one unshares what he writes, so it is read; and without any clone everything is read. It only saves time.

use crate::cache::{folders, sweep};
use crate::extents;
use crate::layer::{Identity, Kind, Layer, LayerFile as _};
use crate::manifest::Fingerprint;
use crate::paths::name;
use crate::place::Place;
use leeward_model::name::GroupName;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

const NEW: &str = ".new";

/// The clones of a group.
#[derive(Debug)]
pub struct Remembered<'a, L> {
    layer: &'a L,
    folder: Place,
}

/// Where they are inside an export.
///
/// # Panics
/// Never: it is a place.
#[must_use]
pub fn top() -> Place {
    name(".leeward/sent")
}

impl<'a, L: Layer> Remembered<'a, L> {
    /// Those of `group`, below `top`.
    ///
    /// # Panics
    /// Never: a group's name is a place.
    #[must_use]
    pub fn new(layer: &'a L, top: &Place, group: &GroupName) -> Self {
        Self { layer, folder: top.join(&name(group.as_str())) }
    }

    fn place(&self, disk: &Place, fingerprint: Fingerprint) -> Place {
        self.folder.join(disk).with_suffix(&format!(".{fingerprint}"))
    }

    /// Whether anything is remembered of a disk.
    #[must_use]
    pub fn knows(&self, disk: &Place) -> bool {
        let place = self.folder.join(disk);
        let listed = place.parent().map(|folder| self.layer.list(&folder).unwrap_or_default());
        listed.into_iter().flatten().any(|(name, kind)| kind == Kind::File && is_of(&name, place.name()))
    }

    /// The only bytes in which `now` can differ from what has fingerprint `held`, if that is known.
    #[must_use]
    pub fn may_differ(&self, disk: &Place, held: Fingerprint, now: &L::File) -> Option<Vec<Range<u64>>> {
        let then = self.layer.open_to_read(&self.place(disk, held)).ok()?;
        extents::may_differ(&then, now)
    }

    /// Remembers that these were sent, in place of all that was before. `sent` is each disk's file, what it was when it was read,
    /// and its fingerprint. What cannot be cloned is forgotten.
    pub fn remember<'d>(&self, sent: impl Iterator<Item = (&'d Place, &'d Place, &'d Identity, Fingerprint)>) {
        let (mut kept, mut made) = (BTreeSet::new(), Vec::new());
        for (disk, file, identity, fingerprint) in sent {
            let place = self.place(disk, fingerprint);
            if self.layer.open_to_read(&place).is_ok() {
                kept.insert(place.into());
            } else if let Ok(new) = self.clone_of(file, identity, disk) {
                made.push((new, place));
            }
        }
        let new: Vec<_> = made.iter().map(|(new, _)| new.clone()).collect();
        if self.layer.sync_all(&new, &[]).is_ok() {
            let named = made.into_iter().filter(|(new, place)| self.layer.rename(new, place).is_ok());
            kept.extend(named.map(|(_, place)| place.into()));
        }
        sweep(self.layer, &self.folder, &kept);
    }

    /// A clone that has not got its name yet.
    fn clone_of(&self, file: &Place, identity: &Identity, disk: &Place) -> io::Result<Place> {
        let new = self.folder.join(disk).with_suffix(NEW);
        folders(self.layer, &new)?;
        self.layer.remove(&new)?;
        self.layer.clone_file(file, &new)?;
        if self.layer.open_to_read(file)?.identity()? != *identity {
            // It is another file by now, or has other bytes.
            return self.layer.remove(&new).and(Err(io::ErrorKind::InvalidData.into()));
        }
        Ok(new)
    }
}

/// Whether an entry is a clone of a disk whose file is called so.
fn is_of(entry: &str, file: &str) -> bool {
    let fingerprint = entry.strip_prefix(file).and_then(|rest| rest.strip_prefix('.'));
    fingerprint.is_some_and(|text| Fingerprint::try_from(text.to_owned()).is_ok())
}

#[cfg(test)]
mod tests;
