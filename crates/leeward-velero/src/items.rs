//! The objects inside a backup's archive.
//!
//! Velero writes each object twice, under `resources/<resource>/{cluster|namespaces/<ns>}/<name>.json` and again under its
//! API version; the first is what a restore reads, so it is what is read here.
//!
//! The bucket is shared by two sites and perhaps others, so an archive is not trusted: how much it may unpack to is bounded
//! (also what a header may claim), a name that leads anywhere else, one that comes twice, and an object that is not the one
//! its name says are refused, and so is an archive that breaks off.

use crate::store::StoreError;
use flate2::read::MultiGzDecoder;
use leeward_model::check::Contents;
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;
use tar::EntryType;

/// Most that an archive may unpack to. 66,776 objects of a real cluster were 1.3 GB.
const MOST_UNPACKED: u64 = 4 << 30;
/// Most that one object may be; etcd refuses anything over 1.5 MiB.
const MOST_ONE: u64 = 16 << 20;
/// Most that may be read to find the next member: its header, a long name, padding.
const MOST_HEADER: u64 = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    resource: String,
    namespace: Option<String>,
    name: String,
}

/// The objects inside one backup, raw.
#[derive(Debug, Clone, Default)]
pub struct BackupItems {
    objects: BTreeMap<Key, Box<[u8]>>,
}

impl BackupItems {
    /// One object. `resource` is plural with group, e.g. `persistentvolumes`, `virtualmachines.kubevirt.io`; `namespace`
    /// is `None` for a cluster-scoped object.
    #[must_use]
    pub fn get(&self, resource: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let (resource, namespace, name) = (resource.to_owned(), namespace.map(str::to_owned), name.to_owned());
        parsed(self.objects.get(&Key { resource, namespace, name })?)
    }

    /// All objects of a resource, ordered by namespace and name.
    pub fn list<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = Value> + 'a {
        self.raw(resource).filter_map(parsed)
    }

    fn raw<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let first = Key { resource: resource.to_owned(), namespace: None, name: String::new() };
        let of_resource = self.objects.range(first..).take_while(move |(key, _)| key.resource == resource);
        of_resource.map(|(_, raw)| &**raw)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Reads an archive (`<backup>.tar.gz`).
    ///
    /// # Errors
    /// It is damaged, too large, of an unknown format or not as Velero writes it.
    pub fn read(backup: &str, archive: impl Read) -> Result<Self, StoreError> {
        read(backup, archive, MOST_UNPACKED)
    }
}

impl Contents for BackupItems {
    fn resources(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.objects.keys().map(|key| key.resource.as_str()).collect();
        // Keys are ordered by resource first.
        all.dedup();
        all
    }

    fn count(&self, resource: &str) -> usize {
        self.raw(resource).count()
    }

    fn objects<'a>(&'a self, resource: &'a str) -> Box<dyn Iterator<Item = Value> + 'a> {
        Box::new(self.list(resource))
    }

    fn object(&self, resource: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        self.get(resource, namespace, name)
    }
}

/// Each object was parsed once when it was read, so nothing is lost here.
fn parsed(raw: &[u8]) -> Option<Value> {
    serde_json::from_slice(raw).ok()
}

fn read(backup: &str, archive: impl Read, most: u64) -> Result<BackupItems, StoreError> {
    let budget = Rc::new(Budget { all: Cell::new(most), next: Cell::new(0), over: Cell::new(false) });
    let wrong = |problem: String| StoreError::Untrusted { backup: backup.to_owned(), problem };
    let broken = |source: io::Error| {
        if budget.over.get() {
            StoreError::TooLarge { key: format!("{backup}.tar.gz"), limit: most }
        } else {
            StoreError::Damaged { key: format!("{backup}.tar.gz"), source }
        }
    };
    let reader = Bounded { inner: MultiGzDecoder::new(archive), budget: budget.clone() };
    let mut tar = tar::Archive::new(reader);
    let mut items = BackupItems::default();
    let mut version = None;

    budget.next.set(MOST_HEADER);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => {
                budget.next.set(MOST_HEADER);
                continue;
            }
            other => return Err(wrong(format!("it contains a member of type {other:?}"))),
        }
        let bytes = entry.path_bytes().into_owned();
        let path = String::from_utf8(bytes).map_err(|_| wrong("it contains a name that is not UTF-8".to_owned()))?;
        let size = entry.size();
        if size > MOST_ONE {
            return Err(wrong(format!("{path} claims {size} bytes")));
        }
        budget.next.set(size + MOST_HEADER);
        let mut raw = Vec::new();
        entry.read_to_end(&mut raw).map_err(broken)?;
        budget.next.set(MOST_HEADER);

        match member(&path).map_err(|problem| wrong(format!("{path:?} {problem}")))? {
            Member::Object(key) => {
                check(&key, &raw).map_err(|problem| wrong(format!("{path} {problem}")))?;
                if items.objects.insert(key, raw.into_boxed_slice()).is_some() {
                    return Err(wrong(format!("{path} comes twice")));
                }
            }
            Member::Version if version.is_some() => return Err(wrong(format!("{path} comes twice"))),
            Member::Version => version = Some(String::from_utf8_lossy(&raw).trim().to_owned()),
            Member::Other => {}
        }
    }
    // tar stops at its end mark; the checksum stands behind it.
    budget.next.set(u64::MAX);
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;

    let version = version.unwrap_or_else(|| "none".to_owned());
    if version.split('.').next() != Some("1") {
        return Err(StoreError::UnknownFormat { backup: backup.to_owned(), version });
    }
    Ok(items)
}

enum Member {
    Object(Key),
    Version,
    Other,
}

fn member(path: &str) -> Result<Member, &'static str> {
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) || path.contains(['\\', '\0']) {
        return Err("does not stay inside the archive");
    }
    let key = |resource: &str, namespace: Option<&str>, file: &str| {
        let name = file.strip_suffix(".json").filter(|name| !name.is_empty()).ok_or("is not an object's name")?;
        let (resource, namespace) = (resource.to_owned(), namespace.map(str::to_owned));
        Ok(Member::Object(Key { resource, namespace, name: name.to_owned() }))
    };
    match parts[..] {
        ["metadata", "version"] => Ok(Member::Version),
        ["resources", resource, "cluster", file] => key(resource, None, file),
        ["resources", resource, "namespaces", namespace, file] => key(resource, Some(namespace), file),
        _ => Ok(Member::Other),
    }
}

fn check(key: &Key, raw: &[u8]) -> Result<(), String> {
    let object: Value = serde_json::from_slice(raw).map_err(|error| format!("is not JSON: {error}"))?;
    let text =
        |field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).filter(|t| !t.is_empty());
    if text("name") != Some(&key.name) || text("namespace") != key.namespace.as_deref() {
        return Err("holds another object than its name says".to_owned());
    }
    Ok(())
}

/// What may still be read.
struct Budget {
    /// Of the whole archive.
    all: Cell<u64>,
    /// Until the next stop, so that no header makes tar read gigabytes into memory.
    next: Cell<u64>,
    over: Cell<bool>,
}

struct Bounded<R> {
    inner: R,
    budget: Rc<Budget>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let size = read as u64;
        let Budget { all, next, over } = &*self.budget;
        if size > all.get() || size > next.get() {
            over.set(true);
            return Err(io::Error::other("more than an archive may hold"));
        }
        all.set(all.get() - size);
        next.set(next.get() - size);
        Ok(read)
    }
}

#[cfg(test)]
pub(crate) mod tests;
