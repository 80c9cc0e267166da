//! The query planner that makes DataFusion run its queries on the cluster.
//!
//! DataFusion's own DataFrame and SQL need no change. DataFusion requests a physical plan from the
//! session's query planner and executes its partition 0. Our planner cuts the plan into stages and
//! returns a leaf operator which, when executed, runs these stages on the cluster.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use faisca_planner::rules::switches;
use faisca_planner::stages::{StageGraph, StageOutput, cut, cut_writes, share};
use futures::TryStreamExt;
use tracing::debug;

use super::cluster::Cluster;
use super::result::ResultReader;
use crate::engine::prepared::PreparedQuery;
use crate::engine::query_plan::encoded_plan;

/// Plans queries for execution on a cluster.
#[derive(Debug)]
pub(crate) struct DistributedPlanner {
    pub(crate) cluster: Arc<Cluster>,
}

#[async_trait]
impl QueryPlanner for DistributedPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = DefaultPhysicalPlanner::default()
            .create_physical_plan(logical_plan, session)
            .await?;
        // The session itself executes these, or they only show a plan.
        let distributable = !matches!(
            logical_plan,
            LogicalPlan::Copy(_)
                | LogicalPlan::Dml(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
        );
        if !distributable {
            return Ok(plan);
        }
        let graph = Arc::new(stages_of(Arc::clone(&plan), session)?);
        match PreparedQuery::new(graph, vec![], session.config_options()) {
            Ok(prepared) => Ok(Arc::new(DistributedExec::new(
                Arc::clone(&self.cluster),
                prepared,
                &plan,
            ))),
            Err(reason) => {
                // For example information_schema and streams, which only this process can read.
                debug!("runs in the driver: {reason}");
                Ok(plan)
            }
        }
    }
}

/// Returns the stages of a query that returns rows. `plan` is already optimized.
///
/// # Errors
/// Returns an error if the query cannot be planned.
pub(crate) async fn stages(plan: &LogicalPlan, session: &dyn Session) -> Result<StageGraph> {
    let physical = DefaultPhysicalPlanner::default()
        .create_physical_plan(plan, session)
        .await?;
    stages_of(physical, session)
}

/// Returns the stages of several writes that run as one query. The plans are already optimized.
///
/// # Errors
/// Returns an error if one of them cannot be planned.
pub(crate) async fn stages_of_writes(
    plans: &[LogicalPlan],
    session: &dyn Session,
) -> Result<StageGraph> {
    let mut physical = vec![];
    for plan in plans {
        physical.push(
            DefaultPhysicalPlanner::default()
                .create_physical_plan(plan, session)
                .await?,
        );
    }
    share_equal_stages(cut_writes(physical)?, session)
}

fn stages_of(plan: Arc<dyn ExecutionPlan>, session: &dyn Session) -> Result<StageGraph> {
    share_equal_stages(cut(plan, StageOutput::Partitions)?, session)
}

/// Replaces stages that are equal to an earlier one by that one, unless `faisca.share_stages` is
/// off.
fn share_equal_stages(graph: StageGraph, session: &dyn Session) -> Result<StageGraph> {
    if !switches(session.config_options()).share_stages {
        return Ok(graph);
    }
    share(graph, encoded_plan)
}

/// A leaf operator that, when executed, runs a prepared query on the cluster. It has one partition.
#[derive(Debug)]
struct DistributedExec {
    cluster: Arc<Cluster>,
    prepared: PreparedQuery,
    properties: Arc<PlanProperties>,
}

impl DistributedExec {
    fn new(cluster: Arc<Cluster>, prepared: PreparedQuery, plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut eq_properties = EquivalenceProperties::new(plan.schema());
        // The result is read one partition after another: this keeps an order of all rows, but not
        // an order within each partition.
        if plan.output_partitioning().partition_count() == 1 {
            eq_properties = plan.equivalence_properties().clone();
        }
        let single_partition = Partitioning::UnknownPartitioning(1);
        let properties = PlanProperties::new(
            eq_properties,
            single_partition,
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            cluster,
            prepared,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for DistributedExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::TreeRender => {
                write!(f, "DistributedExec")
            }
            DisplayFormatType::Verbose => write!(f, "DistributedExec\n{}", self.prepared.graph),
        }
    }
}

impl ExecutionPlan for DistributedExec {
    fn name(&self) -> &'static str {
        "DistributedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    faisca_planner::plan_node_methods!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition > 0 {
            return internal_err!("DistributedExec has one partition");
        }
        let (cluster, prepared) = (Arc::clone(&self.cluster), self.prepared.clone());
        let eq_properties = self.properties.eq_properties.clone();
        let run = async move {
            let (running, output) = cluster.run(&prepared, "query".to_owned()).await?;
            let reader = ResultReader::new(&cluster, running, &output, eq_properties, &context);
            Ok::<_, DataFusionError>(reader.stream())
        };
        let stream = futures::stream::once(run).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream,
        )))
    }
}
