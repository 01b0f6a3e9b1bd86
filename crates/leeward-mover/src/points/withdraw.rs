//! Points that go.

use super::record::sync_folder;
use super::{GONE, Points, lock};
use crate::error::PointError;
use crate::layer::{Hold, Layer};
use crate::place::Place;
use crate::undo::{chain, gone};
use leeward_model::name::{GroupName, PointId};

impl<L: Layer> Points<L> {
    /// Removes a point, or what is there of one. Fine if it is not there; which one may go is the caller's to decide.
    ///
    /// # Errors
    /// The file system; a point that another process reads.
    pub fn withdraw(&self, group: &GroupName, point: &PointId) -> Result<(), PointError> {
        let (folder, top) = (self.folder(group, point), self.group(group));
        let gone = folder.with_suffix(GONE);
        self.clear_gone(&gone)?;
        let held = match lock(&self.layer, &folder, Hold::Alone) {
            Err(PointError::Files { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            held => held?,
        };
        if held.is_none() {
            return Err(PointError::Busy { what: format!("point {point} of group {group}") });
        }
        // Before it loses its name: who cannot go on now has done nothing.
        let logs = self.lock_logs(&folder)?;
        // Nor must it go because of a newer one that a crash can still take.
        sync_folder(&self.layer, Some(&top))?;
        match self.layer.rename(&folder, &gone) {
            // Half a point must not have a point's name, whenever this ends.
            Ok(()) => sync_folder(&self.layer, Some(&top))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(PointError::Files { doing: "putting aside", place: folder, source }),
        }
        match logs {
            Some(_logs) => gone::remove(&self.layer, &gone),
            None => self.remove(&gone),
        }
    }

    /// Removes what is left of a point that lost its name.
    pub(super) fn clear_gone(&self, gone: &Place) -> Result<(), PointError> {
        if self.layer.folder_owner(gone).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(());
        }
        match self.lock_logs(gone)? {
            Some(_logs) => gone::remove(&self.layer, gone),
            None => {
                // Who took its name may have been killed before that was on stable storage.
                let top = gone.parent().unwrap_or_else(|| self.top.clone());
                sync_folder(&self.layer, Some(&top))?;
                self.remove(gone)
            }
        }
    }

    /// The lock of the group's undo logs, if this point has any.
    fn lock_logs(&self, point: &Place) -> Result<Option<L::Lock>, PointError> {
        match point.parent() {
            Some(group) if gone::has_logs(&self.layer, point)? => {
                chain::lock_logs(&self.layer, &group, Hold::Alone).map(Some)
            }
            _ => Ok(None),
        }
    }
}
