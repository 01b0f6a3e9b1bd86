//! The command line. Velero starts a plug-in with every flag of `velero server`, so an unknown flag is no mistake.

use std::env;
use tracing_subscriber::filter::LevelFilter;

/// The flags that Velero passed on. Reads `--flag=value` and `--flag value`; knows no flag, refuses none.
#[derive(Debug, Clone)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// This process's arguments.
    #[must_use]
    pub fn of_process() -> Self {
        Self(env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect())
    }

    /// The value of the last `--name`; `None` if it is not there or nothing follows.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut found = None;
        for (i, argument) in self.0.iter().enumerate() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { continue };
            if flag == name {
                found = self.0.get(i + 1).map(String::as_str).filter(|next| !next.starts_with('-')).or(found);
            } else if let Some(value) = flag.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                found = Some(value);
            }
        }
        found
    }

    /// Velero's feature flags, e.g. `EnableCSI`.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.value("features").unwrap_or_default().split(',').map(str::trim).filter(|f| !f.is_empty())
    }

    /// The level Velero logs at; info if not given.
    #[must_use]
    pub fn log_level(&self) -> LevelFilter {
        match self.value("log-level").map(str::to_ascii_lowercase).as_deref() {
            Some("trace") => LevelFilter::TRACE,
            Some("debug") => LevelFilter::DEBUG,
            Some("warn" | "warning") => LevelFilter::WARN,
            Some("error" | "fatal" | "panic") => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Arguments {
    fn from_iter<I: IntoIterator<Item = S>>(arguments: I) -> Self {
        Self(arguments.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_velero_s_flags_in_either_form_and_passes_over_the_rest() {
        let args: Arguments = [
            "--features=EnableCSI,EnableX",
            "--log-level",
            "debug",
            "--restore-only",
            "--default-volumes",
            "--kubeconfig",
            "/k",
        ]
        .into_iter()
        .collect();
        assert_eq!(args.features().collect::<Vec<_>>(), ["EnableCSI", "EnableX"]);
        assert_eq!(args.log_level(), LevelFilter::DEBUG);
        assert_eq!(args.value("kubeconfig"), Some("/k"));
        assert_eq!(args.value("kube"), None);
        assert_eq!(args.value("restore-only"), None);
    }

    #[test]
    fn velero_s_level_names_are_not_ours() {
        for (text, level) in [("warning", LevelFilter::WARN), ("fatal", LevelFilter::ERROR), ("odd", LevelFilter::INFO)]
        {
            assert_eq!([format!("--log-level={text}")].into_iter().collect::<Arguments>().log_level(), level);
        }
    }
}
