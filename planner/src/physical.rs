//! Small steps over physical plans that the cut, the rules and the estimate share.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, NullEquality, Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

pub(crate) fn replace_children(
    plan: Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.replace_children(
        children,
        ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
    )
}

/// `plan` with each hash join replaced for which `better` has another plan, from the leaves up.
pub(crate) fn replace_hash_joins(
    plan: Arc<dyn ExecutionPlan>,
    better: impl Fn(&HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let found = node
            .downcast_ref::<HashJoinExec>()
            .map(&better)
            .transpose()?
            .flatten();
        Ok(found.map_or(Transformed::no(node), Transformed::yes))
    })
    .data()
}

/// These children, as many as there must be.
///
/// # Errors
/// If there are more or fewer, which would be a bug.
pub(crate) fn children<const N: usize>(
    of: &str,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<[Arc<dyn ExecutionPlan>; N]> {
    children
        .try_into()
        .map_err(|_| internal_datafusion_err!("{of} without its {N} inputs"))
}

/// Whether a join goes by its keys alone: nulls match nothing, and none of them empties the result.
pub(crate) fn has_plain_keys(join: &HashJoinExec) -> bool {
    !join.null_aware && join.null_equality() == NullEquality::NullEqualsNothing
}

/// Whether a build side that every task collects for itself gives right results: no row of the
/// output may come from an unmatched build row, since no task sees all matches.
pub(crate) fn build_side_may_be_broadcast(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner
        | JoinType::Right
        | JoinType::RightSemi
        | JoinType::RightAnti
        | JoinType::RightMark => true,
        JoinType::Left
        | JoinType::Full
        | JoinType::LeftSemi
        | JoinType::LeftAnti
        | JoinType::LeftMark => false,
    }
}

/// Whether rows of a side, 0 the left one, only come out with a match.
pub(crate) fn drops_unmatched(join_type: JoinType, side: usize) -> bool {
    use JoinType::{
        Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
    };
    match side {
        0 => matches!(
            join_type,
            Inner | Right | RightSemi | RightAnti | RightMark | LeftSemi
        ),
        _ => matches!(
            join_type,
            Inner | Left | LeftSemi | LeftAnti | LeftMark | RightSemi
        ),
    }
}

/// The place of a column; `None` of any other expression.
pub(crate) fn column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The column at this place of a plan.
pub(crate) fn column_at(plan: &Arc<dyn ExecutionPlan>, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(plan.schema().field(index).name(), index))
}

/// `input`'s rows whose keys `source` has. `keys` are pairs of a column of `source` and one of `input`.
pub(crate) fn semi_join(
    source: &Arc<dyn ExecutionPlan>,
    input: &Arc<dyn ExecutionPlan>,
    keys: &[(usize, usize)],
) -> Result<Arc<dyn ExecutionPlan>> {
    let only = keys.iter().map(|(key, _)| ProjectionExpr {
        expr: column_at(source, *key),
        alias: source.schema().field(*key).name().clone(),
    });
    let only: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(
        only.collect::<Vec<_>>(),
        Arc::clone(source),
    )?);
    let on = keys
        .iter()
        .enumerate()
        .map(|(index, (_, key))| (column_at(&only, index), column_at(input, *key)))
        .collect();
    let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(
        only,
        Arc::clone(input),
        on,
        None,
        &JoinType::RightSemi,
        None,
        mode,
        nulls,
        false,
    )?))
}

/// The leaves of a plan, left to right.
#[must_use]
pub fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let children = plan.children();
    if children.is_empty() {
        return vec![Arc::clone(plan)];
    }
    children.into_iter().flat_map(leaves).collect()
}
