//! The parameters of a StorageClass and of a VolumeSnapshotClass.
//!
//! Laws: `server` and `share` must be those the driver serves: a class of another export would put volumes where
//! nobody looks for them. Keys are read in any case, as csi-driver-nfs does. A parameter the driver would not honour is
//! refused, not ignored; what the sidecars add about the objects behind a request passes.

use std::collections::BTreeMap;

use tonic::Status;

use super::invalid;
use crate::handle::{Export, OnDelete};
use crate::pace::Pace;

/// The prefix of what the sidecars add.
const FROM_SIDECARS: &str = "csi.storage.k8s.io/";

/// What a StorageClass asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StorageClass {
    pub(super) on_delete: OnDelete,
    /// `mountPermissions`; none if absent or 0.
    pub(super) mode: Option<u32>,
    /// `copySeconds`; none if absent: as fast as it goes.
    pub(super) pace: Option<Pace>,
}

/// A VolumeSnapshotClass asks for nothing.
pub(super) struct SnapshotClass;

impl StorageClass {
    pub(super) fn read(parameters: &BTreeMap<String, String>, export: &Export) -> Result<Self, Status> {
        let mut class = StorageClass { on_delete: OnDelete::Delete, mode: None, pace: None };
        for wanted in ["server", "share"] {
            if !parameters.keys().any(|key| key.eq_ignore_ascii_case(wanted)) {
                return Err(invalid(format!("the StorageClass lacks the parameter {wanted}")));
            }
        }
        for (key, value) in parameters {
            match key.to_ascii_lowercase().as_str() {
                "ondelete" => class.on_delete = OnDelete::parse(value).map_err(invalid)?,
                "mountpermissions" => class.mode = mode(value)?,
                "copyseconds" => class.pace = Some(Pace::parse(value).map_err(invalid)?),
                "subdir" => return Err(invalid("the parameter subDir is not offered: a volume's folder has its name")),
                known => check_other(known, value, export)?,
            }
        }
        Ok(class)
    }
}

impl SnapshotClass {
    pub(super) fn check(parameters: &BTreeMap<String, String>, export: &Export) -> Result<(), Status> {
        parameters.iter().try_for_each(|(key, value)| check_other(&key.to_ascii_lowercase(), value, export))
    }
}

fn check_other(key: &str, value: &str, export: &Export) -> Result<(), Status> {
    let ours = match key {
        "server" => export.is_server(value),
        "share" => export.is_share(value),
        _ if key.starts_with(FROM_SIDECARS) => true,
        _ => return Err(invalid(format!("the parameter {key} is unknown to this driver: remove it from the class"))),
    };
    if ours {
        Ok(())
    } else {
        let message =
            format!("the class says {key} {value:?}, but this driver serves {export}: correct the class [LW-0981]");
        Err(Status::invalid_argument(message))
    }
}

fn mode(value: &str) -> Result<Option<u32>, Status> {
    match (value, u32::from_str_radix(value, 8)) {
        ("", _) | (_, Ok(0)) => Ok(None),
        (_, Ok(mode)) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(invalid(format!("mountPermissions {value:?} is not an octal mode"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<StorageClass, Status> {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        StorageClass::read(&parameters, &Export::new("10.77.0.1", "/export"))
    }

    #[test]
    fn a_class_of_this_export_is_read_in_any_case() {
        let read = read(&[
            ("Server", "10.77.0.1"),
            ("share", "export/"),
            ("onDelete", "Retain"),
            ("mountPermissions", "0770"),
            ("copySeconds", "2-20"),
            ("csi.storage.k8s.io/pvc/name", "db-data"),
        ]);
        let pace = Some(Pace::parse("2-20").unwrap());
        assert_eq!(read.unwrap(), StorageClass { on_delete: OnDelete::Retain, mode: Some(0o770), pace });
    }

    #[test]
    fn what_is_not_honoured_is_refused() {
        let ours = [("server", "10.77.0.1"), ("share", "/export")];
        assert!(read(&ours).is_ok());
        for wrong in [
            ("subDir", "x"),
            ("onDelete", "archive"),
            ("mountPermissions", "rwx"),
            ("copySeconds", "slow"),
            ("colour", "red"),
        ] {
            let status = read(&[ours[0], ours[1], wrong]).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{wrong:?}");
        }
    }

    #[test]
    fn a_class_of_another_export_is_refused_by_name() {
        for class in [[("server", "10.77.0.2"), ("share", "/export")], [("server", "10.77.0.1"), ("share", "/vault")]] {
            let status = read(&class).unwrap_err();
            assert!(status.message().contains("serves 10.77.0.1:/export"), "{status:?}");
        }
        assert!(read(&[("server", "10.77.0.1")]).is_err(), "share is needed");
    }
}
