//! The handle of a query from its submission until its result has been read.

use std::sync::Arc;

use datafusion::common::Result;
use faisca_executor::protocol::Failure;
use faisca_planner::ids::QueryId;
use tokio::sync::mpsc;

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
    /// Returns the failure of the query, or an error if the session ends first.
    pub(crate) async fn outcome(&mut self) -> Result<QueryOutput> {
        match self.outcomes.recv().await {
            Some(Ok(output)) => Ok(output),
            Some(Err(failure)) => Err(external(TaskFailure(failure))),
            None => Err(external(Error::SessionEnded)),
        }
    }
}
