//! The handle of a query from its submission until its result has been read.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::Result;
use faisca_executor::protocol::{Failure, FailureKind};
use faisca_planner::ids::QueryId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::EngineHandle;
use crate::engine::query_plan::QueryPlan;
use crate::error::{Error, TaskFailure, external};
use crate::scheduler::QueryOutput;

/// A submitted query. Dropping it releases its blocks and stops its tasks that still run.
pub(crate) struct RunningQuery {
    pub(crate) query: QueryId,
    pub(crate) plan: Arc<QueryPlan>,
    pub(crate) engine: EngineHandle,
    pub(crate) outcomes: mpsc::Receiver<Result<QueryOutput, Failure>>,
    pub(crate) deadline: Option<Deadline>,
}

/// When a query must be complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Option<Self> {
        // A time that no clock reaches is no limit.
        let at = Instant::now().checked_add(timeout)?;
        Some(Self { at, timeout })
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.engine.release(self.query);
    }
}

impl RunningQuery {
    /// Waits for the next outcome: the locations of the result.
    ///
    /// # Errors
    /// Returns the failure of the query, or an error if the session or the query's time ends first.
    pub(crate) async fn outcome(&mut self) -> Result<QueryOutput> {
        let deadline = self.deadline;
        let received = match deadline {
            Some(Deadline { at, .. }) => tokio::time::timeout_at(at, self.outcomes.recv()).await,
            None => Ok(self.outcomes.recv().await),
        };
        match (received, deadline) {
            (Ok(Some(Ok(output))), _) => Ok(output),
            (Ok(Some(Err(failure))), _) => Err(external(TaskFailure(failure))),
            (Err(_), Some(deadline)) => Err(external(TaskFailure(timed_out(deadline)))),
            (Ok(None) | Err(_), _) => Err(external(Error::SessionEnded)),
        }
    }
}

/// Returns the failure of a query that reached its deadline. The kind is `User`, because a retry
/// would take as long.
fn timed_out(deadline: Deadline) -> Failure {
    Failure {
        kind: FailureKind::User,
        message: format!(
            "the statement ran longer than {} s, the value of faisca.statement.timeout",
            deadline.timeout.as_secs()
        ),
    }
}
