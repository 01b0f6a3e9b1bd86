//! Hand-made archives, good and hostile.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;
use std::io::Write;

/// An archive as Velero writes it: regular files, mode 0755, each object twice.
pub(crate) struct Archive(tar::Builder<GzEncoder<Vec<u8>>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()))).file("metadata/version", b"1.1.0\n")
    }

    fn empty() -> Self {
        Self(tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    /// Any name, also one that the builder would refuse.
    fn file(mut self, path: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.as_ref().len()].copy_from_slice(path.as_ref());
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn object(self, resource: &str, namespace: Option<&str>, name: &str) -> Self {
        let scope = namespace.map_or("cluster".to_owned(), |namespace| format!("namespaces/{namespace}"));
        let mut metadata = json!({ "name": name });
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        let content = json!({ "kind": "X", "metadata": metadata, "unknown": [1.50, null] }).to_string();
        self.file(format!("resources/{resource}/{scope}/{name}.json"), content.as_bytes())
            .file(format!("resources/{resource}/v1-preferredversion/{scope}/{name}.json"), content.as_bytes())
    }

    pub(crate) fn gz(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }

    fn read(self) -> Result<BackupItems, StoreError> {
        BackupItems::read("b", self.gz().as_slice())
    }

    fn refused(self, code: &str, words: &str) {
        let error = self.read().unwrap_err().to_string();
        assert!(error.contains(words) && error.ends_with(&format!("[{code}]")), "{error}");
    }
}

#[test]
fn finds_objects_by_resource_scope_and_name() {
    let items = Archive::new()
        .object("persistentvolumes", None, "pv-1")
        .object("persistentvolumeclaims", Some("shop"), "db-data")
        .object("persistentvolumeclaims", Some("bank"), "db-data")
        .object("persistentvolumeclaims.example.io", Some("shop"), "other")
        .file("resources/namespaces/cluster/shop.json", br#"{"metadata":{"name":"shop"}}"#)
        .read()
        .unwrap();
    assert_eq!(items.len(), 5);
    assert_eq!(items.get("persistentvolumes", None, "pv-1").unwrap()["unknown"], json!([1.5, null]));
    assert!(items.get("persistentvolumes", Some("shop"), "pv-1").is_none());
    assert!(items.get("persistentvolumes", None, "pv-2").is_none());
    let namespaces: Vec<Value> =
        items.list("persistentvolumeclaims").map(|claim| claim["metadata"]["namespace"].clone()).collect();
    assert_eq!(namespaces, ["bank", "shop"]);
    assert_eq!(items.list("nothing").count(), 0);
}

#[test]
fn reads_names_longer_than_a_tar_header_holds() {
    let mut archive = Archive::new();
    let name = "n".repeat(253);
    let content = format!(r#"{{"metadata":{{"name":"{name}","namespace":"shop"}}}}"#);
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    archive
        .0
        .append_data(&mut header, format!("resources/configmaps/namespaces/shop/{name}.json"), content.as_bytes())
        .unwrap();
    assert!(archive.read().unwrap().get("configmaps", Some("shop"), &name).is_some());
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    for path in
        ["../../etc/passwd", "/etc/passwd", "resources/../x/cluster/a.json", "resources//cluster/a.json", "./a", "a\\b"]
    {
        Archive::new().file(path, b"{}").refused("LW-0224", "does not stay inside");
    }
    Archive::new().file(b"resources/secrets/namespaces/\xff/a.json", b"{}").refused("LW-0224", "not UTF-8");
    Archive::new().file("resources/secrets/cluster/.json", b"{}").refused("LW-0224", "not an object's name");
}

#[test]
fn refuses_a_link() {
    let mut archive = Archive::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    archive.0.append_link(&mut header, "resources/secrets/cluster/a.json", "/etc/shadow").unwrap();
    archive.refused("LW-0224", "Symlink");
}

#[test]
fn refuses_an_object_that_comes_twice() {
    Archive::new().object("nodes", None, "n1").object("nodes", None, "n1").refused("LW-0224", "comes twice");
    Archive::new().file("metadata/version", b"1.1.0").refused("LW-0224", "comes twice");
}

#[test]
fn refuses_an_object_that_is_not_the_one_it_is_filed_as() {
    let filed = |content: &[u8]| Archive::new().file("resources/persistentvolumes/cluster/pv-1.json", content);
    filed(br#"{"metadata":{"name":"pv-2"}}"#).refused("LW-0224", "another object");
    filed(br#"{"metadata":{"name":"pv-1","namespace":"shop"}}"#).refused("LW-0224", "another object");
    filed(b"{}").refused("LW-0224", "another object");
    filed(b"\xff").refused("LW-0224", "not JSON");
    filed(b"").refused("LW-0224", "not JSON");
}

#[test]
fn refuses_a_format_it_does_not_know() {
    Archive::empty().object("nodes", None, "n1").refused("LW-0225", "none");
    Archive::empty().file("metadata/version", b"2.0.0\n").refused("LW-0225", "2.0.0");
    Archive::empty().file("metadata/version", b"1\n").read().unwrap();
}

#[test]
fn refuses_more_than_it_may_hold() {
    let archive = Archive::new().file("resources/x/cluster/a.json", &vec![b' '; 1 << 20]).gz();
    assert!(archive.len() < 64 << 10, "a bomb is small: {}", archive.len());
    let error = read("b", archive.as_slice(), 256 << 10).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    // What stands behind tar's end mark counts too.
    let mut encoder = GzEncoder::new(Archive::new().gz(), Compression::fast());
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    let error = read("b", encoder.finish().unwrap().as_slice(), 256 << 10).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[test]
fn refuses_a_header_that_claims_gigabytes() {
    for (kind, words) in
        [(EntryType::Regular, "claims"), (EntryType::GNULongName, "LW-0223"), (EntryType::XHeader, "LW-0223")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_path("resources/x/cluster/a.json").unwrap();
        header.set_entry_type(kind);
        header.set_size(3 << 30);
        header.set_mode(0o755);
        header.set_cksum();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(header.as_bytes()).unwrap();
        encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
        let error = BackupItems::read("b", encoder.finish().unwrap().as_slice()).unwrap_err().to_string();
        assert!(error.contains(words), "{kind:?}: {error}");
    }
}

#[test]
fn refuses_an_archive_that_breaks_off_at_any_byte() {
    let whole = Archive::new().object("persistentvolumes", None, "pv-1").object("nodes", None, "n1").gz();
    BackupItems::read("b", whole.as_slice()).unwrap();
    for end in 0..whole.len() {
        assert!(BackupItems::read("b", &whole[..end]).is_err(), "{end} of {}", whole.len());
    }
}

#[test]
fn refuses_a_wrong_checksum() {
    let mut gz = Archive::new().object("nodes", None, "n1").gz();
    let crc = gz.len() - 8;
    gz[crc] ^= 1;
    let error = BackupItems::read("b", gz.as_slice()).unwrap_err().to_string();
    assert!(error.ends_with("[LW-0222]"), "{error}");
}

proptest! {
    /// Whatever the bytes are: an answer, never a panic.
    #[test]
    fn never_panics(noise: Vec<u8>, at in 0usize..2000, xor in 1u8..) {
        let _ = BackupItems::read("b", noise.as_slice());
        let mut tar = Vec::new();
        MultiGzDecoder::new(Archive::new().object("nodes", None, "n1").gz().as_slice()).read_to_end(&mut tar).unwrap();
        let at = at % tar.len();
        tar[at] ^= xor;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&tar).unwrap();
        let _ = BackupItems::read("b", encoder.finish().unwrap().as_slice());
    }
}
