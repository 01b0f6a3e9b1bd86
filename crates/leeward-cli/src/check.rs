//! `leeward check backup`: what is missing at a site, before anything is restored there.

use crate::{
    args::{CheckBackupArgs, Output},
    commands::Stop,
    config::Loaded,
    connect,
    output::{Shown, print},
};
use leeward_engine::executor::chain;
use leeward_model::{
    check::{Contents, Finding, Question, Severity, findings, origins, wanted},
    keys,
    mapping::Mapping,
    name::SiteName,
};
use leeward_velero::{BackupItems, BackupStore, Look, StoreError};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// A backup cannot be checked.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("there is no backup {name:?} in the bucket; `oc -n <Velero's namespace> get backups` lists them [LW-0521]")]
    Absent { name: String },
    #[error(
        "backup {name} is {phase}, not Completed, so nobody can say what a restore of it would need; make a new one [LW-0522]"
    )]
    NotCompleted { name: String, phase: String },
    #[error("backup {name} {problem} [LW-0523]")]
    Site { name: String, problem: String },
}

/// What was found.
#[derive(Debug, Serialize)]
struct CheckView {
    backup: String,
    /// The site it is from; `null` if it does not say, or is from several.
    from: Option<SiteName>,
    site: SiteName,
    objects: usize,
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

impl Shown for CheckView {
    fn table(&self) -> String {
        if self.findings.is_empty() {
            return format!(
                "nothing is missing at site {} for backup {} ({} objects)",
                self.site, self.backup, self.objects
            );
        }
        let one = |f: &Finding| {
            format!("{:<7}  {}  {}\n         {}\n         -> {}", f.severity, f.code, f.object, f.what, f.next)
        };
        self.findings.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    fn name(&self) -> String {
        let objects: BTreeSet<&str> = self.findings.iter().map(|finding| finding.object.as_str()).collect();
        objects.into_iter().collect::<Vec<_>>().join("\n")
    }
}

/// The sites of a backup: where it is from, and where it would be restored.
struct Way {
    from: Option<SiteName>,
    target: SiteName,
}

/// Which way the backup would go. `said` is what its objects and its description say of where it is from.
fn way(name: &str, said: &BTreeSet<String>, args: &CheckBackupArgs, mapping: &Mapping) -> Result<Way, CheckError> {
    let wrong = |problem: String| CheckError::Site { name: name.to_owned(), problem };
    let listed = || mapping.sites().iter().map(SiteName::as_str).collect::<Vec<_>>().join(", ");
    for site in said.iter().map(String::as_str).chain(args.from.as_ref().map(SiteName::as_str)) {
        if !mapping.sites().iter().any(|known| known.as_str() == site) {
            return Err(wrong(format!(
                "is from site {site:?}, which is not in the site mapping ({}); use the configuration of the sites that it is of",
                listed()
            )));
        }
    }
    let mut of: Vec<&SiteName> = mapping.sites().iter().filter(|site| said.contains(site.as_str())).collect();
    if of.is_empty() {
        of.extend(args.from.as_ref());
    }
    let from = if let [one] = of.as_slice() { Some((*one).clone()) } else { args.from.clone() };
    let target = match (&args.site, &from) {
        (Some(site), _) => site.clone(),
        (None, Some(from)) => mapping
            .other(from)
            .cloned()
            .ok_or_else(|| wrong(format!("may be for several sites ({}); say which with --site", listed())))?,
        (None, None) if of.is_empty() => {
            return Err(wrong(format!(
                "does not say which site it is from, for it was made without Leeward's plug-in; say it with --from ({})",
                listed()
            )));
        }
        (None, None) => {
            return Err(wrong(format!("has objects of several sites; say with --site where it is for ({})", listed())));
        }
    };
    Ok(Way { from, target })
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Stop {
    Stop::Failed(chain(error))
}

async fn contents(store: &BackupStore, name: &str) -> Result<(Value, BackupItems), Stop> {
    let absent = || Stop::Usage(CheckError::Absent { name: name.to_owned() }.to_string());
    let backup = match store.metadata(name).await {
        Ok(Some(backup)) => backup,
        Ok(None) => return Err(absent()),
        Err(error @ StoreError::InvalidName { .. }) => return Err(Stop::Usage(error.to_string())),
        Err(error) => return Err(failed(&error)),
    };
    let phase = backup.pointer("/status/phase").and_then(Value::as_str).unwrap_or("without a phase");
    if phase != "Completed" {
        let (name, phase) = (name.to_owned(), phase.escape_debug().to_string());
        return Err(failed(&CheckError::NotCompleted { name, phase }));
    }
    let items = store.items(name).await.map_err(|error| failed(&error))?;
    Ok((backup, items))
}

/// Checks a backup. Exit code 3 if something is missing.
pub(crate) async fn backup(mut loaded: Loaded, args: &CheckBackupArgs, output: Output) -> Result<(), Stop> {
    let usage = |error: CheckError| Stop::Usage(error.to_string());
    if let Some(site) = args.site.iter().chain(&args.from).find(|site| !loaded.config.sites.contains_key(*site)) {
        let known = loaded.config.sites.keys().map(SiteName::as_str).collect::<Vec<_>>().join(", ");
        return Err(Stop::Usage(format!(
            "there is no site {site} in the configuration; the sites are {known} [LW-0523]"
        )));
    }
    let store = connect::backups(&loaded)?;
    let (description, items) = contents(&store, &args.name).await?;
    let mut said = origins(&items);
    let described = description.pointer("/metadata/annotations").and_then(|annotations| annotations.get(keys::SITE));
    said.extend(described.and_then(Value::as_str).map(str::to_owned));
    let Way { from, target } = way(&args.name, &said, args, &loaded.mapping).map_err(usage)?;
    let (Some(entry), Some(kubeconfig)) = (loaded.config.sites.get(&target), loaded.kubeconfigs.remove(&target)) else {
        let problem = format!("is for site {target}, which the configuration does not have; add it there");
        return Err(usage(CheckError::Site { name: args.name.clone(), problem }));
    };
    let client = connect::client(&target, entry, kubeconfig).await?;
    let mapping = &loaded.mapping;
    // What does not say itself where it is from has to be told by the Restore's annotation. It is not guessed from other
    // objects, for the plug-in does not either.
    let origin = args.from.as_ref();
    let question = Question { backup: &args.name, contents: &items, mapping, origin, target: &target };
    let look = Look::new(client, target.clone());
    let present = look.present(&wanted(&question)).await.map_err(|error| failed(&error))?;
    let findings = findings(&question, &present);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let objects = items.resources().iter().map(|resource| items.count(resource)).sum();
    let view = CheckView {
        backup: args.name.clone(),
        from: from.clone(),
        site: target.clone(),
        objects,
        errors,
        warnings,
        findings,
    };
    print(&view, output)?;
    if errors == 0 {
        return Ok(());
    }
    let things = if errors == 1 { "1 thing is".to_owned() } else { format!("{errors} things are") };
    Err(Stop::Refused(format!(
        "{things} missing at site {target} for backup {}; nothing was changed [LW-0520]",
        args.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
    use std::sync::Arc;

    const MAPPING: &str = "apiVersion: leeward.io/v1alpha1
kind: SiteMapping
sites: [east, west]
rules:
  - name: nas
    east: { nfs: { server: 10.77.0.1, path: /export } }
    west: { nfs: { server: 10.77.0.2, path: /vault } }
";

    /// Where it is from and for; or why not.
    fn asked(said: &[&str], site: Option<&str>, from: Option<&str>) -> Result<(Option<String>, String), String> {
        let named = |name: Option<&str>| name.map(|name| SiteName::parse(name).unwrap());
        let args = CheckBackupArgs { name: "b".to_owned(), site: named(site), from: named(from) };
        let said = said.iter().map(|&site| site.to_owned()).collect();
        let way = way("b", &said, &args, &Mapping::parse(MAPPING).unwrap());
        way.map(|way| (way.from.map(|site| site.to_string()), way.target.to_string())).map_err(|e| e.to_string())
    }

    #[test]
    fn a_backup_goes_across_unless_somebody_says_otherwise() {
        let east_to_west = Ok((Some("east".to_owned()), "west".to_owned()));
        assert_eq!(asked(&["east"], None, None), east_to_west);
        assert_eq!(asked(&[], None, Some("east")), east_to_west);
        assert_eq!(
            asked(&["west"], Some("west"), None),
            Ok((Some("west".to_owned()), "west".to_owned())),
            "where it was"
        );
        assert_eq!(asked(&["east", "west"], Some("west"), None), Ok((None, "west".to_owned())));
        assert_eq!(asked(&[], Some("west"), None), Ok((None, "west".to_owned())));
        for (said, part) in [(&["north"][..], "\"north\""), (&["east", "west"], "--site"), (&[], "--from")] {
            let text = asked(said, None, None).unwrap_err();
            assert!(text.contains(part) && text.ends_with("[LW-0523]"), "{text}");
        }
    }

    #[test]
    fn what_is_found_is_shown_by_object() {
        let finding = |severity, object: &str| Finding {
            severity,
            object: object.to_owned(),
            code: "LW-0182".to_owned(),
            what: "its network shop/lan is not at site west".to_owned(),
            next: "make it".to_owned(),
        };
        let mut view = CheckView {
            backup: "b".to_owned(),
            from: None,
            site: SiteName::parse("west").unwrap(),
            objects: 7,
            errors: 1,
            warnings: 1,
            findings: vec![
                finding(Severity::Error, "VirtualMachine shop/db"),
                finding(Severity::Warning, "VirtualMachine shop/db"),
            ],
        };
        assert_eq!(
            view.table().lines().take(3).collect::<Vec<_>>(),
            [
                "error    LW-0182  VirtualMachine shop/db",
                "         its network shop/lan is not at site west",
                "         -> make it"
            ]
        );
        assert_eq!(view.name(), "VirtualMachine shop/db");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["findings"][0]["severity"], &json["errors"]), (&"error".into(), &1.into()));
        view.findings.clear();
        assert_eq!(view.table(), "nothing is missing at site west for backup b (7 objects)");
    }

    /// What is said of a backup that cannot be used, and with which exit code.
    async fn refused(name: &str, files: &[(&str, &str)]) -> (u8, String) {
        let store = InMemory::new();
        for (key, text) in files {
            store.put(&Path::from(*key), text.to_string().into()).await.unwrap();
        }
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        match contents(&BackupStore::new(store, "velero"), name).await {
            Ok(_) => panic!("{name} is used"),
            Err(Stop::Usage(text)) => (crate::exit::USAGE, text),
            Err(Stop::Refused(text)) => (crate::exit::REFUSED, text),
            Err(Stop::Failed(text)) => (crate::exit::FAILED, text),
        }
    }

    #[tokio::test]
    async fn a_backup_that_is_not_whole_is_not_checked() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u8, &'a str);
        let description = |phase: &str| format!("{{\"status\": {{\"phase\": \"{phase}\"}}}}");
        let (file, archive) = ("velero/backups/b/velero-backup.json", "velero/backups/b/b.tar.gz");
        let (completed, partial) = (description("Completed"), description("PartiallyFailed\\u001b[2J"));
        let cases: [Case<'_>; 6] = [
            ("b", &[], 2, "[LW-0521]"),
            ("../b", &[], 2, "[LW-0227]"),
            ("b", &[(file, &partial)], 1, "[LW-0522]"),
            ("b", &[(file, &completed)], 1, "[LW-0221]"),
            ("b", &[(file, &completed), (archive, "no archive")], 1, "[LW-0222]"),
            ("b", &[(file, "{")], 1, "[LW-0226]"),
        ];
        for (name, files, code, part) in cases {
            let (got, text) = refused(name, files).await;
            assert!(got == code && text.contains(part) && !text.contains('\u{1b}'), "{got}: {text}");
        }
    }
}
