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
        rsync: rsync://10.0.0.1/leeward
        ganesha: { config: /etc/g.conf, pidFile: /run/g.pid, exportId: 1 }
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
    let path = folder.path().join("leeward.yaml");
    std::fs::write(&path, config).unwrap();
    std::fs::write(folder.path().join("mapping.yaml"), MAPPING).unwrap();
    for site in ["east", "west"] {
        std::fs::write(folder.path().join(format!("{site}.kubeconfig")), KUBECONFIG).unwrap();
    }
    load(&path).map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "."))
}

#[test]
fn a_good_file_loads() {
    let loaded = load_text(GOOD).unwrap();
    assert_eq!(loaded.config.sites.len(), 2);
    assert_eq!(loaded.kubeconfigs.len(), 2);
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_field() {
    let cases = [
        ("home: east", "hoem: east", "line 22", "hoem"),
        ("home: east", "home: esat", "line 22", "groups.shop.home: there is no site esat; the sites are east, west"),
        (
            "kubeconfig: west.kubeconfig",
            "kubeconfig: nowhere",
            "line 5",
            "sites.west.kubeconfig: ./nowhere cannot be used",
        ),
        ("prefix: leeward,", "prefix: velero/leeward,", "line 6", "objectStore.prefix"),
        ("      west: *nfs", "      wets: *nfs", "line 18", "storage.nfs.sites.wets"),
        ("kind: LeewardConfig", "kind: Config", "line 2", "kind: must be LeewardConfig"),
        ("namespaces: [shop]", "namespaces: [Shop]", "line 21", "\"Shop\" is not a valid name"),
        ("    home: east\n", "    home: east\n    priorities: { db: 9 }\n", "line 23", "9 is not a priority"),
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
