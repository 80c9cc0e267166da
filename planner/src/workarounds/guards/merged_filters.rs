//! Guards the conditions of filters that the optimizer merged: `SELECT * FROM (SELECT 10 / n AS q
//! FROM t WHERE n <> 0) WHERE q > 1`.
//!
//! Each filter had a single condition and needed no guard. After they are merged and pushed down,
//! the outer condition must not run before the inner one.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, Literal, lit,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, conjunction, split_conjunction};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

use super::fallible::{divides_all, is_safe_cast, is_safe_function};
use crate::physical::replace_nodes;
use crate::workarounds::plan_rule::PlanRule;

type Expr = Arc<dyn PhysicalExpr>;

/// Runs before filters are pushed into scans, which may order them by cost.
pub(in crate::workarounds) const MERGED_FILTERS: PlanRule = PlanRule {
    name: "guards_of_merged_filters",
    rewrite: |plan| {
        replace_nodes(plan, |filter: &FilterExec| {
            let Some(predicate) = guard_predicate(filter.predicate(), &filter.input().schema())?
            else {
                return Ok(None);
            };
            let filter = FilterExecBuilder::from(filter)
                .with_predicate(predicate)
                .build()?;
            Ok(Some(Arc::new(filter)))
        })
    },
};

/// Returns the predicate with guards for the conditions that can fail; `None` if none needs one.
fn guard_predicate(predicate: &Expr, schema: &Schema) -> Result<Option<Expr>> {
    let (mut safe, mut failing) = (vec![], vec![]);
    for condition in split_conjunction(predicate) {
        let list = if can_fail(condition, schema)? {
            &mut failing
        } else {
            &mut safe
        };
        list.push(Arc::clone(condition));
    }
    if failing.is_empty() || safe.len() + failing.len() == 1 {
        return Ok(None);
    }
    let mut guards = safe.clone();
    let mut conditions = safe;
    for condition in failing {
        let guarded = match guards.is_empty() {
            true => Arc::clone(&condition),
            false => {
                let guard = conjunction(guards.clone());
                let case = vec![(guard, Arc::clone(&condition))];
                Arc::new(CaseExpr::try_new(None, case, Some(lit(false)))?) as Expr
            }
        };
        // The guarded condition contains the guards before it, so it alone guards the next one.
        guards = vec![Arc::clone(&guarded)];
        conditions.push(guarded);
    }
    Ok(Some(conjunction(conditions)))
}

fn can_fail(expr: &Expr, schema: &Schema) -> Result<bool> {
    let mut fails = false;
    expr.apply(|node| {
        fails |= node_can_fail(node, schema)?;
        Ok(match (fails, node.is::<CaseExpr>()) {
            (true, _) => TreeNodeRecursion::Stop,
            (_, true) => TreeNodeRecursion::Jump,
            _ => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(fails)
}

fn node_can_fail(node: &Expr, schema: &Schema) -> Result<bool> {
    let fails = if let Some(cast) = node.downcast_ref::<CastExpr>() {
        !is_safe_cast(&cast.expr().data_type(schema)?, cast.cast_type())
    } else if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
        let divides = matches!(binary.op(), Operator::Divide | Operator::Modulo);
        let divisor = binary.right().downcast_ref::<Literal>();
        divides
            && !binary.left().data_type(schema)?.is_floating()
            && !divisor.is_some_and(|literal| divides_all(literal.value()))
    } else if let Some(function) = node.downcast_ref::<ScalarFunctionExpr>() {
        !is_safe_function(function.name())
    } else {
        false
    };
    Ok(fails && node.exists(|inner| Ok(inner.is::<Column>()))?)
}
