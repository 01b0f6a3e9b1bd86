//! The laws of rewriting, for generated mappings and volumes.

use super::*;
use crate::testing::{any_json, spoiled, unknown_fields};
use proptest::prelude::*;
use serde_json::Map;

const FOLDER: &str = "[a-z][a-z0-9._-]{0,5}";

/// `/a/b`, one to three folders.
fn directory() -> impl Strategy<Value = String> {
    prop::collection::vec(FOLDER, 1..4).prop_map(|folders| format!("/{}", folders.join("/")))
}

/// A server of the given site: addresses of both families and names; never the other site's.
fn server(octet: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        (0u8..=255, 1u8..=254).prop_map(move |(a, b)| format!("10.{octet}.{a}.{b}")),
        (1u16..=0xffff).prop_map(move |a| format!("fd{octet:02}::{a:x}")),
        "[a-z]{1,4}".prop_map(move |name| format!("{name}.site{octet}.example")),
    ]
}

/// A rule, and a volume that it covers.
#[derive(Debug, Clone)]
struct Covered {
    mapping: Mapping,
    pv: Value,
    server: String,
}

fn covered() -> impl Strategy<Value = Covered> {
    let paths = (directory(), directory(), prop::collection::vec(FOLDER, 0..4));
    let form = (0u8..5, 0usize..4, any::<bool>(), "[a-f0-9]{0,8}", prop::sample::select(vec!["", "retain", "archive"]));
    let extra = (unknown_fields(), unknown_fields(), unknown_fields());
    (server(1), server(2), paths, form, extra).prop_map(|(east, west, (from, to, rest), form, extra)| {
        let mapping = Mapping::parse(
            &json!({
                "apiVersion": "leeward.io/v1alpha1", "kind": "SiteMapping", "sites": ["east", "west"],
                "rules": [{
                    "name": "r",
                    "east": {"nfs": {"server": east, "path": from}},
                    "west": {"nfs": {"server": west, "path": to}},
                }],
                "storageClasses": [{"east": "gold", "west": "fast"}],
            })
            .to_string(),
        )
        .unwrap();
        let directory =
            std::iter::once(from.as_str()).chain(rest.iter().map(String::as_str)).collect::<Vec<_>>().join("/");
        Covered { pv: volume(&east, &directory, &form, extra), mapping, server: east }
    })
}

/// A volume at `server:directory`, in-tree or by CSI with the handle's form and the split chosen by `form`.
fn volume(
    server: &str,
    directory: &str,
    (kind, split, upper, id, on_delete): &(u8, usize, bool, String, &str),
    (in_root, in_spec, in_source): (Map<String, Value>, Map<String, Value>, Map<String, Value>),
) -> Value {
    let folders: Vec<&str> = directory.split('/').skip(1).collect();
    let (share, subdir) = folders.split_at(folders.len() - (*split).min(folders.len() - 1));
    let (share, subdir) = (share.join("/"), subdir.join("/"));
    let mut source = in_source;
    let source_name = if *kind == 0 {
        source.insert("server".into(), server.into());
        source.insert("path".into(), directory.into());
        "nfs"
    } else {
        let handle = match kind {
            1 => format!("{server}#{share}#{subdir}#{id}#{on_delete}"),
            2 => format!("{server}#/{share}/#{subdir}"),
            3 if !subdir.is_empty() => format!("{server}/{share}/{subdir}"),
            _ => format!("id-{id}"),
        };
        let key = |name: &str| if *upper { name.to_uppercase() } else { name.to_owned() };
        source.insert("driver".into(), "nfs.csi.k8s.io".into());
        source.insert("volumeHandle".into(), handle.into());
        source.insert(
            "volumeAttributes".into(),
            json!({
                key("server"): server, "csi.storage.k8s.io/pv/name": "p", key("share"): format!("/{share}"),
                key("subdir"): subdir, "mountPermissions": "0",
            }),
        );
        "csi"
    };
    let mut spec = in_spec;
    spec.insert(source_name.into(), source.into());
    spec.insert("persistentVolumeReclaimPolicy".into(), "Retain".into());
    spec.insert("claimRef".into(), json!({"namespace": "n", "name": "c"}));
    spec.insert("storageClassName".into(), if *upper { "gold" } else { "same" }.into());
    let mut pv = in_root;
    pv.insert("metadata".into(), json!({"name": "p", "annotations": {"a": "b"}}));
    pv.insert("spec".into(), spec.into());
    Value::Object(pv)
}

/// Without what Leeward notes on every volume it rewrites.
fn unmarked(mut pv: Value) -> Value {
    json::unannotate(&mut pv, keys::SITE);
    json::unannotate(&mut pv, keys::REWRITE_TRACE);
    pv
}

/// Without the fields that a rewriting may change.
fn untouched(pv: &Value) -> Value {
    let mut rest = unmarked(pv.clone());
    for pointer in ["/spec/nfs/server", "/spec/nfs/path", "/spec/csi/volumeHandle", "/spec/storageClassName"] {
        rest.pointer_mut(pointer).map(Value::take);
    }
    let attributes = rest.pointer_mut("/spec/csi/volumeAttributes").and_then(Value::as_object_mut);
    for (key, value) in attributes.into_iter().flatten() {
        if ["server", "share", "subdir"].contains(&key.to_lowercase().as_str()) {
            value.take();
        }
    }
    rest
}

/// No way back exists for some splits; every other volume must be rewritten.
fn to_west(covered: &Covered) -> Option<Rewritten> {
    match rewrite(&covered.pv, &covered.mapping, &site("east"), &site("west")) {
        Ok(rewritten) => Some(rewritten),
        Err(RewriteError::NoWayBack { .. }) => None,
        Err(other) => panic!("{other}: {:#}", covered.pv),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn there_and_back_is_where_it_was(covered in covered()) {
        let Some(there) = to_west(&covered) else { return Ok(()) };
        prop_assert_ne!(&there.before, &there.after);
        let back = rewrite(&there.pv, &covered.mapping, &site("east"), &site("east")).unwrap();
        prop_assert_eq!(&back.after, &there.before);
        // As text: the order of the fields is kept too.
        prop_assert_eq!(unmarked(back.pv).to_string(), covered.pv.to_string());
    }

    #[test]
    fn only_a_rule_shallower_than_the_split_has_no_way_back(covered in covered()) {
        let side = |name: &str| covered.mapping.side(&covered.mapping.rules()[0], &site(name)).unwrap().path.depth();
        let VolumeAddress::CsiNfs { subdir, .. } = VolumeAddress::from_pv(&covered.pv).unwrap() else { return Ok(()) };
        let depth = VolumeAddress::from_pv(&covered.pv).unwrap().nfs().unwrap().directory.split('/').skip(1).count();
        let after = depth - side("east") + side("west");
        let folders = subdir.split('/').filter(|p| !p.is_empty()).count();
        prop_assert_eq!(to_west(&covered).is_some(), folders <= after);
    }

    #[test]
    fn twice_is_once(covered in covered()) {
        let Some(once) = to_west(&covered) else { return Ok(()) };
        let twice = rewrite(&once.pv, &covered.mapping, &site("east"), &site("west")).unwrap();
        prop_assert_eq!(twice.pv.to_string(), once.pv.to_string());
    }

    #[test]
    fn what_was_not_understood_survives(covered in covered()) {
        let Some(there) = to_west(&covered) else { return Ok(()) };
        prop_assert_eq!(untouched(&there.pv).to_string(), untouched(&covered.pv).to_string());
    }

    #[test]
    fn no_byte_of_the_old_server_stays(covered in covered()) {
        let Some(there) = to_west(&covered) else { return Ok(()) };
        let source = there.pv["spec"].get("nfs").or_else(|| there.pv["spec"].get("csi")).unwrap();
        prop_assert!(!source.to_string().contains(&covered.server), "{:#}", source);
    }

    #[test]
    fn the_trace_tells_every_change(covered in covered()) {
        let Some(there) = to_west(&covered) else { return Ok(()) };
        let mut replayed = covered.pv.clone();
        for change in &there.trace.changes {
            let part = replayed.pointer_mut(&change.pointer);
            prop_assert_eq!(part.as_deref(), change.before.as_ref());
            if let (Some(part), Some(after)) = (part, &change.after) {
                *part = after.clone();
            }
        }
        prop_assert_eq!(replayed, unmarked(there.pv));
    }

    #[test]
    fn never_panics(pv in prop_oneof![any_json(), spoiled(&csi_pv()), spoiled(&in_tree_pv())]) {
        if let Ok(there) = rewrite(&pv, &nas(), &site("east"), &site("west")) {
            prop_assert_eq!(VolumeAddress::from_pv(&there.pv).unwrap(), there.after);
        }
        if let Ok(address) = VolumeAddress::from_pv(&csi_pv()) {
            let mut into = pv.clone();
            address.write_to(&mut into);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(pv in prop_oneof![spoiled(&csi_pv()), spoiled(&in_tree_pv())]) {
        if let Ok(address) = VolumeAddress::from_pv(&pv) {
            let mut written = pv.clone();
            address.write_to(&mut written);
            prop_assert_eq!(written.to_string(), pv.to_string());
        }
    }
}
