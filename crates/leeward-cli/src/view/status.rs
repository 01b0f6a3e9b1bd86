//! Who is active, what runs where, what can be recovered.

use crate::output::{Shown, columns};
use leeward_model::{
    name::{Epoch, GroupName, SiteName},
    plan::observed::{Observed, SiteObserved},
};
use serde::Serialize;
use std::fmt::Write;

/// The status of groups.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView {
    pub(crate) groups: Vec<GroupStatus>,
}

/// The status of one group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupStatus {
    group: GroupName,
    active: SiteName,
    epoch: Epoch,
    unfinished: Option<String>,
    sites: Vec<SiteStatus>,
    points: Vec<PointStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SiteStatus {
    site: SiteName,
    role: &'static str,
    problems: Vec<String>,
    fenced: Option<bool>,
    vms: Vec<VmStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VmStatus {
    vm: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PointStatus {
    point: String,
    site: SiteName,
    recoverable: bool,
    volumes: usize,
    oldest: Option<jiff::Timestamp>,
}

impl GroupStatus {
    pub(crate) fn new(observed: &Observed, unfinished: Option<String>) -> Self {
        Self {
            group: observed.group.clone(),
            active: observed.active.site.clone(),
            epoch: observed.active.epoch,
            unfinished,
            sites: observed
                .sites
                .iter()
                .map(|(site, seen)| SiteStatus::new(site, seen, *site == observed.active.site))
                .collect(),
            points: observed
                .points
                .iter()
                .map(|point| PointStatus {
                    point: point.point.to_string(),
                    site: point.at.clone(),
                    recoverable: point.backup.is_some(),
                    volumes: point.volumes.len(),
                    oldest: point.volumes.values().min().copied(),
                })
                .collect(),
        }
    }
}

impl SiteStatus {
    fn new(site: &SiteName, seen: &SiteObserved, active: bool) -> Self {
        let role = if active { "active" } else { "standby" };
        match seen {
            SiteObserved::Unreachable(why) => Self {
                site: site.clone(),
                role,
                problems: vec![format!("does not answer: {why}")],
                fenced: None,
                vms: Vec::new(),
            },
            SiteObserved::Reachable(state) => {
                let mut problems: Vec<String> = Vec::new();
                problems.extend(state.velero_problem.iter().map(|why| format!("Velero: {why}")));
                problems.extend(state.storage_problem.iter().map(|why| format!("storage: {why}")));
                let wrong = state.vms.iter().filter(|vm| vm.running && !active);
                problems.extend(wrong.map(|vm| format!("{} runs here, although the site is standby", vm.vm)));
                let vms = state
                    .vms
                    .iter()
                    .map(|vm| VmStatus {
                        vm: vm.vm.to_string(),
                        state: if vm.running {
                            "running"
                        } else if active && !vm.halted {
                            "not running"
                        } else {
                            "halted"
                        },
                    })
                    .collect();
                Self { site: site.clone(), role, problems, fenced: Some(state.fenced), vms }
            }
        }
    }
}

impl Shown for StatusView {
    fn name(&self) -> String {
        self.groups.iter().map(|group| group.group.to_string()).collect::<Vec<_>>().join("\n")
    }

    fn table(&self) -> String {
        self.groups.iter().map(GroupStatus::table).collect::<Vec<_>>().join("\n\n")
    }
}

impl GroupStatus {
    fn table(&self) -> String {
        let epoch = if self.epoch == Epoch(0) { "no cycle yet".to_owned() } else { format!("epoch {}", self.epoch) };
        let mut text = format!("group {}: active at {} ({epoch})\n", self.group, self.active);
        if let Some(unfinished) = &self.unfinished {
            let _ = writeln!(text, "unfinished: {unfinished}");
        }
        let rows: Vec<Vec<String>> = self
            .sites
            .iter()
            .map(|site| {
                let vms = site.vms.iter().map(|vm| format!("{} {}", vm.vm, vm.state)).collect::<Vec<_>>().join(", ");
                let fenced = match site.fenced {
                    Some(true) => "read-only",
                    Some(false) => "writable",
                    None => "unknown",
                };
                vec![site.site.to_string(), site.role.to_owned(), fenced.to_owned(), vms]
            })
            .collect();
        let _ = write!(text, "\n{}\n", columns(&["site", "role", "storage", "vms"], &rows));
        for site in &self.sites {
            for problem in &site.problems {
                let _ = writeln!(text, "{}: {problem}", site.site);
            }
        }
        let rows: Vec<Vec<String>> = self
            .points
            .iter()
            .map(|point| {
                vec![
                    point.point.clone(),
                    point.site.to_string(),
                    point.volumes.to_string(),
                    point.oldest.map(|at| at.to_string()).unwrap_or_default(),
                    if point.recoverable { "yes" } else { "data only" }.to_owned(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let _ = write!(
                text,
                "\n{}\n",
                columns(&["recovery point", "at", "volumes", "oldest data", "recoverable"], &rows)
            );
        }
        text.trim_end().to_owned()
    }
}
