use super::*;
use crate::played::Played;
use leeward_model::keys::PROMOTED_FROM;
use serde_json::json;
use tokio::task::JoinHandle;

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": name},
        "spec": {"storageClassName": "nfs-csi", "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pv"},
        "status": {"phase": "Bound"}
    })
}

fn snapshot(of: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"namespace": "shop", "name": format!("snap-{of}"), "labels": {RECOVERY_POINT: "rp-1"}},
        "spec": {"source": {"persistentVolumeClaimName": of}}, "status": {"readyToUse": true, "restoreSize": "1Gi"}
    })
}

fn backup() -> Value {
    json!({"kind": "Backup", "metadata": {"name": "b", "annotations": {RECOVERY_POINT: "rp-1"}}})
}

fn with_snapshots(of: &[&str]) -> Played {
    Played::new(of.iter().map(|c| claim(c)).collect(), of.iter().map(|c| snapshot(c)).collect())
}

fn execute(action: &Arc<PromoteSnapshot>, name: &str) -> JoinHandle<Result<BackupOutput, ActionError>> {
    let (action, item) = (Arc::clone(action), claim(name));
    tokio::spawn(async move { action.execute(item, &backup()).await })
}

fn promoted(name: &str) -> BackupOutput {
    BackupOutput::unchanged().with_items([ItemId::core("persistentvolumeclaims", "shop", format!("{name}-rp-1"))])
}

fn bind(claim: &mut Value) {
    claim["status"] = json!({"phase": "Bound"});
}

const CLAIMS_PATH: &str = "/api/v1/namespaces/shop/persistentvolumeclaims";

#[tokio::test(start_paused = true)]
async fn the_first_claim_begins_all_and_each_waits_for_its_own() {
    let played = Arc::new(with_snapshots(&["a", "b", "c"]));
    let action = Arc::new(PromoteSnapshot::new(played.cluster()));
    let first = execute(&action, "a");
    // Long after the first call, nothing but the watch of its own claim is open.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(played.count(&format!("POST {CLAIMS_PATH}")), 3);
    assert!(!first.is_finished());
    let asked = played.asked.lock().unwrap().len();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(played.asked.lock().unwrap().len(), asked, "it must not poll: {:?}", played.asked.lock().unwrap());

    played.set("b-rp-1", bind);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!first.is_finished(), "b's volume is not a's");
    played.set("a-rp-1", bind);
    assert_eq!(first.await.unwrap().unwrap(), promoted("a"));
    assert_eq!(execute(&action, "b").await.unwrap().unwrap(), promoted("b"));
    assert_eq!(played.count("POST"), 3, "each once");
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_the_error_names_all_and_the_next_claim_does_not_wait_again() {
    let mut played = with_snapshots(&["a", "b"]);
    played.events = vec![json!({"type": "Warning", "reason": "ProvisioningFailed", "message": "pool p1 is full"})];
    let played = Arc::new(played);
    let action = Arc::new(PromoteSnapshot::new(played.cluster()));
    let begun = Instant::now();
    let text = execute(&action, "a").await.unwrap().unwrap_err().to_string();
    assert_eq!(begun.elapsed().as_secs(), 300);
    for part in ["shop/a-rp-1", "snap-a", "shop/a ", "pool p1 is full", "300 s", "LW-0616"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let begun = Instant::now();
    assert!(execute(&action, "b").await.unwrap().is_err());
    assert!(begun.elapsed().as_secs() < 1, "the promotions ran side by side, so their deadline is one");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_loses_its_volume_fails_at_once() {
    let played = Arc::new(with_snapshots(&["a"]));
    let action = Arc::new(PromoteSnapshot::new(played.cluster()));
    let call = execute(&action, "a");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    played.set("a-rp-1", |claim| claim["status"] = json!({"phase": "Lost"}));
    let text = call.await.unwrap().unwrap_err().to_string();
    assert!(text.contains("LW-0617") && text.contains("shop/a-rp-1"), "{text}");
}

#[tokio::test]
async fn what_an_earlier_attempt_made_is_used_and_what_it_did_not_make_is_not() {
    let played = Arc::new(with_snapshots(&["a"]));
    let (mine, _) = promote::plan(&played.snapshots, &[claim("a")], &PointId::parse("rp-1").unwrap());
    let mut mine = mine.into_iter().next().unwrap().promoted.unwrap();
    bind(&mut mine);
    played.claims.lock().unwrap().push(mine);
    let action = Arc::new(PromoteSnapshot::new(played.cluster()));
    assert_eq!(execute(&action, "a").await.unwrap().unwrap(), promoted("a"));

    played.set("a-rp-1", |claim| claim["metadata"]["labels"] = json!({}));
    let action = Arc::new(PromoteSnapshot::new(played.cluster()));
    let text = execute(&action, "a").await.unwrap().unwrap_err().to_string();
    assert!(text.contains("LW-0615") && text.contains("shop/a-rp-1"), "{text}");
}

#[tokio::test]
async fn what_has_nothing_to_promote_passes_unchanged() {
    let played = Arc::new(with_snapshots(&["a"]));
    let action = PromoteSnapshot::new(played.cluster());
    let unchanged = BackupOutput::unchanged();
    assert_eq!(action.execute(claim("a"), &json!({"kind": "Backup"})).await.unwrap(), unchanged);
    let mut product = claim("a-rp-0");
    product["metadata"]["labels"] = json!({PROMOTED_FROM: "a"});
    assert_eq!(action.execute(product, &backup()).await.unwrap(), unchanged);
    assert_eq!(played.asked.lock().unwrap().len(), 0, "neither takes a call");
    assert_eq!(action.execute(claim("other"), &backup()).await.unwrap(), unchanged);
}
