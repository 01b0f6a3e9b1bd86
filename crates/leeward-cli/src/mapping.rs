//! `leeward mapping`: works on files alone, needs no configuration and no cluster.

use crate::commands::Stop;
use clap::{Args as ClapArgs, Subcommand};
use leeward_engine::executor::chain;
use leeward_model::{
    mapping::{
        Mapping,
        import::{Proposal, import},
        learn::learn,
        lint,
    },
    name::SiteName,
    rewrite::{RewriteError, rewrite},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Works on site mappings. Changes nothing at any site.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct MappingArgs {
    #[command(subcommand)]
    command: MappingCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum MappingCommand {
    /// Turn the ConfigMap `velero-plugin-regex-map` of the published plug-in into a site mapping.
    Import {
        /// The ConfigMap, YAML or JSON.
        file: PathBuf,
        /// The site that the rules take volumes from.
        #[arg(long, value_name = "SITE", default_value = "east")]
        from: SiteName,
        /// The site that they take them to.
        #[arg(long, value_name = "SITE", default_value = "west")]
        to: SiteName,
    },
    /// Check a site mapping and remark on what its author may not have meant.
    Check {
        /// The mapping.
        file: PathBuf,
    },
    /// Try a site mapping on PersistentVolumes: what each becomes, and whether it comes back.
    Test {
        /// The mapping.
        file: PathBuf,
        /// PersistentVolumes: a file with one or a list, YAML or JSON, or the folder of an unpacked backup.
        #[arg(required = true)]
        volumes: Vec<PathBuf>,
        /// The site that the volumes are of, where no annotation says it; the mapping's first if left out.
        #[arg(long, value_name = "SITE")]
        from: Option<SiteName>,
        /// The site that they are for; the mapping's second if left out.
        #[arg(long, value_name = "SITE")]
        to: Option<SiteName>,
    },
    /// Propose a site mapping from the PersistentVolumes of two sites, paired by name or claim.
    Learn {
        /// PersistentVolumes of one site.
        here: PathBuf,
        /// PersistentVolumes of the other.
        there: PathBuf,
        /// The one site.
        #[arg(long, value_name = "SITE", default_value = "east")]
        from: SiteName,
        /// The other.
        #[arg(long, value_name = "SITE", default_value = "west")]
        to: SiteName,
    },
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem} [LW-0513]", .file.display())]
struct FileError {
    file: PathBuf,
    problem: String,
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs one of them; stdout is data, stderr is talk.
pub(crate) fn run(args: &MappingArgs) -> Result<(), Stop> {
    match &args.command {
        MappingCommand::Import { file, from, to } => {
            let data = config_map(file)?;
            propose(&import(&data, from, to).map_err(|error| Stop::Usage(error.to_string()))?);
            Ok(())
        }
        MappingCommand::Check { file } => {
            let mapping = read_mapping(file)?;
            for remark in lint(&mapping) {
                println!("{remark}");
            }
            eprintln!("{}: {} rules, no fault", file.display(), mapping.rules().len());
            Ok(())
        }
        MappingCommand::Test { file, volumes, from, to } => {
            let mapping = read_mapping(file)?;
            let site =
                |named: &Option<SiteName>, at: usize| named.clone().unwrap_or_else(|| mapping.sites()[at].clone());
            let mut all = Vec::new();
            for file in volumes {
                all.extend(read_volumes(file)?);
            }
            test(&mapping, &all, &site(from, 0), &site(to, 1))
        }
        MappingCommand::Learn { here, there, from, to } => {
            let (here, there) = (read_volumes(here)?, read_volumes(there)?);
            let proposal = learn(&here, &there, &[from.clone(), to.clone()]);
            propose(&proposal.map_err(|error| Stop::Usage(error.to_string()))?);
            Ok(())
        }
    }
}

fn propose(proposal: &Proposal) {
    for note in &proposal.notes {
        eprintln!("note: {note}");
    }
    print!("{}", proposal.text);
}

fn test(mapping: &Mapping, volumes: &[Value], from: &SiteName, to: &SiteName) -> Result<(), Stop> {
    let mut faults = Vec::new();
    for pv in volumes {
        let name = pv.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("(without a name)");
        let home = |there: &Value| rewrite(there, mapping, to, from);
        match rewrite(pv, mapping, from, to).and_then(|there| Ok((home(&there.pv)?, there))) {
            Ok((_, there)) => {
                let rule = there.trace.rule.as_deref().unwrap_or("(is there already)");
                println!("{name}: {} -> {}  {rule}", there.before, there.after);
            }
            Err(RewriteError::Skipped { kind, .. }) => println!("{name}: skipped, on {kind}"),
            Err(error) => faults.push(chain(&error)),
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let summary = format!("{} of {} volumes cannot be rewritten for site {to} [LW-0514]", faults.len(), volumes.len());
    faults.push(summary);
    Err(Stop::Refused(faults.join("\n")))
}

fn fault(file: &Path, problem: impl Into<String>) -> FileError {
    FileError { file: file.to_owned(), problem: problem.into() }
}

fn text(file: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(file).map_err(|error| fault(file, error.to_string()))
}

fn value(file: &Path) -> Result<Value, FileError> {
    serde_saphyr::from_str(&text(file)?).map_err(|error| fault(file, error.without_snippet().to_string()))
}

/// The mapping, with the tables that lie beside it.
fn read_mapping(file: &Path) -> Result<Mapping, Stop> {
    let document = text(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let tables = Mapping::documents(&document).into_iter();
    let tables = tables.filter_map(|name| Some((name.clone(), text(&folder.join(name)).ok()?))).collect();
    Mapping::parse_with(&document, &tables).map_err(|errors| Stop::Usage(format!("{}: {errors}", file.display())))
}

fn config_map(file: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let object = value(file)?;
    let data = object.get("data").and_then(Value::as_object);
    let data = data.ok_or_else(|| fault(file, "is no ConfigMap: it has no data"))?;
    let entry = |(key, text): (&String, &Value)| match text.as_str() {
        Some(text) => Ok((key.clone(), text.to_owned())),
        None => Err(fault(file, format!("data.{key} is no text; put it in quotes"))),
    };
    data.iter().map(entry).collect()
}

/// Every PersistentVolume of a file or a folder.
fn read_volumes(path: &Path) -> Result<Vec<Value>, FileError> {
    let mut volumes = Vec::new();
    if path.is_dir() {
        // Where Velero keeps them in a backup.
        let inner = path.join("resources/persistentvolumes/cluster");
        let folder = if inner.is_dir() { inner } else { path.to_owned() };
        let entries = std::fs::read_dir(&folder).map_err(|error| fault(&folder, error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "json" || e == "yaml"));
        files.sort();
        for file in files {
            volumes.extend(objects(value(&file)?));
        }
    } else {
        volumes = objects(value(path)?);
    }
    if volumes.is_empty() {
        return Err(fault(path, "holds no PersistentVolume"));
    }
    Ok(volumes)
}

/// The volumes of an object or a list.
fn objects(value: Value) -> Vec<Value> {
    let is_volume = |object: &Value| object.get("kind").is_none_or(|kind| kind == "PersistentVolume");
    match value {
        Value::Array(items) => items.into_iter().filter(is_volume).collect(),
        Value::Object(mut fields) => match fields.remove("items") {
            Some(items) => objects(items),
            None => Some(Value::Object(fields)).filter(is_volume).into_iter().collect(),
        },
        _ => Vec::new(),
    }
}
