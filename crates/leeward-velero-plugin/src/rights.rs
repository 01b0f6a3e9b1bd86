//! The rights that `deploy/rbac/plug-in.yaml` grants. The played cluster refuses what they do not allow, as the API server
//! would; and a test makes sure that none is granted that the plug-in does not use.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::process::Command;
use std::sync::LazyLock;

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    /// Whether it is granted, or was used, in Velero's namespace alone.
    pub(crate) in_veleros: bool,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        let place = if self.in_veleros { "in Velero's namespace" } else { "in the cluster" };
        write!(f, "{} {}{dot}{} {place}", self.verb, self.resource, self.group)
    }
}

/// What the file grants.
static GRANTED: LazyLock<BTreeSet<Right>> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rbac/plug-in.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let mut granted = BTreeSet::new();
    for document in text.split("\n---\n") {
        let role: Value = serde_saphyr::from_str(document).unwrap();
        let in_veleros = role["kind"] == "Role";
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |key: &str| rule[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
            for (group, resource) in words("apiGroups").flat_map(|g| words("resources").map(move |r| (g.clone(), r))) {
                granted.extend(words("verbs").map(|verb| {
                    let (group, resource) = (group.clone(), resource.clone());
                    Right { verb, group, resource, in_veleros }
                }));
            }
        }
    }
    assert!(granted.len() > 20, "{granted:?}");
    granted
});

/// Names the file that uses are written to, one a line, for [`every_right_is_used`].
const NOTED: &str = "LEEWARD_RIGHTS_USED";

/// Whether a call is allowed. `asked` says where it was made.
pub(crate) fn allow(asked: &Right) -> bool {
    // Which versions of a group are served: Kubernetes' own role system:discovery lets everybody ask.
    if asked.verb == "list" && asked.resource.is_empty() {
        return true;
    }
    let Some(right) = granting(asked) else { return false };
    if let Some(file) = std::env::var_os(NOTED) {
        let mut file = std::fs::File::options().append(true).open(file).unwrap();
        // In one write: tests run at the same time.
        file.write_all(format!("{right}\n").as_bytes()).unwrap();
    }
    true
}

fn granting(asked: &Right) -> Option<&'static Right> {
    let granted = |in_veleros| GRANTED.get(&Right { in_veleros, ..asked.clone() });
    let of_role = if asked.in_veleros { granted(true) } else { None };
    of_role.or_else(|| granted(false))
}

/// All other tests run once more and note what they use: what none of them does, no caller is known to do.
#[test]
fn every_right_is_used() {
    let noted = tempfile::NamedTempFile::new().unwrap();
    let mut tests = Command::new(std::env::current_exe().unwrap());
    let tests = tests.args(["--quiet", "--skip", "every_right_is_used"]).env(NOTED, noted.path()).output().unwrap();
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stdout));
    let used = std::fs::read_to_string(noted.path()).unwrap();
    let used: BTreeSet<&str> = used.lines().collect();
    let granted: BTreeSet<String> = GRANTED.iter().map(ToString::to_string).collect();
    let unused: Vec<_> = granted.iter().filter(|right| !used.contains(right.as_str())).map(String::as_str).collect();
    assert!(unused.is_empty(), "granted, and no test uses it:\n{}", unused.join("\n"));
}

#[test]
fn what_is_not_granted_is_refused() {
    let right = |verb: &str, group: &str, resource: &str, in_veleros| Right {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        in_veleros,
    };
    let allowed = |right| granting(&right).is_some();
    assert!(allowed(right("get", "", "configmaps", true)));
    assert!(!allowed(right("get", "", "configmaps", false)), "of another namespace");
    assert!(!allowed(right("delete", "", "configmaps", true)));
    assert!(allowed(right("patch", "", "persistentvolumes", false)));
    assert!(!allowed(right("patch", "x.io", "persistentvolumes", false)), "of another group");
}
