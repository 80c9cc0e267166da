//! How dense keys must be for a join to look rows up in an array instead of a hash table.
//!
//! DataFusion's array has an entry for each value between the smallest and the largest key. Sparse
//! keys of a large build side therefore take a lot of memory. When a task starts, the exact bytes
//! of its build sides are known. Where memory is limited, the keys must be dense enough that the
//! largest array takes at most its share of the task's memory.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use faisca_planner::ids::StageId;

use super::join_by_merge::build_inputs;

/// Bytes of an entry of the array.
const ENTRY_BYTES: u64 = 4;
/// An array may take `1 / ARRAY_SHARE` of a task's memory.
const ARRAY_SHARE: u64 = 8;
/// Bytes assumed for a value without a fixed width: those of a view.
const VIEW_BYTES: usize = 16;

/// Returns the minimum of rows per value between the smallest and the largest key: `configured`, or
/// more if memory is short.
///
/// `partition_bytes` has the bytes of the largest partition that the task reads of each stage.
pub(crate) fn key_density_min(
    plan: &Arc<dyn ExecutionPlan>,
    partition_bytes: &HashMap<StageId, u64>,
    task_memory_bytes: u64,
    configured: f64,
) -> f64 {
    let array_bytes_max = (task_memory_bytes / ARRAY_SHARE).max(1);
    let needed =
        (build_rows_max(plan, partition_bytes) * ENTRY_BYTES) as f64 / array_bytes_max as f64;
    configured.max(needed)
}

/// Upper bound of the rows of the largest build side.
fn build_rows_max(plan: &Arc<dyn ExecutionPlan>, partition_bytes: &HashMap<StageId, u64>) -> u64 {
    let node_bytes = plan
        .downcast_ref::<HashJoinExec>()
        .map_or(0, |join| build_rows(join, partition_bytes));
    plan.children()
        .into_iter()
        .map(|child| build_rows_max(child, partition_bytes))
        .fold(node_bytes, u64::max)
}

fn build_rows(join: &HashJoinExec, partition_bytes: &HashMap<StageId, u64>) -> u64 {
    let rows = |(input, bytes): &(Arc<dyn ExecutionPlan>, u64)| {
        let width: usize = input
            .schema()
            .fields()
            .iter()
            .map(|field| field.data_type().primitive_width().unwrap_or(VIEW_BYTES))
            .sum();
        bytes / width.max(1) as u64
    };
    build_inputs(join, partition_bytes).iter().map(rows).sum()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{JoinType, NullEquality};
    use datafusion::physical_expr::EquivalenceProperties;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::Partitioning;
    use datafusion::physical_plan::joins::PartitionMode;
    use faisca_planner::{ExchangeReadExec, InputMode};

    use super::*;

    /// A join of stage 0, which is built, with stage 1; rows of 8 bytes.
    fn join() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let read = |stage| -> Arc<dyn ExecutionPlan> {
            let properties = EquivalenceProperties::new(Arc::clone(&schema));
            Arc::new(ExchangeReadExec::new(
                StageId(stage),
                InputMode::Broadcast,
                properties,
                Partitioning::UnknownPartitioning(1),
            ))
        };
        let key = || Arc::new(Column::new("k", 0)) as _;
        let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
        Arc::new(
            HashJoinExec::try_new(
                read(0),
                read(1),
                vec![(key(), key())],
                None,
                &JoinType::Inner,
                None,
                mode,
                nulls,
                false,
            )
            .unwrap(),
        )
    }

    #[test]
    fn keys_must_be_denser_where_their_array_would_outgrow_its_share_of_memory() {
        const MIB: u64 = 1 << 20;
        let density = |build_bytes, task_memory_bytes| {
            let bytes = HashMap::from([(StageId(0), build_bytes), (StageId(1), 4096 * MIB)]);
            key_density_min(&join(), &bytes, task_memory_bytes, 0.05)
        };
        // 131,072 rows: at a density of 0.05 an array of 10 MiB, for which 128 MiB are there.
        assert_eq!(density(MIB, 1024 * MIB), 0.05);
        // 13 million rows: of 50 MiB for the rows' own places, 64 MiB may be used.
        assert_eq!(density(100 * MIB, 512 * MIB), 0.78125);
        // No array at all.
        assert!(density(1024 * MIB, 512 * MIB) > 1.0);
    }
}
