//! What commands show: plans, runs, status.

mod plan;
mod run;
mod status;

pub(crate) use plan::PlanView;
pub(crate) use run::RunView;
pub(crate) use status::{GroupStatus, StatusView};

#[cfg(test)]
mod tests;
