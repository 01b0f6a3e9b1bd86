//! The laws of rewriting, for volumes that profiles read, for tables, raw rules and landing.

use super::*;
use crate::mapping::Documents;

mod laws;

const HEAD: &str = "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\n";

fn parse(text: &str) -> Mapping {
    Mapping::parse(&format!("{HEAD}{text}")).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn refused(text: &str) -> String {
    Mapping::parse(&format!("{HEAD}{text}")).unwrap_err().to_string()
}

fn go(pv: &Value, mapping: &Mapping) -> Result<Rewritten, RewriteError> {
    rewrite(pv, mapping, &site("east"), &site("west"))
}

fn home(pv: &Value, mapping: &Mapping) -> Result<Rewritten, RewriteError> {
    rewrite(pv, mapping, &site("west"), &site("east"))
}

/// A profile whose places overlap in every way: one part in three places, halves in one text, a list, a key.
const PROFILE: &str = "profiles:
  - name: array
    driver: [array.example, other.example]
    read: [\"made up for the tests\"]
    parts:
      array: {}
      remote: {}
      volume: { perVolume: true }
      twin: { perVolume: true }
      server: { maps: host }
      share: { maps: path }
      portals: {}
      note: { maps: keep }
    places:
      - { at: /spec/csi/volumeHandle, form: '{volume}/{array}:{twin}/{remote}', mounts: true }
      - { at: /spec/csi/volumeAttributes/ArrayID, form: '{array}', optional: true, anyCase: true }
      - { at: /spec/csi/volumeAttributes/server, form: '{server}', optional: true }
      - { at: /spec/csi/volumeAttributes/share, form: '{share}', optional: true }
      - { at: /spec/csi/volumeAttributes/note, form: '{note}', optional: true }
      - { at: '/spec/csi/portals/*', form: '{portals}', optional: true }
      - { at: '/spec/mountOptions/*', form: 'addr={server}', ifMatches: true }
    affinity:
      - { key: 'array.example/{array}' }
      - { key: array.example/serial, value: '{array}' }
";

fn metro(array: &str, remote: &str, volume: &str, twin: &str) -> Value {
    json!({
        "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/provisioned-by": "array.example"}},
        "spec": {
            "claimRef": {"namespace": "n", "name": "c"},
            "csi": {
                "driver": "array.example", "volumeHandle": format!("{volume}/{array}:{twin}/{remote}"),
                "volumeAttributes": {"arrayid": array, "note": "kept"}
            },
            "persistentVolumeReclaimPolicy": "Retain",
        }
    })
}

#[test]
fn halves_change_places_all_at_once() {
    let mapping = parse(&format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example}}, west: {{driver: array.example}}, swap: [[array, remote], [volume, twin]]}}\n"
    ));
    let there = go(&metro("A1", "B2", "1", "2"), &mapping).unwrap();
    assert_eq!(there.pv["spec"]["csi"]["volumeHandle"], "2/B2:1/A1");
    assert_eq!(there.pv["spec"]["csi"]["volumeAttributes"]["arrayid"], "B2");
    assert_eq!(home(&there.pv, &mapping).unwrap().pv["spec"], metro("A1", "B2", "1", "2")["spec"]);
}

#[test]
fn what_is_kept_is_covered_and_another_driver_is_written_everywhere() {
    let mapping = parse(&format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example}}, west: {{driver: other.example}}, keep: [array, remote, volume, twin]}}\n"
    ));
    let there = go(&metro("A1", "B2", "1", "2"), &mapping).unwrap();
    assert_eq!(there.pv["spec"]["csi"]["volumeHandle"], "1/A1:2/B2");
    assert_eq!(there.pv["spec"]["csi"]["driver"], "other.example");
    assert_eq!(there.pv["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"], "other.example");
    let mapping = parse(&format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example}}, west: {{driver: array.example}}, keep: [array, remote, volume, twin]}}\n"
    ));
    let same = go(&metro("A1", "B2", "1", "2"), &mapping).unwrap();
    assert_eq!(same.before, same.after);
    assert_eq!(same.trace.rule.as_deref(), Some("m"));
}

#[test]
fn affinity_follows_the_parts_and_nothing_else() {
    let text = format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example, parts: {{array: A1}}}}, west: {{driver: array.example, parts: {{array: A9}}}}, keep: [remote, volume, twin]}}\n"
    );
    let mut pv = metro("A1", "B2", "1", "2");
    let terms = |list: Value| json!({"required": {"nodeSelectorTerms": [{"matchExpressions": list}]}});
    let exp = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    pv["spec"]["nodeAffinity"] = terms(json!([exp("array.example/A1", "true"), exp("array.example/serial", "A1")]));
    pv["metadata"]["labels"] = json!({"a": "b", "array.example/A1": "x"});
    let there = go(&pv, &parse(&text)).unwrap().pv;
    assert_eq!(
        there["spec"]["nodeAffinity"],
        terms(json!([exp("array.example/A9", "true"), exp("array.example/serial", "A9")]))
    );
    assert_eq!(there["metadata"]["labels"], json!({"a": "b", "array.example/A9": "x"}));

    pv["spec"]["nodeAffinity"] =
        terms(json!([exp("array.example/A1", "true"), exp("topology.kubernetes.io/zone", "e1")]));
    pv["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "e1"});
    let fault = go(&pv, &parse(&text)).unwrap_err().to_string();
    assert!(fault.contains("topology.kubernetes.io/zone e1") && fault.ends_with("[LW-0138]"), "{fault}");
    let mapping = parse(&format!("nodeAffinity: [{{key: topology.kubernetes.io/zone, east: e1, west: w1}}]\n{text}"));
    let there = go(&pv, &mapping).unwrap().pv;
    assert_eq!(
        there["spec"]["nodeAffinity"],
        terms(json!([exp("array.example/A9", "true"), exp("topology.kubernetes.io/zone", "w1")]))
    );
    assert_eq!(there["metadata"]["labels"]["topology.kubernetes.io/zone"], "w1");
    assert_eq!(home(&there, &mapping).unwrap().pv["spec"], pv["spec"]);

    let mapping = parse(&format!("nodeAffinity: drop\n{text}"));
    let there = go(&pv, &mapping).unwrap().pv;
    assert_eq!(there["spec"]["nodeAffinity"], terms(json!([exp("array.example/A9", "true")])));
    assert_eq!(there["metadata"]["labels"], json!({}));
    let back = home(&there, &mapping).unwrap().pv;
    assert_eq!(back["spec"]["nodeAffinity"], pv["spec"]["nodeAffinity"], "what was dropped returns");
    assert_eq!(back["metadata"]["labels"], pv["metadata"]["labels"]);
    pv["spec"]["nodeAffinity"] = terms(json!([exp("topology.kubernetes.io/zone", "e1")]));
    assert!(go(&pv, &mapping).unwrap().pv["spec"].get("nodeAffinity").is_none(), "an empty term matches no node");
}

#[test]
fn one_rule_says_what_another_says_or_both_are_refused() {
    let rule = |name: &str, east: &str, west: &str, rest: &str| {
        format!(
            "- {{name: {name}, east: {{driver: array.example, parts: {east}}}, west: {{driver: array.example, parts: {west}}}, {rest}}}\n"
        )
    };
    let wide = rule("wide", "{array: A}", "{array: X}", "keep: [remote, volume, twin]");
    let narrow = rule("narrow", "{array: A, remote: B}", "{array: Q, remote: B}", "keep: [volume, twin]");
    for rules in [format!("{wide}{narrow}"), format!("{narrow}{wide}")] {
        let mapping = parse(&format!("{PROFILE}rules:\n{rules}"));
        let fault = go(&metro("A", "B", "1", "2"), &mapping).unwrap_err().to_string();
        assert!(fault.contains("\"wide\"") && fault.contains("\"narrow\"") && fault.ends_with("[LW-0135]"), "{fault}");
    }
    let twice = rule("other", "{array: A}", "{array: Z}", "keep: [remote, volume, twin]");
    assert!(refused(&format!("{PROFILE}rules:\n{wide}{twice}")).contains("[LW-0124]"));
    // two arrays to one, told apart by nothing: the way back is ambiguous
    let second = rule("second", "{array: B}", "{array: X}", "keep: [remote, volume, twin]");
    assert!(refused(&format!("{PROFILE}rules:\n{wide}{second}")).contains("[LW-0124]"));
    let table = |name: &str, east: &str| {
        rule(
            name,
            &format!("{{array: {east}}}"),
            "{array: X}",
            "keep: [remote, twin], table: {parts: [volume], rows: [{east: \"1\", west: \"7\"}]}",
        )
    };
    let mapping = parse(&format!("{PROFILE}rules:\n{}{}", table("a", "A"), table("b", "B")));
    let fault = go(&metro("A", "R", "1", "2"), &mapping).unwrap_err().to_string();
    assert!(fault.ends_with("[LW-0134]") && fault.contains("come home as"), "{fault}");
}

#[test]
fn what_would_not_lead_back_is_refused_with_its_place() {
    let side = "east: {driver: array.example, parts: {array: A}}";
    let cases = [
        (format!("{side}, west: {{driver: array.example}}, keep: [remote]"), "LW-0127", "only one side says array"),
        (format!("{side}, west: {{nfs: {{server: a, path: /b}}}}"), "LW-0127", "one kind"),
        (
            format!("{side}, west: {{driver: array.example, parts: {{array: B}}}}, keep: [array]"),
            "LW-0122",
            "parts says it already",
        ),
        (
            format!("{side}, west: {{driver: array.example, parts: {{array: B}}}}, keep: [arrays]"),
            "LW-0122",
            "no part of profile",
        ),
        (
            format!(
                "{side}, west: {{driver: array.example, parts: {{array: B}}}}, table: {{parts: [volume], rows: [{{east: a, west: x}}, {{east: b, west: x}}]}}"
            ),
            "LW-0128",
            "is in line",
        ),
        (
            format!(
                "{side}, west: {{driver: array.example, parts: {{array: B}}}}, table: {{parts: [volume], csv: \"east,west\\na,x\\na,y\\n\"}}"
            ),
            "LW-0128",
            "csv, line 3",
        ),
        (
            format!(
                "{side}, west: {{driver: array.example, parts: {{array: B}}}}, table: {{parts: [volume], from: t.csv}}"
            ),
            "LW-0128",
            "no document \"t.csv\"",
        ),
        (format!("{side}, west: {{driver: unknown.example}}"), "LW-0129", "no driver profile"),
        (
            "east: {raw: [{at: /spec/csi/volumeHandle, find: '(', replace: a}]}, west: {raw: []}".into(),
            "LW-0118",
            "find",
        ),
        (
            "east: {raw: [{at: /spec/csi/volumeHandle, find: 'a', replace: $1x}]}, west: {raw: []}".into(),
            "LW-0118",
            "${1x}",
        ),
        (
            "east: {raw: [{at: /spec/csi/volumeHandle, find: 'a', replace: b}]}, west: {raw: []}".into(),
            "LW-0127",
            "no way back",
        ),
    ];
    for (rule, code, says) in cases {
        let fault = refused(&format!("{PROFILE}rules:\n- {{name: r, {rule}}}\n"));
        assert!(fault.contains(code) && fault.contains(says) && fault.contains("line "), "{fault}");
    }
}

#[test]
fn raw_rules_are_checked_for_each_volume() {
    let rule = |west: &str| {
        format!(
            "rules:\n- {{name: r, east: {{raw: [{{at: /spec/csi/volumeHandle, find: '^e(.*)', replace: 'w${{1}}'}}]}}, west: {{raw: [{west}]}}}}\n"
        )
    };
    let mut pv = metro("A", "B", "1", "2");
    pv["spec"]["csi"]["driver"] = "nobody.example".into();
    pv["spec"]["csi"]["volumeHandle"] = "e-1".into();
    let good = parse(&rule("{at: /spec/csi/volumeHandle, find: '^w(.*)', replace: 'e${1}'}"));
    let there = go(&pv, &good).unwrap();
    assert_eq!(there.after.to_string(), "nobody.example(w-1)");
    assert_eq!(home(&there.pv, &good).unwrap().pv["spec"], pv["spec"]);
    let bad = parse(&rule("{at: /spec/csi/volumeHandle, find: '^w(.*)', replace: 'E${1}'}"));
    assert!(go(&pv, &bad).unwrap_err().to_string().ends_with("[LW-0134]"));
    pv["spec"]["csi"]["volumeHandle"] = "x".into();
    assert!(go(&pv, &good).unwrap_err().to_string().ends_with("[LW-0110]"));
    let nothing = parse(
        "rules:\n- {name: r, east: {raw: [{at: /spec/csi/volumeHandle, find: 'x', replace: x}]}, west: {raw: [{at: /spec/csi/volumeHandle, find: z, replace: x}]}}\n",
    );
    assert!(go(&pv, &nothing).unwrap_err().to_string().ends_with("[LW-0143]"));
}

#[test]
fn local_volumes_are_refused_or_skipped_and_secrets_and_finalizers_land() {
    let local = json!({"metadata": {"name": "l"}, "spec": {"hostPath": {"path": "/x"}, "claimRef": {"namespace": "n", "name": "c"}}});
    let fault = go(&local, &nas()).unwrap_err().to_string();
    assert!(fault.contains("n/c") && fault.contains("{inTree: hostPath}") && fault.ends_with("[LW-0136]"), "{fault}");
    let lvm = json!({"metadata": {"name": "l"}, "spec": {"csi": {"driver": "topolvm.io", "volumeHandle": "1"}}});
    assert!(go(&lvm, &nas()).unwrap_err().to_string().ends_with("[LW-0136]"));
    let rule = "rules:\n- {name: m, east: {driver: array.example}, west: {driver: array.example}, swap: [[array, remote], [volume, twin]]}\n";
    let mapping = parse(&format!(
        "{PROFILE}{rule}skip: [{{driver: topolvm.io}}]\nreclaimPolicy: Original\nsecrets: [{{east: s/e, west: t/w}}, {{east: s/e2, west: s/e3}}]\n"
    ));
    assert_eq!(mapping.skips(&lvm).as_deref(), Some("CSI driver \"topolvm.io\""));
    assert!(go(&lvm, &mapping).unwrap_err().to_string().ends_with("[LW-0137]"));
    let mut pv = metro("A", "B", "1", "2");
    pv["metadata"]["finalizers"] = json!([
        "kubernetes.io/pv-protection",
        "external-attacher/array-example",
        "external-provisioner.volume.kubernetes.io/finalizer",
        "x/y"
    ]);
    pv["metadata"]["annotations"][keys::ORIGINAL_RECLAIM_POLICY] = "Delete".into();
    pv["metadata"]["annotations"]["volume.kubernetes.io/provisioner-deletion-secret-name"] = "e".into();
    pv["metadata"]["annotations"]["volume.kubernetes.io/provisioner-deletion-secret-namespace"] = "s".into();
    pv["spec"]["csi"]["nodeStageSecretRef"] = json!({"name": "e", "namespace": "s"});
    let there = go(&pv, &mapping).unwrap().pv;
    assert_eq!(
        there["metadata"]["finalizers"],
        json!(["kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer", "x/y"])
    );
    assert_eq!(there["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    assert_eq!(there["spec"]["csi"]["nodeStageSecretRef"], json!({"name": "w", "namespace": "t"}));
    assert_eq!(there["metadata"]["annotations"]["volume.kubernetes.io/provisioner-deletion-secret-namespace"], "t");
    pv["spec"]["csi"]["nodeStageSecretRef"] = json!({"name": "e3", "namespace": "s"});
    assert!(go(&pv, &mapping).unwrap_err().to_string().ends_with("[LW-0139]"));
}

#[test]
fn an_address_can_be_easts_in_one_pair_and_wests_in_another() {
    let rules = |extra: &str| {
        format!(
            "rules:\n- {{name: a, {extra}east: {{nfs: {{server: 10.0.0.1, path: /d}}}}, west: {{nfs: {{server: 10.0.0.2, path: /d}}}}}}\n- {{name: b, east: {{nfs: {{server: 10.0.0.2, path: /d}}}}, west: {{nfs: {{server: 10.0.0.1, path: /d}}}}}}\n"
        )
    };
    assert!(refused(&rules("")).contains("[LW-0125]"));
    let mapping = parse(&rules("addressReused: true, "));
    // The other site's address as a directory's name stays.
    let pv =
        json!({"metadata": {"name": "p"}, "spec": {"nfs": {"server": "10.0.0.1", "path": "/d/10.0.0.2/10.0.0.1"}}});
    let there = go(&pv, &mapping).unwrap();
    assert_eq!(there.pv["spec"]["nfs"], json!({"server": "10.0.0.2", "path": "/d/10.0.0.2/10.0.0.1"}));
    // The mark says where it is; the address alone would send it on.
    assert_eq!(go(&there.pv, &mapping).unwrap().pv, there.pv);
    assert_eq!(home(&there.pv, &mapping).unwrap().pv["spec"]["nfs"], pv["spec"]["nfs"]);
}

#[test]
fn three_sites_have_a_way_between_each_two() {
    let mapping = Mapping::parse("apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [a, b, c]\nstorageClasses: [{a: x, b: w, c: z}]\nrules:\n- {name: r, a: {nfs: {server: na, path: /a}}, b: {nfs: {server: nb, path: /b}}, c: {nfs: {server: nc, path: /c}}}\n- {name: only-ab, a: {nfs: {server: na, path: /x}}, b: {nfs: {server: nb, path: /y}}}\n").unwrap();
    let pv = |path: &str| json!({"metadata": {"name": "p"}, "spec": {"nfs": {"server": "na", "path": path}, "storageClassName": "x"}});
    let to = |pv: &Value, from: &str, to: &str| rewrite(pv, &mapping, &site(from), &site(to));
    let at_b = to(&pv("/a/1"), "a", "b").unwrap();
    let at_c = to(&at_b.pv, "b", "c").unwrap();
    assert_eq!(at_c.after.to_string(), "nfs://nc/c/1");
    assert_eq!(to(&at_c.pv, "c", "a").unwrap().after.to_string(), "nfs://na/a/1");
    assert_eq!(to(&pv("/a/1"), "a", "c").unwrap().pv["spec"]["storageClassName"], "z");
    assert!(to(&pv("/x/1"), "a", "b").is_ok());
    assert!(to(&pv("/x/1"), "a", "c").unwrap_err().to_string().ends_with("[LW-0130]"));
}

#[test]
fn an_uncovered_driver_volume_gets_a_rule_that_covers_it() {
    let mapping = parse(&format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example, parts: {{array: A}}}}, west: {{driver: array.example, parts: {{array: B}}}}, keep: [remote], table: {{parts: [volume, twin], rows: []}}}}\n"
    ));
    let Err(RewriteError::Uncovered(uncovered)) = go(&metro("A", "R", "1", "2"), &mapping) else { panic!("covered?") };
    let text = uncovered.to_string();
    assert!(text.contains("\"m\"") && text.contains("none for volume 1, twin 2"), "{text}");
    let filled = uncovered
        .proposed
        .replace("<array at west>", "W")
        .replace("<remote at west>", "V")
        .replace("<volume of its copy at west>", "7")
        .replace("<twin of its copy at west>", "8");
    let mapping = parse(&format!("{PROFILE}rules:\n- {filled}\n"));
    assert_eq!(go(&metro("A", "R", "1", "2"), &mapping).unwrap().pv["spec"]["csi"]["volumeHandle"], "7/W:8/V");
}

#[test]
fn the_old_address_in_a_field_that_no_place_names_is_an_error() {
    let mapping = parse(&format!(
        "{PROFILE}rules:\n- {{name: m, east: {{driver: array.example, parts: {{array: ARR-1, server: 10.0.0.1}}}}, west: {{driver: array.example, parts: {{array: ARR-2, server: 10.0.0.2}}}}, keep: [remote, volume, twin]}}\n"
    ));
    let mut pv = metro("ARR-1", "R", "1", "2");
    pv["spec"]["mountOptions"] = json!(["addr=10.0.0.1", "hard"]);
    assert_eq!(go(&pv, &mapping).unwrap().pv["spec"]["mountOptions"], json!(["addr=10.0.0.2", "hard"]));
    pv["spec"]["csi"]["volumeAttributes"]["backend"] = "ARR-1".into();
    let fault = go(&pv, &mapping).unwrap_err().to_string();
    assert!(fault.contains("volumeAttributes/backend") && fault.ends_with("[LW-0132]"), "{fault}");
    pv["spec"]["csi"]["volumeAttributes"]["backend"] = "x".into();
    pv["spec"]["mountOptions"] = json!(["addr=10.0.0.1", "clientaddr=10.0.0.1"]);
    assert!(go(&pv, &mapping).unwrap_err().to_string().ends_with("[LW-0132]"));
}

/// A big table is read once and asked by one hash: what is asked does not depend on where the row stands.
#[test]
fn a_table_of_ten_thousand_rows_answers_each_and_only_its_own() {
    let csv: String = std::iter::once("east,west\n".to_owned())
        .chain((0..10_000).map(|n| format!("vol-{n:05},copy-{:05}\n", (n * 7919) % 10_000)))
        .collect();
    let text = format!(
        "{HEAD}{PROFILE}rules:\n- {{name: t, east: {{driver: array.example}}, west: {{driver: array.example}}, keep: [array, remote, twin], table: {{parts: [volume], from: luns}}}}\n"
    );
    assert_eq!(Mapping::documents(&text), ["luns"]);
    let mapping = Mapping::parse_with(&text, &Documents::from([("luns".to_owned(), csv)])).unwrap();
    for n in [0usize, 1, 4_999, 9_999] {
        let there = go(&metro("A", "R", &format!("vol-{n:05}"), "2"), &mapping).unwrap();
        let wanted = format!("copy-{:05}/A:2/R", (n * 7919) % 10_000);
        assert_eq!(there.pv["spec"]["csi"]["volumeHandle"], wanted);
        assert_eq!(home(&there.pv, &mapping).unwrap().after, there.before);
    }
    assert!(go(&metro("A", "R", "vol-10000", "2"), &mapping).is_err());
}

/// A ConfigMap holds 1 MiB: a big table is spread over several, and is one table all the same.
#[test]
fn a_table_from_several_documents_is_one_and_its_faults_name_the_document() {
    let text = format!(
        "{HEAD}{PROFILE}rules:\n- {{name: t, east: {{driver: array.example}}, west: {{driver: array.example}}, keep: [array, remote, twin], table: {{parts: [volume], from: [luns/1.csv, luns/2]}}}}\n"
    );
    assert_eq!(Mapping::documents(&text), ["luns/1.csv", "luns/2"]);
    let parse = |second: &str| {
        let first = ("luns/1.csv".to_owned(), "east,west\na,x\n".to_owned());
        Mapping::parse_with(&text, &Documents::from([first, ("luns/2".to_owned(), second.to_owned())]))
    };
    let mapping = parse("- {east: b, west: v}\n").unwrap();
    for (volume, copy) in [("a", "x"), ("b", "v")] {
        let there = go(&metro("A", "R", volume, "2"), &mapping).unwrap();
        assert_eq!(there.pv["spec"]["csi"]["volumeHandle"], format!("{copy}/A:2/R"));
    }
    for (second, says) in [
        ("west,east\ny,b\nz,a\n", "luns/2, line 3: \"a\" is in luns/1.csv, line 2 already"),
        ("east,west\nb,y\nb,z\n", "luns/2, line 3: \"b\" is in line 2 already"),
        ("east;north\nb;y\n", "luns/2, line 1: the header has no column \"west\""),
    ] {
        let fault = parse(second).unwrap_err().to_string();
        assert!(fault.contains(says) && fault.contains("LW-0128"), "{fault}");
    }
    let missing = Mapping::parse(&text).unwrap_err().to_string();
    assert!(missing.contains("no document \"luns/1.csv\"") && missing.contains("no document \"luns/2\""), "{missing}");
    let none = Mapping::parse(&text.replace("[luns/1.csv, luns/2]", "[]")).unwrap_err().to_string();
    assert!(none.contains("rules[0].table") && none.contains("LW-0121"), "{none}");
}
