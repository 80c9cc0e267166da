//! The rows of a series can be counted.
//!
//! `count(*)` of `generate_series` reads no column. DataFusion's protobuf message for a series
//! holds the columns that are read as if they were all that there are, so an executor makes a
//! series of one column for a schema of none and fails. Here the series keeps its column, and a
//! projection above it removes that.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::physical::replace_nodes;

/// Runs after projections were pushed down.
#[derive(Debug)]
pub(super) struct SeriesRows;

impl PhysicalOptimizerRule for SeriesRows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replace_nodes(plan, |series: &LazyMemoryExec| {
            if !series.schema().fields().is_empty() {
                return Ok(None);
            }
            let generators = series.generators().clone();
            let whole = LazyMemoryExec::try_new(whole_schema(series)?, generators)?;
            let nothing = Vec::<ProjectionExpr>::new();
            let rows = ProjectionExec::try_new(nothing, Arc::new(whole))?;
            Ok(Some(Arc::new(rows)))
        })
    }

    fn name(&self) -> &'static str {
        "series_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The schema of a series, which only its rows know. Without rows any will do.
fn whole_schema(series: &LazyMemoryExec) -> Result<SchemaRef> {
    for generator in series.generators() {
        let fresh = generator.read().reset_state();
        if let Some(batch) = fresh.write().generate_next_batch()? {
            return Ok(batch.schema());
        }
    }
    Ok(Arc::new(Schema::new(vec![Field::new(
        "value",
        DataType::Int64,
        true,
    )])))
}
