//! Volume and snapshot handles, letter for letter as csi-driver-nfs makes them.
//!
//! | handle | parts |
//! |---|---|
//! | volume | `server#share#subdir#uuid#ondelete` |
//! | snapshot | `server#share#snapshot#snapshot#source volume` |
//!
//! Laws: server and share stand without outer slashes. Without a `subDir` parameter (which this driver does not take)
//! `subdir` is the volume's name and `uuid` is empty. `ondelete` is empty unless it is `retain`. On the way in, a volume
//! handle may have three to five parts. The source volume in a snapshot's handle is the volume's `uuid`, or else its
//! `subdir`. A handle of another export is an error of its own, never "not found": the volume may well exist.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{EntryName, NameError};

/// The export a driver serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    server: String,
    share: String,
}

/// What deleting a volume does to its folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// The folder is deleted.
    #[default]
    Delete,
    /// The folder stays.
    Retain,
}

/// A volume handle that belongs to the served export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeHandle {
    /// The volume's folder.
    pub name: EntryName,
    /// csi-driver-nfs puts the PV's name here if the class names a `subDir`; else empty.
    pub uuid: String,
    /// What deleting does.
    pub on_delete: OnDelete,
}

/// A snapshot handle that belongs to the served export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHandle {
    /// The snapshot's folder.
    pub name: EntryName,
    /// The source volume as the handle names it.
    pub source: String,
}

/// Why a handle is not one of this export's.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Not of the form of a handle: nothing of that handle can exist here.
    #[error("{handle:?} is not a handle of this driver ({form})")]
    Form {
        /// The handle as received.
        handle: String,
        /// The form it should have.
        form: &'static str,
    },
    /// The folder's name in the handle is not usable.
    #[error("handle {handle:?} names no folder of the export")]
    Name {
        /// The handle as received.
        handle: String,
        /// Why not.
        #[source]
        source: NameError,
    },
    /// A good handle, but of another export.
    #[error("handle {handle:?} is of another export: this driver serves {export}")]
    OtherExport {
        /// The handle as received.
        handle: String,
        /// The export served here.
        export: Export,
    },
    /// `ondelete` asks for what this driver cannot do.
    #[error("{value:?} is no delete policy of this driver: it takes delete and retain")]
    OnDelete {
        /// The policy as received.
        value: String,
    },
}

impl OnDelete {
    /// Reads a policy; empty means delete.
    ///
    /// # Errors
    /// It is neither `delete` nor `retain`, in any case.
    pub fn parse(value: &str) -> Result<Self, HandleError> {
        if value.is_empty() || value.eq_ignore_ascii_case("delete") {
            Ok(OnDelete::Delete)
        } else if value.eq_ignore_ascii_case("retain") {
            Ok(OnDelete::Retain)
        } else {
            Err(HandleError::OnDelete { value: value.to_owned() })
        }
    }
}

impl Export {
    /// `server` is the address clients mount from, `share` the exported path as clients see it.
    pub fn new(server: &str, share: &str) -> Self {
        Export { server: server.trim_matches('/').to_owned(), share: share.trim_matches('/').to_owned() }
    }

    /// Whether a StorageClass's `server` is this export's.
    pub fn is_server(&self, server: &str) -> bool {
        server.trim_matches('/') == self.server
    }

    /// Whether a StorageClass's `share` is this export's, with or without outer slashes.
    pub fn is_share(&self, share: &str) -> bool {
        share.trim_matches('/') == self.share
    }

    /// The handle of a volume.
    pub fn volume_handle(&self, name: &EntryName, on_delete: OnDelete) -> String {
        let on_delete = match on_delete {
            OnDelete::Delete => "",
            OnDelete::Retain => "retain",
        };
        format!("{}#{}#{name}##{on_delete}", self.server, self.share)
    }

    /// The handle of a snapshot.
    pub fn snapshot_handle(&self, name: &EntryName, source: &str) -> String {
        format!("{}#{}#{name}#{name}#{source}", self.server, self.share)
    }

    /// The handle of a snapshot group.
    pub fn group_handle(&self, name: &EntryName) -> String {
        format!("{}#{}#{name}#group", self.server, self.share)
    }

    /// Reads a group's handle.
    ///
    /// # Errors
    /// The handle is not one of this export's.
    pub fn parse_group(&self, handle: &str) -> Result<EntryName, HandleError> {
        let parts: Vec<&str> = handle.split('#').collect();
        if parts.len() != 4 || parts[3] != "group" {
            return Err(HandleError::Form { handle: handle.to_owned(), form: "server#share#name#group" });
        }
        self.entry(handle, &parts)
    }

    /// Reads a volume handle.
    ///
    /// # Errors
    /// The handle is not one of this export's.
    pub fn parse_volume(&self, handle: &str) -> Result<VolumeHandle, HandleError> {
        let parts: Vec<&str> = handle.split('#').collect();
        if !(3..=5).contains(&parts.len()) {
            return Err(HandleError::Form { handle: handle.to_owned(), form: "server#share#subdir#uuid#ondelete" });
        }
        let name = self.entry(handle, &parts)?;
        Ok(VolumeHandle {
            name,
            uuid: parts.get(3).copied().unwrap_or_default().to_owned(),
            on_delete: OnDelete::parse(parts.get(4).copied().unwrap_or_default())?,
        })
    }

    /// Reads a snapshot handle.
    ///
    /// # Errors
    /// The handle is not one of this export's.
    pub fn parse_snapshot(&self, handle: &str) -> Result<SnapshotHandle, HandleError> {
        let parts: Vec<&str> = handle.split('#').collect();
        if parts.len() != 5 || parts[2] != parts[3] {
            let form = "server#share#snapshot#snapshot#source volume";
            return Err(HandleError::Form { handle: handle.to_owned(), form });
        }
        Ok(SnapshotHandle { name: self.entry(handle, &parts)?, source: parts[4].to_owned() })
    }

    fn entry(&self, handle: &str, parts: &[&str]) -> Result<EntryName, HandleError> {
        if !self.is_server(parts[0]) || !self.is_share(parts[1]) {
            return Err(HandleError::OtherExport { handle: handle.to_owned(), export: self.clone() });
        }
        EntryName::parse(parts[2]).map_err(|source| HandleError::Name { handle: handle.to_owned(), source })
    }
}

impl VolumeHandle {
    /// How a snapshot's handle names this volume.
    pub fn as_source(&self) -> &str {
        if self.uuid.is_empty() { self.name.as_str() } else { &self.uuid }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.server, self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PVC: &str = "pvc-4bcbf944-b6f7-4bd0-b50f-3c3dd00efc64";

    fn export() -> Export {
        Export::new("10.77.0.1", "/export")
    }

    #[test]
    fn volume_handles_are_those_of_csi_driver_nfs() {
        let name = EntryName::parse(PVC).unwrap();
        assert_eq!(export().volume_handle(&name, OnDelete::Delete), format!("10.77.0.1#export#{PVC}##"));
        assert_eq!(export().volume_handle(&name, OnDelete::Retain), format!("10.77.0.1#export#{PVC}##retain"));
        let nested = Export::new("nas.example", "/pool/vms/");
        assert_eq!(nested.volume_handle(&name, OnDelete::Delete), format!("nas.example#pool/vms#{PVC}##"));
    }

    #[test]
    fn snapshot_handles_are_those_of_csi_driver_nfs() {
        let name = EntryName::parse("snapshot-1").unwrap();
        assert_eq!(export().snapshot_handle(&name, PVC), format!("10.77.0.1#export#snapshot-1#snapshot-1#{PVC}"));
    }

    #[test]
    fn handles_come_back_as_they_went() {
        let name = EntryName::parse(PVC).unwrap();
        for on_delete in [OnDelete::Delete, OnDelete::Retain] {
            let read = export().parse_volume(&export().volume_handle(&name, on_delete)).unwrap();
            assert_eq!(read, VolumeHandle { name: name.clone(), uuid: String::new(), on_delete });
        }
        let snapshot = export().parse_snapshot(&export().snapshot_handle(&name, "src")).unwrap();
        assert_eq!(snapshot, SnapshotHandle { name, source: "src".to_owned() });
    }

    #[test]
    fn a_groups_handle_is_no_snapshots() {
        let name = EntryName::parse("groupsnapshot-1").unwrap();
        let handle = export().group_handle(&name);
        assert_eq!(export().parse_group(&handle).unwrap(), name);
        assert!(export().parse_snapshot(&handle).is_err());
        assert!(export().parse_group("10.77.0.2#export#g#group").is_err());
        assert!(export().parse_group("fake-vol-id").is_err());
    }

    #[test]
    fn short_handles_and_handles_with_a_uuid_are_read() {
        assert_eq!(export().parse_volume("10.77.0.1#export#vol").unwrap().as_source(), "vol");
        let with_uuid = export().parse_volume("10.77.0.1#export#team-a#pvc-1#RETAIN").unwrap();
        assert_eq!((with_uuid.as_source(), with_uuid.on_delete), ("pvc-1", OnDelete::Retain));
    }

    #[test]
    fn other_exports_bad_forms_and_escapes_are_told_apart() {
        use HandleError as E;
        assert!(matches!(export().parse_volume("10.77.0.2#export#vol##"), Err(E::OtherExport { .. })));
        assert!(matches!(export().parse_volume("10.77.0.1#vault#vol##"), Err(E::OtherExport { .. })));
        assert!(matches!(export().parse_volume("fake-vol-id"), Err(E::Form { .. })));
        assert!(matches!(export().parse_volume("10.77.0.1#export#vol###"), Err(E::Form { .. })));
        assert!(matches!(export().parse_volume("10.77.0.1#export#..##"), Err(E::Name { .. })));
        assert!(matches!(export().parse_volume("10.77.0.1#export#a/b##"), Err(E::Name { .. })));
        assert!(matches!(export().parse_volume("10.77.0.1#export#vol##archive"), Err(E::OnDelete { .. })));
        assert!(matches!(export().parse_snapshot("10.77.0.1#export#a#b#vol"), Err(E::Form { .. })));
        assert!(matches!(export().parse_snapshot("10.77.0.1#export#../a#../a#vol"), Err(E::Name { .. })));
    }
}
