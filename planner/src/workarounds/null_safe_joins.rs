//! A null-safe join keeps its equality beside other joins.
//!
//! DataFusion's `eliminate_cross_join` collects the keys of a tree of inner joins and gives all of
//! them the equality of the topmost join, so `a <=> b` below another join becomes `a = b` and loses
//! the rows with null keys. Here the rule sees a null-safe join as a leaf.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType, NullEquality, Result, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// [`EliminateCrossJoin`] that leaves null-safe joins as they are.
#[derive(Debug, Default)]
pub(super) struct NullSafeCrossJoins {
    rule: EliminateCrossJoin,
}

impl OptimizerRule for NullSafeCrossJoins {
    fn name(&self) -> &'static str {
        "eliminate_cross_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut has_null_safe_join = false;
        plan.apply_with_subqueries(|node| {
            has_null_safe_join |= is_null_safe(node);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !has_null_safe_join {
            return self.rule.rewrite(plan, config);
        }
        let hide = |node: LogicalPlan| match node {
            node if is_null_safe(&node) => {
                let node = node.map_children(|child| self.rewrite(child, config))?.data;
                let node: LogicalPlan = LogicalPlan::Extension(Extension {
                    node: Arc::new(NullSafeJoinLeaf { join: node }),
                });
                Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
            }
            node => Ok(Transformed::no(node)),
        };
        let leaves = plan.transform_down_with_subqueries(hide)?.data;
        let rewritten = self.rule.rewrite(leaves, config)?.data;
        let restore = |node: LogicalPlan| match &node {
            LogicalPlan::Extension(extension) => {
                match extension.node.as_any().downcast_ref::<NullSafeJoinLeaf>() {
                    Some(leaf) => Ok(Transformed::yes(leaf.join.clone())),
                    None => Ok(Transformed::no(node)),
                }
            }
            _ => Ok(Transformed::no(node)),
        };
        let restored = rewritten.transform_up_with_subqueries(restore).data()?;
        Ok(Transformed::yes(restored))
    }
}

/// [`ExtractEquijoinPredicate`] that adds no keys to a null-safe join.
///
/// The rule moves `a.y = b.y` from a join's condition to its keys, and all keys of a join have one
/// equality: beside `a.x <=> b.x`, nulls of `y` would match.
#[derive(Debug, Default)]
pub(super) struct SingleEqualityKeys {
    rule: ExtractEquijoinPredicate,
}

impl OptimizerRule for SingleEqualityKeys {
    fn name(&self) -> &'static str {
        "extract_equijoin_predicate"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let has_null_safe_keys = matches!(&plan, LogicalPlan::Join(join)
            if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty());
        if has_null_safe_keys {
            return Ok(Transformed::no(plan));
        }
        self.rule.rewrite(plan, config)
    }
}

fn is_null_safe(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join)
        if join.join_type == JoinType::Inner
            && join.null_equality == NullEquality::NullEqualsNull
            && !join.on.is_empty())
}

/// A leaf that stands for a null-safe join while the rule runs, so that the rule does not look into
/// it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Hash)]
struct NullSafeJoinLeaf {
    join: LogicalPlan,
}

impl UserDefinedLogicalNodeCore for NullSafeJoinLeaf {
    fn name(&self) -> &'static str {
        "NullSafeJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.join.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "NullSafeJoin")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if exprs.is_empty() && inputs.is_empty() {
            return Ok(Self {
                join: self.join.clone(),
            });
        }
        internal_err!("a null-safe join is a leaf here")
    }
}
