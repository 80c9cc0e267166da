//! The summary of a step of a job, or of a statement of a script.

use std::time::Duration;

use crate::engine::progress::WriteSummary;

/// The result of one step.
#[derive(Debug, Clone)]
pub struct StepSummary {
    /// Name of the step; for a script, the line and the first words of the statement.
    pub name: String,
    /// Summary of the files written; `None` for a view or a query.
    pub written: Option<WriteSummary>,
    /// Time from the start of the step to its end. Steps that run as one query report the same
    /// time.
    pub elapsed: Duration,
}
