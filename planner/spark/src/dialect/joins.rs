//! Rewrites `RIGHT JOIN` and `FULL JOIN` with `USING`: the key is taken from the side that has a
//! row.
//!
//! ```text
//! SELECT *, k + 1 FROM t FULL JOIN u USING (k)
//!   ──▶ SELECT coalesce(t.k, u.k) AS k, t.* EXCEPT (k), u.* EXCEPT (k), coalesce(t.k, u.k) + 1 FROM t FULL JOIN u USING (k)
//! ```
//!
//! DataFusion takes the key of the left side, which is null where only the right side has a row.
//!
//! In a subquery, DataFusion takes the key of any join with `USING` for a column of the outer
//! query, if that has a column of the same name. The key is qualified with its table there.

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut,
    VisitorMut,
};

use super::replace_names::replace_names;
use super::tree::call;

/// Rewrites the keys of RIGHT and FULL joins with USING in a query.
///
/// # Errors
/// If the key cannot be found without the columns of the tables: for NATURAL joins, for tables
/// without a name, and for several joins in a row.
pub(super) fn merge_keys(query: &mut Query) -> Result<()> {
    let Some(keys) = merge_keys_in_body(&mut query.body)? else {
        return Ok(());
    };
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(order) = &mut order_by.kind
    {
        replace_names(order, |name| value_of(&keys, name));
    }
    Ok(())
}

/// Rewrites a SELECT, or those of a set operation. Returns the keys of a single SELECT, which ORDER
/// BY can name.
fn merge_keys_in_body(body: &mut SetExpr) -> Result<Option<Vec<Key>>> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { left, right, .. } => {
            merge_keys_in_body(left)?;
            merge_keys_in_body(right)?;
            return Ok(None);
        }
        // The visitor reaches nested queries by itself.
        _ => return Ok(None),
    };
    let Some((tables, keys)) = mergeable_keys(select)? else {
        return Ok(None);
    };
    expand_items(select, &tables, &keys)?;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            replace_names(expr, |name| value_of(&keys, name));
        }
    }
    replace_in_clauses(select, &keys);
    Ok(Some(keys))
}

/// Does a query select all columns of tables that are joined with USING, one by one? The key is
/// then twice among them, and `*` around the query would lose one.
pub(super) fn repeats_keys(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    let shares_key = |join: &Join| {
        let constraint = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => constraint,
            _ => return false,
        };
        matches!(
            constraint,
            JoinConstraint::Using(_) | JoinConstraint::Natural
        )
    };
    let is_wildcard = |item: &&SelectItem| matches!(item, SelectItem::QualifiedWildcard(..));
    select.projection.iter().filter(is_wildcard).count() > 1
        && select
            .from
            .iter()
            .any(|table| table.joins.iter().any(shares_key))
}

/// Qualifies the keys of USING with their tables, in a subquery of an expression.
pub(super) fn qualify_keys(subquery: &mut Query) {
    let _ = subquery.visit(&mut Qualification);
}

struct Qualification;

impl VisitorMut for Qualification {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let keys = preserved_keys(select);
        if !keys.is_empty() {
            replace_names(&mut select.projection, |name| value_of(&keys, name));
            replace_in_clauses(select, &keys);
        }
        ControlFlow::Continue(())
    }
}

/// Returns the keys of inner and left joins, each with the column that has its value in every row.
fn preserved_keys(select: &Select) -> Vec<Key> {
    let mut keys: Vec<Key> = vec![];
    for table in &select.from {
        for (position, join) in table.joins.iter().enumerate() {
            let (columns, owner) = match &join.join_operator {
                JoinOperator::Join(JoinConstraint::Using(columns))
                | JoinOperator::Inner(JoinConstraint::Using(columns)) => {
                    (columns, table_name(&join.relation))
                }
                // Which of several tables to the left has the key is not known here.
                JoinOperator::Left(JoinConstraint::Using(columns))
                | JoinOperator::LeftOuter(JoinConstraint::Using(columns))
                    if position == 0 =>
                {
                    (columns, table_name(&table.relation))
                }
                _ => continue,
            };
            let Some(owner) = owner else { continue };
            for column in columns {
                let Some(column) = column.0.last().and_then(|part| part.as_ident()) else {
                    continue;
                };
                if !keys.iter().any(|key| key.has_name(column)) {
                    keys.push(Key {
                        name: column.value.to_lowercase(),
                        value: Expr::CompoundIdentifier(vec![owner.clone(), column.clone()]),
                    });
                }
            }
        }
    }
    keys
}

/// A column of USING.
struct Key {
    /// In lower case.
    name: String,
    /// Expression of its value in every row of the join.
    value: Expr,
}

/// Returns tables and keys of a join in which the left side's key may be null; `None` if there is
/// no such join.
fn mergeable_keys(select: &Select) -> Result<Option<([Ident; 2], Vec<Key>)>> {
    let [table] = select.from.as_slice() else {
        return Ok(None);
    };
    let loses_key = |join: &Join| match &join.join_operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => {
            matches!(
                constraint,
                JoinConstraint::Using(_) | JoinConstraint::Natural
            )
        }
        _ => false,
    };
    if !table.joins.iter().any(loses_key) {
        return Ok(None);
    }
    let ([join], Some(left)) = (table.joins.as_slice(), table_name(&table.relation)) else {
        return plan_err!(
            "RIGHT and FULL joins with USING are supported between two named tables; join the others in a subquery, or \
             write ON"
        );
    };
    let (Some(right), Some(columns)) = (table_name(&join.relation), using_columns(join)) else {
        return plan_err!(
            "NATURAL RIGHT and FULL joins are not supported; name the columns with USING"
        );
    };
    let key = |column: &ObjectName| {
        let column = column.0.last()?.as_ident()?.clone();
        let column_of =
            |table: &Ident| Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
        Some(Key {
            name: column.value.to_lowercase(),
            value: call("coalesce", vec![column_of(&left), column_of(&right)]),
        })
    };
    let keys: Option<Vec<Key>> = columns.iter().map(key).collect();
    Ok(keys.map(|keys| ([left.clone(), right.clone()], keys)))
}

fn using_columns(join: &Join) -> Option<&[ObjectName]> {
    match &join.join_operator {
        JoinOperator::Right(JoinConstraint::Using(columns))
        | JoinOperator::RightOuter(JoinConstraint::Using(columns))
        | JoinOperator::FullOuter(JoinConstraint::Using(columns)) => Some(columns),
        _ => None,
    }
}

fn table_name(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Puts the keys before the other columns of `*`, and names items that are a key.
fn expand_items(select: &mut Select, tables: &[Ident; 2], keys: &[Key]) -> Result<()> {
    let mut items = Vec::with_capacity(select.projection.len() + keys.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(mut options) if options.opt_except.is_none() => {
                items.extend(keys.iter().map(Key::item));
                options.opt_except = except_clause(keys);
                items.extend(tables.iter().map(|table| {
                    let table = ObjectName::from(vec![table.clone()]);
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(table);
                    SelectItem::QualifiedWildcard(kind, options.clone())
                }));
            }
            SelectItem::Wildcard(_) => {
                return plan_err!(
                    "* EXCEPT after a RIGHT or FULL join with USING is not supported; name the columns"
                );
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name))
                if keys.iter().any(|key| key.has_name(&name)) =>
            {
                items.extend(keys.iter().filter(|key| key.has_name(&name)).map(Key::item));
            }
            other => items.push(other),
        }
    }
    select.projection = items;
    Ok(())
}

fn except_clause(keys: &[Key]) -> Option<ExceptSelectItem> {
    let mut names = keys.iter().map(|key| Ident::with_quote('`', &key.name));
    let first_element = names.next()?;
    Some(ExceptSelectItem {
        first_element,
        additional_elements: names.collect(),
    })
}

impl Key {
    fn has_name(&self, name: &Ident) -> bool {
        self.name == name.value.to_lowercase()
    }

    fn item(&self) -> SelectItem {
        SelectItem::ExprWithAlias {
            expr: self.value.clone(),
            alias: Ident::with_quote('`', &self.name),
        }
    }
}

/// Replaces names of keys in the clauses after FROM.
fn replace_in_clauses(select: &mut Select, keys: &[Key]) {
    replace_names(&mut select.selection, |name| value_of(keys, name));
    replace_names(&mut select.group_by, |name| value_of(keys, name));
    replace_names(&mut select.having, |name| value_of(keys, name));
}

fn value_of(keys: &[Key], name: &Ident) -> Option<Expr> {
    let key = keys.iter().find(|key| key.has_name(name))?;
    Some(key.value.clone())
}
