//! Which volume a restored claim gets: its own, or the one that its snapshot was promoted to.
//!
//! Velero backs a PV up before a later action on its claim runs, and restores it before the claim. So the stored copy of the
//! live PV says where the promoted volume is, and on restore it takes that address over. Its name stays, for the claim asks
//! for the volume by it; so does its class, which has to be the claim's. Stored, the address stays the live one's: what
//! reads the backup is not misled, and a restore can be told otherwise.

use crate::policy::{RecoverFrom, RequestError};
use crate::view;
use leeward_model::keys::{PROMOTED_VOLUME, RECOVER_FROM};
use leeward_model::name::SiteName;
use leeward_model::recovery::{OF_THE_CLAIM, STORAGE_ANNOTATIONS, take_over};
use serde_json::{Map, Value, json};

/// It cannot be told which volume the claim gets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(
        "PersistentVolume {pv} is to be restored from its promoted volume, but the backup does not say which that is: back up \
         with the annotation {RECOVER_FROM}: promoted, or restore with {RECOVER_FROM}: live [LW-0625]"
    )]
    Unknown { pv: String },
    #[error("PersistentVolume {pv}: its annotation {PROMOTED_VOLUME} cannot be read ({why}); back up again [LW-0625]")]
    Unreadable { pv: String, why: String },
}

/// Removes what an earlier backup or restore wrote.
pub(crate) fn clear(pv: &mut Value) {
    [PROMOTED_VOLUME, RECOVER_FROM].iter().for_each(|key| view::unannotate(pv, key));
}

/// Writes into the stored copy of the live PV that its claim is recovered from the PV `promoted` of `site`.
pub(crate) fn write(pv: &mut Value, promoted: &Value, site: &SiteName) {
    let pick = |of: &Value, keep: &dyn Fn(&str) -> bool| -> Map<String, Value> {
        let fields = of.as_object().into_iter().flatten();
        fields.filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let volume = json!({
        "name": view::name(promoted),
        "site": site,
        "annotations": pick(&promoted["metadata"]["annotations"], &|key| STORAGE_ANNOTATIONS.contains(&key)),
        "labels": pick(&promoted["metadata"]["labels"], &|key| key.contains("topology.") || key.contains("failure-domain")),
        "spec": pick(&promoted["spec"], &|key| !OF_THE_CLAIM.contains(&key)),
    });
    view::annotate(pv, RECOVER_FROM, RecoverFrom::Promoted.as_str());
    view::annotate(pv, PROMOTED_VOLUME, &volume.to_string());
}

/// The volume that is to be restored under the name of the stored copy `pv`: the Restore's annotation decides, else the
/// backup's. What is returned says nothing of the choice any more.
pub(crate) fn chosen(mut pv: Value, restore: &Value) -> Result<Value, RecoverError> {
    let wish = view::annotation(restore, RECOVER_FROM).or_else(|| view::annotation(&pv, RECOVER_FROM));
    let wish = wish.map(RecoverFrom::parse).transpose()?.unwrap_or_default();
    let stored = view::annotation(&pv, PROMOTED_VOLUME).map(str::to_owned);
    clear(&mut pv);
    if wish == RecoverFrom::Live {
        return Ok(pv);
    }
    let name = view::name(&pv).to_owned();
    let stored = stored.ok_or_else(|| RecoverError::Unknown { pv: name.clone() })?;
    let promoted = take_over(&mut pv, &stored).map_err(|why| RecoverError::Unreadable { pv: name.clone(), why })?;
    tracing::info!("PersistentVolume {name} is recovered from the promoted volume {promoted}");
    Ok(pv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_model::keys::SITE;

    fn volume(name: &str, handle: &str) -> Value {
        json!({
            "kind": "PersistentVolume",
            "metadata": {
                "name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": "csi.x", "volume.kubernetes.io/provisioner-deletion-secret-name": handle},
                "labels": {"topology.kubernetes.io/zone": format!("zone-{handle}")}
            },
            "spec": {
                "storageClassName": format!("class-{handle}"), "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "shop", "name": name}, "csi": {"driver": "csi.x", "volumeHandle": handle},
                "nodeAffinity": {"of": handle}, "capacity": {"storage": "1Gi"}
            }
        })
    }

    fn stored() -> Value {
        let mut live = volume("pv-live", "live");
        live["spec"]["mountOptions"] = json!(["old"]);
        live["metadata"]["annotations"]["mine"] = "kept".into();
        write(&mut live, &volume("pv-promoted", "copy"), &SiteName::parse("east").unwrap());
        live
    }

    #[test]
    fn the_stored_address_is_the_live_one_and_the_restored_the_promoted_one() {
        let stored = stored();
        assert_eq!(stored["spec"]["csi"]["volumeHandle"], "live");
        let got = chosen(stored, &json!({})).unwrap();
        assert_eq!(got["metadata"]["name"], "pv-live", "the claim asks for it by name");
        let mut expected = volume("pv-live", "copy");
        expected["spec"]["storageClassName"] = "class-live".into();
        assert_eq!(got["spec"], expected["spec"], "nothing of the live volume's storage is left");
        let expected = json!({
            "pv.kubernetes.io/provisioned-by": "csi.x", "volume.kubernetes.io/provisioner-deletion-secret-name": "copy",
            "mine": "kept", SITE: "east"
        });
        assert_eq!(got["metadata"]["annotations"], expected);
        assert_eq!(got["metadata"]["labels"]["topology.kubernetes.io/zone"], "zone-copy");
    }

    #[test]
    fn the_restore_can_be_told_otherwise() {
        let restore = json!({"metadata": {"annotations": {RECOVER_FROM: "live"}}});
        let got = chosen(stored(), &restore).unwrap();
        assert_eq!(got["spec"]["csi"]["volumeHandle"], "live");
        assert!(!got.to_string().contains("copy"), "the other volume's address is nowhere left: {got}");
        // A backup that says nothing restores the live volume, and cannot restore another.
        let plain = volume("pv-live", "live");
        assert_eq!(chosen(plain.clone(), &json!({})).unwrap(), plain);
        let restore = json!({"metadata": {"annotations": {RECOVER_FROM: "promoted"}}});
        let text = chosen(plain, &restore).unwrap_err().to_string();
        assert!(text.contains("pv-live") && text.contains("LW-0625"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_restores_nothing() {
        for broken in ["{", "{}", "{\"spec\": {}}", "{\"spec\": {\"csi\": {}}}"] {
            let mut pv = stored();
            pv["metadata"]["annotations"][PROMOTED_VOLUME] = broken.into();
            assert!(matches!(chosen(pv, &json!({})), Err(RecoverError::Unreadable { .. })), "{broken}");
        }
        let mut pv = stored();
        pv["metadata"]["annotations"][RECOVER_FROM] = "both".into();
        assert!(chosen(pv, &json!({})).is_err());
    }
}
