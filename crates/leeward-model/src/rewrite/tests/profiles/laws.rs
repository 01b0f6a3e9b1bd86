//! What holds for every rewriting by profiles.

use super::*;
use crate::testing::{any_json, spoiled, unknown_fields};
use proptest::prelude::*;

const NAME: &str = "[a-zA-Z0-9 .$^*+é-]{1,6}";

prop_compose! {
    /// A mapping by parts, keep and table in two orders of its rules, and a volume that it covers.
    fn covered()(
        array in NAME, remote in NAME, volume in NAME, twin in NAME, to in NAME,
        rows in prop::collection::btree_map(NAME, NAME, 0..4),
        folder in "/[a-z]{1,3}", rest in "(/[a-z0-9$ é][a-z0-9.$ é]{0,3}){0,2}", extra in (unknown_fields(), unknown_fields()),
    ) -> (Mapping, Mapping, Value, String) {
        let mut rows: Vec<_> = rows.into_iter().map(|(e, w)| (format!("x{e}"), format!("x{w}"))).collect();
        rows.dedup_by(|a, b| a.1 == b.1);
        let mut seen = std::collections::HashSet::new();
        rows.retain(|(_, w)| seen.insert(w.clone()));
        rows.push((volume.clone(), format!("{volume}!")));
        let rows: Vec<_> = rows.iter().map(|(e, w)| json!({"east": e, "west": w})).collect();
        let side = |array: String, server: &str, share: String| json!({"driver": "array.example", "parts": {"array": array, "server": server, "share": share}});
        let rule = json!({
            "name": "covers", "keep": ["remote", "twin"], "table": {"parts": ["volume"], "rows": rows},
            "east": side(format!("e{array}"), "10.1.0.1", folder.clone()), "west": side(format!("w{to}"), "fd00::2", "/copy".into()),
        });
        let other = json!({
            "name": "other", "keep": ["remote", "twin", "volume"],
            "east": side("elsewhere".into(), "10.1.0.9", "/".into()), "west": side("far".into(), "10.1.0.8", "/".into()),
        });
        let mapping = |rules: Vec<&Value>| {
            let profiles = located_profiles();
            let document = json!({
                "apiVersion": "leeward.io/v1alpha1", "kind": "SiteMapping", "sites": ["east", "west"], "rules": rules, "profiles": profiles,
            });
            Mapping::parse(&document.to_string()).unwrap_or_else(|e| panic!("{e}"))
        };
        let mut pv = metro(&format!("e{array}"), &remote, &volume, &twin);
        pv["spec"]["csi"]["volumeAttributes"]["server"] = "10.1.0.1".into();
        pv["spec"]["csi"]["volumeAttributes"]["share"] = format!("{folder}{rest}").into();
        pv["spec"]["mountOptions"] = json!(["addr=10.1.0.1", "hard"]);
        for (key, value) in extra.0 { pv[key] = value; }
        for (key, value) in extra.1 { pv["spec"]["csi"][key] = value; }
        (mapping(vec![&rule, &other]), mapping(vec![&other, &rule]), pv, format!("e{array}"))
    }
}

/// The profile of these tests as JSON.
fn located_profiles() -> Value {
    let value: Value = serde_saphyr::from_str::<Value>(PROFILE).unwrap();
    value["profiles"].clone()
}

fn unmarked(mut pv: Value) -> Value {
    json::unannotate(&mut pv, keys::SITE);
    json::unannotate(&mut pv, keys::REWRITE_TRACE);
    pv
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn reversible_idempotent_order_free_and_nothing_points_home((one, other, pv, array) in covered()) {
        let there = match go(&pv, &one) {
            Ok(there) => there,
            // A value that holds a separator of its form has no spelling there.
            Err(RewriteError::Address(_) | RewriteError::Unwritable { .. }) => return Ok(()),
            Err(why) => panic!("{why}: {pv:#}"),
        };
        prop_assert_eq!(&there.pv, &go(&pv, &other).unwrap().pv);
        prop_assert_eq!(&go(&there.pv, &one).unwrap().pv, &there.pv);
        let back = home(&there.pv, &one).unwrap();
        prop_assert_eq!(&back.after, &there.before);
        prop_assert_eq!(unmarked(back.pv).to_string(), pv.to_string());
        let csi = &there.pv["spec"]["csi"];
        let old = ["/", array.as_str(), ":"].concat();
        prop_assert!(!csi["volumeHandle"].as_str().unwrap().contains(&old));
        prop_assert_ne!(csi["volumeAttributes"]["arrayid"].as_str(), Some(array.as_str()));
        prop_assert!(!there.pv["spec"]["mountOptions"].to_string().contains("10.1.0.1"));
        prop_assert_eq!(unmarked(there.trace.undo(&there.pv).unwrap()), pv);
    }

    #[test]
    fn what_was_not_understood_survives_and_nothing_panics((one, _, pv, _) in covered(), spoil in any::<prop::sample::Index>(), with in any_json()) {
        let mut spoilt = pv.clone();
        let paths = ["/spec/csi/volumeHandle", "/spec/csi/volumeAttributes", "/spec/csi", "/metadata/annotations", "/spec/mountOptions", "/metadata"];
        *spoilt.pointer_mut(paths[spoil.index(paths.len())]).unwrap() = with;
        let _ = go(&spoilt, &one);
        let Ok(there) = go(&pv, &one) else { return Ok(()) };
        for (key, value) in pv["spec"]["csi"].as_object().unwrap() {
            if key.starts_with("x-") {
                prop_assert_eq!(&there.pv["spec"]["csi"][key], value);
            }
        }
        for (key, value) in pv.as_object().unwrap() {
            if key.starts_with("x-") {
                prop_assert_eq!(&there.pv[key], value);
            }
        }
    }

    #[test]
    fn spoilt_volumes_never_panic(pv in spoiled(&metro("A", "B", "1", "2"))) {
        let mapping = parse(&format!("{PROFILE}nodeAffinity: drop\nrules:\n- {{name: m, east: {{driver: array.example}}, west: {{driver: other.example}}, swap: [[array, remote], [volume, twin]]}}\n- {{name: r, east: {{raw: [{{at: /spec/csi/volumeHandle, find: a, replace: b}}]}}, west: {{raw: [{{at: /spec/csi/volumeHandle, find: b, replace: a}}]}}}}\n"));
        let _ = go(&pv, &mapping);
    }
}
