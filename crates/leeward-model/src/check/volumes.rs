//! Volumes that the mapping does not cover, claims without a volume, storage classes that the site lacks.

use super::{CLASSES, Finding, Present, Question, VOLUMES, unknown_origin};
use crate::belongings::{CLAIMS, Named};
use crate::claim::{self, landed};
use crate::json;
use crate::keys;
use crate::recovery::take_over;
use crate::rewrite::rewrite_from;
use serde_json::Value;
use std::collections::BTreeSet;

/// Kubernetes writes here which driver is to make a claim's volume, so its class was one that makes volumes.
const PROVISIONED_BY: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// Checks volumes and claims; the claims that would not be restored.
pub(super) fn check(question: &Question<'_>, present: &Present, found: &mut Vec<Finding>) -> BTreeSet<Named> {
    let mut refused = BTreeSet::new();
    for pv in question.contents.objects(VOLUMES) {
        if json::annotation(&pv, keys::VOLUME_DATA).is_some() || json::annotation(&pv, keys::PROMOTED_FROM).is_some() {
            continue;
        }
        if let Err(finding) = volume(question, &pv) {
            refused.insert(json::name(&pv));
            found.push(*finding);
        }
    }
    let mut left_out = BTreeSet::new();
    for pvc in question.contents.objects(CLAIMS) {
        let promoted = pvc.pointer("/metadata/labels").and_then(|labels| labels.get(keys::PROMOTED_FROM)).is_some();
        if json::annotation(&pvc, keys::VOLUME_DATA).is_some() || promoted {
            continue;
        }
        let volume = claim::volume(&pvc).unwrap_or_default();
        if refused.contains(volume) {
            let namespace = json::text(&pvc, "/metadata/namespace").unwrap_or_default();
            left_out.insert(Named::of(CLAIMS, namespace, &json::name(&pvc)));
            continue;
        }
        let object = format!("PersistentVolumeClaim {}", claim::title(&pvc));
        let Some(source) = question.site_of(&pvc) else {
            found.push(unknown_origin(&object));
            continue;
        };
        match landed(&pvc, question.mapping, &source, question.target) {
            Err(error) => {
                found.push(Finding::of(&error, &object, "bind it and back up again, or correct the site mapping"))
            }
            Ok(landed) => {
                let pv = Named::cluster_wide(VOLUMES, volume);
                if !question.has(&pv) && !present.objects.contains(&pv) {
                    let what = format!(
                        "its PersistentVolume {volume} is neither in the backup nor at site {}",
                        question.target
                    );
                    let next = "back up again with the PersistentVolumes, and with Leeward's plug-in";
                    found.push(Finding::error("LW-0187", &object, &what, next));
                }
                found.extend(class(question, present, &object, &pvc, &landed));
            }
        }
    }
    left_out
}

/// Why the volume would not be restored.
fn volume(question: &Question<'_>, stored: &Value) -> Result<(), Box<Finding>> {
    const NEXT: &str = "correct the site mapping (`leeward mapping test` tries one), at both sites";
    let object = format!("PersistentVolume {}", json::name(stored));
    let mut pv = stored.clone();
    if json::annotation(stored, keys::RECOVER_FROM) == Some("promoted") {
        let stored = json::annotation(stored, keys::PROMOTED_VOLUME).ok_or("it is not there".to_owned());
        stored.and_then(|stored| take_over(&mut pv, stored)).map_err(|why| {
            let what = format!("its annotation {} cannot be read: {why}", keys::PROMOTED_VOLUME);
            Finding::error("LW-0625", &object, &what, "back up again, or restore with leeward.io/recover-from: live")
        })?;
    }
    if let Some(kind) = question.mapping.skips(&pv) {
        let what = format!("it is on {kind}, which the site mapping skips: it and its claim stay out");
        return Err(Finding::warning("LW-0137", &object, &what, "nothing, if that is meant").into());
    }
    let Some(source) = question.site_of(&pv) else { return Err(unknown_origin(&object).into()) };
    match rewrite_from(&pv, question.mapping, &source, question.target, Some(question.backup)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Finding::of(&error, &object, NEXT).into()),
    }
}

/// The claim's class at the target, if that does not exist.
///
/// A claim binds to its volume also without its class. But nothing there could then expand, snapshot or promote it; that a
/// class exists which never made the volume is not expected.
fn class(question: &Question<'_>, present: &Present, object: &str, pvc: &Value, landed: &Value) -> Option<Finding> {
    let name = json::text(landed, "/spec/storageClassName").filter(|class| !class.is_empty())?;
    let class = Named::cluster_wide(CLASSES, name);
    if present.objects.contains(&class) || question.has(&class) {
        return None;
    }
    let target = question.target;
    let what = format!("its StorageClass {name} is not at site {target}");
    let was = json::text(pvc, "/spec/storageClassName").unwrap_or_default();
    let next = format!(
        "make the class at site {target}, or add a pair for {was:?} to the mapping's `storageClasses`; without it the claim \
         binds, but cannot be expanded, snapshotted or promoted there"
    );
    let made = PROVISIONED_BY.iter().any(|key| json::annotation(pvc, key).is_some());
    let severity = if made { Finding::error } else { Finding::warning };
    Some(severity("LW-0184", object, &what, &next))
}
