//! A table of the rights that a file of roles grants, with what each is for: the remarks above the rules.

use crate::binaries::repository;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The rules of all roles in a file of the repository.
///
/// # Errors
/// The file cannot be read, or the first rule of a role has no remark.
pub(super) fn table(file: &str) -> Result<String> {
    rows(&fs_err::read_to_string(repository().join(file))?).with_context(|| file.to_owned())
}

fn rows(yaml: &str) -> Result<String> {
    let mut text = "| on | in | may | for |\n|---|---|---|---|\n".to_owned();
    for document in yaml.split("\n---\n") {
        let role: Value = serde_saphyr::from_str(document)?;
        let Some(rules) = role["rules"].as_array() else { continue };
        let scope = match role["kind"].as_str() {
            Some("ClusterRole") => "the cluster",
            Some("Role") => "Velero's namespace",
            kind => bail!("{kind:?} has rules and is no role"),
        };
        let remarks = remarks(document);
        if remarks.len() != rules.len() || remarks.iter().any(String::is_empty) {
            bail!("a remark above the rules says what they are for: {} rules, {remarks:?}", rules.len());
        }
        for (rule, remark) in rules.iter().zip(remarks) {
            let words = |key: &str| {
                let words: Vec<_> = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                words
            };
            let suffix = match words("apiGroups").as_slice() {
                [""] => String::new(),
                [group] => format!(".{group}"),
                groups => bail!("a rule has one API group, not {groups:?}"),
            };
            let on: Vec<_> = words("resources").iter().map(|resource| format!("`{resource}{suffix}`")).collect();
            text.push_str(&format!("| {} | {scope} | {} | {remark} |\n", on.join(", "), words("verbs").join(", ")));
        }
    }
    Ok(text)
}

/// The remark above each rule, as one line. One without holds with the rule before it.
fn remarks(document: &str) -> Vec<String> {
    let mut remarks: Vec<String> = Vec::new();
    let mut remark: Vec<&str> = Vec::new();
    for line in document.lines() {
        if let Some(said) = line.strip_prefix("  # ") {
            remark.push(said.trim());
        } else if line.starts_with("  - apiGroups:") {
            let own = std::mem::take(&mut remark).join(" ").replace('|', "\\|");
            remarks.push(if own.is_empty() { remarks.last().cloned().unwrap_or_default() } else { own });
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_row() {
        let rule = "  - apiGroups: [x.io]\n    resources: [as, bs]\n    verbs: [get, list]\n";
        let role = |remark: &str| format!("# A role.\nkind: Role\nrules:\n{remark}{rule}\n---\nkind: RoleBinding\n");
        let table = rows(&role("  # Why\n  # so.\n")).unwrap();
        assert!(table.ends_with("| `as.x.io`, `bs.x.io` | Velero's namespace | get, list | Why so. |\n"), "{table}");
        assert!(rows(&role("")).is_err());
        let both = rows(&role(&format!("  # Why\n{rule}"))).unwrap();
        assert_eq!(both.matches("| Why |").count(), 2, "{both}");
    }
}
