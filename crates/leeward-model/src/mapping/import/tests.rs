use super::*;
use crate::mapping::Mapping;
use crate::rewrite::{RewriteError, rewrite};
use serde_json::{Value, json};

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

fn imported(data: &[(&str, &str)]) -> Result<Proposal, ImportError> {
    let data = data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    import(&data, &site("east"), &site("west"))
}

fn pv(handle: &str) -> Value {
    json!({
        "metadata": {"name": "v"},
        "spec": {"csi": {"driver": "x.example", "volumeHandle": handle, "volumeAttributes": {"backend": "east-1"}}}
    })
}

fn handle(mapping: &Mapping, pv: &Value, to: &str) -> Result<Value, RewriteError> {
    let from = if to == "west" { "east" } else { "west" };
    Ok(rewrite(pv, mapping, &site(from), &site(to))?.pv)
}

#[test]
fn rules_apply_in_the_order_of_their_numbers_and_lead_back() {
    let proposal = imported(&[
        ("rule10.path", "spec.csi.volumeHandle"),
        ("rule10.find", "^b-(.*)#(.*)$"),
        ("rule10.replace", "c-$2#$1"),
        ("rule2.path", "csi.volumeHandle"),
        ("rule2.find", r"^10\.0\.0\.1#"),
        ("rule2.replace", "b-"),
        ("rule3.path", "spec.csi.volumeAttributes.backend"),
        ("rule3.find", "east"),
        ("rule3.replace", "west"),
        ("rule11.path", "spec.csi.volumeAttributes.absent"),
        ("rule11.find", "x"),
        ("rule11.replace", "y"),
    ])
    .unwrap();
    let mapping = Mapping::parse(&proposal.text).unwrap_or_else(|e| panic!("{e}\n{}", proposal.text));
    let west = handle(&mapping, &pv("10.0.0.1#x#y"), "west").unwrap();
    assert_eq!(west["spec"]["csi"]["volumeHandle"], "c-y#x");
    assert_eq!(west["spec"]["csi"]["volumeAttributes"]["backend"], "west-1");
    let home = handle(&mapping, &west, "east").unwrap();
    assert_eq!(
        home["spec"],
        pv("10.0.0.1#x#y")["spec"]
            .as_object()
            .map(|spec| {
                let mut spec = spec.clone();
                spec.insert("persistentVolumeReclaimPolicy".into(), "Retain".into());
                Value::Object(spec)
            })
            .unwrap()
    );
}

#[test]
fn a_volume_that_nothing_matches_is_an_error() {
    let proposal = imported(&[("regex.find", "^a"), ("regex.replace", "b")]).unwrap();
    let mapping = Mapping::parse(&proposal.text).unwrap();
    assert_eq!(handle(&mapping, &pv("a1"), "west").unwrap()["spec"]["csi"]["volumeHandle"], "b1");
    let fault = handle(&mapping, &pv("x1"), "west").unwrap_err().to_string();
    assert!(fault.ends_with("[LW-0110]"), "{fault}");
}

#[test]
fn where_the_patterns_say_no_way_back_it_is_said() {
    let proposal =
        imported(&[("rule1.path", "spec.csi.volumeHandle"), ("rule1.find", "[ab]+"), ("rule1.replace", "c")]).unwrap();
    assert!(proposal.notes.iter().any(|note| note.contains("rule1") && note.contains("way back")), "{proposal:?}");
    let mapping = Mapping::parse(&proposal.text).unwrap();
    let west = handle(&mapping, &pv("ab1"), "west").unwrap();
    assert_eq!(west["spec"]["csi"]["volumeHandle"], "c1");
    let fault = handle(&mapping, &west, "east").unwrap_err().to_string();
    assert!(fault.contains("[LW-0144]") || fault.contains("[LW-0110]"), "{fault}");
}

#[test]
fn a_reference_to_no_group_is_empty_as_in_go_and_noted() {
    let proposal = imported(&[
        ("rule1.path", "spec.csi.volumeHandle"),
        ("rule1.find", "^(a)1$"),
        ("rule1.replace", "$1x-${1}y$$"),
    ])
    .unwrap();
    assert!(proposal.notes.iter().any(|note| note.contains("1x")), "{proposal:?}");
    let mapping = Mapping::parse(&proposal.text).unwrap_or_else(|e| panic!("{e}\n{}", proposal.text));
    assert_eq!(handle(&mapping, &pv("a1"), "west").unwrap()["spec"]["csi"]["volumeHandle"], "-ay$");
}

#[test]
fn what_is_not_understood_is_named() {
    let path = ("rule1.path", "spec.csi.volumeHandle");
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "no rule"),
        (&[path], "rule1.find"),
        (&[("rule1.find", "a")], "rule1.path"),
        (&[("first.path", "a")], "first.path"),
        (&[path, ("rule1.fnd", "a")], "rule1.fnd"),
        (&[path, ("rule01.find", "a")], "renumber"),
        (&[path, ("rule1.find", "(?=a)")], "look-around"),
        (&[("rule1.path", "spec..x"), ("rule1.find", "a")], "spec..x"),
    ];
    for (data, says) in cases {
        let fault = imported(data).unwrap_err().to_string();
        assert!(fault.contains(says) && fault.ends_with("[LW-0145]"), "{fault}");
    }
}
