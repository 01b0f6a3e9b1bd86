//! What a run tells while it goes on. Shown by the caller; nothing is decided by it.

use leeward_model::run::Step;
use std::time::Duration;

/// One thing to tell.
#[derive(Debug, Clone)]
pub enum Told<'a> {
    /// A step begins: its place among all.
    Started {
        /// The step.
        step: Step,
        /// From 1.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// What a step does or waits for now.
    Note(&'a str),
    /// A step was done before.
    Before {
        /// The step.
        step: Step,
    },
    /// A step is done.
    Done {
        /// The step.
        step: Step,
        /// Whether it was found done.
        observed: bool,
        /// How long it took here.
        took: Duration,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: Step,
    },
}

/// Hears what a run tells.
pub trait Listener: Send + Sync {
    /// One thing.
    fn hear(&self, told: Told<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _: Told<'_>) {}
}
