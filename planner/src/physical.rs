//! Replaces nodes of physical plans, and decides which build sides may be broadcast: shared by
//! nodes, estimates, rules and stages.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, NullEquality, Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// The methods of [`ExecutionPlan`](datafusion::physical_plan::ExecutionPlan) that are the same for
/// every node that we add: it has no expressions for optimizers to visit, and `replace_children`
/// also serves the older `with_new_children`.
#[macro_export]
macro_rules! plan_node_methods {
    () => {
        fn apply_expressions(
            &self,
            _visit: &mut dyn FnMut(
                &::std::sync::Arc<dyn ::datafusion::physical_expr::PhysicalExpr>,
            ) -> ::datafusion::common::Result<
                ::datafusion::common::tree_node::TreeNodeRecursion,
            >,
        ) -> ::datafusion::common::Result<::datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(::datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: ::std::sync::Arc<Self>,
            children: Vec<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>>,
        ) -> ::datafusion::common::Result<
            ::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>,
        > {
            use ::datafusion::physical_plan::execution_plan as plan;
            let mode = plan::ChildrenPropertiesMode::Recompute;
            self.replace_children(children, plan::ReplaceChildrenOptions::new(mode))
        }
    };
}

/// Returns `plan` with one of its children replaced.
pub(crate) fn replace_child(
    plan: &Arc<dyn ExecutionPlan>,
    index: usize,
    child: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
    children[index] = child;
    replace_children(Arc::clone(plan), children)
}

/// Returns `plan` with other children, and its properties recomputed.
pub(crate) fn replace_children(
    plan: Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.replace_children(
        children,
        ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
    )
}

/// Replaces each node of the type `N` for which `rewrite` returns another plan, from the leaves up.
pub(crate) fn replace_nodes<N: ExecutionPlan>(
    plan: Arc<dyn ExecutionPlan>,
    rewrite: impl Fn(&N) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let rewritten = node
            .downcast_ref::<N>()
            .map(&rewrite)
            .transpose()?
            .flatten();
        Ok(rewritten.map_or(Transformed::no(node), Transformed::yes))
    })
    .data()
}

/// Returns the input whose partitions `plan` collects into one; `None` if it does anything else, or
/// stops early.
pub(crate) fn collected_input(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    plan.downcast_ref::<CoalescePartitionsExec>()
        .filter(|collected| collected.fetch().is_none())
        .map(CoalescePartitionsExec::input)
}

/// Returns the children as an array of the expected length.
///
/// # Errors
/// If there are more or fewer children, which is a bug.
pub(crate) fn expect_children<const N: usize>(
    node: &str,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<[Arc<dyn ExecutionPlan>; N]> {
    children
        .try_into()
        .map_err(|_| internal_datafusion_err!("{node} must have {N} inputs"))
}

/// Whether a join has plain SQL keys: nulls match nothing, and it is no null-aware anti join.
pub(crate) fn has_plain_keys(join: &HashJoinExec) -> bool {
    !join.null_aware && join.null_equality() == NullEquality::NullEqualsNothing
}

/// Whether every task may collect the whole build side for itself.
///
/// The join must not return unmatched build rows, since no task sees all matches of a build row.
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

/// Whether a join drops unmatched rows of a side, 0 for the left one.
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

/// Returns the index of a column; `None` for any other expression.
pub(crate) fn column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// Returns the column at this index of a plan.
pub(crate) fn column_at(plan: &Arc<dyn ExecutionPlan>, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(plan.schema().field(index).name(), index))
}

/// Returns the semi join that keeps the rows of `input` whose keys are in `source`.
///
/// `keys` are pairs of a column of `source` and a column of `input`.
pub(crate) fn semi_join(
    source: &Arc<dyn ExecutionPlan>,
    input: &Arc<dyn ExecutionPlan>,
    keys: &[(usize, usize)],
) -> Result<Arc<dyn ExecutionPlan>> {
    let key_columns = keys.iter().map(|(key, _)| ProjectionExpr {
        expr: column_at(source, *key),
        alias: source.schema().field(*key).name().clone(),
    });
    let source_keys: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(
        key_columns.collect::<Vec<_>>(),
        Arc::clone(source),
    )?);
    let on = keys
        .iter()
        .enumerate()
        .map(|(index, (_, key))| (column_at(&source_keys, index), column_at(input, *key)))
        .collect();
    let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(
        source_keys,
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

/// Returns the leaves of a plan, left to right.
#[must_use]
pub fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let children = plan.children();
    if children.is_empty() {
        return vec![Arc::clone(plan)];
    }
    children.into_iter().flat_map(leaves).collect()
}
