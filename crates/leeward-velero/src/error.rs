//! What can go wrong between Leeward and a site's Velero.

use crate::StoreError;
use std::fmt;
use std::time::Duration;

/// Why Velero did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VeleroError {
    /// A call to the cluster failed.
    #[error(
        "the cluster of site {site} did not accept: {doing}; check that its API server answers and that Leeward may do this there [LW-0201]"
    )]
    Call {
        /// The site.
        site: String,
        /// What was being done.
        doing: String,
        /// The cluster's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A call to the cluster took too long.
    #[error("the cluster of site {site} did not answer within {} s: {doing}; check the network and its API server [LW-0201]", .after.as_secs())]
    NoAnswer {
        /// The site.
        site: String,
        /// What was being done.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// Velero's kinds are not known to the cluster.
    #[error("site {site} does not know Velero's kind {kind}; install Velero (OADP) there [LW-0202]")]
    NotInstalled {
        /// The site.
        site: String,
        /// The kind.
        kind: &'static str,
    },
    /// The storage location does not exist.
    #[error(
        "site {site} has no BackupStorageLocation {location:?} in namespace {namespace}; create it, or name the right one in the site's configuration [LW-0203]"
    )]
    LocationMissing {
        /// The site.
        site: String,
        /// The location.
        location: String,
        /// Velero's namespace.
        namespace: String,
    },
    /// The storage location may not be written.
    #[error(
        "the BackupStorageLocation {location:?} of site {site} is ReadOnly, so no backup can be written; set its spec.accessMode to ReadWrite [LW-0204]"
    )]
    LocationReadOnly {
        /// The site.
        site: String,
        /// The location.
        location: String,
    },
    /// The request cannot be what was meant.
    #[error("{kind} {name:?}: {problem} [LW-0205]")]
    InvalidRequest {
        /// `Backup` or `Restore`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An object of that name was made for something else.
    #[error(
        "{kind} {name:?} at site {site} was made for something else ({difference}); delete it or use another name [LW-0206]"
    )]
    NameTaken {
        /// `Backup` or `Restore`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The site.
        site: String,
        /// In what it differs.
        difference: String,
    },
    /// A backup or restore ended without being whole.
    #[error("{kind} {name} at site {site} ended {phase}: {}; mend what is named, then repeat [{}]", List(.errors), if *.kind == "Restore" { "LW-0208" } else { "LW-0207" })]
    Failed {
        /// `Backup` or `Restore`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The site.
        site: String,
        /// Velero's phase.
        phase: String,
        /// One line per thing that failed.
        errors: Vec<String>,
    },
    /// The time is over.
    #[error("{kind} {name} at site {site}: not finished after {} s; last seen: {last}; look at `oc -n {namespace} logs deployment/velero` there, then repeat: it is picked up where it is [LW-0209]", .after.as_secs())]
    Deadline {
        /// The kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The site.
        site: String,
        /// Velero's namespace.
        namespace: String,
        /// How long was waited.
        after: Duration,
        /// What was being waited for at the end.
        last: Box<str>,
    },
    /// The object was deleted while it was waited for.
    #[error("{kind} {name} at site {site} was deleted while it was waited for; repeat to make it again [LW-0210]")]
    Vanished {
        /// `Backup` or `Restore`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The site.
        site: String,
    },
    /// The backup is known but cannot be restored from.
    #[error("backup {name} cannot be restored from at site {site}: {problem}; make a new recovery point [LW-0211]")]
    Unusable {
        /// Its name.
        name: String,
        /// The site.
        site: String,
        /// Why.
        problem: String,
    },
    /// Velero refused to delete a backup.
    #[error("site {site} could not delete backup {name}: {} [LW-0212]", List(.errors))]
    NotDeleted {
        /// Its name.
        name: String,
        /// The site.
        site: String,
        /// Velero's reasons.
        errors: Vec<String>,
    },
    /// Too many attempts under one name failed.
    #[error(
        "{kind} {name} failed {attempts} times at site {site}; find the cause in the failed ones (`oc -n {namespace} get {kind}`), then delete them and repeat [LW-0213]"
    )]
    AttemptsExhausted {
        /// `Backup` or `Restore`.
        kind: &'static str,
        /// The name without attempt.
        name: String,
        /// The site.
        site: String,
        /// Velero's namespace.
        namespace: String,
        /// How many attempts there are.
        attempts: u32,
    },
    /// The bucket could not be read.
    #[error("site {site} could not read {what} in Velero's bucket [LW-0214]")]
    Store {
        /// The site.
        site: String,
        /// What was being read.
        what: String,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
}

/// Lines in one sentence, the first few; a backup of a thousand VMs can fail a thousand times.
struct List<'a>(&'a [String]);

const SHOWN: usize = 20;

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("Velero gives no reason");
        }
        for (index, line) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(line)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &'static str, errors: Vec<String>) -> String {
        let (name, site, phase) = ("b1".to_owned(), "east".to_owned(), "PartiallyFailed".to_owned());
        VeleroError::Failed { kind, name, site, phase, errors }.to_string()
    }

    #[test]
    fn a_failure_names_every_item_up_to_twenty() {
        let text = failed("Backup", vec!["shop: db".into(), "shop: web".into()]);
        assert_eq!(
            text,
            "Backup b1 at site east ended PartiallyFailed: shop: db; shop: web; mend what is named, then repeat [LW-0207]"
        );
        let text = failed("Restore", (0..25).map(|n| format!("item {n}")).collect());
        assert!(text.contains("item 19; and 5 more; mend") && text.ends_with("[LW-0208]"), "{text}");
        assert!(failed("Backup", vec![]).contains("Velero gives no reason"));
    }
}
