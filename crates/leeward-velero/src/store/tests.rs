//! A bucket in memory.

use super::*;
use crate::items::tests::Archive;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::memory::InMemory;
use serde_json::json;
use std::io::Write;

pub(crate) fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) async fn bucket(files: &[(&str, Vec<u8>)]) -> BackupStore {
    let store = InMemory::new();
    for (key, content) in files {
        store.put(&Path::from(*key), content.clone().into()).await.unwrap();
    }
    BackupStore::new(Arc::new(store), "/velero/")
}

fn description(name: &str, completed: &str) -> Vec<u8> {
    json!({ "metadata": { "name": name, "labels": { "leeward.io/group": "shop" } },
        "status": { "phase": "Completed", "completionTimestamp": completed } })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn lists_the_newest_first_and_survives_a_broken_one() {
    let bucket = bucket(&[
        ("velero/backups/a/velero-backup.json", description("a", "2026-11-22T18:00:00Z")),
        ("velero/backups/b/velero-backup.json", description("b", "2026-11-22T19:00:00Z")),
        ("velero/backups/broken/velero-backup.json", b"{".to_vec()),
        ("velero/backups/unfinished/unfinished-logs.gz", vec![]),
        ("velero/restores/r/restore-r-logs.gz", vec![]),
        ("other/backups/c/velero-backup.json", description("c", "2026-11-22T20:00:00Z")),
    ])
    .await;
    let list = bucket.list().await.unwrap();
    assert_eq!(list.iter().map(|backup| backup.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((list[0].phase.as_str(), list[0].group.as_deref()), ("Completed", Some("shop")));
    assert!(bucket.metadata("broken").await.unwrap_err().to_string().ends_with("[LW-0226]"));
}

#[tokio::test]
async fn an_absent_backup_has_no_description_and_no_objects() {
    let bucket = bucket(&[]).await;
    assert_eq!(bucket.list().await.unwrap(), []);
    assert_eq!(bucket.metadata("a").await.unwrap(), None);
    assert!(bucket.items("a").await.unwrap_err().to_string().ends_with("[LW-0221]"));
    assert!(!bucket.has_pod_volumes("a").await.unwrap());
}

#[tokio::test]
async fn reads_objects_results_and_pod_volumes() {
    let bucket = bucket(&[
        ("velero/backups/a/a.tar.gz", Archive::new().object("persistentvolumes", None, "pv-1").gz()),
        ("velero/backups/a/a-results.gz", gz(br#"{"errors":{"namespaces":{"shop":["no"]}}}"#)),
        ("velero/backups/a/a-podvolumebackups.json.gz", gz(b"null\n")),
        ("velero/backups/p/p-podvolumebackups.json.gz", gz(b"[{}]")),
        ("velero/restores/r/restore-r-results.gz", gz(br#"{"warnings":{"cluster":["so"]}}"#)),
    ])
    .await;
    assert!(bucket.items("a").await.unwrap().get("persistentvolumes", None, "pv-1").is_some());
    assert_eq!(bucket.backup_results("a").await.unwrap().errors, ["namespace shop: no"]);
    assert_eq!(bucket.restore_results("r").await.unwrap().warnings, ["cluster: so"]);
    assert!(!bucket.has_pod_volumes("a").await.unwrap());
    assert!(bucket.has_pod_volumes("p").await.unwrap());
}

#[tokio::test]
async fn says_what_is_wrong_with_a_file() {
    let whole = gz(b"{}");
    let bucket = bucket(&[
        ("velero/backups/cut/cut-results.gz", whole[..whole.len() - 3].to_vec()),
        ("velero/backups/text/text-results.gz", gz(b"oops")),
        ("velero/backups/big/velero-backup.json", vec![b' '; 8 * 1024 * 1024 + 1]),
        ("velero/backups/bomb/bomb-results.gz", gz(&vec![b' '; 65 << 20])),
    ])
    .await;
    let code = |error: StoreError| error.to_string().split_off(error.to_string().len() - 9);
    assert_eq!(code(bucket.backup_results("cut").await.unwrap_err()), "[LW-0222]");
    assert_eq!(code(bucket.backup_results("text").await.unwrap_err()), "[LW-0226]");
    assert_eq!(code(bucket.metadata("big").await.unwrap_err()), "[LW-0223]");
    assert_eq!(code(bucket.backup_results("bomb").await.unwrap_err()), "[LW-0223]");
}

#[tokio::test]
async fn a_name_never_leads_out_of_its_folder() {
    let bucket = bucket(&[("velero-backup.json", b"{}".to_vec())]).await;
    for name in ["", "..", "../..", "a/b", "A", ".", "a\0"] {
        assert!(bucket.metadata(name).await.unwrap_err().to_string().ends_with("[LW-0227]"), "{name:?}");
    }
}

#[tokio::test]
async fn an_empty_prefix_is_the_whole_bucket_and_debug_tells_no_more() {
    let store = InMemory::new();
    store.put(&Path::from("backups/a/velero-backup.json"), description("a", "").into()).await.unwrap();
    let bucket = BackupStore::new(Arc::new(store), "");
    assert_eq!(bucket.list().await.unwrap().len(), 1);
    assert!(!format!("{bucket:?}").contains("InMemory"));
}
