//! Rewrites generators that stand where a table does, such as `FROM explode(array(1, 2))`, as lateral
//! views.
//!
//! ```text
//! FROM t JOIN LATERAL explode(t.tags) AS e(tag)  ──▶  FROM t LATERAL VIEW explode(t.tags) e AS tag
//! FROM t LEFT JOIN LATERAL explode(t.tags) AS e  ──▶  FROM t LATERAL VIEW OUTER explode(t.tags) e
//! ```

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, LateralView, ObjectName, TableFactor,
    TableWithJoins, Value,
};

use super::generators::{generate_rows, is_generator_name, nest, one_row};
use super::tree::call_with;

/// Replaces the generators of a FROM clause by relations that [`crate::relations`] plans.
///
/// # Errors
/// If a generator takes part in a join that is no inner, cross or left join.
pub(super) fn rewrite(from: &mut Vec<TableWithJoins>) -> Result<()> {
    let has_generator = from.iter().any(|table| {
        is_generator(&table.relation) || table.joins.iter().any(|join| is_generator(&join.relation))
    });
    if !has_generator {
        return Ok(());
    }
    let mut tables = Tables::default();
    for table in std::mem::take(from) {
        let is_plain = !table.joins.iter().any(|join| is_generator(&join.relation));
        if is_plain && !is_generator(&table.relation) {
            tables.cross_join(nest(table));
            continue;
        }
        tables.cross_join(table.relation);
        for join in table.joins {
            tables.join(join)?;
        }
    }
    from.extend(tables.joined);
    Ok(())
}

fn is_generator(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table {
            name,
            args: Some(_),
            ..
        }
        | TableFactor::Function { name, .. } => is_generator_name(name),
        _ => false,
    }
}

/// The tables of a FROM clause that are joined so far.
#[derive(Default)]
struct Tables {
    joined: Option<TableWithJoins>,
    /// Number of generators so far.
    generators: usize,
}

impl Tables {
    fn cross_join(&mut self, table: TableFactor) {
        match self.view_of(table, Unmatched::Dropped) {
            Ok(view) => self.generate(view),
            Err(table) => self.push(*table, JoinOperator::CrossJoin(JoinConstraint::None)),
        }
    }

    fn join(&mut self, join: Join) -> Result<()> {
        if !is_generator(&join.relation) {
            self.push(join.relation, join.join_operator);
            return Ok(());
        }
        let (unmatched, constraint) = match join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint) => (Unmatched::Dropped, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                (Unmatched::Kept, constraint)
            }
            _ => {
                return plan_err!(
                    "a generator such as explode can be joined by JOIN, CROSS JOIN and LEFT JOIN only"
                );
            }
        };
        let condition = match constraint {
            JoinConstraint::None => None,
            JoinConstraint::On(Expr::Value(value)) if value.value == Value::Boolean(true) => None,
            JoinConstraint::On(condition) if unmatched == Unmatched::Dropped => Some(condition),
            _ => {
                return plan_err!(
                    "a generator such as explode can be joined by `JOIN … ON condition` and `LEFT JOIN … ON true`; \
                     filter its rows in a subquery"
                );
            }
        };
        if let Ok(view) = self.view_of(join.relation, unmatched) {
            self.generate(view);
        }
        if let Some(condition) = condition {
            // A row without columns keeps the rows that the condition accepts.
            let operator = JoinOperator::Inner(JoinConstraint::On(condition));
            self.push(one_row(), operator);
        }
        Ok(())
    }

    fn push(&mut self, relation: TableFactor, join_operator: JoinOperator) {
        match &mut self.joined {
            Some(joined) => joined.joins.push(Join {
                relation,
                global: false,
                join_operator,
            }),
            None => {
                self.joined = Some(TableWithJoins {
                    relation,
                    joins: Vec::new(),
                });
            }
        }
    }

    fn generate(&mut self, view: LateralView) {
        let input = self.joined.take().map(nest);
        self.joined = Some(TableWithJoins {
            relation: generate_rows(input, view),
            joins: Vec::new(),
        });
    }

    /// Returns the lateral view that a table stands for; the table itself if it is no generator.
    fn view_of(
        &mut self,
        table: TableFactor,
        unmatched: Unmatched,
    ) -> std::result::Result<LateralView, Box<TableFactor>> {
        let (name, args, alias) = match table {
            TableFactor::Table {
                name,
                args: Some(args),
                alias,
                ..
            } if is_generator_name(&name) => (name, args.args, alias),
            TableFactor::Function {
                name, args, alias, ..
            } if is_generator_name(&name) => (name, args, alias),
            other => return Err(Box::new(other)),
        };
        self.generators += 1;
        let (view_name, columns) = match alias {
            Some(alias) => (alias.name, alias.columns),
            None => {
                let name = format!("__generated_table_{}", self.generators);
                (Ident::with_quote('`', name), Vec::new())
            }
        };
        Ok(LateralView {
            lateral_view: call_with(name, args),
            lateral_view_name: ObjectName::from(vec![view_name]),
            lateral_col_alias: columns.into_iter().map(|column| column.name).collect(),
            outer: unmatched == Unmatched::Kept,
        })
    }
}

/// What happens to the rows for which a generator returns none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unmatched {
    Dropped,
    /// They get nulls.
    Kept,
}
