//! `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`.
//!
//! The parser takes everything after `FROM` for the right side. Parentheses that were written are
//! nodes of their own, so what is without them can be put in a row again and read once more by
//! precedence.

use std::mem::replace;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::balance::placeholder;

/// An operand, or an operator between or around operands.
enum Token {
    Operand(Box<Expr>),
    Not,
    Infix(Infix),
    Postfix(fn(Box<Expr>) -> Expr),
}

#[derive(Clone)]
enum Infix {
    Or,
    And,
    Distinct,
    NotDistinct,
}

impl Infix {
    fn precedence(&self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Distinct | Self::NotDistinct => IS_PRECEDENCE,
        }
    }

    fn expr(self, left: Expr, right: Expr) -> Expr {
        let (left, right) = (Box::new(left), Box::new(right));
        match self {
            Self::Or => Expr::BinaryOp {
                left,
                op: BinaryOperator::Or,
                right,
            },
            Self::And => Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            },
            Self::Distinct => Expr::IsDistinctFrom(left, right),
            Self::NotDistinct => Expr::IsNotDistinctFrom(left, right),
        }
    }
}

const NOT: u8 = 3;
const IS_PRECEDENCE: u8 = 4;

/// Corrects the expression whose root is `expr`. One that is right stays as it is.
pub(super) fn correct(expr: &mut Expr) {
    if !is_wrong(expr) {
        return;
    }
    let mut tokens = vec![];
    flatten(replace(expr, placeholder()), &mut tokens);
    let mut tokens = tokens.into_iter().peekable();
    *expr = read(&mut tokens, 0);
}

/// Whether the right end of `expr` is an `IS DISTINCT FROM` that took too much.
fn is_wrong(expr: &Expr) -> bool {
    let mut node = expr;
    loop {
        node = match node {
            Expr::BinaryOp {
                op: BinaryOperator::And | BinaryOperator::Or,
                right,
                ..
            } => right,
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => expr,
            Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => {
                return matches!(
                    right.as_ref(),
                    Expr::BinaryOp {
                        op: BinaryOperator::And | BinaryOperator::Or,
                        ..
                    } | Expr::IsDistinctFrom(_, _)
                        | Expr::IsNotDistinctFrom(_, _)
                ) || postfix(right).is_some();
            }
            _ => return false,
        };
    }
}

/// The constructor of an `IS …` without a right side.
fn postfix(expr: &Expr) -> Option<fn(Box<Expr>) -> Expr> {
    match expr {
        Expr::IsNull(_) => Some(Expr::IsNull),
        Expr::IsNotNull(_) => Some(Expr::IsNotNull),
        Expr::IsTrue(_) => Some(Expr::IsTrue),
        Expr::IsNotTrue(_) => Some(Expr::IsNotTrue),
        Expr::IsFalse(_) => Some(Expr::IsFalse),
        Expr::IsNotFalse(_) => Some(Expr::IsNotFalse),
        Expr::IsUnknown(_) => Some(Expr::IsUnknown),
        Expr::IsNotUnknown(_) => Some(Expr::IsNotUnknown),
        _ => None,
    }
}

fn flatten(expr: Expr, tokens: &mut Vec<Token>) {
    let after = postfix(&expr);
    match expr {
        Expr::BinaryOp {
            left,
            op: op @ (BinaryOperator::And | BinaryOperator::Or),
            right,
        } => {
            let infix = if op == BinaryOperator::And {
                Infix::And
            } else {
                Infix::Or
            };
            infix_tokens(*left, infix, *right, tokens);
        }
        Expr::IsDistinctFrom(left, right) => infix_tokens(*left, Infix::Distinct, *right, tokens),
        Expr::IsNotDistinctFrom(left, right) => {
            infix_tokens(*left, Infix::NotDistinct, *right, tokens);
        }
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr,
        } => {
            tokens.push(Token::Not);
            flatten(*expr, tokens);
        }
        Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner) => {
            flatten(*inner, tokens);
            tokens.extend(after.map(Token::Postfix));
        }
        other => tokens.push(Token::Operand(Box::new(other))),
    }
}

fn infix_tokens(left: Expr, infix: Infix, right: Expr, tokens: &mut Vec<Token>) {
    flatten(left, tokens);
    tokens.push(Token::Infix(infix));
    flatten(right, tokens);
}

/// Reads an expression whose operators bind closer than `least`.
fn read(tokens: &mut std::iter::Peekable<impl Iterator<Item = Token>>, least: u8) -> Expr {
    let mut left = match tokens.next() {
        Some(Token::Operand(expr)) => *expr,
        Some(Token::Not) => {
            let expr = Box::new(read(tokens, NOT));
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            }
        }
        Some(Token::Infix(_) | Token::Postfix(_)) | None => return placeholder(),
    };
    loop {
        match tokens.peek() {
            Some(Token::Infix(infix)) if infix.precedence() > least => {
                let infix = infix.clone();
                tokens.next();
                let right = read(tokens, infix.precedence());
                left = infix.expr(left, right);
            }
            Some(Token::Postfix(wrap)) if IS_PRECEDENCE > least => {
                let wrap = *wrap;
                tokens.next();
                left = wrap(Box::new(left));
            }
            _ => return left,
        }
    }
}
