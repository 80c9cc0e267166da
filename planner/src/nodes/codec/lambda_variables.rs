//! Gives variables of lambdas positions that no column has.
//!
//! A variable is a position behind the columns of the operator's input. DataFusion's rules that
//! merge projections, and its readers of files, change the positions of columns and leave those of
//! variables, so that `transform(a, x -> x + c)` reads `c` for `x`, or fails. Decoded expressions
//! get positions for variables that are larger than those of any column.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{LambdaExpr, LambdaVariable};

/// Position of the first variable; no input has as many columns.
const FIRST_POSITION: usize = 1 << 24;

/// Moves the variables of lambdas behind all columns. Variables of a lambda around `expr` stay
/// where they are.
pub(super) fn move_behind_columns(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let mut has_lambda = false;
    expr.apply(|node| {
        has_lambda |= node.downcast_ref::<LambdaExpr>().is_some();
        Ok(match has_lambda {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    match has_lambda {
        true => move_variables(&expr, &mut Vec::new()),
        false => Ok(expr),
    }
}

/// Moves the variables of an expression. `names` are those of the lambdas around it, from the
/// outside to the inside.
fn move_variables(
    expr: &Arc<dyn PhysicalExpr>,
    names: &mut Vec<String>,
) -> Result<Arc<dyn PhysicalExpr>> {
    if let Some(variable) = expr.downcast_ref::<LambdaVariable>() {
        // The innermost variable of a name hides the others.
        let position = names.iter().rposition(|name| name == variable.name());
        return Ok(match position {
            Some(position) => Arc::new(LambdaVariable::new(
                FIRST_POSITION + position,
                Arc::clone(variable.field()),
            )),
            None => Arc::clone(expr),
        });
    }
    let outer_count = names.len();
    if let Some(lambda) = expr.downcast_ref::<LambdaExpr>() {
        names.extend_from_slice(lambda.params());
    }
    let children = expr
        .children()
        .into_iter()
        .map(|child| move_variables(child, names))
        .collect::<Result<Vec<_>>>();
    names.truncate(outer_count);
    let children = children?;
    match children.is_empty() {
        true => Ok(Arc::clone(expr)),
        false => Arc::clone(expr).with_new_children(children),
    }
}
