//! What a storage adapter and the mover at a file server say to each other.
//!
//! The adapter runs `leeward-mover VERB --output json` at a file server, the verb's request as JSON on its stdin. On stdout
//! comes one JSON value: the verb's answer, or a [`Refusal`] under the key `error`. Folders and files are relative to the
//! export of the site they are at, `/` between their parts, none of them `.` or `..`.
//!
//! | verb | request | answer |
//! |---|---|---|
//! | `sync` | [`Sync`] | [`Synced`] |
//! | `plan` | [`Sync`] | [`Foreseen`] |
//! | `points` | [`OfGroup`] | a list of [`Point`], whole ones only |
//! | `verify` | [`OfPoint`] | [`Point`] |
//! | `withdraw` | [`OfPoint`] | nothing (`null`) |
//! | `present` | [`Present`] | nothing (`null`) |
//! | `compare` | [`Compare`] | a list of [`Moved`], one for each volume, in order |
//! | `fence` | [`Patience`] | [`Fenced`] |
//! | `unfence` | [`Patience`] | nothing (`null`) |
//! | `status` | [`Look`] | [`Standing`] |

use crate::name::{Epoch, GroupName, PointId, SiteName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A recovery point to be made at site `to` of volumes at the site where the mover runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// The group.
    pub group: GroupName,
    /// The point's name; the same whenever it is asked for again.
    pub point: PointId,
    /// The point at `to` to start from. If it is not there, seeds are, and without them everything is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PointId>,
    /// The site that is read: the one where the mover runs.
    pub from: SiteName,
    /// The site that gets the point. It may be `from`.
    pub to: SiteName,
    /// The group's epoch.
    pub epoch: Epoch,
    /// What to read.
    pub volumes: Vec<SyncVolume>,
    /// Volumes that are taken over from the base unchanged.
    #[serde(default)]
    pub carried: Vec<String>,
}

/// A volume to be read. All regular files below its folder are its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncVolume {
    /// Its name in the point.
    pub key: String,
    /// Its folder at `from`.
    pub folder: String,
    /// A folder at `to` with an older copy, to start from if the base does not have the volume. It may be absent or torn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Kept with the point, not understood by the mover.
    #[serde(default)]
    pub about: Value,
}

/// A whole recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The group.
    pub group: GroupName,
    /// Its name.
    pub point: PointId,
    /// The site it was read at.
    pub from: SiteName,
    /// The group's epoch then.
    pub epoch: Epoch,
    /// Its volumes, by key.
    pub volumes: Vec<Volume>,
}

/// One volume of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    pub key: String,
    /// As it came with [`SyncVolume::about`]; a carried volume keeps its own.
    #[serde(default)]
    pub about: Value,
    /// Its files, by name; never empty.
    pub files: Vec<File>,
}

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Path inside the volume.
    pub name: String,
    /// Length in bytes, holes included.
    pub bytes: u64,
    /// The mover's fingerprint of its content, 64 hexadecimal digits.
    pub fingerprint: String,
}

/// What became of a [`Sync`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// The point.
    pub point: Point,
    /// What it cost. Zero for a point that was there.
    pub cost: Cost,
}

/// Bytes that a transfer met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Read at the source.
    pub read_bytes: u64,
    /// Found to be different, before compression.
    pub changed_bytes: u64,
    /// Found to be zero where something was.
    pub zeroed_bytes: u64,
    /// Sent and received on the link, encryption not counted; 0 at one machine.
    pub wire_bytes: u64,
}

/// What a [`Sync`] would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Foreseen {
    /// The point is there already, and nothing would be done.
    pub there: bool,
    /// How much each volume has moved, in the request's order.
    pub volumes: Vec<Moved>,
    /// Bytes that would be sent, before compression.
    pub changed_bytes: u64,
    /// Free bytes at the target.
    pub free_bytes: u64,
    /// Seconds it would take at the rate limit, or at the rate the files were just read.
    pub seconds: u64,
}

/// How far a volume has moved away from a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Its name.
    pub key: String,
    /// Bytes of blocks that differ; 0 exactly if its files are the same.
    pub changed_bytes: u64,
    /// When a file of it was last written, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_written: Option<i64>,
}

/// Which group's points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfGroup {
    /// The group.
    pub group: GroupName,
}

/// Which point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfPoint {
    /// The group.
    pub group: GroupName,
    /// Its name.
    pub point: PointId,
}

/// Files of a point are to be put where clients see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    /// The group.
    pub group: GroupName,
    /// The point.
    pub point: PointId,
    /// The volume's name in the point.
    pub key: String,
    /// Its folder for clients.
    pub folder: String,
    /// What the point must hold of it.
    pub files: Vec<File>,
    /// Where an NFS client finds the folder (`nfs://server/export/…`): a server that still remembers the replaced file is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Volumes at the site where the mover runs are to be compared with a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// The group.
    pub group: GroupName,
    /// The point.
    pub point: PointId,
    /// The site that has the point.
    pub at: SiteName,
    /// Key and folder of each volume.
    pub volumes: Vec<(String, String)>,
}

/// How long a change of the export's access may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patience {
    /// Seconds until a write over NFS must have shown it.
    pub seconds: u32,
    /// Seconds that one try to write may take.
    pub probe_seconds: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { seconds: 10, probe_seconds: 5 }
    }
}

/// How closely a site's storage is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Look {
    /// Seconds that one try to write may take.
    pub probe_seconds: u32,
    /// Whether the groups' newest points are wanted, too: reading their records takes its time.
    pub newest: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { probe_seconds: Patience::default().probe_seconds, newest: false }
    }
}

/// Whether clients can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// A write was tried, and has arrived in the export.
    Rw,
    /// A write was tried, and the server refused it because the file system is read-only.
    Ro,
    /// It could not be tried, or failed for another reason, or went elsewhere.
    Unknown,
}

/// The export is read-only for its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fenced {
    /// The server's words when it refused a write.
    pub refused_by: String,
    /// When it did.
    pub at: Timestamp,
}

/// How a site's storage stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Whether clients can write.
    pub access: Access,
    /// What the server, or the tool, said to the write.
    pub answer: String,
    /// Bytes that are free in the export.
    pub free_bytes: u64,
    /// Each group's newest point, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<Newest>,
}

/// The newest whole point of a group at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Newest {
    /// The group.
    pub group: GroupName,
    /// The point.
    pub point: PointId,
    /// The group's epoch when it was made.
    pub epoch: Epoch,
}

/// Why a verb was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// The error's code, `LW-07…`.
    pub code: String,
    /// The reason and its causes, for people.
    pub text: String,
    /// The volume it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The file it is about, inside the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Bytes that would be needed ([`RefusalKind::Full`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// Bytes that are free ([`RefusalKind::Full`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
}

/// Kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalKind {
    /// The request cannot be understood, or asks for what cannot be.
    Request,
    /// A folder or file at the source is not there.
    Absent,
    /// A volume has no file.
    Empty,
    /// Something in a volume is neither file nor folder, or leads elsewhere.
    NotAFile,
    /// A file at the source changed while it was read.
    Changed,
    /// There is no such point, or it does not hold the volume.
    NoPoint,
    /// There is such a point, and it is another.
    Exists,
    /// What is here is not what it should be.
    Differs,
    /// A newer epoch was seen.
    OldEpoch,
    /// There is not enough room.
    Full,
    /// Another process is making or changing the same.
    Busy,
    /// The peer cannot be reached, or the link broke.
    Link,
    /// The peer, or this side in its eyes, is not who it should be; or speaks another version.
    Peer,
    /// The file system, or anything else.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_says_no_more_than_it_must() {
        let least = json!({
            "group": "shop", "point": "rp-1", "from": "east", "to": "west", "epoch": 1,
            "volumes": [{"key": "pv-1", "folder": "a/b"}],
        });
        let read: Sync = serde_json::from_value(least).unwrap();
        assert_eq!((read.base, read.carried.len(), &read.volumes[0].about), (None, 0, &Value::Null));
        let nothing = json!({});
        assert_eq!(serde_json::from_value::<Patience>(nothing.clone()).unwrap(), Patience::default());
        assert_eq!(serde_json::from_value::<Look>(nothing).unwrap(), Look::default());
        let refusal = json!({"kind": "oldEpoch", "code": "LW-0705", "text": "…"});
        assert_eq!(serde_json::from_value::<Refusal>(refusal).unwrap().kind, RefusalKind::OldEpoch);
    }
}
