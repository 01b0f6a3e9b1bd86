use super::*;

const GOOD: &str = "\
apiVersion: leeward.io/v1alpha1
kind: LeewardConfig
sites:
  east: { kubeconfig: east.kubeconfig }
  west: { kubeconfig: west.kubeconfig }
objectStore: { endpoint: http://127.0.0.1:1, bucket: b, prefix: leeward, veleroPrefix: velero }
mapping: mapping.yaml
storage:
  nfs:
    sites:
      east: &nfs
        server: 10.0.0.1
        export: /export
        path: /srv/export
        control: [env]
      west: *nfs
groups:
  shop:
    namespaces: [shop]
    home: east
";

const MAPPING: &str = "\
apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.0.0.1, path: /export } }
    west: { nfs: { server: 10.0.0.2, path: /vault } }
";

const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n";

fn load_text(config: &str) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mapping.yaml"), MAPPING).unwrap();
    load_in(folder.path(), config)
}

fn load_in(folder: &Path, config: &str) -> Result<Loaded, String> {
    let path = folder.join("leeward.yaml");
    std::fs::write(&path, config).unwrap();
    for site in ["east", "west"] {
        std::fs::write(folder.join(format!("{site}.kubeconfig")), KUBECONFIG).unwrap();
    }
    load(&path).map_err(|error| error.to_string().replace(&folder.display().to_string(), "."))
}

#[test]
fn a_good_file_loads() {
    let loaded = load_text(GOOD).unwrap();
    assert_eq!(loaded.config.sites.len(), 2);
    assert_eq!(loaded.kubeconfigs.len(), 2);
}

/// The tables that the mapping takes from files beside it.
fn with_tables(files: &[&str]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let rule =
        "  - name: disks\n    east: { inTree: fc }\n    west: { inTree: fc }\n    table: { parts: [wwid], from: [";
    std::fs::write(folder.path().join("mapping.yaml"), format!("{MAPPING}{rule}{}] }}\n", files.join(", "))).unwrap();
    for (number, file) in files.iter().enumerate() {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("east,west\n3600a{number},3600b{number}\n")).unwrap();
    }
    load_in(folder.path(), GOOD)
}

#[test]
fn tables_beside_the_mapping_go_to_the_plug_ins_with_it() {
    let loaded = with_tables(&["own.csv", "luns-1/rows.csv"]).unwrap();
    let names: Vec<_> = loaded.publication.tables.keys().map(String::as_str).collect();
    assert_eq!(names, ["luns-1/rows.csv", "own.csv"]);
    assert_eq!(loaded.publication.tables["own.csv"], "east,west\n3600a0,3600b0\n");
    let error = with_tables(&["tables/of/east.csv"]).unwrap_err();
    assert!(error.contains("line 7, ") && error.contains("mapping: the table \"tables/of/east.csv\""), "{error}");
    assert!(error.contains("CONFIGMAP/KEY") && error.contains("[LW-0503]"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_field() {
    let cases = [
        ("home: east", "hoem: east", "line 20", "hoem"),
        ("home: east", "home: esat", "line 20", "groups.shop.home: there is no site esat; the sites are east, west"),
        (
            "kubeconfig: west.kubeconfig",
            "kubeconfig: nowhere",
            "line 5",
            "sites.west.kubeconfig: ./nowhere cannot be used",
        ),
        ("prefix: leeward,", "prefix: velero/leeward,", "line 6", "objectStore.prefix"),
        ("      west: *nfs", "      wets: *nfs", "line 16", "storage.nfs.sites.wets"),
        ("[env]\n", "[env]\n        ganesha: { exportId: 1 }\n", "line 1", "/etc/leeward/mover.yaml"),
        ("kind: LeewardConfig", "kind: Config", "line 2", "kind: must be LeewardConfig"),
        ("namespaces: [shop]", "namespaces: [Shop]", "line 19", "\"Shop\" is not a valid name"),
        ("    home: east\n", "    home: east\n    priorities: { db: 9 }\n", "line 21", "9 is not a priority"),
    ];
    for (from, to, line, field) in cases {
        let error = load_text(&GOOD.replace(from, to)).unwrap_err();
        assert!(error.contains(line), "{to}: {error}");
        assert!(error.contains(field), "{to}: {error}");
        assert!(error.contains("[LW-05"), "{to}: {error}");
    }
}

#[test]
fn secrets_stay_out_of_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, "[default]\naws_secret_access_key = hunter2\n").unwrap();
    let error = credentials(&path).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    std::fs::write(
        &path,
        "[other]\naws_access_key_id=x\n[default]\naws_access_key_id = a\naws_secret_access_key = b=\n",
    )
    .unwrap();
    assert_eq!(credentials(&path).unwrap(), ("a".to_owned(), "b=".to_owned()));
}
