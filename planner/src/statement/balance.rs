//! Chains of AND or OR as balanced trees.

use std::mem::replace;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Chains up to this stay as the parser built them.
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
    // The optimizer takes AND apart and builds a chain again, so a long one stays deep, and is
    // refused.
    if depth <= SHORT_CHAIN || op == BinaryOperator::And && depth > super::AND_CHAIN_MAX {
        return;
    }
    let operands = operands(replace(expr, placeholder()), &op);
    let count = operands.len();
    *expr = tree(&mut operands.into_iter(), count, &op);
}

fn left_depth(expr: &Expr, op: &BinaryOperator) -> usize {
    let (mut depth, mut node) = (0, expr);
    while let Expr::BinaryOp {
        left,
        op: operands_found,
        ..
    } = node
        && operands_found == op
    {
        depth += 1;
        node = left;
    }
    depth
}

/// Taken apart without recursion, from the last operand to the first.
fn operands(expr: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let (mut operands_found, mut rest) = (vec![], expr);
    loop {
        match rest {
            Expr::BinaryOp {
                left,
                op: same,
                right,
            } if same == *op => {
                operands_found.push(*right);
                rest = *left;
            }
            first => {
                operands_found.push(first);
                break;
            }
        }
    }
    operands_found.reverse();
    operands_found
}

fn tree(operands: &mut impl Iterator<Item = Expr>, count: usize, op: &BinaryOperator) -> Expr {
    if count == 1 {
        return operands.next().unwrap_or_else(placeholder);
    }
    let left = tree(operands, count / 2, op);
    let right = tree(operands, count - count / 2, op);
    Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    }
}

/// Stands for an expression while that is taken apart.
pub(super) fn placeholder() -> Expr {
    Expr::Value(Value::Null.into())
}
