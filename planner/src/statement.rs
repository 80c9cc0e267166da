//! Parses SQL text into a statement that is safe to plan.
//!
//! The parser builds a chain of operators as deep as it is long, and all code that later visits,
//! compares or frees it recurses: 20,000 conditions joined by OR overflow the stack
//! (apache/datafusion#22936, #11102, #9375). So a long text is parsed on a separate stack, chains
//! of AND and OR are balanced there, and statements that are still too deep are refused. The
//! precedence of `IS DISTINCT FROM` is corrected in the same pass.

mod balance;
mod precedence;

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::config::SqlParserOptions;
use datafusion::sql::parser::{CopyToSource, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Expr, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::parser::ParserError;
use faisca_spark::dialect::{SparkDialect, lower_names, tokenize_with, translate};
use faisca_spark::legacy::Legacy;

/// Maximum depth of nested expressions. Planning recurses over them, in part without checking the
/// stack.
const DEPTH_MAX: usize = 1_000;
/// Maximum length of a chain of AND that is balanced. The optimizer splits it and builds a deep one
/// again.
const AND_CHAIN_MAX: usize = 3_500;
/// Texts up to this size cannot contain a chain that is too deep for an ordinary stack.
const SHORT_TEXT_BYTES: usize = 8 * 1024;
/// Stack for each byte of a longer text; unused stack takes no memory.
const STACK_BYTES_PER_TEXT_BYTE: usize = 2 * 1024;
const STACK_BYTES_MAX: usize = 1 << 30;

/// Parses one statement.
///
/// # Errors
/// If the text is not exactly one statement, or nests too deeply.
pub fn parse(sql: &str, options: &SqlParserOptions) -> Result<Statement> {
    parse_with(sql, options, &Legacy::default())
}

/// Parses one statement with the meanings of earlier versions that a session asks for.
///
/// # Errors
/// As [`parse`], and for what such a version means in a way that is not supported.
pub fn parse_with(sql: &str, options: &SqlParserOptions, legacy: &Legacy) -> Result<Statement> {
    on_stack_for(sql, || {
        let mut statement = parse_text(sql, options, legacy)?;
        let mut corrections = Corrections {
            depth: 0,
            depth_max: 0,
        };
        correct(&mut statement, &mut corrections, legacy)?;
        if corrections.depth_max > DEPTH_MAX {
            return plan_err!(
                "the statement has an expression of {} levels, one operator inside the other, and {DEPTH_MAX} is the \
                 limit; use IN for lists of values, or split it over several columns or steps",
                corrections.depth_max
            );
        }
        Ok(statement)
    })
}

/// Runs `work`, which parses `sql`, on a stack that is large enough for it.
pub fn on_stack_for<T>(sql: &str, work: impl FnOnce() -> T) -> T {
    if sql.len() <= SHORT_TEXT_BYTES {
        return work();
    }
    let bytes = sql.len().saturating_mul(STACK_BYTES_PER_TEXT_BYTE);
    stacker::grow(bytes.min(STACK_BYTES_MAX), work)
}

fn parse_text(sql: &str, options: &SqlParserOptions, legacy: &Legacy) -> Result<Statement> {
    let limit = options.recursion_limit.get();
    let mut tokens = tokenize_with(sql, legacy).map_err(ParserError::from)?;
    lower_names(&mut tokens);
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&SparkDialect)
        .with_recursion_limit(limit)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| explain_nesting(error, limit))?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (Some(_), _) => plan_err!("one statement at a time, without more after the `;`"),
        (None, _) => plan_err!("no SQL statement was given"),
    }
}

fn explain_nesting(error: DataFusionError, limit: usize) -> DataFusionError {
    match error.find_root() {
        DataFusionError::SQL(parser, _) if **parser == ParserError::RecursionLimitExceeded => {
            plan_datafusion_err!(
                "the statement nests parentheses, queries or functions deeper than about {limit} levels; split it into \
                 steps or views, or raise datafusion.sql_parser.recursion_limit"
            )
        }
        _ => error,
    }
}

fn correct(
    statement: &mut Statement,
    corrections: &mut Corrections,
    legacy: &Legacy,
) -> Result<()> {
    match statement {
        Statement::Statement(statement) => {
            translate(statement.as_mut(), legacy)?;
            let _ = statement.visit(corrections);
        }
        Statement::CopyTo(copy) => {
            if let CopyToSource::Query(query) = &mut copy.source {
                translate(query.as_mut(), legacy)?;
                let _ = query.visit(corrections);
            }
        }
        Statement::Explain(explain) => correct(&mut explain.statement, corrections, legacy)?,
        Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
    Ok(())
}

/// Corrects expressions from the outside to the inside, and measures their depth.
struct Corrections {
    depth: usize,
    depth_max: usize,
}

impl VisitorMut for Corrections {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        precedence::correct(expr);
        balance::balance(expr);
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &mut Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> String {
        parse(sql, &SqlParserOptions::default())
            .unwrap()
            .to_string()
    }

    #[test]
    fn is_distinct_from_binds_closer_than_and_and_or() {
        let parsed = |text: &str| {
            let statement = parse(&format!("SELECT {text}"), &SqlParserOptions::default()).unwrap();
            // The structure of the corrected tree is shown by added parentheses.
            with_parentheses(&statement)
        };
        let cases = [
            (
                "a IS DISTINCT FROM b AND c",
                "((a IS DISTINCT FROM b) AND c)",
            ),
            (
                "a IS NOT DISTINCT FROM b OR c AND d",
                "((a IS NOT DISTINCT FROM b) OR (c AND d))",
            ),
            (
                "NOT a IS DISTINCT FROM b AND c",
                "((NOT (a IS DISTINCT FROM b)) AND c)",
            ),
            (
                "z AND a IS DISTINCT FROM b OR c",
                "((z AND (a IS DISTINCT FROM b)) OR c)",
            ),
            (
                "a IS DISTINCT FROM (b AND c)",
                "(a IS DISTINCT FROM ((b AND c)))",
            ),
            (
                "a IS DISTINCT FROM b + d AND c",
                "((a IS DISTINCT FROM b + d) AND c)",
            ),
            (
                "a IS DISTINCT FROM b IS NULL",
                "((a IS DISTINCT FROM b) IS NULL)",
            ),
            (
                "a IS DISTINCT FROM NOT b AND c",
                "((a IS DISTINCT FROM (NOT b)) AND c)",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    fn with_parentheses(statement: &Statement) -> String {
        use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr, Statement as Sql};
        let Statement::Statement(statement) = statement else {
            panic!("no statement")
        };
        let Sql::Query(query) = statement.as_ref() else {
            panic!("no query")
        };
        let SetExpr::Select(select) = query.body.as_ref() else {
            panic!("no select")
        };
        match &select.projection[0] {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => render(expr),
            other => panic!("no expression: {other}"),
        }
    }

    fn render(expr: &Expr) -> String {
        use datafusion::sql::sqlparser::ast::BinaryOperator;
        match expr {
            Expr::BinaryOp {
                left,
                op: op @ (BinaryOperator::And | BinaryOperator::Or),
                right,
            } => {
                format!("({} {op} {})", render(left), render(right))
            }
            Expr::UnaryOp { op, expr } => format!("({op} {})", render(expr)),
            Expr::IsNull(inner) => format!("({} IS NULL)", render(inner)),
            Expr::IsDistinctFrom(l, r) => format!("({} IS DISTINCT FROM {})", render(l), render(r)),
            Expr::IsNotDistinctFrom(l, r) => {
                format!("({} IS NOT DISTINCT FROM {})", render(l), render(r))
            }
            Expr::Nested(inner) => format!("({})", render(inner)),
            other => other.to_string(),
        }
    }

    #[test]
    fn chains_of_any_length_are_shallow_and_keep_their_order() {
        let chain = |n: usize, op: &str| {
            (0..n)
                .map(|i| format!("x = c{i}"))
                .collect::<Vec<_>>()
                .join(&format!(" {op} "))
        };
        let sql = format!("SELECT * FROM t WHERE {}", chain(100, "OR"));
        assert_eq!(read(&sql), sql);
        let long = format!("SELECT * FROM t WHERE {}", chain(20_000, "OR"));
        assert!(parse(&long, &SqlParserOptions::default()).is_ok());
        let long = format!("SELECT * FROM t WHERE {}", chain(3_000, "AND"));
        assert!(parse(&long, &SqlParserOptions::default()).is_ok());
    }

    #[test]
    fn what_cannot_be_balanced_is_refused_in_a_sentence() {
        let options = SqlParserOptions::default();
        let all = format!("SELECT {}", vec!["k"; 20_000].join(" AND "));
        assert!(
            parse(&all, &options)
                .unwrap_err()
                .to_string()
                .contains("1000 is the limit")
        );
        let sum = format!("SELECT {}", vec!["k"; 20_000].join(" + "));
        let error = parse(&sum, &SqlParserOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("1000 is the limit"), "{error}");
        let nested = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        let error = parse(&nested, &SqlParserOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("recursion_limit"), "{error}");
    }

    /// Fails once the parser reads this correctly, so that `precedence` can be removed
    /// (apache/datafusion-sqlparser-rs).
    #[test]
    fn upstream_still_reads_and_into_is_distinct_from() {
        use datafusion::sql::sqlparser::dialect::GenericDialect;
        use datafusion::sql::sqlparser::parser::Parser;
        let expr = Parser::new(&GenericDialect {})
            .try_with_sql("a IS DISTINCT FROM b AND c")
            .unwrap()
            .parse_expr()
            .unwrap();
        assert!(matches!(expr, Expr::IsDistinctFrom(_, _)));
    }
}
