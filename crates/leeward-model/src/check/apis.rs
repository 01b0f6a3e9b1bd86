//! Kinds of objects that the site does not serve.

use super::{Contents, DEFINITIONS, Finding, LEFT_OUT, NEVER_RESTORED, Present, Question};
use crate::json;
use serde_json::Value;

/// The API version that objects of `resource` were backed up in. Velero takes all of a resource in one.
pub(super) fn version(contents: &dyn Contents, resource: &str) -> Option<String> {
    let ignored = NEVER_RESTORED.contains(&resource) || LEFT_OUT.contains(&resource);
    let first = if ignored { None } else { contents.objects(resource).next() }?;
    json::text(&first, "/apiVersion").filter(|version| !version.is_empty()).map(str::to_owned)
}

pub(super) fn check(question: &Question<'_>, present: &Present, found: &mut Vec<Finding>) {
    let contents = question.contents;
    for resource in contents.resources() {
        let Some(version) = version(contents, resource) else { continue };
        let plural = resource.split('.').next().unwrap_or_default();
        if present.versions.get(&version).is_some_and(|served| served.contains(plural)) {
            continue;
        }
        let (group, bare) = version.rsplit_once('/').unwrap_or(("", &version));
        // What defines it may come along; Velero restores that first.
        if contents.object(DEFINITIONS, None, resource).is_some_and(|definition| serves(&definition, bare)) {
            continue;
        }
        let others = present.versions.keys().filter_map(|known| known.rsplit_once('/'));
        let others: Vec<&str> = others.filter(|(known, _)| *known == group).map(|(_, version)| version).collect();
        let target = question.target;
        let (what, next) = if others.is_empty() {
            (
                format!("site {target} does not know the API group {group:?}"),
                format!("install at site {target} what serves {group}, or leave {resource} out of the restore"),
            )
        } else if others.contains(&bare) {
            (
                format!("site {target} serves {version}, but no {plural} in it"),
                format!(
                    "install the version at site {target} that serves them, or leave {resource} out of the restore"
                ),
            )
        } else {
            (
                format!("the backup has them as {version}, of which site {target} serves only {}", others.join(", ")),
                format!(
                    "bring the sites to versions that share one of {group}, or leave {resource} out of the restore"
                ),
            )
        };
        let count = contents.count(resource);
        found.push(Finding::error("LW-0185", &format!("{count} {resource}"), &what, &next));
    }
}

/// Whether a CustomResourceDefinition serves the version.
fn serves(definition: &Value, version: &str) -> bool {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .any(|v| json::text(v, "/name") == Some(version) && v.get("served") != Some(&Value::Bool(false)))
}
