//! What has to hold of the files under `deploy`: all can be read, the examples are what Leeward itself understands, and
//! rights are granted one by one. That they are those that the plug-in uses, no fewer and no more, its own tests see.

use crate::binaries::repository;
use leeward_model::keys;
use leeward_model::mapping::Mapping;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every document of every YAML file below `deploy`, by file.
fn documents() -> BTreeMap<String, Vec<Value>> {
    let root = repository().join("deploy");
    let mut files = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs_err::read_to_string(&path).unwrap();
                let read = |document| serde_saphyr::from_str(document).map_err(|e| format!("{}: {e}", path.display()));
                let documents = text.split("\n---\n").map(read).collect::<Result<_, _>>().unwrap();
                files.insert(path.strip_prefix(&root).unwrap().display().to_string(), documents);
            }
        }
    }
    files
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn every_file_holds_whole_objects() {
    let files = documents();
    assert!(files.len() >= 8, "{:?}", files.keys());
    for (file, documents) in &files {
        for object in documents {
            for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
                assert!(!text(object, pointer).is_empty(), "{file}: no {pointer}");
            }
        }
    }
}

#[test]
fn every_file_is_named_in_the_overview_and_in_the_guide() {
    let read = |path: &str| fs_err::read_to_string(repository().join(path)).unwrap();
    let (overview, guide) = (read("deploy/README.md"), read("docs/reference/install.md"));
    for file in documents().keys() {
        assert!(overview.contains(file.as_str()), "deploy/README.md does not name {file}");
        assert!(guide.contains(file.as_str()), "docs/reference/install.md does not name {file}");
    }
}

#[test]
fn both_config_maps_are_what_the_plug_in_reads() {
    let files = documents();
    let mappings = ["east", "west"].map(|site| {
        let map = &files[&format!("config/{site}.yaml")][0];
        assert_eq!(text(map, "/metadata/name"), keys::CONFIG_MAP);
        assert_eq!(map["data"][keys::CONFIG_MAP_SITE], site);
        map["data"][keys::CONFIG_MAP_MAPPING].as_str().unwrap().to_owned()
    });
    assert_eq!(mappings[0], mappings[1], "the mapping is one document");
    Mapping::parse(&mappings[0]).unwrap();
}

#[test]
fn no_example_lets_velero_carry_volume_data() {
    let mut seen = 0;
    for (file, documents) in documents() {
        for object in documents {
            let spec = match text(&object, "/kind") {
                "Backup" => &object["spec"],
                "Schedule" => &object["spec"]["template"],
                _ => continue,
            };
            for switch in ["snapshotVolumes", "snapshotMoveData", "defaultVolumesToFsBackup"] {
                assert_eq!(spec[switch], false, "{file}: {switch}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn each_right_is_named_and_each_role_is_bound_to_veleros_account() {
    let objects = &documents()["rbac/plug-in.yaml"];
    for rule in objects.iter().filter_map(|object| object["rules"].as_array()).flatten() {
        let words = |key: &str| rule[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        assert!(words("verbs").chain(words("resources")).all(|word| word != "*"), "the least rights name each: {rule}");
    }
    for binding in objects.iter().filter(|object| text(object, "/kind").ends_with("Binding")) {
        let role = objects.iter().find(|object| {
            object["kind"] == binding["roleRef"]["kind"] && object["metadata"]["name"] == binding["roleRef"]["name"]
        });
        assert!(role.is_some(), "{} binds a role that is not there", text(binding, "/metadata/name"));
        assert_eq!(text(binding, "/subjects/0/name"), "velero");
    }
    assert_eq!(objects.len(), 4);
}
