//! A recovery point's data, and the fingerprints by which it is recognised.
//!
//! A manifest is written beside the data as the last thing before the point becomes visible; it names every file of every
//! volume. Two manifests with the same content describe the same bytes, wherever they lie.

use leeward_model::name::{GroupName, PointId, SiteName};
use serde::{Deserialize, Serialize};

/// Why a source could be read as one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consistency {
    /// It was made from a snapshot and has no writer.
    Snapshot,
    /// The machine that writes it was stopped.
    Stopped,
}

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFingerprint {
    /// Path inside the volume, `/` between parts, no leading one.
    pub name: String,
    /// Length in bytes, holes included.
    pub bytes: u64,
    /// Fingerprint of the content, as whoever made the point digests it: 64 lower-case hexadecimal digits. Two of one adapter
    /// are equal exactly if the contents are.
    pub fingerprint: String,
}

/// One volume of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointVolume {
    /// Name of the PersistentVolume.
    pub key: String,
    /// The moment its data is of; older than the point's other volumes if it was carried over from an earlier point.
    pub at: jiff::Timestamp,
    /// Why it could be read as one moment.
    pub consistency: Consistency,
    /// Its files, sorted by name; never empty.
    pub files: Vec<FileFingerprint>,
}

/// Everything that is known about a recovery point's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointManifest {
    /// The group it belongs to.
    pub group: GroupName,
    /// Its name.
    pub point: PointId,
    /// The site its data was read at.
    pub from: SiteName,
    /// The site it was made at, and where its files are.
    pub to: SiteName,
    /// Its volumes, sorted by key.
    pub volumes: Vec<PointVolume>,
}

impl PointManifest {
    /// The volume of that key.
    #[must_use]
    pub fn volume(&self, key: &str) -> Option<&PointVolume> {
        self.volumes.iter().find(|volume| volume.key == key)
    }

    /// Orders the points of a group by age: the newest moment any volume is of, then the name.
    #[must_use]
    pub fn age_key(&self) -> (Option<jiff::Timestamp>, &PointId) {
        (self.volumes.iter().map(|volume| volume.at).max(), &self.point)
    }

    /// Length of all files in bytes, holes included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.volumes.iter().flat_map(|volume| &volume.files).map(|file| file.bytes).sum()
    }
}

impl From<&FileFingerprint> for leeward_model::mover::File {
    fn from(file: &FileFingerprint) -> Self {
        Self { name: file.name.clone(), bytes: file.bytes, fingerprint: file.fingerprint.clone() }
    }
}

impl From<leeward_model::mover::File> for FileFingerprint {
    fn from(file: leeward_model::mover::File) -> Self {
        Self { name: file.name, bytes: file.bytes, fingerprint: file.fingerprint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(point: &str, ats: &[i64]) -> PointManifest {
        PointManifest {
            group: GroupName::parse("shop").unwrap(),
            point: PointId::parse(point).unwrap(),
            from: SiteName::parse("east").unwrap(),
            to: SiteName::parse("west").unwrap(),
            volumes: ats
                .iter()
                .map(|&second| PointVolume {
                    key: format!("pv-{second}"),
                    at: jiff::Timestamp::from_second(second).unwrap(),
                    consistency: Consistency::Stopped,
                    files: vec![FileFingerprint { name: "disk.img".into(), bytes: 10, fingerprint: "00".into() }],
                })
                .collect(),
        }
    }

    #[test]
    fn age_is_the_newest_volume_then_the_name() {
        let old = manifest("z", &[5, 7]);
        let new = manifest("a", &[1, 8]);
        assert!(old.age_key() < new.age_key(), "a carried volume does not make a point old");
        assert!(manifest("a", &[7]).age_key() < manifest("b", &[7]).age_key());
        assert!(manifest("z", &[]).age_key() < manifest("a", &[0]).age_key());
    }

    #[test]
    fn manifests_survive_json() {
        let one = manifest("rp-1", &[1, 2]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<PointManifest>(&text).unwrap(), one);
        assert_eq!(one.bytes(), 20);
        assert!(one.volume("pv-2").is_some() && one.volume("pv-3").is_none());
    }
}
