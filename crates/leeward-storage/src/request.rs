//! What the engine asks an adapter to do.

use crate::{Consistency, PointManifest, StorageError};
use leeward_model::{
    address::VolumeAddress,
    name::{Epoch, GroupName, PointId, SiteName},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A volume at the site a verb is called for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRef {
    /// Name of the PersistentVolume; the same at both sites.
    pub key: String,
    /// Where the volume's data is at that site.
    pub address: VolumeAddress,
}

/// A volume to be copied from `from` to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncVolume {
    /// Name of the live PersistentVolume, also when its data is read from a promoted one.
    pub key: String,
    /// What to read at `from`: the promoted volume, or the live one of a stopped machine.
    pub source: VolumeAddress,
    /// Why `source` can be read as one moment.
    pub consistency: Consistency,
    /// The moment the data is of.
    pub at: jiff::Timestamp,
    /// An older copy at `to` to start from when the base does not hold this volume, e.g. the volume's live address there
    /// after the roles were exchanged. It is only read, and may be absent or torn: the result is compared with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<VolumeAddress>,
}

/// One recovery point to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The group it belongs to.
    pub group: GroupName,
    /// Its name; the same on every repetition.
    pub point: PointId,
    /// The point at `to` to start from. If it is not there, everything is copied (unless `carried` needs it).
    pub base: Option<PointId>,
    /// The site that is read.
    pub from: SiteName,
    /// The site where the point is made. It may be `from` itself: a site whose machines were stopped for a move makes its own
    /// disks the base of the replication back.
    pub to: SiteName,
    /// The group's epoch. A site that has a point of a newer one makes none of this one.
    pub epoch: Epoch,
    /// The volumes to copy.
    pub volumes: Vec<SyncVolume>,
    /// Keys whose copy is taken over unchanged from `base`.
    pub carried: Vec<String>,
}

/// Whether `key` can be the name of a PersistentVolume, and so of a folder: an RFC 1123 subdomain.
///
/// `manifest.json` is one too, and the name of a file beside the volumes' folders; it is refused.
///
/// # Errors
/// [`StorageError::BadRequest`] with the key.
pub fn check_key(key: &str) -> Result<(), StorageError> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = (1..=253).contains(&key.len())
        && key
            .split('.')
            .all(|label| label.chars().all(|c| ok(c) || c == '-') && label.starts_with(ok) && label.ends_with(ok))
        && key != "manifest.json";
    if valid {
        Ok(())
    } else {
        Err(StorageError::BadRequest { key: key.to_owned(), reason: "cannot be the name of a volume".into() })
    }
}

impl SyncRequest {
    /// Whether the request makes sense, whatever the sites hold.
    ///
    /// # Errors
    /// [`StorageError::BadRequest`] for a bad or doubled key, a point based on itself.
    pub fn check(&self) -> Result<(), StorageError> {
        let bad = |key: &str, reason: &'static str| {
            Err(StorageError::BadRequest { key: key.to_owned(), reason: reason.into() })
        };
        if self.base.as_ref() == Some(&self.point) {
            return bad(self.point.as_str(), "cannot be the base of itself");
        }
        let mut seen = BTreeSet::new();
        for key in self.keys() {
            check_key(key)?;
            if !seen.insert(key) {
                return bad(key, "is named twice");
            }
        }
        Ok(())
    }

    /// All keys the point will hold.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(|volume| volume.key.as_str()).chain(self.carried.iter().map(String::as_str))
    }

    /// Whether `found`, a point of the requested name, is what this request made earlier.
    ///
    /// # Errors
    /// [`StorageError::PointExists`] saying how it is different.
    pub fn check_same(&self, found: &PointManifest) -> Result<(), StorageError> {
        let differs = |difference: String| {
            Err(StorageError::PointExists { site: self.to.clone(), point: self.point.clone(), difference })
        };
        if found.from != self.from || found.group != self.group {
            return differs(format!("is of group {} from site {}", found.group, found.from));
        }
        let wanted: BTreeSet<&str> = self.keys().collect();
        let there: BTreeSet<&str> = found.volumes.iter().map(|volume| volume.key.as_str()).collect();
        if let Some(key) = wanted.symmetric_difference(&there).next() {
            let which = if there.contains(key) { "holds, beside others," } else { "does not hold" };
            return differs(format!("{which} volume {key}"));
        }
        for volume in &self.volumes {
            match found.volume(&volume.key) {
                Some(there) if there.at != volume.at => {
                    return differs(format!("holds volume {} of {}, not of {}", volume.key, there.at, volume.at));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_volume_names_and_never_paths() {
        for good in ["pvc-0e9e4ed0", "web-disk", "a.b", "0"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "a/b", "a b", "A", "-a", "a-", "a..b", "$(x)", "a\nb", "manifest.json", &"x".repeat(254)]
        {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    fn request(keys: &[&str]) -> SyncRequest {
        SyncRequest {
            group: GroupName::parse("shop").unwrap(),
            point: PointId::parse("rp-2").unwrap(),
            base: Some(PointId::parse("rp-1").unwrap()),
            from: SiteName::parse("east").unwrap(),
            to: SiteName::parse("west").unwrap(),
            epoch: Epoch(1),
            volumes: vec![],
            carried: keys.iter().map(|&key| key.to_owned()).collect(),
        }
    }

    #[test]
    fn senseless_requests_are_refused() {
        assert!(request(&["a", "b"]).check().is_ok());
        assert!(request(&["a", "a"]).check().is_err());
        assert!(request(&["a/.."]).check().is_err());
        let to_itself = SyncRequest { to: SiteName::parse("east").unwrap(), ..request(&[]) };
        assert!(to_itself.check().is_ok(), "a site may make a point of its own disks");
        let on_itself = SyncRequest { base: Some(PointId::parse("rp-2").unwrap()), ..request(&[]) };
        assert!(on_itself.check().is_err());
    }
}
