//! Against an API server in memory; the test plays Velero. Time is tokio's, paused: it jumps when all wait.

#[path = "fake.rs"]
mod fake;

use super::*;
use crate::backup::tests::request as backup_request;
use crate::restore::tests::request as restore_request;
use crate::store::tests::{bucket, gz};
use fake::Fake;
use std::sync::{Arc, Mutex};

const MINUTE: Duration = Duration::from_secs(60);

fn velero(fake: &Fake) -> Velero {
    Velero::new(fake.client(), SiteName::parse("west").unwrap(), "velero".into(), "default".into())
}

/// Keeps what was said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn hear(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let said = self.0.clone();
        move |what| said.lock().unwrap().push(what.to_owned())
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn completed() -> Value {
    json!({ "phase": "Completed", "progress": { "itemsBackedUp": 3 }, "completionTimestamp": "2026-11-22T18:05:01Z" })
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_made_once_and_followed_to_its_end() {
    let fake = Fake::new();
    let said = Said::default();
    let playing = tokio::spawn({
        let fake = fake.clone();
        async move {
            for status in
                [json!({ "phase": "InProgress", "progress": { "totalItems": 3, "itemsBackedUp": 1 } }), completed()]
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fake.set_status("backups", "shop-rp-1", status).await;
            }
        }
    });
    let hear = said.hear();
    let outcome = velero(&fake).back_up(&backup_request(), MINUTE, &hear).await.unwrap();
    assert_eq!((outcome.name.as_str(), outcome.items), ("shop-rp-1", 3));
    assert_eq!(
        said.all(),
        ["Velero of site west to begin Backup shop-rp-1", "Backup shop-rp-1 at site west: 1 of 3 objects done"]
    );
    assert_eq!(fake.get("backups", "shop-rp-1").unwrap()["spec"]["snapshotVolumes"], false);
    playing.await.unwrap();

    assert_eq!(velero(&fake).back_up(&backup_request(), MINUTE, &hear).await.unwrap(), outcome);
    assert_eq!(fake.created(), ["shop-rp-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_was_killed_finds_its_backup_running() {
    let fake = Fake::new();
    let first = velero(&fake);
    let killed = tokio::spawn(async move { first.back_up(&backup_request(), MINUTE, &|_| {}).await });
    fake.set_status("backups", "shop-rp-1", json!({ "phase": "InProgress" })).await;
    killed.abort();
    let playing = fake.clone();
    tokio::spawn(async move { playing.set_status("backups", "shop-rp-1", completed()).await });
    velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap();
    assert_eq!(fake.created(), ["shop-rp-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_backup_names_its_items_and_the_next_call_is_a_new_attempt() {
    let fake = Fake::new();
    let results = gz(br#"{"errors":{"namespaces":{"shop":["db-data: snapshot not promoted"]}}}"#);
    let velero = velero(&fake).with_store(bucket(&[("velero/backups/shop-rp-1/shop-rp-1-results.gz", results)]).await);
    let playing = fake.clone();
    tokio::spawn(
        async move { playing.set_status("backups", "shop-rp-1", json!({ "phase": "PartiallyFailed" })).await },
    );
    let error = velero.back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "Backup shop-rp-1 at site west ended PartiallyFailed: namespace shop: db-data: snapshot not promoted; mend what is named, then repeat [LW-0207]"
    );
    let playing = fake.clone();
    tokio::spawn(async move { playing.set_status("backups", "shop-rp-1-2", completed()).await });
    let outcome = velero.back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap();
    assert_eq!(outcome.name, "shop-rp-1-2");
    assert_eq!(fake.created(), ["shop-rp-1", "shop-rp-1-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_location_is_waited_for_and_the_wait_ends() {
    let fake = Fake::new();
    fake.location("Unavailable", "no such host");
    let error = velero(&fake).await_available(MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("no such host"), "{error}");
    let playing = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(40)).await;
        playing.location("Available", "");
    });
    velero(&fake).await_available(MINUTE, &|_| {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_end() {
    let fake = Fake::new();
    for attempt in 1..=ATTEMPTS {
        let name = attempt_name("shop-rp-1", attempt);
        let mut backup = backup_request().object(&name, &SiteName::parse("west").unwrap(), "velero", "default");
        backup["status"] = json!({ "phase": "Failed" });
        fake.put("backups", backup);
    }
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0213]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_else_took_is_not_used() {
    let fake = Fake::new();
    fake.put("backups", json!({ "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "shop-rp-1" } }));
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("its group is none, not shop") && error.ends_with("[LW-0206]"), "{error}");
    assert!(fake.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_before_the_location_is_available() {
    let fake = Fake::new();
    fake.location("Unavailable", "no route to host");
    let said = Said::default();
    let playing = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(playing.created().is_empty());
        playing.location("Available", "");
        playing.set_status("backups", "shop-rp-1", completed()).await;
    });
    let hear = said.hear();
    velero(&fake).back_up(&backup_request(), MINUTE, &hear).await.unwrap();
    assert_eq!(said.all()[0], "Velero of site west cannot use its bucket: no route to host");
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_read_only_location_is_an_error_at_once() {
    let fake = Fake::new();
    let mut location = fake.get("backupstoragelocations", "default").unwrap();
    location["spec"] = json!({ "accessMode": "ReadOnly" });
    fake.put("backupstoragelocations", location);
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0204]"), "{error}");
    fake.remove("backupstoragelocations", "default");
    assert_eq!(velero(&fake).location().await.unwrap(), LocationState::Missing);
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0203]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_velero_that_does_not_run_is_named_after_a_while_and_at_the_deadline() {
    let fake = Fake::new();
    let said = Said::default();
    let hear = said.hear();
    let start = Instant::now();
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &hear).await.unwrap_err().to_string();
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(error.contains("Velero of site west to begin Backup shop-rp-1") && error.ends_with("[LW-0209]"), "{error}");
    assert!(
        said.all().iter().any(|what| what.contains("is Velero's server running in namespace velero of site west?")),
        "{:?}",
        said.all()
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_deleted_while_it_is_waited_for_is_an_error() {
    let fake = Fake::new();
    let playing = fake.clone();
    tokio::spawn(async move {
        playing.set_status("backups", "shop-rp-1", json!({ "phase": "InProgress" })).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        playing.remove("backups", "shop-rp-1");
    });
    let error = velero(&fake).back_up(&backup_request(), MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0210]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_velero_is_said_to_be_so() {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        let body = kube::client::Body::from(b"404 page not found\n".to_vec());
        Ok::<_, std::convert::Infallible>(http::Response::builder().status(404).body(body).unwrap())
    });
    let client = kube::Client::new(service, "velero");
    let velero = Velero::new(client, SiteName::parse("west").unwrap(), "velero".into(), "default".into());
    let error = velero.await_backup("x", MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0202]"), "{error}");
    let error = velero.location().await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0202]"), "{error}");
}

fn other_sites_backup(phase: &str) -> Vec<u8> {
    let mut backup =
        backup_request().object("shop-rp-1", &SiteName::parse("east").unwrap(), "velero-east", "east-bucket");
    backup["metadata"]["uid"] = json!("uid-there");
    backup["metadata"]["resourceVersion"] = json!("99");
    backup["status"] = json!({ "phase": phase, "formatVersion": "1.1.0" });
    backup.to_string().into_bytes()
}

const DESCRIPTION: &str = "velero/backups/shop-rp-1/velero-backup.json";

#[tokio::test(start_paused = true)]
async fn the_other_sites_backup_is_known_here_at_once() {
    let fake = Fake::new();
    let velero = velero(&fake).with_store(bucket(&[(DESCRIPTION, other_sites_backup("Completed"))]).await);
    let start = Instant::now();
    velero.await_backup("shop-rp-1", MINUTE, &|_| {}).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    let backup = fake.get("backups", "shop-rp-1").unwrap();
    assert_eq!(backup["status"]["phase"], "Completed");
    assert_eq!(backup["spec"]["storageLocation"], "default");
    assert_eq!(backup["metadata"]["labels"]["velero.io/storage-location"], "default");
    velero.await_backup("shop-rp-1", MINUTE, &|_| {}).await.unwrap();
    assert_eq!(fake.created(), ["shop-rp-1"]);
}

/// A Backup without phase would be run by this site's Velero.
#[tokio::test(start_paused = true)]
async fn no_backup_is_brought_to_a_cluster_that_would_drop_its_phase() {
    let fake = Fake::new();
    fake.drop_status();
    let velero = velero(&fake).with_store(bucket(&[(DESCRIPTION, other_sites_backup("Completed"))]).await);
    let error = velero.await_backup("shop-rp-1", MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("[LW-0209]"), "{error}");
    assert!(fake.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_veleros_sync_would_not_bring_is_not_brought() {
    let said = Said::default();
    let hear = said.hear();
    for (phase, location, expected) in [
        ("Finalizing", "Available", "not finished in the bucket"),
        ("Completed", "Unavailable", "cannot use its bucket"),
    ] {
        let fake = Fake::new();
        fake.location(location, "why");
        let velero = velero(&fake).with_store(bucket(&[(DESCRIPTION, other_sites_backup(phase))]).await);
        velero.await_backup("shop-rp-1", MINUTE, &hear).await.unwrap_err();
        assert!(said.all().iter().any(|what| what.contains(expected)), "{:?}", said.all());
        assert!(fake.created().is_empty());
    }
    let fake = Fake::new();
    let pods = ("velero/backups/shop-rp-1/shop-rp-1-podvolumebackups.json.gz", gz(b"[{}]"));
    let store = bucket(&[(DESCRIPTION, other_sites_backup("Completed")), pods]).await;
    velero(&fake).with_store(store).await_backup("shop-rp-1", MINUTE, &hear).await.unwrap_err();
    assert!(fake.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_not_whole_is_refused_at_once() {
    let fake = Fake::new();
    let velero = velero(&fake).with_store(bucket(&[(DESCRIPTION, other_sites_backup("PartiallyFailed"))]).await);
    let start = Instant::now();
    let error = velero.await_backup("shop-rp-1", MINUTE, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("ended PartiallyFailed") && error.ends_with("[LW-0211]"), "{error}");
    assert!(start.elapsed() < MINUTE && fake.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_the_bucket_veleros_own_sync_is_waited_for() {
    let fake = Fake::new();
    let playing = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(45)).await;
        playing.put("backups", serde_json::from_slice(&other_sites_backup("Completed")).unwrap());
    });
    velero(&fake).await_backup("shop-rp-1", MINUTE, &|_| {}).await.unwrap();
    assert!(fake.created().is_empty());
}

fn known_backup(fake: &Fake) {
    fake.put("backups", serde_json::from_slice(&other_sites_backup("Completed")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_restore_reports_its_warnings() {
    let fake = Fake::new();
    known_backup(&fake);
    let results = gz(br#"{"warnings":{"namespaces":{"shop":["ConfigMap differs"]}}}"#);
    let store = bucket(&[("velero/restores/shop-stage-1/restore-shop-stage-1-results.gz", results)]).await;
    let playing = fake.clone();
    tokio::spawn(async move {
        let status = json!({ "phase": "Completed", "warnings": 1, "progress": { "itemsRestored": 9 } });
        playing.set_status("restores", "shop-stage-1", status).await;
    });
    let outcome = velero(&fake).with_store(store).restore(&restore_request(), MINUTE, &|_| {}).await.unwrap();
    assert_eq!((outcome.items, outcome.warnings), (9, vec!["namespace shop: ConfigMap differs".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_is_not_whole_names_its_items() {
    let fake = Fake::new();
    known_backup(&fake);
    let results = gz(br#"{"errors":{"cluster":["pv db-data: no rule covers nfs://x/y [LW-0120]"]}}"#);
    let store = bucket(&[("velero/restores/shop-stage-1/restore-shop-stage-1-results.gz", results)]).await;
    let playing = fake.clone();
    tokio::spawn(
        async move { playing.set_status("restores", "shop-stage-1", json!({ "phase": "PartiallyFailed" })).await },
    );
    let error = velero(&fake).with_store(store).restore(&restore_request(), MINUTE, &|_| {}).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("cluster: pv db-data: no rule covers") && error.ends_with("[LW-0208]"), "{error}");
    assert_eq!(fake.created(), ["shop-stage-1"]);
}

/// Velero's cache of Backups may be behind the one of Restores, and a sync that began before the backup arrived deletes it.
#[tokio::test(start_paused = true)]
async fn a_restore_that_did_not_find_its_backup_is_tried_once_more() {
    let not_found =
        json!({ "phase": "FailedValidation", "validationErrors": ["Error retrieving backup: can't find backup"] });
    for (first, taken_away) in [(not_found, false), (json!({ "phase": "PartiallyFailed" }), true)] {
        let fake = Fake::new();
        let velero = velero(&fake).with_store(bucket(&[(DESCRIPTION, other_sites_backup("Completed"))]).await);
        let playing = fake.clone();
        tokio::spawn(async move {
            playing.set_status("restores", "shop-stage-1", json!({ "phase": "InProgress" })).await;
            if taken_away {
                playing.remove("backups", "shop-rp-1");
            }
            playing.set_status("restores", "shop-stage-1", first).await;
            playing.set_status("restores", "shop-stage-1-2", json!({ "phase": "Completed" })).await;
        });
        let outcome = velero.restore(&restore_request(), MINUTE, &|_| {}).await.unwrap();
        assert_eq!(outcome.name, "shop-stage-1-2");
        assert!(fake.get("backups", "shop-rp-1").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_goes_through_velero() {
    let fake = Fake::new();
    let velero = velero(&fake);
    velero.delete_backup("shop-rp-1").await.unwrap();
    assert!(fake.created().is_empty(), "nothing there, nothing asked");
    known_backup(&fake);
    let playing = fake.clone();
    let done = tokio::spawn(async move {
        playing.set_status("deletebackuprequests", "shop-rp-1-x", json!({ "phase": "InProgress" })).await;
        let request = playing.get("deletebackuprequests", "shop-rp-1-x").unwrap();
        assert_eq!(request["metadata"]["labels"]["velero.io/backup-uid"], "uid-there");
        playing.remove("deletebackuprequests", "shop-rp-1-x");
    });
    velero.delete_backup("shop-rp-1").await.unwrap();
    done.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_is_an_error() {
    let fake = Fake::new();
    known_backup(&fake);
    let playing = fake.clone();
    tokio::spawn(async move {
        let status = json!({ "phase": "Processed", "errors": ["location is currently in read-only mode"] });
        playing.set_status("deletebackuprequests", "shop-rp-1-x", status).await;
    });
    let error = velero(&fake).delete_backup("shop-rp-1").await.unwrap_err().to_string();
    assert!(error.contains("read-only mode") && error.ends_with("[LW-0212]"), "{error}");
}

/// The engine moves these futures between threads.
#[tokio::test]
async fn the_futures_are_send() {
    fn send<T: Send>(_: T) {}
    let fake = Fake::new();
    let velero = velero(&fake);
    send(velero.back_up(&backup_request(), MINUTE, &|_| {}));
    send(velero.await_backup("x", MINUTE, &|_| {}));
    send(velero.restore(&restore_request(), MINUTE, &|_| {}));
    send(velero.delete_backup("x"));
}
