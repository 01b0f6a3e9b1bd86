//! What machines need around them: networks, instance types, Secrets, feature gates, their claims.

use super::gates::{self, Gates};
use super::{Finding, MACHINES, Present, Question, unknown_origin};
use crate::belongings::{CLAIMS, NETWORKS, Named, Template, belongings, templates};
use crate::json;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(question: &Question<'_>, present: &Present, left_out: &BTreeSet<Named>, found: &mut Vec<Finding>) {
    let gates = Gates::read(present.kubevirt.as_ref());
    for vm in question.contents.objects(MACHINES) {
        let namespace = json::text(&vm, "/metadata/namespace").unwrap_or_default();
        let object = format!("VirtualMachine {namespace}/{}", json::name(&vm));
        networks(question, present, &object, &vm, found);
        let templates = templates(&vm);
        for template in &templates {
            found.extend(instance_type(question, present, &object, template));
        }
        for belonging in belongings(&vm).into_iter().filter(|belonging| !belonging.optional) {
            found.extend(named(question, present, left_out, &object, &belonging.object));
        }
        let revisions: Vec<Value> = templates
            .iter()
            .filter_map(|template| template.revision.as_ref())
            .filter_map(|r| question.contents.object(r.resource, r.namespace.as_deref(), &r.name))
            .filter_map(|revision| revision.get("data").cloned())
            .collect();
        for need in gates::needs(&vm, &revisions) {
            found.extend(gates.missing(&need, &object, question.target));
        }
    }
}

fn networks(question: &Question<'_>, present: &Present, object: &str, vm: &Value, found: &mut Vec<Finding>) {
    const NEXT: &str = "correct `networks` in the site mapping, at both sites";
    let names = match question.networks(vm) {
        Ok(names) => names,
        Err(error) => return found.push(Finding::of(&error, object, NEXT)),
    };
    if !names.is_empty() && question.mapping.maps_networks() && question.site_of(vm).is_none() {
        found.push(unknown_origin(object));
    }
    for (name, renamed) in names {
        let Some((namespace, short)) = name.split_once('/') else { continue };
        let network = Named::of(NETWORKS, namespace, short);
        // One of another name is the target's own; what the backup calls so is a network of the other site.
        if present.objects.contains(&network) || !renamed && question.has(&network) {
            continue;
        }
        let target = question.target;
        let elsewhere = present.objects.iter().filter(|known| known.resource == NETWORKS && known.name == short);
        let elsewhere: Vec<&str> = elsewhere.filter_map(|known| known.namespace.as_deref()).collect();
        let mut what = format!("its network {name} is not at site {target}");
        if !elsewhere.is_empty() {
            what.push_str(&format!("; one of that name is in {}", elsewhere.join(", ")));
        }
        let next = format!(
            "make the NetworkAttachmentDefinition at site {target}, or map the network in the mapping's `networks`"
        );
        found.push(Finding::error("LW-0182", object, &what, &next));
    }
}

fn instance_type(question: &Question<'_>, present: &Present, object: &str, template: &Template) -> Option<Finding> {
    let there = |named: &Named| present.objects.contains(named) || question.has(named);
    let (what, target) = (template.what, question.target);
    let missing = template.object.as_ref().filter(|object| !there(object));
    if let Some(revision) = &template.revision {
        if !there(revision) {
            let said = format!(
                "the ControllerRevision {} of its {what} is neither in the backup nor at site {target}, so it could not start",
                revision.title()
            );
            let next = "back up again with controllerrevisions.apps, which the machine names; or make it anew from its instance type";
            return Some(Finding::error("LW-0183", object, &said, next));
        }
        let missing = missing?.title();
        let said = format!(
            "its {what} {missing} is not at site {target}; it starts with the revision that comes along, but cannot be changed to a new one"
        );
        return Some(Finding::warning(
            "LW-0183",
            object,
            &said,
            &format!("make the {what} {missing} at site {target}"),
        ));
    }
    let missing = missing?.title();
    let said = format!("its {what} {missing} is not at site {target}, and no revision of it is in the backup");
    Some(Finding::error("LW-0183", object, &said, &format!("make the {what} {missing} at site {target}")))
}

fn named(
    question: &Question<'_>,
    present: &Present,
    left_out: &BTreeSet<Named>,
    object: &str,
    named: &Named,
) -> Option<Finding> {
    let target = question.target;
    let kind = match named.resource {
        "secrets" => "Secret",
        "configmaps" => "ConfigMap",
        "serviceaccounts" => "ServiceAccount",
        _ => "PersistentVolumeClaim",
    };
    if named.resource == CLAIMS && left_out.contains(named) {
        let what = format!("its disk {} would not be restored, for its volume would not", named.title());
        return Some(Finding::error("LW-0187", object, &what, "see the finding about the PersistentVolume"));
    }
    if present.objects.contains(named) || question.has(named) {
        return None;
    }
    let what = format!("it names {kind} {}, which is neither in the backup nor at site {target}", named.title());
    let next = format!("make it at site {target}, or back up again with the {kind}");
    Some(Finding::error("LW-0187", object, &what, &next))
}
