//! Keeps the column of a series whose rows are only counted.
//!
//! `count(*)` of `generate_series` reads no column. DataFusion's protobuf message for a series
//! contains only the columns that are read, so an executor creates a series of one column for a
//! schema without columns, and fails. Here the series keeps its column, and a projection above it
//! removes it.

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
            let series_with_column = LazyMemoryExec::try_new(series_schema(series)?, generators)?;
            let no_columns = Vec::<ProjectionExpr>::new();
            let rows = ProjectionExec::try_new(no_columns, Arc::new(series_with_column))?;
            Ok(Some(Arc::new(rows)))
        })
    },
};

/// Returns the schema of a series, which only its first batch has. Without rows, any schema is
/// correct.
fn series_schema(series: &LazyMemoryExec) -> Result<SchemaRef> {
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
