//! [`Image`]: an image of one file, written as an OCI image layout (image-spec 1.1).
//!
//! ```text
//! oci-layout              that it is one
//! index.json              which manifest, and its tag
//! blobs/sha256/DIGEST     the manifest, the configuration, the layer (a gzipped tar)
//! ```
//!
//! Laws: the bytes depend on the [`Image`] alone; every blob is named by its own digest; nothing but these files is there.

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Tells the program to copy itself into the folder named next, and to end.
pub(super) const INSTALL: &str = "--install-to";
/// Where Velero shows the folder to an init container that its plug-ins are to be put in.
const TARGET: &str = "/target";
/// A user that is not root, and owns nothing; OpenShift puts one of its own in its place.
const USER: &str = "65532:65532";
/// Read and run by every user.
const MODE: u32 = 0o755;

/// An image whose only file is a program that copies itself to where Velero wants it.
#[derive(Debug, Clone)]
pub(super) struct Image<'a> {
    /// As container images name it: `amd64`.
    pub(super) architecture: &'a str,
    /// The program's file name.
    pub(super) program: &'a str,
    /// The program.
    pub(super) contents: &'a [u8],
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    /// An SPDX expression.
    pub(super) licenses: &'a str,
    /// Also the tag.
    pub(super) version: &'a str,
    /// The commit, if known.
    pub(super) revision: Option<String>,
    /// The time of the sources, if known.
    pub(super) created: Option<Timestamp>,
}

/// Content and what refers to it.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Image<'_> {
    /// The same facts stand on the manifest, for registries, and in the configuration, for engines.
    fn annotations(&self) -> Value {
        let known = [
            ("title", Some(self.title.to_owned())),
            ("description", Some(self.description.to_owned())),
            ("licenses", Some(self.licenses.to_owned())),
            ("version", Some(self.version.to_owned())),
            ("revision", self.revision.clone()),
            ("created", self.created.map(|time| time.to_string())),
        ];
        let entry =
            |(key, value): (&str, Option<String>)| Some((format!("org.opencontainers.image.{key}"), value?.into()));
        Value::Object(known.into_iter().filter_map(entry).collect())
    }

    fn tar(&self) -> Result<Vec<u8>> {
        let mut header = tar::Header::new_ustar();
        header.set_size(self.contents.len().try_into()?);
        header.set_mode(MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.created.map_or(0, |time| time.as_second().max(0).unsigned_abs()));
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, self.program, self.contents)?;
        Ok(tar.into_inner()?)
    }

    fn blobs(&self) -> Result<[Blob; 3]> {
        let tar = self.tar()?;
        // No name and no time in its head.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&tar)?;
        let layer = Blob::new(gzip.finish()?);

        let annotations = self.annotations();
        let mut config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "User": USER,
                "Entrypoint": [format!("/{}", self.program), INSTALL, TARGET],
                "WorkingDir": "/",
                "Labels": annotations,
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
            "history": [{ "created_by": "cargo xtask image", "comment": "one program, linked statically" }],
        });
        if let Some(created) = self.created {
            config["created"] = created.to_string().into();
            config["history"][0]["created"] = created.to_string().into();
        }
        let config = Blob::json(&config);
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
            "annotations": annotations,
        }));
        Ok([manifest, config, layer])
    }
}

/// Writes the image into `folder`, in place of the layout that may be there, and gives the manifest's digest.
pub(super) fn replace(folder: &Path, image: &Image<'_>) -> Result<String> {
    match fs_err::read_dir(folder) {
        Ok(mut entries) => {
            ensure!(
                folder.join("oci-layout").is_file() || entries.next().is_none(),
                "{} holds something else than an image layout; name another folder",
                folder.display()
            );
            fs_err::remove_dir_all(folder)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let blobs = image.blobs()?;
    let [manifest, ..] = &blobs;
    let mut entry = manifest.descriptor(MANIFEST);
    entry["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": image.version });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });

    fs_err::create_dir_all(folder.join("blobs/sha256"))?;
    // First: what an interruption leaves is then known as ours, and replaced next time.
    fs_err::write(folder.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    for blob in &blobs {
        fs_err::write(folder.join("blobs").join(blob.digest.replace(':', "/")), &blob.bytes)?;
    }
    fs_err::write(folder.join("index.json"), index.to_string())?;
    Ok(manifest.digest.clone())
}

/// Reads a layout as a registry would: every size and digest has to be right, nothing may be left over, and the layer has
/// to hold exactly the program that the configuration starts, for all to run.
pub(super) fn verify(folder: &Path) -> Result<()> {
    let marker: Value = serde_json::from_slice(&fs_err::read(folder.join("oci-layout"))?)?;
    ensure!(marker["imageLayoutVersion"] == "1.0.0", "oci-layout says {marker}");
    let index: Value = serde_json::from_slice(&fs_err::read(folder.join("index.json"))?)?;
    let [entry] = list(&index, "/manifests")? else { bail!("the index has not exactly one manifest") };
    let mut seen = BTreeSet::new();
    let mut blob = |descriptor: &Value, media_type: &str| read(folder, descriptor, media_type, &mut seen);
    let manifest: Value = serde_json::from_slice(&blob(entry, MANIFEST)?)?;
    ensure!(manifest["schemaVersion"] == 2 && manifest["mediaType"] == MANIFEST, "the manifest has another schema");
    let config: Value = serde_json::from_slice(&blob(&manifest["config"], CONFIG)?)?;
    let [layer] = list(&manifest, "/layers")? else { bail!("the image has not exactly one layer") };
    let layer = blob(layer, LAYER)?;
    for key in ["architecture", "os"] {
        ensure!(config[key] == entry["platform"][key], "index and configuration differ about the {key}");
    }

    let mut tar = Vec::new();
    GzDecoder::new(layer.as_slice()).read_to_end(&mut tar)?;
    ensure!(list(&config, "/rootfs/diff_ids")? == [json!(digest(&tar))], "the configuration names another layer");
    let starts = config.pointer("/config/Entrypoint/0").and_then(Value::as_str).context("no entrypoint")?;
    let mut files = Vec::new();
    for file in tar::Archive::new(tar.as_slice()).entries()? {
        let file = file?;
        let (path, mode) = (file.path()?.display().to_string(), file.header().mode()?);
        ensure!(file.header().entry_type().is_file() && mode == MODE, "{path} is no file that all may run ({mode:o})");
        files.push(format!("/{path}"));
    }
    ensure!(files == [starts], "the layer holds {} and not just {starts}", files.join(", "));

    for entry in fs_err::read_dir(folder.join("blobs/sha256"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(seen.contains(&name), "nothing refers to blob {name}");
    }
    Ok(())
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value]> {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).with_context(|| format!("no list at {pointer}"))
}

fn read(folder: &Path, descriptor: &Value, media_type: &str, seen: &mut BTreeSet<String>) -> Result<Vec<u8>> {
    ensure!(descriptor["mediaType"] == media_type, "{} is not of type {media_type}", descriptor["mediaType"]);
    let named = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    let name = named.strip_prefix("sha256:").with_context(|| format!("{named} is no SHA-256"))?;
    ensure!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{named} is no SHA-256");
    let bytes = fs_err::read(folder.join("blobs/sha256").join(name))?;
    ensure!(descriptor["size"] == bytes.len(), "{named} has {} bytes and not {}", bytes.len(), descriptor["size"]);
    ensure!(digest(&bytes) == named, "{named} holds something else");
    seen.insert(name.to_owned());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn image(contents: &[u8]) -> Image<'_> {
        Image {
            architecture: "amd64",
            program: "plugin",
            contents,
            title: "A plug-in",
            description: "For a test",
            licenses: "Apache-2.0",
            version: "1.2.3",
            revision: Some("abc".into()),
            created: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        }
    }

    struct Written {
        _dir: tempfile::TempDir,
        folder: PathBuf,
        digest: String,
    }

    fn written(image: &Image<'_>) -> Written {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("image");
        let digest = replace(&folder, image).unwrap();
        verify(&folder).unwrap();
        Written { _dir: dir, folder, digest }
    }

    fn json(path: impl AsRef<Path>) -> Value {
        serde_json::from_slice(&fs_err::read(path.as_ref()).unwrap()).unwrap()
    }

    impl Written {
        fn blob(&self, descriptor: &Value) -> PathBuf {
            self.folder.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
        }

        fn manifest(&self) -> Value {
            json(self.blob(&json(self.folder.join("index.json"))["manifests"][0]))
        }
    }

    #[test]
    fn twice_the_same_digest_and_another_for_anything_else() {
        let program = b"\x7fELF a program".repeat(1000);
        let first = written(&image(&program));
        let second = written(&image(&program));
        assert_eq!(first.digest, second.digest);
        assert_eq!(
            fs_err::read(first.folder.join("index.json")).unwrap(),
            fs_err::read(second.folder.join("index.json")).unwrap()
        );
        assert_ne!(first.digest, written(&image(b"another")).digest);
        assert_ne!(first.digest, written(&Image { version: "1.2.4", ..image(&program) }).digest);
        assert_ne!(first.digest, written(&Image { created: None, ..image(&program) }).digest);
    }

    #[test]
    fn bytes_are_the_same_on_every_machine() {
        // Fails when a crate that writes tar or gzip does so in another way: every digest published so far then changes.
        let all = written(&image(b"program"));
        assert_eq!(all.digest, "sha256:ab6a00865118fe543fcf7d050af3f2eeaa2ce5c17f7e3d3c0a13844ddaf91919");
    }

    #[test]
    fn the_image_is_one_program_that_installs_itself() {
        let all = written(&image(b"program"));
        let manifest = all.manifest();
        let config = json(all.blob(&manifest["config"]));
        insta::assert_json_snapshot!("configuration", config);
        insta::assert_json_snapshot!("manifest", manifest);
        insta::assert_json_snapshot!("index", json(all.folder.join("index.json")));
        let layer = fs_err::read(all.blob(&manifest["layers"][0])).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(layer.as_slice()));
        let mut entries = archive.entries().unwrap();
        let mut file = entries.next().unwrap().unwrap();
        let header = file.header().clone();
        assert_eq!(header.path().unwrap().to_str(), Some("plugin"));
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o755, 0, 0));
        assert_eq!(header.mtime().unwrap(), 1_700_000_000);
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).unwrap();
        assert_eq!(contents, b"program");
        assert!(entries.next().is_none(), "one file alone");
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        let all = written(&Image { revision: None, created: None, ..image(b"program") });
        let config = json(all.blob(&all.manifest()["config"])).to_string();
        assert!(!config.contains("created\"") && !config.contains("revision"), "{config}");
    }

    #[test]
    fn every_damage_is_found() {
        let refused = |damage: &dyn Fn(&Written)| {
            let all = written(&image(b"program"));
            damage(&all);
            verify(&all.folder).unwrap_err().to_string()
        };
        let layer = |all: &Written| all.blob(&all.manifest()["layers"][0]);
        let bit = |all: &Written| {
            let mut bytes = fs_err::read(layer(all)).unwrap();
            bytes[20] ^= 1;
            fs_err::write(layer(all), bytes).unwrap();
        };
        assert!(refused(&bit).contains("holds something else"));
        assert!(refused(&|all| fs_err::write(layer(all), b"short").unwrap()).contains("5 bytes"));
        assert!(refused(&|all| fs_err::write(all.folder.join("blobs/sha256/stray"), "").unwrap()).contains("stray"));
        assert!(refused(&|all| fs_err::remove_file(layer(all)).unwrap()).contains("sha256"));
        let arm = |all: &Written| {
            let mut index = json(all.folder.join("index.json"));
            index["manifests"][0]["platform"]["architecture"] = "arm64".into();
            fs_err::write(all.folder.join("index.json"), index.to_string()).unwrap();
        };
        assert!(refused(&arm).contains("architecture"));
    }

    #[test]
    fn an_older_layout_is_replaced_and_a_foreign_folder_is_not() {
        let all = written(&image(b"old"));
        let digest = replace(&all.folder, &image(b"new")).unwrap();
        verify(&all.folder).unwrap();
        assert_ne!(digest, all.digest);

        let foreign = tempfile::tempdir().unwrap();
        fs_err::write(foreign.path().join("thesis"), "years of work").unwrap();
        let error = replace(foreign.path(), &image(b"new")).unwrap_err().to_string();
        assert!(error.contains("something else"), "{error}");
        assert!(foreign.path().join("thesis").exists());
    }
}
