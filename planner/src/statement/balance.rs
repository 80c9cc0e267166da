//! Turns chains of AND or OR into balanced trees.

use std::mem::replace;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Chains up to this length stay as the parser built them.
const SHORT_CHAIN: usize = 16;

/// Balances the chain that `expr` is the root of, if it is one. Operands keep their order.
pub(super) fn balance(expr: &mut Expr) {
    let Expr::BinaryOp {
        op: op @ (BinaryOperator::And | BinaryOperator::Or),
        ..
    } = expr
    else {
        return;
    };
    let op = op.clone();
    let depth = left_depth(expr, &op);
    // The optimizer splits AND and builds a chain again, so a long chain stays deep here, and is
    // refused.
    if depth <= SHORT_CHAIN || op == BinaryOperator::And && depth > super::AND_CHAIN_MAX {
        return;
    }
    let operands = collect_operands(replace(expr, placeholder()), &op);
    let count = operands.len();
    *expr = build_tree(&mut operands.into_iter(), count, &op);
}

fn left_depth(expr: &Expr, op: &BinaryOperator) -> usize {
    let (mut depth, mut node) = (0, expr);
    while let Expr::BinaryOp {
        left, op: node_op, ..
    } = node
        && node_op == op
    {
        depth += 1;
        node = left;
    }
    depth
}

/// Returns the operands of a chain in their order, without recursion.
fn collect_operands(expr: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let (mut operands, mut rest) = (vec![], expr);
    loop {
        match rest {
            Expr::BinaryOp {
                left,
                op: node_op,
                right,
            } if node_op == *op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    operands
}

fn build_tree(
    operands: &mut impl Iterator<Item = Expr>,
    count: usize,
    op: &BinaryOperator,
) -> Expr {
    if count == 1 {
        return operands.next().unwrap_or_else(placeholder);
    }
    let left = build_tree(operands, count / 2, op);
    let right = build_tree(operands, count - count / 2, op);
    Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    }
}

/// Returns an expression that stands for another one while that is rebuilt.
pub(super) fn placeholder() -> Expr {
    Expr::Value(Value::Null.into())
}
