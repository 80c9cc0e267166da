//! What a step of a job, or a statement of a script, did.

use std::time::Duration;

use crate::engine::progress::WriteSummary;

/// What one step came to.
#[derive(Debug, Clone)]
pub struct StepSummary {
    /// The step, or the statement of a script.
    pub name: String,
    /// What it wrote; nothing for a view.
    pub written: Option<WriteSummary>,
    /// From its start to its end.
    pub elapsed: Duration,
}
