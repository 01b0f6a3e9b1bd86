//! Where a volume's data is.
//!
//! NFS, in-tree and by csi-driver-nfs, is typed here: storage adapters work on its directories. Everything else is read by a
//! [driver profile](crate::profile). Laws: an address is read from a PersistentVolume whole and written back whole, so that no part of it can keep naming
//! the old place. Two addresses are equal if they name the same place, however they were spelled: servers and directories
//! are in canonical spelling. What the address does not cover is left as it was, byte for byte.
//!
//! csi-driver-nfs mounts from `volumeAttributes` (keys in any case) and deletes and clones by `volumeHandle`
//! (`server#share#subdir#uuid#onDelete`). Both name the place; they must agree when read and change together when written.

use crate::directory::{Directory, DirectoryError};
use crate::handle::Handle;
use crate::json;
use crate::mapping::parts::describe;
use crate::profile::{self, Kind, Parts, Profile};
use crate::server::Server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

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
    /// Storage that a driver profile reads.
    Driver {
        /// The profile's name.
        profile: String,
        /// The CSI driver's name; `kubernetes.io/<kind>` for a kind of Kubernetes' own.
        driver: String,
        /// What the profile read.
        parts: Parts,
    },
    /// Storage that only a raw rule covers.
    Opaque {
        /// As in `Driver`.
        driver: String,
        /// The volume handle; the whole source for a kind of Kubernetes' own.
        id: String,
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
        "PersistentVolume {pv:?} is on {kind}, whose addresses no driver profile reads; add a profile under the mapping's `profiles` or a raw rule, or take its claim out of the protection group [LW-0110]"
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
    /// Reads the address of a PersistentVolume, with the profiles that Leeward brings; [`Mapping::address_of`] knows the
    /// mapping's own as well.
    ///
    /// # Errors
    /// [`AddressError`] if its storage is of an unknown kind, a part is missing or malformed, or two parts disagree.
    ///
    /// [`Mapping::address_of`]: crate::mapping::Mapping::address_of
    pub fn from_pv(pv: &Value) -> Result<Self, AddressError> {
        Self::read(pv, &[])
    }

    /// Reads the address with `own` profiles before the shipped ones.
    pub(crate) fn read(pv: &Value, own: &[Arc<Profile>]) -> Result<Self, AddressError> {
        let reader = Reader { pv: json::name(pv) };
        let kinds = Kind::all(pv);
        let kind = match kinds.as_slice() {
            [kind] => kind,
            [] => return Err(reader.unsupported("no storage at all")),
            [one, other, ..] => return Err(reader.unsupported(format!("both {} and {}", one.field(), other.field()))),
        };
        let spec = pv.get("spec").unwrap_or(&Value::Null);
        match kind {
            Kind::InTree(name) if name == "nfs" => return reader.in_tree(&spec["nfs"]),
            Kind::Csi(driver) if driver == CSI_NFS_DRIVER => return reader.csi(&spec["csi"]),
            _ => {}
        }
        let profile = profile::of(own, kind, pv).ok_or_else(|| reader.unsupported(kind.to_string()))?;
        let parts = profile.read(pv)?;
        Ok(Self::Driver { profile: profile.name.clone(), driver: kind.driver(), parts })
    }

    /// The address of a volume that no profile reads; `None` if it is on nothing or on several things.
    pub(crate) fn opaque(pv: &Value) -> Option<Self> {
        let kinds = Kind::all(pv);
        let [kind] = kinds.as_slice() else { return None };
        let id = match kind {
            Kind::Csi(_) => json::text(pv, "/spec/csi/volumeHandle")?.to_owned(),
            Kind::InTree(name) => pv.get("spec")?.get(name)?.to_string(),
        };
        Some(Self::Opaque { driver: kind.driver(), id })
    }

    /// Whether both name the same storage, however it is mounted.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        match (self.nfs(), other.nfs()) {
            (Some(one), Some(other)) => one == other,
            _ => self == other,
        }
    }

    /// Writes the address into a PersistentVolume, into all fields that name the place and no other. A field that already
    /// names it keeps its spelling; missing fields are made. A handle that is only an identifier stays. For NFS only.
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
                let Some(location) = self.nfs() else { return };
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
            // Their profile and their rule write them; see `crate::rewrite`.
            Self::Driver { .. } | Self::Opaque { .. } => {}
        }
    }

    /// The directory that holds the data, as its file server exports it; `None` if it is not on NFS.
    #[must_use]
    pub fn nfs(&self) -> Option<NfsLocation> {
        Some(match self {
            Self::InTreeNfs { server, path } => NfsLocation { server: server.clone(), directory: path.clone() },
            Self::CsiNfs { server, share, subdir, .. } => NfsLocation {
                server: server.clone(),
                directory: match (share.trim_end_matches('/'), subdir.as_str()) {
                    ("", "") => "/".to_owned(),
                    (share, "") => share.to_owned(),
                    (share, subdir) => format!("{share}/{subdir}"),
                },
            },
            Self::Driver { .. } | Self::Opaque { .. } => return None,
        })
    }
}

impl fmt::Display for VolumeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver { driver, parts, .. } => f.write_str(&describe(driver, parts)),
            Self::Opaque { driver, id } => write!(f, "{driver}({id})"),
            Self::InTreeNfs { .. } | Self::CsiNfs { .. } => self.nfs().iter().try_for_each(|nfs| nfs.fmt(f)),
        }
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
        let location = NfsLocation { server: server.to_string(), directory: share.join(subdir.relative()).to_string() };
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
