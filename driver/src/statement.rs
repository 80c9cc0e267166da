//! Plans a query, runs it and reads its result: DataFusion's plan → stages → running query → rows.

mod cluster;
mod explain;
mod query_planner;
mod result;
mod running;

pub(crate) use cluster::Cluster;
pub(crate) use explain::{analyze, explain};
pub(crate) use query_planner::{DistributedPlanner, stages, stages_of_writes};
pub(crate) use running::RunningQuery;
