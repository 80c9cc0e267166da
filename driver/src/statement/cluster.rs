//! Runs the queries of a session on the engine, the fleet and the embedded executor.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::Result;
use faisca_executor::exchange::{BlockStore, DurableTier, PeerClients};
use faisca_executor::protocol::Durability;
use tokio::sync::mpsc;

use super::running::{Deadline, RunningQuery};
use crate::engine::prepared::PreparedQuery;
use crate::engine::query_plan::QueryPlan;
use crate::engine::{EngineHandle, Message, QuerySubmission};
use crate::error::external;
use crate::fleet::Fleet;
use crate::scheduler::{Placement, QueryOutput};

/// Capacity of a query's channel of outcomes. After the first outcome, further ones follow only if
/// parts of the result were lost and recomputed.
const OUTCOMES: usize = 8;

/// Everything that runs the queries of a session.
pub(crate) struct Cluster {
    pub(crate) engine: EngineHandle,
    pub(crate) fleet: Box<dyn Fleet>,
    /// The embedded executor; `None` if it is the fleet itself.
    pub(crate) embedded: Option<Box<dyn Fleet>>,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) peers: Arc<PeerClients>,
    /// Store of durable blocks, and when blocks are copied to it.
    pub(crate) durable: Option<(Arc<DurableTier>, Durability)>,
    /// Queries that read fewer bytes than this run on the embedded executor.
    pub(crate) small_bytes: u64,
    /// Longest time that a query may run.
    pub(crate) statement_timeout: Option<Duration>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("slots", &self.fleet.slots_expected())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Runs a query until its result is complete. The result stays readable for as long as the
    /// returned [`RunningQuery`] exists.
    ///
    /// # Errors
    /// Returns the failure of a task as a `TaskFailure`, or an error if the session has ended.
    pub(crate) async fn run(
        &self,
        prepared: &PreparedQuery,
        label: String,
    ) -> Result<(RunningQuery, QueryOutput)> {
        let query = self.engine.next_query();
        let is_small = prepared.scan_bytes < self.small_bytes && self.embedded.is_some();
        // The blocks of a small query live in the driver: they are lost only with the session.
        let durability = self
            .durable
            .as_ref()
            .filter(|_| !is_small)
            .map_or(Durability::Never, |(_, durability)| *durability);
        let placement = if is_small {
            Placement::Driver
        } else {
            Placement::Fleet
        };
        let host = if is_small {
            self.embedded.as_ref().unwrap_or(&self.fleet)
        } else {
            &self.fleet
        };
        let plan = Arc::new(QueryPlan::new(
            query,
            prepared.clone(),
            placement,
            durability,
        ));
        let (outcome, outcomes) = mpsc::channel(OUTCOMES);
        let submission = QuerySubmission {
            query,
            label,
            plan: Arc::clone(&plan),
            placement,
            slots_expected: host.slots_expected(),
            outcome,
        };
        self.engine
            .send(Message::Submit(submission))
            .await
            .map_err(external)?;
        let mut running = RunningQuery {
            query,
            plan,
            engine: self.engine.clone(),
            outcomes,
            deadline: self.statement_timeout.and_then(Deadline::after),
        };
        let output = running.outcome().await?;
        Ok((running, output))
    }
}
