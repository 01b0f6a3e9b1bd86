//! Restore, PVs: makes each volume point at its copy at this site.
//!
//! A volume that no mapping rule covers is an error: it would point at storage that is not here, or at a disk that the other
//! site still writes. Velero never corrects a PV that exists already (its address is immutable), so one of the same name has
//! to be the right one; if its claim was deleted since, it is made ready for the new one.

use crate::cluster::{Cluster, VOLUMES};
use crate::fate::{Fate, Fates};
use crate::metadata_only::is_velero_s;
use crate::present::Present;
use crate::recover_from;
use crate::report_only::Mode;
use crate::site::Site;
use crate::view::{self, UnknownOrigin};
use leeward_model::address::{AddressError, VolumeAddress};
use leeward_model::keys::PROMOTED_FROM;
use leeward_model::mapping::Mapping;
use leeward_model::rewrite::{Change, RewriteError, Rewritten, rewrite_from};
use serde_json::{Value, json};
use std::sync::Arc;
use velero_plugin::{ActionError, RestoreInput, RestoreItemAction, RestoreOutput, Selector, async_trait};

/// See the module.
pub(crate) struct RewriteVolume {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) fates: Arc<Fates>,
    pub(crate) volumes: Arc<Present>,
}

/// A volume cannot be restored here.
#[derive(Debug, thiserror::Error)]
enum VolumeError {
    #[error(transparent)]
    Origin(#[from] UnknownOrigin),
    #[error(transparent)]
    Rewrite(#[from] Box<RewriteError>),
    #[error(
        "PersistentVolume {pv} exists at this site and points at {existing}, but its copy is at {wanted}; Kubernetes cannot \
         change that: delete the PersistentVolume if it is left over (its data stays), then restore again [LW-0620]"
    )]
    Elsewhere { pv: String, existing: Box<VolumeAddress>, wanted: Box<VolumeAddress> },
    #[error(
        "PersistentVolume {pv} exists at this site and belongs to claim {existing}, not to {wanted}; delete the \
         PersistentVolume if it is left over (its data stays), then restore again [LW-0621]"
    )]
    OtherClaim { pv: String, existing: String, wanted: String },
    #[error(
        "PersistentVolume {pv} exists at this site, but {state}; wait until it is gone or delete it (its data stays), then \
         restore again [LW-0622]"
    )]
    Unusable { pv: String, state: String },
    #[error("PersistentVolume {pv} exists at this site, but its address cannot be read [LW-0622]")]
    Unreadable { pv: String, source: Box<AddressError> },
}

/// What to do about a volume that exists.
#[derive(Debug, PartialEq)]
enum Existing {
    /// It is the one; leave it.
    Keep,
    /// It is the one, but its former claim is gone: apply this merge patch, and the new one binds.
    Release(Value),
}

/// The volume as it is created here.
fn rewritten(pv: &Value, restore: &Value, site: &Site) -> Result<Rewritten, VolumeError> {
    let source = view::origin(pv, || format!("PersistentVolume {}", view::name(pv)), restore)?;
    let backup = view::text(restore, "/spec/backupName");
    Ok(rewrite_from(pv, &site.mapping, &source, &site.name, backup).map_err(Box::new)?)
}

/// Whether the volume of that name that is here already will do.
fn compare(existing: &Value, wanted: &Rewritten, mapping: &Mapping) -> Result<Existing, VolumeError> {
    let pv = || view::name(existing).to_owned();
    let unreadable = |source| VolumeError::Unreadable { pv: pv(), source: Box::new(source) };
    let is = mapping.address_of(existing).map_err(unreadable)?;
    // Two ways to write down one directory are the same disk.
    if !is.same_place(&wanted.after) {
        let (existing, wanted) = (Box::new(is), Box::new(wanted.after.clone()));
        return Err(VolumeError::Elsewhere { pv: pv(), existing, wanted });
    }
    if !existing["metadata"]["deletionTimestamp"].is_null() {
        return Err(VolumeError::Unusable { pv: pv(), state: "is being deleted".to_owned() });
    }
    if let (Some(has), Some(wants)) = (view::claim_of(existing), view::claim_of(&wanted.pv))
        && has != wants
    {
        let title = |(namespace, name): (&str, &str)| format!("{namespace}/{name}");
        return Err(VolumeError::OtherClaim { pv: pv(), existing: title(has), wanted: title(wants) });
    }
    match view::text(existing, "/status/phase") {
        Some("Failed") => Err(VolumeError::Unusable { pv: pv(), state: "its phase is Failed".to_owned() }),
        Some("Released") => Ok(Existing::Release(json!({
            // Somebody else's change in between makes the API server refuse.
            "metadata": {"resourceVersion": existing["metadata"]["resourceVersion"]},
            "spec": {"claimRef": {"uid": null, "resourceVersion": null}},
        }))),
        _ => Ok(Existing::Keep),
    }
}

/// What the rewriting changes, in one line.
fn changes(wanted: &Rewritten) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    let change = |c: &Change| format!("{} {} -> {}", c.pointer, value(&c.before), value(&c.after));
    let all: Vec<_> = wanted.trace.changes.iter().map(change).collect();
    if all.is_empty() { "no change".to_owned() } else { all.join(", ") }
}

impl RewriteVolume {
    async fn made(&self, pv: Value, restore: &Value, mode: Mode) -> Result<(RestoreOutput, Fate), ActionError> {
        let name = view::name(&pv).to_owned();
        if is_velero_s(&pv) {
            return Ok((RestoreOutput::unchanged(), Fate::Here));
        }
        let site = self.cluster.site().await?;
        let pv = recover_from::chosen(pv, restore)?;
        if let Some(kind) = site.mapping.skips(&pv) {
            tracing::info!("{mode}left out PersistentVolume {name}: it is on {kind}, which the site mapping skips");
            return Ok((RestoreOutput::skip(), Fate::LeftOut(kind)));
        }
        let wanted = rewritten(&pv, restore, site)?;
        let rule = wanted.trace.rule.as_deref().unwrap_or("(none needed)");
        if mode == Mode::Test {
            tracing::info!(rule, "{mode}PersistentVolume {name}: rule {rule} changes {}", changes(&wanted));
        }
        if let Some(existing) = self.volumes.get(&self.cluster, restore, None, &name).await? {
            match compare(&existing, &wanted, &site.mapping)? {
                Existing::Release(_) if mode == Mode::Test => {
                    tracing::info!(
                        "{mode}PersistentVolume {name} is here and released; it is made ready for its claim"
                    );
                }
                Existing::Release(patch) => {
                    if self.cluster.patch(&VOLUMES, None, &name, &patch).await?.is_none() {
                        // Deleted since it was read, so it is to be made after all.
                        return Ok((RestoreOutput::changed(wanted.pv), Fate::Made));
                    }
                    tracing::info!("PersistentVolume {name} was released; made it ready for its claim");
                }
                Existing::Keep if mode == Mode::Test => {
                    tracing::info!("{mode}PersistentVolume {name} is here and right; it stays as it is");
                }
                Existing::Keep => {}
            }
            return Ok((RestoreOutput::skip(), Fate::Here));
        }
        if mode != Mode::Test {
            crate::alias::keep(&self.cluster, &wanted.pv).await?;
        }
        // Its trace says the same, and Velero takes longer to read a line of the log than to do without.
        tracing::debug!(rule, "PersistentVolume {name}: {} becomes {}", wanted.before, wanted.after);
        Ok((RestoreOutput::changed(wanted.pv), Fate::Made))
    }
}

#[async_trait]
impl RestoreItemAction for RewriteVolume {
    fn applies_to(&self) -> Selector {
        Selector::resources(["persistentvolumes"])
    }

    async fn execute(&self, input: RestoreInput<'_>) -> Result<RestoreOutput, ActionError> {
        let mode = Mode::of(input.restore)?;
        let name = view::name(&input.item).to_owned();
        // It stands in the backup to say where the point's data is; the data comes here as the copy of the claim it is of.
        if view::annotation(&input.item, PROMOTED_FROM).is_some() {
            tracing::debug!("left out PersistentVolume {name}: it is a promoted snapshot");
            return Ok(RestoreOutput::skip());
        }
        let made = self.made(input.item, input.restore, mode).await;
        self.fates.set(&name, made.as_ref().map_or(Fate::Refused, |(_, fate)| fate.clone()));
        mode.end(made.map(|(output, _)| output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Played;
    use crate::report_only::tests::test_restore;
    use crate::site::tests::{MAPPING, site};
    use leeward_model::keys::SITE;

    fn pv() -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "web-disk", "annotations": {SITE: "east"}},
            "spec": {
                "persistentVolumeReclaimPolicy": "Retain", "nfs": {"server": "10.77.0.1", "path": "/export/web-disk"},
                "claimRef": {"namespace": "shop", "name": "web-disk"}, "new-field": true
            }
        })
    }

    fn at_west() -> Rewritten {
        rewritten(&pv(), &json!({}), &site("west")).unwrap()
    }

    fn existing(change: impl FnOnce(&mut Value)) -> Value {
        let mut existing = at_west().pv;
        existing["metadata"]["resourceVersion"] = "7".into();
        existing["spec"]["claimRef"]["uid"] = "old".into();
        existing["status"] = json!({"phase": "Bound"});
        change(&mut existing);
        existing
    }

    #[test]
    fn points_at_the_copy_and_loses_nothing() {
        let got = at_west().pv;
        assert_eq!(got["spec"]["nfs"], json!({"server": "10.77.0.2", "path": "/vault/web-disk"}));
        assert_eq!(got["spec"]["new-field"], true);
        assert_eq!(rewritten(&got, &json!({}), &site("west")).unwrap().pv, got, "twice is once");
    }

    #[test]
    fn an_uncovered_volume_is_told_with_its_address_and_the_rule_to_add() {
        let mut pv = pv();
        pv["spec"]["nfs"]["path"] = "/other/disk".into();
        let text = rewritten(&pv, &json!({}), &site("west")).unwrap_err().to_string();
        for part in ["web-disk", "nfs://10.77.0.1/other/disk", "/other", "LW-01"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }

    #[test]
    fn the_origin_is_never_guessed() {
        let mut pv = pv();
        pv["metadata"]["annotations"] = json!({});
        let text = rewritten(&pv, &json!({}), &site("west")).unwrap_err().to_string();
        assert!(text.contains("web-disk") && text.contains("LW-0607"), "{text}");
        let restore = json!({"metadata": {"annotations": {SITE: "east"}}});
        assert_eq!(rewritten(&pv, &restore, &site("west")).unwrap().after, at_west().after);
    }

    #[test]
    fn what_is_here_already_and_right_stays() {
        for phase in ["Bound", "Available"] {
            assert_eq!(
                compare(&existing(|e| e["status"]["phase"] = phase.into()), &at_west(), &site("west").mapping).unwrap(),
                Existing::Keep
            );
        }
    }

    #[test]
    fn a_released_volume_is_made_ready_for_its_claim() {
        let released = existing(|e| e["status"]["phase"] = "Released".into());
        let patch = json!({
            "metadata": {"resourceVersion": "7"}, "spec": {"claimRef": {"uid": null, "resourceVersion": null}}
        });
        assert_eq!(compare(&released, &at_west(), &site("west").mapping).unwrap(), Existing::Release(patch));
    }

    #[test]
    fn what_is_here_but_wrong_is_an_error_that_says_what_to_do() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str, &str); 5] = [
            (|e| e["spec"]["nfs"]["server"] = "10.77.0.9".into(), "LW-0620", "nfs://10.77.0.9/vault/web-disk"),
            (|e| e["spec"]["claimRef"]["name"] = "other".into(), "LW-0621", "shop/other"),
            (|e| e["status"]["phase"] = "Failed".into(), "LW-0622", "Failed"),
            (|e| e["metadata"]["deletionTimestamp"] = "now".into(), "LW-0622", "being deleted"),
            (|e| e["spec"]["nfs"] = Value::Null, "LW-0622", "web-disk"),
        ];
        for (change, code, part) in cases {
            let text = compare(&existing(change), &at_west(), &site("west").mapping).unwrap_err().to_string();
            assert!(text.contains(code) && text.contains(part), "{text}");
        }
    }

    /// A cluster of the west; nfs is mapped, and local volumes are skipped.
    fn west() -> Arc<Played> {
        let played = Arc::new(Played::empty());
        played.set("configmaps", "leeward-site", |map| {
            map["data"] = json!({"site": "west", "mapping.yaml": format!("{MAPPING}skip:\n- inTree: local\n")});
        });
        played
    }

    /// What comes out, and what the claim is told.
    async fn execute(
        played: &Arc<Played>,
        item: Value,
        restore: &Value,
    ) -> (Result<RestoreOutput, String>, Option<Fate>) {
        let volumes = Arc::new(Present::new(&VOLUMES));
        let action = RewriteVolume { cluster: played.cluster(), fates: Arc::new(Fates::default()), volumes };
        let name = view::name(&item).to_owned();
        let output = action.execute(RestoreInput { item_from_backup: item.clone(), item, restore }).await;
        (output.map_err(|e| e.to_string()), action.fates.of(&name))
    }

    #[tokio::test]
    async fn the_claim_is_told_what_became_of_its_volume() {
        let (output, fate) = execute(&west(), pv(), &json!({})).await;
        assert_eq!((output.unwrap().item.unwrap(), fate), (at_west().pv, Some(Fate::Made)));
        let mut local = pv();
        local["spec"]["nfs"] = Value::Null;
        local["spec"]["local"] = json!({"path": "/disk"});
        let (output, fate) = execute(&west(), local, &json!({})).await;
        assert_eq!((output.unwrap(), fate), (RestoreOutput::skip(), Some(Fate::LeftOut("spec.local".to_owned()))));
        let mut uncovered = pv();
        uncovered["spec"]["nfs"]["path"] = "/other".into();
        let (output, fate) = execute(&west(), uncovered, &json!({})).await;
        assert!(output.unwrap_err().contains("LW-0130"));
        assert_eq!(fate, Some(Fate::Refused));
    }

    #[tokio::test]
    async fn a_restore_of_a_thousand_asks_as_little_as_one_of_a_few() {
        let played = west();
        let volumes = Arc::new(Present::new(&VOLUMES));
        let action = RewriteVolume { cluster: played.cluster(), fates: Arc::new(Fates::default()), volumes };
        let landed = async |number: usize| {
            let mut item = pv();
            item["metadata"]["name"] = format!("pv-{number}").into();
            item["spec"]["nfs"]["path"] = format!("/export/{number}").into();
            let input = RestoreInput { item_from_backup: item.clone(), item, restore: &json!({}) };
            action.execute(input).await.map(|output| output.item.unwrap()["spec"]["nfs"]["path"].clone())
        };
        for number in 0..50 {
            assert_eq!(landed(number).await.unwrap(), format!("/vault/{number}"));
        }
        let few = played.asked.lock().unwrap().len();
        for number in 50..1000 {
            assert_eq!(landed(number).await.unwrap(), format!("/vault/{number}"));
        }
        assert_eq!(played.asked.lock().unwrap().len(), few, "{:?}", played.asked.lock().unwrap());
        // One that comes meanwhile, and points elsewhere, is refused by name all the same.
        played.add("persistentvolumes", existing(|pv| pv["metadata"]["name"] = "pv-1000".into()));
        let mut refused = landed(1000).await;
        while refused.is_ok() {
            tokio::task::yield_now().await;
            refused = landed(1000).await;
        }
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("LW-0620") && text.contains("pv-1000"), "{text}");
    }

    #[tokio::test]
    async fn in_test_mode_all_is_said_and_nothing_done() {
        let restore = test_restore();
        let (output, fate) = execute(&west(), pv(), &restore).await;
        assert_eq!((output.unwrap(), fate), (RestoreOutput::skip(), Some(Fate::Made)));
        let mut uncovered = pv();
        uncovered["spec"]["nfs"]["path"] = "/other".into();
        assert!(execute(&west(), uncovered, &restore).await.0.unwrap_err().contains("LW-0130"));
        let played = west();
        played.add("persistentvolumes", existing(|e| e["status"]["phase"] = "Released".into()));
        let (output, _) = execute(&played, pv(), &restore).await;
        assert_eq!((output.unwrap(), played.count("PATCH")), (RestoreOutput::skip(), 0));
        let (output, _) = execute(&played, pv(), &json!({})).await;
        assert_eq!((output.unwrap(), played.count("PATCH")), (RestoreOutput::skip(), 1));
        let said = changes(&at_west());
        assert!(said.contains(r#"/spec/nfs/server "10.77.0.1" -> "10.77.0.2""#), "{said}");
    }
}
