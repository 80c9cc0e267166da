//! Random numbers in common table expressions.
//!
//! Spark computes a common table expression with random numbers once, so that all of its readers
//! see the same rows. Here each reader computes it, with other numbers: such a query is refused.

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Function, FunctionArguments, Query, SetExpr, TableFactor, VisitMut, VisitorMut,
};

/// Functions of random values, each with the number of its arguments before the seed.
const RANDOM: [(&str, usize); 7] = [
    ("rand", 0),
    ("random", 0),
    ("randn", 0),
    ("uniform", 2),
    ("randstr", 1),
    ("shuffle", 1),
    ("uuid", 0),
];

/// Refuses common table expressions whose random numbers would be others than Spark's.
///
/// # Errors
/// If one with random numbers is read several times, or if the part of a recursive one that reads
/// itself has a seed: each of Spark's rounds takes another one.
pub(super) fn check(query: &mut Query) -> Result<()> {
    let Some(with) = &mut query.with else {
        return Ok(());
    };
    let mut random: Vec<String> = Vec::new();
    for cte in &mut with.cte_tables {
        let name = cte.alias.name.value.to_lowercase();
        let mut calls = Calls::default();
        let _ = cte.query.visit(&mut calls);
        let is_random = calls.count > 0
            || random
                .iter()
                .any(|other| readers(&mut cte.query, other) > 0);
        if with.recursive && readers(&mut cte.query, &name) > 0 {
            check_recursion(cte)?;
        } else if is_random {
            random.push(name);
        }
    }
    for name in random {
        if readers(query, &name) > 1 {
            return plan_err!(
                "`{name}` has random numbers and is read several times, which would give other rows each time; write it to a \
                 table first, for example with CREATE TABLE {name} AS …"
            );
        }
    }
    Ok(())
}

fn check_recursion(cte: &mut Cte) -> Result<()> {
    let mut calls = Calls::default();
    if let SetExpr::SetOperation { right, .. } = cte.query.body.as_mut() {
        let _ = right.visit(&mut calls);
    }
    match calls.has_seed {
        true => plan_err!(
            "random numbers with a seed are not supported in the part of a recursive query that reads itself; leave the seed \
             out"
        ),
        false => Ok(()),
    }
}

/// Counts how often a query reads a table.
fn readers(query: &mut Query, name: &str) -> usize {
    struct Readers<'a> {
        name: &'a str,
        count: usize,
    }
    impl VisitorMut for Readers<'_> {
        type Break = ();

        fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, .. } = table
                && let [part] = name.0.as_slice()
                && part
                    .as_ident()
                    .is_some_and(|part| part.value.to_lowercase() == self.name)
            {
                self.count += 1;
            }
            ControlFlow::Continue(())
        }
    }
    let mut readers = Readers { name, count: 0 };
    // The visitor never breaks.
    let _ = query.visit(&mut readers);
    readers.count
}

/// The calls of random functions.
#[derive(Default)]
struct Calls {
    count: usize,
    has_seed: bool,
}

impl VisitorMut for Calls {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, args, .. }) = expr {
            let name = name.to_string().to_lowercase();
            if let Some((_, before)) = RANDOM.iter().find(|(random, _)| *random == name) {
                self.count += 1;
                self.has_seed |= matches!(args, FunctionArguments::List(list)
                    if list.args.len() > *before);
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::parse_as_written;
    use datafusion::sql::sqlparser::ast::Statement;

    fn is_accepted(sql: &str) -> bool {
        let mut statements = parse_as_written(sql).unwrap();
        match &mut statements[0] {
            Statement::Query(query) => check(query).is_ok(),
            _ => false,
        }
    }

    #[test]
    fn random_rows_are_read_once() {
        for (sql, expected) in [
            ("WITH a AS (SELECT rand() AS x) SELECT * FROM a", true),
            (
                "WITH a AS (SELECT 1 AS x) SELECT * FROM a UNION SELECT * FROM a",
                true,
            ),
            (
                "WITH a AS (SELECT rand(1) AS x) SELECT * FROM a UNION SELECT * FROM a",
                false,
            ),
            (
                "WITH a AS (SELECT rand() AS x), b AS (SELECT * FROM a) SELECT * FROM b, b AS c",
                false,
            ),
            (
                "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT rand(3) FROM a) SELECT * FROM a",
                false,
            ),
            (
                "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT rand() FROM a) SELECT * FROM a",
                true,
            ),
        ] {
            assert_eq!(is_accepted(sql), expected, "{sql}");
        }
    }
}
