//! Gets the CRDs out of a part, as one file of YAML documents.

use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::recipe::Crds;
use crate::run;

/// The module that carries the snapshot CRDs as files.
const SNAPSHOT_MODULE: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8";

/// The documents; `go` is a command that stands in the part's module.
pub(crate) fn print(crds: Crds, bin: &Path, go: &Command) -> io::Result<String> {
    match crds {
        Crds::Velero => {
            let mut velero = Command::new(bin.join("velero"));
            // HOME: Velero would read the user's own client settings. JSON: its YAML is one List, which is not documents.
            velero
                .args(["install", "--crds-only", "--dry-run", "-o", "json"])
                .env("HOME", "/nonexistent")
                .env("KUBECONFIG", "/dev/null");
            documents_of_list(&run::output(&mut velero)?)
        }
        Crds::KubeVirt => {
            let text = run::output(&mut Command::new(bin.join("kubevirt-crds")))?;
            String::from_utf8(text).map_err(io::Error::other)
        }
        Crds::Snapshot => {
            let mut list = Command::new(go.get_program());
            list.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SNAPSHOT_MODULE]);
            if let Some(folder) = go.get_current_dir() {
                list.current_dir(folder);
            }
            list.envs(go.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let folder = run::output(&mut list)?;
            documents_of_folder(&Path::new(String::from_utf8_lossy(&folder).trim()).join("config/crd"))
        }
    }
}

/// Each item of a Kubernetes List as a document. JSON is YAML.
fn documents_of_list(list: &[u8]) -> io::Result<String> {
    let list: Value = serde_json::from_slice(list)?;
    let items = list["items"].as_array().filter(|items| !items.is_empty());
    let mut text = String::new();
    for item in items.ok_or_else(|| io::Error::other("the list of CRDs is empty"))? {
        let mut item = item.clone();
        if let Some(metadata) = item["metadata"].as_object_mut() {
            // Go prints an unset time as null, which no API server accepts for a time.
            metadata.retain(|_, value| !value.is_null());
        }
        text.push_str(&format!("---\n{item:#}\n"));
    }
    Ok(text)
}

/// The CRD files of a folder, in the order of their names.
fn documents_of_folder(folder: &Path) -> io::Result<String> {
    let mut files: Vec<_> = fs_err::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut text = String::new();
    for file in files {
        let document = fs_err::read_to_string(&file)?;
        if document.contains("\nkind: CustomResourceDefinition\n") {
            if !document.starts_with("---") {
                text.push_str("---\n");
            }
            text.push_str(&document);
            if !document.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    if text.is_empty() { Err(io::Error::other(format!("no CRD in {}", folder.display()))) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_becomes_documents_without_null_times() {
        let list = br#"{"kind":"List","items":[{"metadata":{"name":"a","creationTimestamp":null}},{"metadata":{"name":"b"}}]}"#;
        let text = documents_of_list(list).unwrap();
        assert_eq!(text.matches("---\n").count(), 2);
        assert!(text.contains("\"name\": \"b\"") && !text.contains("creationTimestamp"), "{text}");
        assert!(documents_of_list(br#"{"items":[]}"#).is_err());
    }

    #[test]
    fn folder_gives_its_crds_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(dir.path().join(name), text).unwrap();
        write("b.yaml", "---\nkind: CustomResourceDefinition\nname: b");
        write("a.yaml", "apiVersion: v1\nkind: CustomResourceDefinition\nname: a\n");
        write("kustomization.yaml", "---\nkind: Kustomization\n");
        let text = documents_of_folder(dir.path()).unwrap();
        assert_eq!(
            text,
            "---\napiVersion: v1\nkind: CustomResourceDefinition\nname: a\n---\nkind: CustomResourceDefinition\nname: b\n"
        );
    }
}
