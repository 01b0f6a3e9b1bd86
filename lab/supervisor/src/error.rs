//! [`LabError`]: what can go wrong with the lab in a way that its user can mend.

use std::path::PathBuf;

/// An error with a code and a remedy; each has a page in `docs/errors`.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The root holds files that are not a lab's.
    #[error("{} is not empty and is not a lab's folder; set LEEWARD_LAB to an empty or new folder [LW-0901]", root.display())]
    RootInUse {
        /// The folder.
        root: PathBuf,
    },
    /// Another command is changing the lab.
    #[error("another command (pid {holder}) is changing the lab at {}; wait for it to end [LW-0902]", root.display())]
    Locked {
        /// The lab's folder.
        root: PathBuf,
        /// The process that holds the lock.
        holder: String,
    },
    /// A network object with one of the lab's names is not this lab's.
    #[error("{object} exists but is not of the lab at {}: {owner}; {remedy} [LW-0903]", root.display())]
    ForeignNetwork {
        /// What exists, for example `network namespace lw-east`.
        object: String,
        /// The folder of the lab that was to be started.
        root: PathBuf,
        /// Whose it is, as far as known.
        owner: String,
        /// The command that removes it.
        remedy: String,
    },
    /// The machine already uses the lab's addresses.
    #[error(
        "the lab's network 10.77.0.0/24 is already used on this machine by {user}; remove that address or route and run `up` again [LW-0904]"
    )]
    AddressInUse {
        /// The link or route in question.
        user: String,
    },
    /// A process of the lab ended before it was ready.
    #[error("{process} at {place} ended before it was ready; the end of {}:\n{tail}\n[LW-0905]", log.display())]
    Died {
        /// The process.
        process: String,
        /// Where it ran.
        place: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A process of the lab, or something it should bring about, is not ready in time.
    #[error("{what} at {place} was not ready within {seconds} s ({last}); see {} [LW-0906]", log.display())]
    NotReady {
        /// What was waited for.
        what: String,
        /// Where.
        place: String,
        /// For how long, in seconds.
        seconds: u64,
        /// What was seen last.
        last: String,
        /// The log to read.
        log: PathBuf,
    },
    /// There is no running lab.
    #[error("no lab is up at {}; run `cargo xtask lab up` first [LW-0907]", root.display())]
    NotUp {
        /// The folder looked in.
        root: PathBuf,
    },
    /// The lab needs rights it does not have.
    #[error("the lab makes network namespaces and mounts, which needs root; run it as root [LW-0908]")]
    NotRoot,
    /// A program the lab needs is missing.
    #[error("the program {program} is missing; {remedy} [LW-0909]")]
    MissingProgram {
        /// The program's name or path.
        program: String,
        /// How to get it.
        remedy: String,
    },
    /// The lab has no process of that name.
    #[error("{place} has no process \"{process}\"; it has {known} [LW-0910]")]
    UnknownProcess {
        /// The place.
        place: String,
        /// The name that was asked for.
        process: String,
        /// The names there are.
        known: String,
    },
    /// A command of the system failed.
    #[error("`{command}` failed: {output} [LW-0911]")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        output: String,
    },
    /// The root is not an absolute path.
    #[error("LEEWARD_LAB={} must be an absolute path [LW-0912]", root.display())]
    RootNotAbsolute {
        /// The path given.
        root: PathBuf,
    },
    /// `lab.json` cannot be read.
    #[error("{} cannot be understood, perhaps it is of another version; run `cargo xtask lab down` [LW-0913]", file.display())]
    StateUnreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Something of the lab could not be removed.
    #[error("{what} of the lab could not be removed: {why}; end whatever uses it and run `down` again [LW-0914]")]
    Leftover {
        /// What is left.
        what: String,
        /// Why.
        why: String,
    },
}
