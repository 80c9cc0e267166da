//! Corrects the precedence of `IS DISTINCT FROM`: `a IS DISTINCT FROM b AND c` is
//! `(a IS DISTINCT FROM b) AND c`.
//!
//! The parser takes everything after `FROM` for the right side. Parentheses in the text are
//! separate nodes. So an expression without them can be flattened into tokens and parsed again by
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

const NOT_PRECEDENCE: u8 = 3;
const IS_PRECEDENCE: u8 = 4;

/// Corrects the expression whose root is `expr`. A correct one stays as it is.
pub(super) fn correct(expr: &mut Expr) {
    if !needs_correction(expr) {
        return;
    }
    let mut tokens = vec![];
    flatten(replace(expr, placeholder()), &mut tokens);
    let mut tokens = tokens.into_iter().peekable();
    *expr = parse(&mut tokens, 0);
}

/// Whether the right end of `expr` is an `IS DISTINCT FROM` that took too much.
fn needs_correction(expr: &Expr) -> bool {
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

/// Returns the constructor of an `IS …` without a right side.
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
    let suffix = postfix(&expr);
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
            tokens.extend(suffix.map(Token::Postfix));
        }
        other => tokens.push(Token::Operand(Box::new(other))),
    }
}

fn infix_tokens(left: Expr, infix: Infix, right: Expr, tokens: &mut Vec<Token>) {
    flatten(left, tokens);
    tokens.push(Token::Infix(infix));
    flatten(right, tokens);
}

/// Parses an expression whose operators bind closer than `precedence_min`.
fn parse(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = Token>>,
    precedence_min: u8,
) -> Expr {
    let mut left = match tokens.next() {
        Some(Token::Operand(expr)) => *expr,
        Some(Token::Not) => {
            let expr = Box::new(parse(tokens, NOT_PRECEDENCE));
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            }
        }
        Some(Token::Infix(_) | Token::Postfix(_)) | None => return placeholder(),
    };
    loop {
        match tokens.peek() {
            Some(Token::Infix(infix)) if infix.precedence() > precedence_min => {
                let infix = infix.clone();
                tokens.next();
                let right = parse(tokens, infix.precedence());
                left = infix.expr(left, right);
            }
            Some(Token::Postfix(wrap)) if IS_PRECEDENCE > precedence_min => {
                let wrap = *wrap;
                tokens.next();
                left = wrap(Box::new(left));
            }
            _ => return left,
        }
    }
}
