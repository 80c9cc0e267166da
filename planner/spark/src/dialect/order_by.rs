//! Sorts by columns of a select list whose names are also those of other columns.
//!
//! ```text
//! SELECT 'x' AS k, CAST(t.k AS STRING) AS s FROM t GROUP BY 1, 2 ORDER BY 1, max(v)
//!   ──▶ SELECT * EXCEPT (__sort_0) FROM (SELECT 'x' AS k, CAST(t.k AS STRING) AS s, max(v) AS __sort_0 FROM t GROUP BY 1, 2)
//!       ORDER BY 1, __sort_0
//! ```
//!
//! DataFusion looks a sort key up among the expressions of the select list before its names, and
//! gives a cast group key the name of the column that it casts. It would sort by `s` here. Around
//! the query, a key finds nothing but the names of its columns. Nor does it find `t.k` beside an
//! alias `k`.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, Value, Visit, Visitor,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::names::column_name;
use super::syntax::SparkDialect;

/// Nests a query whose sort keys could be taken for other columns.
///
/// # Errors
/// If the nested query cannot be built.
pub(super) fn bind(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Ok(());
    };
    let Some(order_by) = &query.order_by else {
        return Ok(());
    };
    let OrderByKind::Expressions(keys) = &order_by.kind else {
        return Ok(());
    };
    let columns = OutputColumns::from_select(select);
    if !keys.iter().any(|key| columns.may_mistake(&key.expr)) {
        return Ok(());
    }
    let Some(sources) = columns.key_sources(select, keys) else {
        return Ok(());
    };
    nest(query, &sources)
}

/// Where a sort key is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeySource {
    /// From the columns of the select list.
    Outside,
    /// In the select list, as a column that is not returned.
    Inside,
}

/// The names that a select list gives to its columns.
struct OutputColumns {
    names: Vec<String>,
    /// Those of names that another column of the list was made of.
    ambiguous: Vec<String>,
    /// Those that are not the names of the columns of tables that they return.
    aliases: Vec<String>,
}

impl OutputColumns {
    fn from_select(select: &Select) -> Self {
        let items: Vec<Item> = select
            .projection
            .iter()
            .filter_map(Item::from_item)
            .collect();
        let is_source_of_another = |item: &&Item| {
            let is_other = |other: &&Item| !std::ptr::eq(*other, *item);
            let mut rest = items.iter().filter(is_other);
            rest.any(|other| other.source.as_ref() == Some(&item.name))
        };
        let renamed = items.iter().filter(|item| !item.is_column);
        let ambiguous = items
            .iter()
            .filter(|item| item.source.as_ref() != Some(&item.name))
            .filter(is_source_of_another);
        Self {
            aliases: renamed.map(|item| item.name.clone()).collect(),
            ambiguous: ambiguous.map(|item| item.name.clone()).collect(),
            names: items.iter().map(|item| item.name.clone()).collect(),
        }
    }

    /// Could DataFusion take a part of this key for another column?
    fn may_mistake(&self, key: &Expr) -> bool {
        let names = Names::from_expr(key);
        let is_qualified_alias = names
            .qualified
            .iter()
            .any(|name| self.aliases.contains(name));
        let has_position = position(key).is_some() && !self.ambiguous.is_empty();
        has_position || is_qualified_alias || names.contain_any(&self.ambiguous)
    }

    /// Returns where each key is computed; `None` if one of them needs both columns of the select
    /// list and of the tables.
    fn key_sources(&self, select: &Select, keys: &[OrderByExpr]) -> Option<Vec<KeySource>> {
        let sources = keys.iter().map(|key| self.key_source(&key.expr));
        let sources: Vec<KeySource> = sources.collect::<Option<_>>()?;
        // A column more would change the rows of DISTINCT and the groups of GROUP BY ALL.
        let has_fixed_columns =
            select.distinct.is_some() || matches!(select.group_by, GroupByExpr::All(_));
        (!has_fixed_columns || !sources.contains(&KeySource::Inside)).then_some(sources)
    }

    fn key_source(&self, key: &Expr) -> Option<KeySource> {
        if position(key).is_some() {
            return Some(KeySource::Outside);
        }
        let names = Names::from_expr(key);
        let is_output = names
            .unqualified
            .iter()
            .all(|name| self.names.contains(name));
        // The argument of an aggregate function is a column of the tables.
        if is_output && names.qualified.is_empty() && !names.has_call {
            return Some(KeySource::Outside);
        }
        let is_input = !names.has_query && !names.contain_any(&self.ambiguous);
        is_input.then_some(KeySource::Inside)
    }
}

/// A column of a select list.
struct Item {
    /// Its name in lower case.
    name: String,
    /// The column of a table that it returns, or casts.
    source: Option<String>,
    /// Whether it is a column of a table with its own name.
    is_column: bool,
}

impl Item {
    /// Returns the item that one of a select list is; `None` for `*`.
    fn from_item(item: &SelectItem) -> Option<Self> {
        let name = column_name(item)?.to_lowercase();
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return None;
        };
        let source = source_column(expr);
        let is_name = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        Some(Self {
            is_column: is_name && source.as_ref() == Some(&name),
            name,
            source,
        })
    }
}

/// Returns the column of a table that an expression is, or is a cast of.
fn source_column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => source_column(inner),
        Expr::Identifier(name) => Some(name.value.to_lowercase()),
        Expr::CompoundIdentifier(parts) => Some(parts.last()?.value.to_lowercase()),
        _ => None,
    }
}

/// Returns the position of a column that a key is, as in `ORDER BY 1`.
fn position(key: &Expr) -> Option<usize> {
    match key {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The names in an expression, outside of its subqueries.
#[derive(Default)]
struct Names {
    unqualified: Vec<String>,
    /// The last parts of names with several.
    qualified: Vec<String>,
    has_call: bool,
    has_query: bool,
}

impl Names {
    fn from_expr(expr: &Expr) -> Self {
        let mut names = Self::default();
        // The visitor never breaks.
        let _ = expr.visit(&mut names);
        names
    }

    fn contain_any(&self, columns: &[String]) -> bool {
        self.unqualified.iter().any(|name| columns.contains(name))
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.has_query = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.unqualified.push(name.value.to_lowercase()),
            Expr::CompoundIdentifier(parts) => {
                let column = parts.last().map(|name| name.value.to_lowercase());
                self.qualified.extend(column);
            }
            Expr::Function(_) => self.has_call = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Nests the SELECT of a query in one that only sorts.
fn nest(query: &mut Query, sources: &[KeySource]) -> Result<()> {
    let mut added: Vec<(Ident, Expr)> = Vec::new();
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order_by.kind
    {
        for (key, source) in keys.iter_mut().zip(sources) {
            if *source == KeySource::Inside {
                let name = Ident::with_quote('`', format!("__sort_{}", added.len()));
                let expr = std::mem::replace(&mut key.expr, Expr::Identifier(name.clone()));
                added.push((name, expr));
            }
        }
    }
    let except = match added.is_empty() {
        true => String::new(),
        false => {
            let names: Vec<String> = added.iter().map(|(name, _)| name.to_string()).collect();
            format!(" EXCEPT ({})", names.join(", "))
        }
    };
    let text = format!("SELECT *{except} FROM (SELECT 1)");
    let mut outer = Parser::new(&SparkDialect)
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| DataFusionError::SQL(Box::new(e), None))?;
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut table.relation
    {
        std::mem::swap(&mut subquery.body, &mut query.body);
        if let SetExpr::Select(select) = subquery.body.as_mut() {
            let items = added.into_iter();
            let items = items.map(|(alias, expr)| SelectItem::ExprWithAlias { expr, alias });
            select.projection.extend(items);
        }
        query.body = outer.body;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(sql: &str) -> String {
        let mut parser = Parser::new(&SparkDialect).try_with_sql(sql).unwrap();
        let mut query = parser.parse_query().unwrap();
        bind(&mut query).unwrap();
        query.to_string()
    }

    #[test]
    fn only_keys_that_could_be_other_columns_are_bound() {
        let list = "SELECT 'x' AS k, CAST(t.k AS STRING) AS s FROM t GROUP BY 1, 2";
        for key in ["1", "k", "s, 1", "k || 'a'"] {
            let expected = format!("SELECT * FROM ({list}) ORDER BY {key}");
            assert_eq!(bound(&format!("{list} ORDER BY {key}")), expected);
        }
        for unchanged in [
            &format!("{list} ORDER BY s"),
            &format!("{list} ORDER BY t.v, lower(k)"),
            "SELECT CAST(k AS STRING) AS k, v FROM t ORDER BY 1, k",
            "SELECT k, v AS w FROM t ORDER BY t.k, 2",
            "SELECT DISTINCT -k AS k, k AS s FROM t ORDER BY k, v",
        ] {
            assert_eq!(bound(unchanged), *unchanged);
        }
    }

    #[test]
    fn keys_of_the_tables_become_columns_that_are_not_returned() {
        assert_eq!(
            bound("SELECT -k AS k, k AS s FROM t ORDER BY k, v + 1 DESC LIMIT 1"),
            "SELECT * EXCEPT (`__sort_0`) FROM (SELECT -k AS k, k AS s, v + 1 AS `__sort_0` FROM t) \
             ORDER BY k, `__sort_0` DESC LIMIT 1"
        );
        assert_eq!(
            bound("SELECT max(v) AS k FROM t GROUP BY k ORDER BY t.k"),
            "SELECT * EXCEPT (`__sort_0`) FROM (SELECT max(v) AS k, t.k AS `__sort_0` FROM t GROUP BY k) \
             ORDER BY `__sort_0`"
        );
    }
}
