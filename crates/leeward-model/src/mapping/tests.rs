use super::*;

const HEAD: &str = "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\n";
const NAS: &str = "  - name: nas\n    east: { nfs: { server: 10.0.0.1, path: /export } }\n    west: { nfs: { server: 10.0.0.2, path: /vault } }\n";

fn site(name: &str) -> SiteName {
    SiteName::parse(name).unwrap()
}

fn rule(name: &str, east: &str, west: &str) -> String {
    let side = |text: &str| {
        let (server, path) = text.split_once(':').unwrap();
        format!("{{ nfs: {{ server: {server}, path: {path} }} }}")
    };
    format!("  - name: {name}\n    east: {}\n    west: {}\n", side(east), side(west))
}

fn parse(rules: &str) -> Result<Mapping, MappingErrors> {
    Mapping::parse(&format!("{HEAD}rules:\n{rules}"))
}

fn at(server: &str, directory: &str) -> NfsLocation {
    NfsLocation { server: server.into(), directory: directory.into() }
}

/// All faults as `line:column field: text`.
fn faults(text: &str) -> Vec<String> {
    let errors = Mapping::parse(text).unwrap_err();
    errors.0.iter().map(|e| format!("{}:{} {}: {}", e.position.line, e.position.column, e.field, e.fault)).collect()
}

#[test]
fn maps_both_ways_on_path_borders() {
    let mapping = parse(NAS).unwrap();
    let across = |from: &str, server: &str, path: &str| {
        mapping
            .across(&site(from), &site(if from == "west" { "east" } else { "west" }), &at(server, path))
            .map(|(l, rule)| (l.to_string(), rule.name.clone()))
    };
    let nas = |url: &str| Some((url.to_owned(), "nas".to_owned()));
    assert_eq!(across("east", "10.0.0.1", "/export/a/b"), nas("nfs://10.0.0.2/vault/a/b"));
    assert_eq!(across("west", "10.0.0.2", "/vault/a/b"), nas("nfs://10.0.0.1/export/a/b"));
    assert_eq!(across("east", "10.0.0.1", "/export"), nas("nfs://10.0.0.2/vault"));
    assert_eq!(across("east", "10.0.0.1", "/exports/a"), None);
    assert_eq!(across("east", "10.0.0.10", "/export/a"), None);
    assert_eq!(across("east", "10.0.0.2", "/vault/a"), None);
    assert_eq!(across("north", "10.0.0.1", "/export/a"), None);
}

#[test]
fn ipv6_servers_compare_as_addresses() {
    let rules = "  - name: nas\n    east: { nfs: { server: 'fd00:0:0::1', path: /export } }\n    west: { nfs: { server: '[FD00::2]', path: /vault/ } }\n";
    let mapping = parse(rules).unwrap();
    let (copy, _) = mapping.across(&site("east"), &site("west"), &at("fd00::0001", "/export/a")).unwrap();
    assert_eq!(copy, at("fd00::2", "/vault/a"));
}

#[test]
fn reads_json_too() {
    let text = r#"{"apiVersion":"leeward.io/v1alpha1","kind":"SiteMapping","sites":["east","west"],"rules":[{"name":"nas","east":{"nfs":{"server":"10.0.0.1","path":"/export"}},"west":{"nfs":{"server":"10.0.0.2","path":"/vault"}}}]}"#;
    assert_eq!(Mapping::parse(text).unwrap(), parse(NAS).unwrap());
}

#[test]
fn a_longer_rule_that_agrees_is_named() {
    let rules = format!("{NAS}{}", rule("sub", "10.0.0.1:/export/a", "10.0.0.2:/vault/a/"));
    let mapping = parse(&rules).unwrap();
    let name = |path: &str| mapping.rule_for(&site("east"), &at("10.0.0.1", path)).unwrap().name.clone();
    assert_eq!(name("/export/a/x"), "sub");
    assert_eq!(name("/export/ab"), "nas");
}

#[test]
fn rules_that_disagree_are_refused() {
    let cases = [
        // the same prefix, to two places
        rule("b", "10.0.0.1:/export", "10.0.0.2:/other"),
        rule("b", "10.0.0.1:/export", "10.0.0.3:/vault"),
        // one in the other
        rule("b", "10.0.0.1:/export/a", "10.0.0.2:/other"),
        rule("b", "10.0.0.1:/", "10.0.0.3:/x"),
        // two places to one: there would be no way back
        rule("b", "10.0.0.9:/z", "10.0.0.2:/vault"),
        rule("b", "10.0.0.9:/z", "10.0.0.2:/vault/z"),
    ];
    for other in cases {
        let errors = parse(&format!("{NAS}{other}")).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        let text = errors.to_string();
        assert!(text.contains("[LW-0124]") && text.contains("\"nas\"") && text.contains("\"b\""), "{text}");
    }
}

#[test]
fn a_collision_names_both_places_in_the_text() {
    let text = format!("{HEAD}rules:\n{NAS}{}", rule("b", "10.0.0.1:/export/a", "10.0.0.2:/other"));
    assert_eq!(
        faults(&text),
        [
            "9:5 rules[1].east: nfs://10.0.0.1/export/a of site east would be nfs://10.0.0.2/other of site west by rule \"b\" \
             but nfs://10.0.0.2/vault/a by rule \"nas\" (line 6, column 5); make them agree, or keep only one [LW-0124]"
        ]
    );
}

#[test]
fn a_volume_and_its_copy_cannot_be_one() {
    for (east, west) in [
        ("10.0.0.1:/export", "10.0.0.1:/export"),
        ("10.0.0.1:/export", "10.0.0.1:/export/copy"),
        ("10.0.0.1:/", "10.0.0.1:/copy"),
    ] {
        let errors = parse(&rule("a", east, west)).unwrap_err();
        assert!(errors.to_string().contains("[LW-0125]"), "{errors}");
    }
    let crossed = [rule("a", "10.0.0.1:/a", "10.0.0.2:/x"), rule("b", "10.0.0.2:/x", "10.0.0.3:/b")].concat();
    assert!(parse(&crossed).unwrap_err().to_string().contains("[LW-0125]"));
    let beside = [rule("a", "10.0.0.1:/a", "10.0.0.2:/b"), rule("b", "10.0.0.2:/c", "10.0.0.1:/d")].concat();
    parse(&beside).unwrap();
}

#[test]
fn every_fault_names_its_line_column_and_field() {
    let document = "\
apiVersion: v1
kind: SiteMapping
sites: [east, west]
extra: 1
rules:
  - name: a
    east: { nfs: { server: 10.0.0.1, path: export } }
    wst: { nfs: { server: 10.0.0.2, path: /vault } }
  - name: b
    east: { nfs: { server: 10.0.0.1, path: /x/../y } }
    west: { nfs: { server: 'a b', path: /v, port: 2049 } }
  - name: 7
    east: { nfs: [] }
    west: { iscsi: {} }
storageClasses:
  - { east: gold, west: silver }
  - { east: gold, west: '' }
";
    assert_eq!(
        faults(document),
        [
            "1:13 apiVersion: \"v1\": must be leeward.io/v1alpha1 [LW-0122]",
            "4:1 extra: there is no field of this name here; known are apiVersion, kind, sites, rules, storageClasses, networks, secrets, reclaimPolicy, nodeAffinity, skip, profiles [LW-0121]",
            "6:5 rules[0].west: missing; a rule has a side for each site, or it would have no way back [LW-0121]",
            "7:44 rules[0].east.nfs.path: \"export\": it must start with '/' [LW-0122]",
            "8:5 rules[0].wst: \"wst\" is not one of the sites \"east\" and \"west\"; correct the name, or add the site to `sites` [LW-0123]",
            "10:44 rules[1].east.nfs.path: \"/x/../y\": it must not contain '..' [LW-0122]",
            "11:28 rules[1].west.nfs.server: \"a b\": that is neither an IP address nor a host name [LW-0122]",
            "11:45 rules[1].west.nfs.port: there is no field of this name here; known are server, path [LW-0121]",
            "12:11 rules[2].name: is a number (7), must be text; put it in quotes [LW-0121]",
            "13:18 rules[2].east.nfs: is a list, must be an object with the fields server, path [LW-0121]",
            "14:11 rules[2].west.nfs: missing; an object with `server` and `path`; or `driver` or `inTree` with `parts`; or `raw` [LW-0121]",
            "14:13 rules[2].west.iscsi: there is no field of this name here; known are nfs, driver, inTree, profile, parts, raw [LW-0121]",
            "17:13 storageClasses[1].east: \"gold\": an earlier pair has this class, so there would be two ways for it [LW-0122]",
            "17:25 storageClasses[1].west: \"\": a storage class's name is not empty [LW-0122]",
        ]
    );
}

#[test]
fn documents_that_are_none() {
    let cases = [
        ("", "1:1 : is nothing, must be an object"),
        ("rules: [", "1:8 : unclosed bracket"),
        ("a: 1\na: 2\n", "2:1 : duplicate mapping key"),
        ("kind: SiteMapping\n", "1:1 apiVersion: missing"),
        ("apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east]\nrules: []\n", "3:8 sites: \"1 sites\""),
        (
            "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, east]\nrules: []\n",
            "3:15 sites[1]: \"east\"",
        ),
        (
            "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, name]\nrules: []\n",
            "3:15 sites[1]: \"name\"",
        ),
        (
            "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [East, west]\nrules: []\n",
            "3:9 sites[0]: \"East\"",
        ),
        (
            "apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\nrules: []\n",
            "4:8 rules: \"[]\": without a rule",
        ),
        ("apiVersion: leeward.io/v1alpha1\nkind: SiteMapping\nsites: [east, west]\n", "1:1 rules: missing"),
    ];
    for (text, expected) in cases {
        let faults = faults(text);
        assert!(faults.iter().any(|f| f.starts_with(expected)), "{text:?}: {faults:#?}");
    }
}

#[test]
fn storage_classes_go_both_ways() {
    let mapping =
        Mapping::parse(&format!("{HEAD}rules:\n{NAS}storageClasses:\n  - {{ east: gold, west: fast }}\n")).unwrap();
    let class = |class: &str, from: &str, to: &str| mapping.storage_class(class, &site(from), &site(to));
    assert_eq!(class("gold", "east", "west").unwrap(), "fast");
    assert_eq!(class("fast", "west", "east").unwrap(), "gold");
    assert_eq!(class("other", "east", "west").unwrap(), "other");
    assert_eq!(class("", "east", "west").unwrap(), "");
    assert!(class("fast", "east", "west").unwrap_err().to_string().contains("[LW-0126]"));
    assert!(class("gold", "east", "north").is_err());
}

#[test]
fn networks_go_both_ways() {
    let pairs = "networks:\n  - { east: shop/own, west: nets/lan }\n";
    let mapping = Mapping::parse(&format!("{HEAD}rules:\n{NAS}{pairs}")).unwrap();
    let network = |network: &str, from: &str, to: &str| mapping.network(network, &site(from), &site(to));
    assert_eq!(network("shop/own", "east", "west").unwrap(), "nets/lan");
    assert_eq!(network("nets/lan", "west", "east").unwrap(), "shop/own");
    assert_eq!(network("shop/other", "east", "west").unwrap(), "shop/other");
    assert_eq!(network("nets/lan", "east", "east").unwrap(), "nets/lan");
    let text = network("nets/lan", "east", "west").unwrap_err().to_string();
    assert!(text.contains("shop/own") && text.ends_with("[LW-0180]"), "{text}");
    assert!(network("shop/own", "east", "north").is_err());
    assert!(mapping.maps_networks() && !Mapping::parse(&format!("{HEAD}rules:\n{NAS}")).unwrap().maps_networks());
    for (bad, field) in [
        ("own", "networks[0].west: \"own\": a network is `namespace/name` [LW-0122]"),
        ("a/b/c", "networks[0].west: \"a/b/c\": a network is `namespace/name` [LW-0122]"),
        ("''", "networks[0].west: \"\": a network is `namespace/name` [LW-0122]"),
    ] {
        let faults = faults(&format!("{HEAD}rules:\n{NAS}{}", pairs.replace("nets/lan", bad)));
        assert!(faults.iter().any(|fault| fault.ends_with(field)), "{faults:?}");
    }
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    fn fields<'a>(schema: &'a serde_json::Value, pointer: &str) -> Vec<&'a str> {
        schema.pointer(pointer).unwrap().as_object().unwrap().keys().map(String::as_str).collect()
    }
    let schema = schema();
    assert_eq!(fields(&schema, "/properties"), read::DOCUMENT);
    assert_eq!(fields(&schema, "/$defs/RuleSpec/properties"), rule::FIELDS);
    assert_eq!(fields(&schema, "/$defs/SideSpec/properties"), rule::SIDE);
    assert_eq!(fields(&schema, "/$defs/NfsSpec/properties"), rule::NFS);
    assert_eq!(fields(&schema, "/$defs/TableSpec/properties"), tables::TABLE);
    assert_eq!(fields(&schema, "/$defs/NodeAffinityKeySpec/properties"), policy::FIELDS);
    assert_eq!(schema.pointer("/additionalProperties").unwrap(), false);
    insta::assert_json_snapshot!("schema", schema);
}

#[test]
fn what_a_program_writes_is_read() {
    let side = |server: &str, path: &str| SideSpec {
        nfs: Some(NfsSpec { server: server.into(), path: path.into() }),
        ..SideSpec::default()
    };
    let mut document = SiteMapping::new([site("east"), site("west")]);
    document.rules.push(RuleSpec {
        name: "nas".into(),
        sides: [(site("east"), side("10.0.0.1", "/export")), (site("west"), side("10.0.0.2", "/vault"))].into(),
        ..RuleSpec::default()
    });
    document.storage_classes.push(ClassPair([(site("east"), "a".into()), (site("west"), "b".into())].into()));
    let mapping = Mapping::parse(&serde_json::to_string(&document).unwrap()).unwrap();
    assert_eq!(mapping.rules(), parse(NAS).unwrap().rules());
    assert_eq!(mapping.storage_class("a", &site("east"), &site("west")).unwrap(), "b");
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    /// Directories so few that rules often meet.
    fn directory() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]", 0..4).prop_map(|folders| format!("/{}", folders.join("/")))
    }

    /// Server and directory.
    type Place = (String, String);

    fn place(octet: u8) -> impl Strategy<Value = Place> {
        ((1u8..3).prop_map(move |host| format!("10.0.{octet}.{host}")), directory())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Whatever mapping is accepted: no contradiction is left in it.
        #[test]
        fn an_accepted_mapping_leads_back_and_does_not_depend_on_the_order_of_its_rules(
            rules in prop::collection::vec((place(1), place(2)), 1..4),
            (server, path) in place(1),
        ) {
            let lines = |order: &mut dyn Iterator<Item = (usize, &(Place, Place))>| {
                order
                    .map(|(at, (east, west))| rule(&format!("r{at}"), &format!("{}:{}", east.0, east.1), &format!("{}:{}", west.0, west.1)))
                    .collect::<String>()
            };
            let forwards = parse(&lines(&mut rules.iter().enumerate()));
            let backwards = parse(&lines(&mut rules.iter().enumerate().rev()));
            prop_assert_eq!(forwards.is_ok(), backwards.is_ok());
            let (Ok(forwards), Ok(backwards)) = (forwards, backwards) else { return Ok(()) };
            let here = at(&server, &path);
            let there = forwards.across(&site("east"), &site("west"), &here).map(|(there, _)| there);
            prop_assert_eq!(&there, &backwards.across(&site("east"), &site("west"), &here).map(|(there, _)| there));
            if let Some(there) = there {
                prop_assert_eq!(forwards.across(&site("west"), &site("east"), &there).map(|(back, _)| back), Some(here));
            }
        }

        #[test]
        fn reading_never_panics(text in "[a-z:{}\\[\\]&*!|>'\"#,\\- \n]{0,60}", cut in 0usize..400, put in ".{0,6}") {
            let _ = Mapping::parse(&text);
            let mut whole = format!("{HEAD}rules:\n{NAS}");
            whole.insert_str(cut.min(whole.len()), &put);
            let _ = Mapping::parse(&whole);
        }
    }
}
