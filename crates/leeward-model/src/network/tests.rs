use super::*;
use crate::testing::{any_json, site, spoiled};
use proptest::prelude::*;
use serde_json::json;

fn mapping() -> Mapping {
    Mapping::parse(
        "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.77.0.1, path: /export } }
    west: { nfs: { server: 10.77.0.2, path: /vault } }
networks:
  - { east: shop/own, west: shop/lan }
  - { east: shop/dmz, west: nets/outer }
  - { east: nets/vlan7, west: shop/vlan70 }
  - { east: nets/a, west: nets/b }
  - { east: nets/b, west: nets/a }
",
    )
    .unwrap()
}

fn vm(networks: &[&str], annotations: &Value) -> Value {
    let multus =
        networks.iter().map(|network| json!({"name": "n", "multus": {"networkName": network, "default": false}}));
    let mut networks = vec![json!({"name": "default", "pod": {}})];
    networks.extend(multus);
    json!({
        "kind": "VirtualMachine", "metadata": {"namespace": "shop", "name": "db"},
        "spec": {"x-unknown": 1, "template": {"metadata": {"annotations": annotations}, "spec": {"networks": networks}}}
    })
}

fn at(vm: &Value, target: &str) -> Value {
    landed(vm, &mapping(), &site("east"), &site(target), None).unwrap().vm
}

/// Without what Leeward writes.
fn bare(vm: &Value) -> Value {
    let mut vm = vm.clone();
    for key in [keys::SITE, keys::REWRITE_TRACE] {
        json::unannotate(&mut vm, key);
    }
    if vm["metadata"]["annotations"] == json!({})
        && let Some(metadata) = vm.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.shift_remove("annotations");
    }
    vm
}

#[test]
fn golden() {
    let mut east = vm(
        &["own", "shop/own", "dmz", "nets/vlan7", "nets/a", "nets/b", "nets/unmapped", "unmapped"],
        &json!({
            MORE: "own@eth1, nets/vlan7@eth2,unmapped", DEFAULT: r#"[{"name": "a", "namespace": "nets", "mac": "02:00:00:00:00:01"}]"#,
            "other": "nets/a"
        }),
    );
    east["metadata"]["annotations"] = json!({
        keys::SITE: "east", LAST_APPLIED: "{}", "mine": "1"
    });
    let landed = landed(&east, &mapping(), &site("west"), &site("west"), Some("shop-1")).unwrap();
    insta::assert_json_snapshot!("vm", landed.vm);
    insta::assert_json_snapshot!("trace", landed.trace);
}

#[test]
fn a_machine_without_networks_of_its_own_is_left_as_it_is() {
    let plain = vm(&[], &json!({}));
    assert_eq!(at(&plain, "west"), plain);
    let marked = json!({"metadata": {"name": "db", "annotations": {keys::SITE: "east"}}});
    assert_eq!(at(&marked, "west")["metadata"]["annotations"], json!({keys::SITE: "west"}));
    assert_eq!(at(&vm(&["own"], &json!({})), "east"), vm(&["own"], &json!({})));
}

#[test]
fn a_form_that_cannot_stay_on_the_way_there_returns_on_the_way_back() {
    // `dmz` has to name its namespace in the west.
    let east = vm(&["dmz"], &json!({MORE: r#"[ {"name":"dmz"} ]"#}));
    let west = at(&east, "west");
    assert_eq!(west["spec"]["template"]["spec"]["networks"][1]["multus"]["networkName"], "nets/outer");
    assert_eq!(bare(&at(&west, "east")), east);
    // What somebody has changed there since is mapped as any other.
    let mut changed = west;
    changed["spec"]["template"]["spec"]["networks"][1]["multus"]["networkName"] = "nets/b".into();
    assert_eq!(at(&changed, "east")["spec"]["template"]["spec"]["networks"][1]["multus"]["networkName"], "nets/a");
}

#[test]
fn a_name_that_means_another_network_there_is_an_error() {
    let fault = |vm: &Value| {
        let error = landed(vm, &mapping(), &site("east"), &site("west"), None).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    let text = fault(&vm(&["lan"], &json!({})));
    for part in ["shop/db", "\"shop/lan\"", "\"shop/own\"", "[LW-0181]", "[LW-0180]"] {
        assert!(text.contains(part), "{text}");
    }
    for (key, bad) in [(MORE, "[{"), (MORE, r#"[["own"]]"#), (DEFAULT, r#""own""#)] {
        let text = fault(&vm(&[], &json!({key: bad})));
        assert!(text.contains("shop/db") && text.contains(key) && text.contains("[LW-0181]"), "{text}");
    }
}

#[test]
fn every_network_is_named_once_with_its_namespace() {
    let annotations = json!({MORE: "own@eth1,other/x", DEFAULT: "in-multus-own"});
    assert_eq!(names(&vm(&["own", "nets/a", "own"], &annotations)).unwrap(), ["shop/own", "nets/a", "other/x"]);
    assert!(names(&json!("x")).unwrap().is_empty());
}

fn reference() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec!["own", "dmz", "shop/own", "shop/dmz", "nets/vlan7", "nets/a", "nets/b"]),
        proptest::sample::select(vec!["free", "nets/free", "", "a/b/c", "/", "x@y"]),
    ]
    .prop_map(str::to_owned)
}

fn machine() -> impl Strategy<Value = Value> {
    let comma = || {
        proptest::collection::vec((reference(), "( |@eth1|@)?"), 0..4)
            .prop_map(|list| list.into_iter().map(|(r, end)| r + &end).collect::<Vec<_>>().join(","))
    };
    let json = || {
        proptest::collection::vec(reference(), 0..3).prop_map(|list| {
            let element = |r: &String| match r.split_once('/') {
                Some((namespace, name)) => json!({"namespace": namespace, "name": name, "ips": []}),
                None => json!({"name": r}),
            };
            Value::from(list.iter().map(element).collect::<Vec<_>>()).to_string()
        })
    };
    let annotation = || prop_oneof![comma(), json()];
    (proptest::collection::vec(reference(), 0..4), annotation(), annotation()).prop_map(|(networks, more, default)| {
        let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
        vm(&networks, &json!({MORE: more, DEFAULT: default}))
    })
}

proptest! {
    #[test]
    fn there_and_back_is_the_same_machine(east in machine()) {
        if let Ok(there) = landed(&east, &mapping(), &site("east"), &site("west"), None) {
            let back = landed(&there.vm, &mapping(), &site("west"), &site("east"), None).unwrap();
            prop_assert_eq!(bare(&back.vm), east);
        }
    }

    #[test]
    fn twice_is_once_and_all_places_agree(east in machine()) {
        if let Ok(there) = landed(&east, &mapping(), &site("east"), &site("west"), None) {
            let mut marked = there.vm.clone();
            json::annotate(&mut marked, keys::SITE, "west");
            prop_assert_eq!(&landed(&marked, &mapping(), &site("east"), &site("west"), None).unwrap().vm, &marked);
            let mapped: Vec<_> = names(&east).unwrap().iter()
                .map(|name| mapping().network(name, &site("east"), &site("west")).unwrap()).collect();
            let mut found = names(&there.vm).unwrap();
            let mut expected = mapped;
            found.sort();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn never_panics(vm in prop_oneof![any_json(), machine().prop_flat_map(|vm| spoiled(&vm))]) {
        let _ = (names(&vm), landed(&vm, &mapping(), &site("east"), &site("west"), None));
    }
}
