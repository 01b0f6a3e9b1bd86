//! A Velero `BackupStorageLocation`: whether a site's Velero reaches the bucket.

use serde_json::Value;

/// Whether Velero can use its bucket, as it found at its last check (Velero checks once a minute).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationState {
    /// Usable.
    Available,
    /// Not usable: Velero's reason.
    Unavailable(String),
    /// There is no such location at this site.
    Missing,
}

impl LocationState {
    /// Reads it from the `BackupStorageLocation`; `None` is one that is not there.
    #[must_use]
    pub fn read(location: Option<&Value>) -> Self {
        let Some(location) = location else { return Self::Missing };
        let status = |field: &str| location.pointer(&format!("/status/{field}")).and_then(Value::as_str);
        match (status("phase"), status("message"), status("lastValidationTime")) {
            (Some("Available"), ..) => Self::Available,
            (_, Some(message), _) if !message.is_empty() => Self::Unavailable(message.to_owned()),
            // The CRD's default is Unavailable, so a new location says so before anyone looked.
            (.., None) => Self::Unavailable("Velero has not checked it yet".to_owned()),
            _ => Self::Unavailable("Velero gives no reason".to_owned()),
        }
    }
}

/// Whether nothing may be written there.
pub(crate) fn is_read_only(location: &Value) -> bool {
    location.pointer("/spec/accessMode").and_then(Value::as_str) == Some("ReadOnly")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn says_why_a_location_is_unavailable() {
        let read = |status: Value| LocationState::read(Some(&json!({ "status": status })));
        let checked = "2026-11-22T18:05:01Z";
        assert_eq!(LocationState::read(None), LocationState::Missing);
        assert_eq!(read(json!({ "phase": "Available", "lastValidationTime": checked })), LocationState::Available);
        let unavailable = |why: &str| LocationState::Unavailable(why.to_owned());
        assert_eq!(
            read(json!({ "phase": "Unavailable", "message": "no such bucket", "lastValidationTime": checked })),
            unavailable("no such bucket")
        );
        assert_eq!(read(json!({ "phase": "Unavailable" })), unavailable("Velero has not checked it yet"));
        assert_eq!(read(json!({})), unavailable("Velero has not checked it yet"));
        assert_eq!(
            read(json!({ "phase": "Unavailable", "lastValidationTime": checked })),
            unavailable("Velero gives no reason")
        );
    }

    #[test]
    fn a_location_without_mode_may_be_written() {
        assert!(!is_read_only(&json!({ "spec": {} })));
        assert!(!is_read_only(&json!({ "spec": { "accessMode": "ReadWrite" } })));
        assert!(is_read_only(&json!({ "spec": { "accessMode": "ReadOnly" } })));
    }
}
