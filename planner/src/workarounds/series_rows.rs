//! The rows of a series can be counted.
//!
//! `count(*)` of `generate_series` reads no column. DataFusion's protobuf message for a series
//! holds the columns that are read as if they were all that there are, so an executor makes a
//! series of one column for a schema of none and fails. Here the series keeps its column, and a
//! projection above it removes that.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::plan_rule::PlanRule;
use crate::physical::replace_nodes;

/// Runs after projections were pushed down.
pub(super) const SERIES_ROWS: PlanRule = PlanRule {
    name: "series_rows",
    rewrite: |plan| {
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
    },
};

/// Returns the schema of a series, which only its rows know. Without rows, any schema is right.
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
