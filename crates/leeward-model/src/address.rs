//! Where a volume's data is.
//!
//! Laws: an address is read from a PersistentVolume whole and written back whole, so that no part of it can keep naming
//! the old place. Two addresses are equal if they name the same place, however they were spelled: servers and directories
//! are in canonical spelling. What the address does not cover is left as it was, byte for byte.
//!
//! csi-driver-nfs mounts from `volumeAttributes` (keys in any case) and deletes and clones by `volumeHandle`
//! (`server#share#subdir#uuid#onDelete`). Both name the place; they must agree when read and change together when written.

use crate::directory::{Directory, DirectoryError};
use crate::handle::Handle;
use crate::json;
use crate::server::Server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The name under which csi-driver-nfs registers.
pub const CSI_NFS_DRIVER: &str = "nfs.csi.k8s.io";

/// Where a volume's data is. Made by [`VolumeAddress::from_pv`]; the texts are then in canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum VolumeAddress {
    /// A directory, mounted by the kubelet itself (`spec.nfs`).
    InTreeNfs {
        /// The file server.
        server: String,
        /// The directory, absolute.
        path: String,
    },
    /// A directory in a share, mounted by csi-driver-nfs.
    CsiNfs {
        /// The file server.
        server: String,
        /// The exported directory, absolute.
        share: String,
        /// The volume's directory in the share, relative; empty if it is the share itself.
        subdir: String,
        /// The part of the handle that makes it unique; empty if it has none.
        uuid: String,
        /// What the driver does with the directory on delete (`retain`, `archive`); empty for its default.
        on_delete: String,
    },
}

/// A directory of a file server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct NfsLocation {
    /// The file server; an IPv6 address has no brackets.
    pub server: String,
    /// The directory as exported, absolute.
    pub directory: String,
}

/// The address of a PersistentVolume cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A kind of storage that no driver profile knows.
    #[error(
        "PersistentVolume {pv:?} is on {kind}, whose addresses Leeward cannot read; move its data to NFS, or take its claim out of the protection group [LW-0110]"
    )]
    Unsupported {
        /// The PersistentVolume.
        pv: String,
        /// What it is on, e.g. `spec.hostPath` or `CSI driver "x"`.
        kind: String,
    },
    /// A field without which the volume could not be mounted.
    #[error(
        "PersistentVolume {pv:?} has no {field}, so nobody can tell where its data is; correct the volume [LW-0111]"
    )]
    Missing {
        /// The PersistentVolume.
        pv: String,
        /// The field.
        field: String,
    },
    /// A field whose value names no place.
    #[error("PersistentVolume {pv:?}: {field} is {value:?}, but {reason}; correct the volume [LW-0112]")]
    Invalid {
        /// The PersistentVolume.
        pv: String,
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two fields that name two places.
    #[error(
        "PersistentVolume {pv:?} names two places: {first} says {first_place}, {second} says {second_place}; find out which one holds the data and recreate the volume with both the same [LW-0113]"
    )]
    Disagree {
        /// The PersistentVolume.
        pv: String,
        /// One field.
        first: String,
        /// The place it names.
        first_place: String,
        /// The other field.
        second: String,
        /// The place that names.
        second_place: String,
    },
}

impl VolumeAddress {
    /// Reads the address of a PersistentVolume.
    ///
    /// # Errors
    /// [`AddressError`] if its storage is of an unknown kind, a part is missing or malformed, or two parts disagree.
    pub fn from_pv(pv: &Value) -> Result<Self, AddressError> {
        let reader = Reader { pv: json::name(pv) };
        match (pv.pointer("/spec/nfs"), pv.pointer("/spec/csi")) {
            (Some(nfs), None) => reader.in_tree(nfs),
            (None, Some(csi)) => reader.csi(csi),
            (Some(_), Some(_)) => Err(reader.unsupported("both spec.nfs and spec.csi")),
            (None, None) => Err(reader.unsupported(source_kind(pv))),
        }
    }

    /// Writes the address into a PersistentVolume, into all fields that name the place and no other. A field that already
    /// names it keeps its spelling; missing fields are made. A handle that is only an identifier stays.
    pub fn write_to(&self, pv: &mut Value) {
        match self {
            Self::InTreeNfs { server, path } => {
                let Some(nfs) = json::object_at(pv, &["spec", "nfs"]) else { return };
                put(nfs, "server", server, same_server);
                put(nfs, "path", path, same_directory);
            }
            Self::CsiNfs { server, share, subdir, uuid, on_delete } => {
                let Some(csi) = json::object_at(pv, &["spec", "csi"]) else { return };
                csi.entry("driver").or_insert_with(|| CSI_NFS_DRIVER.into());
                let location = self.nfs();
                let handle = match csi.get("volumeHandle").and_then(Value::as_str) {
                    Some(old) => Handle::parse(old).moved(&location.server, &location.directory),
                    None => Handle::new(server, share, subdir, uuid, on_delete),
                };
                csi.insert("volumeHandle".to_owned(), Value::String(handle.to_string()));
                let Some(attributes) = json::object_at(pv, &["spec", "csi", "volumeAttributes"]) else { return };
                put(attributes, "server", server, same_server);
                put(attributes, "share", share, same_directory);
                if !subdir.is_empty() || keys(attributes, "subdir").next().is_some() {
                    put(attributes, "subdir", subdir, same_directory);
                }
            }
        }
    }

    /// The directory that holds the data, as its file server exports it.
    #[must_use]
    pub fn nfs(&self) -> NfsLocation {
        match self {
            Self::InTreeNfs { server, path } => NfsLocation { server: server.clone(), directory: path.clone() },
            Self::CsiNfs { server, share, subdir, .. } => NfsLocation {
                server: server.clone(),
                directory: match (share.trim_end_matches('/'), subdir.as_str()) {
                    ("", "") => "/".to_owned(),
                    (share, "") => share.to_owned(),
                    (share, subdir) => format!("{share}/{subdir}"),
                },
            },
        }
    }
}

impl fmt::Display for VolumeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nfs().fmt(f)
    }
}

impl fmt::Display for NfsLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.contains(':') {
            write!(f, "nfs://[{}]{}", self.server, self.directory)
        } else {
            write!(f, "nfs://{}{}", self.server, self.directory)
        }
    }
}

/// The fields of `attributes` that are `name` in any case, as the driver reads them.
fn keys<'a>(attributes: &'a Map<String, Value>, name: &'a str) -> impl Iterator<Item = &'a String> {
    attributes.keys().filter(move |k| k.eq_ignore_ascii_case(name))
}

/// Writes `value` into every spelling of `name`, except where what stands there means the same.
fn put(fields: &mut Map<String, Value>, name: &str, value: &str, same: fn(&str, &str) -> bool) {
    let spellings: Vec<String> = keys(fields, name).cloned().collect();
    for key in if spellings.is_empty() { vec![name.to_owned()] } else { spellings } {
        let old = fields.get(&key).and_then(Value::as_str);
        if !old.is_some_and(|old| same(old, value)) {
            let new = old.map_or_else(|| value.to_owned(), |old| restyled(old, value, same));
            fields.insert(key, Value::String(new));
        }
    }
}

/// `value` with the slashes at the border that `old` has, if it then still means the same.
fn restyled(old: &str, value: &str, same: fn(&str, &str) -> bool) -> String {
    if value.is_empty() || value == "/" {
        return value.to_owned();
    }
    let lead = if value.starts_with('/') { "" } else { &old[..old.len() - old.trim_start_matches('/').len()] };
    let tail = if old.trim_matches('/').is_empty() { "" } else { &old[old.trim_end_matches('/').len()..] };
    let styled = format!("{lead}{value}{tail}");
    if same(&styled, value) { styled } else { value.to_owned() }
}

fn same_server(a: &str, b: &str) -> bool {
    matches!((Server::parse(a), Server::parse(b)), (Ok(a), Ok(b)) if a == b)
}

fn same_directory(a: &str, b: &str) -> bool {
    matches!((Directory::below_root(a), Directory::below_root(b)), (Ok(a), Ok(b)) if a == b)
}

/// Which kind of storage a PV that is neither NFS nor CSI is on.
fn source_kind(pv: &Value) -> String {
    const NOT_SOURCES: [&str; 9] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    pv.get("spec")
        .and_then(Value::as_object)
        .and_then(|spec| spec.keys().find(|k| !NOT_SOURCES.contains(&k.as_str())))
        .map_or_else(|| "no storage at all".to_owned(), |kind| format!("spec.{kind}"))
}

/// Reads one PV's fields; knows its name for the errors.
struct Reader {
    pv: String,
}

impl Reader {
    fn in_tree(&self, nfs: &Value) -> Result<VolumeAddress, AddressError> {
        let field =
            |name: &str| nfs.get(name).and_then(Value::as_str).ok_or_else(|| self.missing(&format!("spec.nfs.{name}")));
        let server = self.server("spec.nfs.server", field("server")?)?;
        let path = self.directory("spec.nfs.path", field("path")?, Directory::parse)?;
        Ok(VolumeAddress::InTreeNfs { server: server.to_string(), path: path.to_string() })
    }

    fn csi(&self, csi: &Value) -> Result<VolumeAddress, AddressError> {
        let driver = csi.get("driver").and_then(Value::as_str).unwrap_or_default();
        if driver != CSI_NFS_DRIVER {
            return Err(self.unsupported(format!("CSI driver {driver:?}")));
        }
        let server = self.attribute(csi, "server", same_server)?.ok_or_else(|| self.missing(&attribute("server")))?;
        let server = self.server(&attribute("server"), server)?;
        let share = self.attribute(csi, "share", same_directory)?.ok_or_else(|| self.missing(&attribute("share")))?;
        let share = self.directory(&attribute("share"), share, Directory::parse)?;
        let subdir = self.attribute(csi, "subdir", same_directory)?.unwrap_or_default();
        if subdir.contains("${") {
            let reason = "only the driver knows what it puts for ${…}; write the directory itself";
            return Err(self.invalid(&attribute("subdir"), subdir, reason));
        }
        let subdir = self.directory(&attribute("subdir"), subdir, Directory::below_root)?;
        let address = |uuid: &str, on_delete: &str| VolumeAddress::CsiNfs {
            server: server.to_string(),
            share: share.to_string(),
            subdir: subdir.relative().to_owned(),
            uuid: uuid.to_owned(),
            on_delete: on_delete.to_owned(),
        };

        let field = "spec.csi.volumeHandle";
        let text = csi.get("volumeHandle").and_then(Value::as_str).ok_or_else(|| self.missing(field))?;
        let handle = Handle::parse(text);
        let address = address(handle.uuid(), handle.on_delete());
        let Some((handle_server, handle_directory)) = handle.place() else {
            // Only an identifier, made up by whoever wrote the PV: it names no place, or it would go on naming the old one.
            if handle.mentions(&server) {
                let reason = "it names the server in a form the driver does not write; use server#share#subdir#id#";
                return Err(self.invalid(field, text, reason));
            }
            return Ok(address);
        };
        let handle_directory = self.directory(field, &handle_directory, Directory::below_root)?;
        let location = address.nfs();
        if same_server(handle_server, &location.server) && handle_directory.as_str() == location.directory {
            return Ok(address);
        }
        Err(AddressError::Disagree {
            pv: self.pv.clone(),
            first: field.to_owned(),
            first_place: format!("{handle_server}:{handle_directory}"),
            second: "spec.csi.volumeAttributes".to_owned(),
            second_place: format!("{}:{}", location.server, location.directory),
        })
    }

    /// The attribute `name` in any case. Two spellings that differ in what they mean are an error: which one the driver
    /// takes depends on the order of a Go map.
    fn attribute<'a>(
        &self,
        csi: &'a Value,
        name: &str,
        same: fn(&str, &str) -> bool,
    ) -> Result<Option<&'a str>, AddressError> {
        let Some(attributes) = csi.get("volumeAttributes").and_then(Value::as_object) else { return Ok(None) };
        let mut found: Option<(&str, &str)> = None;
        for (key, value) in attributes.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)) {
            let Some(value) = value.as_str() else {
                return Err(self.invalid(&attribute(key), &value.to_string(), "it must be text"));
            };
            match found {
                Some((first, place)) if place != value && !same(place, value) => {
                    return Err(AddressError::Disagree {
                        pv: self.pv.clone(),
                        first: attribute(first),
                        first_place: place.to_owned(),
                        second: attribute(key),
                        second_place: value.to_owned(),
                    });
                }
                Some(_) => {}
                None => found = Some((key, value)),
            }
        }
        Ok(found.map(|(_, value)| value))
    }

    fn server(&self, field: &str, text: &str) -> Result<Server, AddressError> {
        Server::parse(text).map_err(|_| self.invalid(field, text, "that is neither an IP address nor a host name"))
    }

    fn directory(
        &self,
        field: &str,
        text: &str,
        parse: fn(&str) -> Result<Directory, DirectoryError>,
    ) -> Result<Directory, AddressError> {
        parse(text).map_err(|why| self.invalid(field, text, &why.to_string()))
    }

    fn invalid(&self, field: &str, value: &str, reason: &str) -> AddressError {
        AddressError::Invalid {
            pv: self.pv.clone(),
            field: field.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn missing(&self, field: &str) -> AddressError {
        AddressError::Missing { pv: self.pv.clone(), field: field.to_owned() }
    }

    fn unsupported(&self, kind: impl Into<String>) -> AddressError {
        AddressError::Unsupported { pv: self.pv.clone(), kind: kind.into() }
    }
}

fn attribute(name: &str) -> String {
    format!("spec.csi.volumeAttributes.{name}")
}

#[cfg(test)]
mod tests;
