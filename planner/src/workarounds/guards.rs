//! A condition guards the conditions after it.
//!
//! In `n <> 0 AND 10 / n > 1` Spark does not divide where `n` is 0. DataFusion tests both sides on
//! all rows, orders conditions by cost, and moves each to where its columns are
//! (apache/datafusion#8927 family). Here a condition that can fail holds its guards itself:
//!
//! ```text
//!   n <> 0 AND 10 / n > 1     ──►     n <> 0 AND CASE WHEN n <> 0 THEN CAST(10 / n > 1 AS TINYINT) ELSE 0 END = 1
//! ```
//!
//! The number in the middle keeps the optimizer from making AND and OR of the CASE again. Only
//! conditions that can fail change; conditions that cannot fail come first among the guards, since
//! testing them early does no harm.

pub(super) mod fallible;
pub(super) mod merged_filters;

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema, split_binary};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, cast, lit, when};
use datafusion::optimizer::AnalyzerRule;

use fallible::can_fail;

/// Longer chains are left as they are: programs generate them, from conditions of one kind.
const CHAIN_MAX: usize = 64;

/// Runs last, when casts and checked operators are in their places.
#[derive(Debug)]
pub(super) struct Guards;

impl AnalyzerRule for Guards {
    fn name(&self) -> &'static str {
        "guards"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            let is_filter = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            node.map_expressions(|expr| {
                // Keys of a join come as well, and stay as they are.
                if !has_chain(&expr)? {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                let guarded = match is_filter {
                    true => guard_condition(expr, &schema),
                    false => guard_value(expr, &schema),
                }?;
                Ok(guarded.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }
}

/// What becomes of the value of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It decides which rows stay: unknown counts as false.
    Condition,
    /// Its value is used: unknown differs from false.
    Value,
}

fn is_chain(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryExpr(BinaryExpr {
            op: Operator::And | Operator::Or,
            ..
        })
    )
}

fn has_chain(expr: &Expr) -> Result<bool> {
    expr.exists(|e| Ok(is_chain(e)))
}

/// Guards the parts of a condition that decides which rows stay.
fn guard_condition(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::BinaryExpr(BinaryExpr {
            op: Operator::And, ..
        }) => guard_chain(&expr, Operator::And, Use::Condition, schema),
        _ => guard_value(expr, schema),
    }
}

/// Guards the chains in an expression whose value is used.
fn guard_value(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::BinaryExpr(BinaryExpr {
            op: op @ (Operator::And | Operator::Or),
            ..
        }) => guard_chain(&expr, *op, Use::Value, schema),
        _ => expr.map_children(|child| guard_value(child, schema)),
    }
}

/// Guards the parts of a chain of AND or OR that can fail, by the others.
fn guard_chain(
    chain: &Expr,
    op: Operator,
    used_as: Use,
    schema: &DFSchema,
) -> Result<Transformed<Expr>> {
    let parts = split_binary(chain, op);
    if parts.len() > CHAIN_MAX {
        return Ok(Transformed::no(chain.clone()));
    }
    let failing: Vec<bool> = parts
        .iter()
        .map(|part| Ok(can_fail(part, schema)? && !is_join_key(part)))
        .collect::<Result<_>>()?;
    let mut last_failing: Option<Expr> = None;
    let may_guard: Vec<bool> = parts
        .iter()
        .map(|part| may_guard(part))
        .collect::<Result<_>>()?;
    let mut is_changed = false;
    let mut result = vec![];
    for (index, part) in parts.iter().enumerate() {
        let inner = guard_value((*part).clone(), schema)?;
        is_changed |= inner.transformed;
        let tables = relations(part);
        let mut guards: Vec<Expr> = (0..parts.len())
            .filter(|&other| other != index && !failing[other] && may_guard[other])
            // A guard of another table would keep the condition above the join of the two.
            .filter(|&other| relations(parts[other]).is_subset(&tables))
            .map(|other| parts[other].clone())
            .collect();
        // The previous one that can fail holds its own guards, so it stands for all before it.
        let previous = last_failing.clone().filter(|_| failing[index]);
        guards.extend(previous.filter(|previous| relations(previous).is_subset(&tables)));
        if !failing[index] {
            result.push(inner.data);
            continue;
        }
        is_changed |= !guards.is_empty();
        let part = with_guard(inner.data, guards, op, used_as)?;
        last_failing = Some(part.clone());
        result.push(part);
    }
    if !is_changed {
        return Ok(Transformed::no(chain.clone()));
    }
    let joined = if op == Operator::And {
        conjunction(result)
    } else {
        disjunction(result)
    };
    Ok(Transformed::yes(joined.unwrap_or_else(|| chain.clone())))
}

/// Returns `part`, evaluated only where the guards do not decide the outcome already.
fn with_guard(part: Expr, guards: Vec<Expr>, op: Operator, used_as: Use) -> Result<Expr> {
    let mut open: Option<Expr> = None;
    for guard in guards {
        open = Some(match open {
            None => guard,
            Some(open) => Expr::BinaryExpr(BinaryExpr::new(Box::new(open), op, Box::new(guard))),
        });
    }
    let (Some(open), tiny) = (open, |n: i8| lit(n)) else {
        return Ok(part);
    };
    let value = cast(part, DataType::Int8);
    let number = match op {
        Operator::Or => when(open.is_true(), tiny(1)).otherwise(value)?,
        _ if used_as == Use::Condition => when(open, value).otherwise(tiny(0))?,
        _ => when(open.is_not_false(), value).otherwise(tiny(0))?,
    };
    Ok(number.eq(tiny(1)))
}

/// Whether a second copy of a condition costs little and means the same.
fn may_guard(condition: &Expr) -> Result<bool> {
    // A condition of a correlated subquery becomes a key of its join, as `is_join_key` does.
    let has_query = condition.exists(|e| {
        Ok(matches!(
            e,
            Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(_, _)
        ))
    })?;
    Ok(!has_query && !condition.is_volatile() && !is_join_key(condition))
}

/// Whether an expression is an equality of two relations, by which a join finds rows. It must stay visible to
/// the optimizer, so it neither guards nor is guarded.
fn is_join_key(expr: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq | Operator::IsNotDistinctFrom,
        right,
    }) = expr
    else {
        return false;
    };
    let (left, right) = (relations(left), relations(right));
    !left.is_empty() && !right.is_empty() && left.is_disjoint(&right)
}

/// Returns the tables whose columns an expression reads.
fn relations(expr: &Expr) -> HashSet<Option<TableReference>> {
    let columns = expr.column_refs().into_iter();
    columns.map(|column| column.relation.clone()).collect()
}
