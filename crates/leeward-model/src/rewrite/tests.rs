use super::*;
use crate::testing::{csi_pv, in_tree_pv, nas, site};
use serde_json::json;

mod laws;
mod profiles;

fn west(pv: &Value) -> Rewritten {
    rewrite(pv, &nas(), &site("east"), &site("west")).unwrap()
}

fn fault(pv: &Value) -> String {
    rewrite(pv, &nas(), &site("east"), &site("west")).unwrap_err().to_string()
}

#[test]
fn golden_csi() {
    let rewritten = west(&csi_pv());
    insta::assert_json_snapshot!("csi_pv", rewritten.pv);
    insta::assert_json_snapshot!("csi_trace", rewritten.trace);
}

#[test]
fn golden_in_tree() {
    let rewritten = west(&in_tree_pv());
    insta::assert_json_snapshot!("in_tree_pv", rewritten.pv);
    insta::assert_json_snapshot!("in_tree_trace", rewritten.trace);
}

#[test]
fn the_annotation_carries_the_trace() {
    let rewritten = west(&csi_pv());
    let text = json::annotation(&rewritten.pv, keys::REWRITE_TRACE).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(text).unwrap(), rewritten.trace);
}

#[test]
fn a_volume_that_is_at_the_target_stays_as_it_is() {
    let once = west(&csi_pv());
    let twice = west(&once.pv);
    assert_eq!(twice.pv, once.pv);
    assert_eq!((&twice.before, &twice.after), (&once.after, &once.after));
    assert!(twice.trace.rule.is_none() && twice.trace.changes.is_empty());
    let home = rewrite(&csi_pv(), &nas(), &site("east"), &site("east")).unwrap();
    assert_eq!(home.pv, csi_pv());
}

#[test]
fn the_annotation_says_the_direction_whatever_the_caller_thinks() {
    let at_west = west(&csi_pv()).pv;
    let home = rewrite(&at_west, &nas(), &site("east"), &site("east")).unwrap();
    assert_eq!(home.after, VolumeAddress::from_pv(&csi_pv()).unwrap());
    assert_eq!(home.trace.from, site("west"));
}

#[test]
fn a_rule_that_reaches_into_the_subdirectory_keeps_its_number_of_folders() {
    let mapping = Mapping::parse(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n- name: deep\n  east: {nfs: {server: 10.77.0.1, path: /export/a}}\n  west: {nfs: {server: 10.77.0.2, path: /vault/b}}\n",
    )
    .unwrap();
    let mut pv = csi_pv();
    pv["spec"]["csi"]["volumeHandle"] = "10.77.0.1#export#a/vol#id#".into();
    pv["spec"]["csi"]["volumeAttributes"]["subdir"] = "a/vol".into();
    let there = rewrite(&pv, &mapping, &site("east"), &site("west")).unwrap();
    assert_eq!(there.pv["spec"]["csi"]["volumeHandle"], "10.77.0.2#vault#b/vol#id#");
    assert_eq!(there.pv["spec"]["csi"]["volumeAttributes"]["share"], "/vault");
    assert_eq!(there.pv["spec"]["csi"]["volumeAttributes"]["subdir"], "b/vol");
    let back = rewrite(&there.pv, &mapping, &site("east"), &site("east")).unwrap();
    assert_eq!(back.pv["spec"]["csi"], pv["spec"]["csi"]);
}

#[test]
fn a_rule_without_a_way_back_is_refused_for_that_volume() {
    let mapping = Mapping::parse(
        "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n- name: deep\n  east: {nfs: {server: 10.77.0.1, path: /export/a/b}}\n  west: {nfs: {server: 10.77.0.2, path: /}}\n",
    )
    .unwrap();
    let mut pv = csi_pv();
    pv["spec"]["csi"]["volumeHandle"] = "10.77.0.1#export#a/b/vol#id#".into();
    pv["spec"]["csi"]["volumeAttributes"]["subdir"] = "a/b/vol".into();
    let fault = rewrite(&pv, &mapping, &site("east"), &site("west")).unwrap_err().to_string();
    assert!(fault.contains("\"deep\"") && fault.ends_with("[LW-0134]"), "{fault}");
}

#[test]
fn an_uncovered_volume_names_claim_address_nearest_rule_and_a_new_one() {
    let mut pv = in_tree_pv();
    pv["spec"]["nfs"]["path"] = "/exports/web-disk".into();
    assert_eq!(
        fault(&pv),
        "PersistentVolume \"web-disk\" (claim shop/web-disk) is at nfs://10.77.0.1/exports/web-disk, which no rule of the site \
         mapping covers for site east; nearest is rule \"nas\" (nfs://10.77.0.1/export); add a rule: {name: exports-web-disk, \
         east: {nfs: {server: \"10.77.0.1\", path: /exports/web-disk}}, west: {nfs: {server: \"10.77.0.2\", path: \
         \"<directory of its copy at west>\"}}} [LW-0130]"
    );
    pv["spec"]["nfs"] = json!({"server": "10.77.0.2", "path": "/vault/web-disk"});
    let fault = fault(&pv);
    assert!(fault.contains("rule \"nas\" covers it at site west: is it there already"), "{fault}");
}

#[test]
fn a_proposed_rule_is_a_rule() {
    let mut pv = csi_pv();
    pv["spec"]["csi"]["volumeHandle"] = "nas9#pool/x#v##".into();
    pv["spec"]["csi"]["volumeAttributes"] = json!({"server": "nas9", "share": "/pool/x", "subdir": "v"});
    let Err(RewriteError::Uncovered(uncovered)) = rewrite(&pv, &nas(), &site("east"), &site("west")) else {
        panic!("covered?")
    };
    let filled =
        uncovered.proposed.replace("<file server of west>", "nas8").replace("<directory of its copy at west>", "/p");
    let text =
        format!("apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules:\n  - {filled}\n");
    let mapping = Mapping::parse(&text).unwrap();
    let after = rewrite(&pv, &mapping, &site("east"), &site("west")).unwrap().after;
    assert_eq!(after.to_string(), "nfs://nas8/p/v");
}

#[test]
fn sites_that_the_mapping_does_not_have_are_named() {
    let north = site("north");
    for (source, target) in [("north", "west"), ("east", "north")] {
        let fault = rewrite(&csi_pv(), &nas(), &site(source), &site(target)).unwrap_err().to_string();
        assert!(fault.contains("north") && fault.ends_with("[LW-0131]"), "{fault}");
    }
    let mut pv = csi_pv();
    pv["metadata"]["annotations"][keys::SITE] = north.as_str().into();
    assert!(fault(&pv).contains("annotation leeward.io/site is \"north\""));
}

#[test]
fn what_still_names_the_old_server_is_an_error() {
    let mut pv = csi_pv();
    pv["spec"]["mountOptions"] = json!(["nfsvers=4.1", "addr=10.77.0.1"]);
    let fault = fault(&pv);
    assert!(fault.contains("/spec/mountOptions/1 still names 10.77.0.1") && fault.ends_with("[LW-0132]"), "{fault}");
}

#[test]
fn a_storage_class_without_a_way_back_is_an_error() {
    let mut pv = csi_pv();
    pv["spec"]["storageClassName"] = "fast".into();
    assert!(fault(&pv).ends_with("[LW-0133]"));
}

#[test]
fn the_original_reclaim_policy_is_kept_once() {
    let mut pv = in_tree_pv();
    assert_eq!(west(&pv).pv["metadata"]["annotations"][keys::ORIGINAL_RECLAIM_POLICY], "Delete");
    pv["metadata"]["annotations"][keys::ORIGINAL_RECLAIM_POLICY] = "Recycle".into();
    assert_eq!(west(&pv).pv["metadata"]["annotations"][keys::ORIGINAL_RECLAIM_POLICY], "Recycle");
}

#[test]
fn what_could_not_be_read_where_it_lands_is_refused() {
    let mut pv = csi_pv();
    pv["spec"]["csi"]["volumeHandle"] = "10.77.0.2".into();
    let text = fault(&pv);
    assert!(text.contains("LW-0112") && text.contains("server#share#subdir#id#"), "{text}");
    pv["spec"]["csi"]["volumeHandle"] = "an-identifier".into();
    assert_eq!(west(&pv).pv["spec"]["csi"]["volumeHandle"], "an-identifier");
}

#[test]
fn a_volume_that_nothing_could_be_noted_on_is_refused() {
    for pointer in ["/metadata", "/metadata/annotations"] {
        let mut pv = csi_pv();
        *pv.pointer_mut(pointer).unwrap() = "text".into();
        let text = fault(&pv);
        assert!(text.contains("LW-0112") && text.contains("metadata.annotations"), "{text}");
        *pv.pointer_mut(pointer).unwrap() = Value::Null;
        assert_eq!(json::annotation(&west(&pv).pv, keys::SITE), Some("west"));
    }
}
