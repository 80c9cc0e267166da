//! Rewrites `LATERAL VIEW`, and generators such as `explode` in a select list, as tables that
//! [`crate::relations`] plans.
//!
//! ```text
//! SELECT t.id, explode(t.tags) AS tag FROM t
//!   ──▶ SELECT t.id, __generated_0.* FROM t LATERAL VIEW explode(t.tags) __generated_0 AS tag
//!   ──▶ SELECT t.id, __generated_0.* FROM (t PIVOT (explode(t.tags) …)) AS __generated_0 (tag)
//! ```
//!
//! The tree has no node for a lateral view that DataFusion's planner passes to its extensions. A
//! PIVOT without a column to pivot stands for one: the parser never makes such a node.

use datafusion::common::{Result, plan_datafusion_err};
use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, Ident, Join, JoinConstraint, JoinOperator, LateralView, ObjectName,
    PivotValueSource, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, WildcardAdditionalOptions,
};

/// Functions that return several rows or columns for one row.
const GENERATORS: [&str; 8] = [
    "explode",
    "explode_outer",
    "posexplode",
    "posexplode_outer",
    "inline",
    "inline_outer",
    "json_tuple",
    "stack",
];

/// Moves the generators of a query into its FROM clause.
///
/// # Errors
/// If the select list has `*` beside a generator, and a table of the query has no name.
pub(super) fn move_to_from(select: &mut Select) -> Result<()> {
    let count = select
        .projection
        .iter()
        .filter(|item| is_generator(item))
        .count();
    if count > 0 {
        expand_wildcard(select)?;
    }
    for (n, item) in select
        .projection
        .iter_mut()
        .filter(|item| is_generator(item))
        .enumerate()
    {
        let name = Ident::with_quote('`', format!("__generated_{n}"));
        let generated_columns = SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name.clone()])),
            WildcardAdditionalOptions::default(),
        );
        let (generator, columns) = match std::mem::replace(item, generated_columns) {
            SelectItem::UnnamedExpr(expr) => (expr, Vec::new()),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases),
            // `is_generator` accepts no other.
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => continue,
        };
        select.lateral_views.push(LateralView {
            lateral_view: generator,
            lateral_view_name: ObjectName::from(vec![name]),
            lateral_col_alias: columns,
            outer: false,
        });
    }
    for view in std::mem::take(&mut select.lateral_views) {
        let input = join_tables(std::mem::take(&mut select.from));
        select.from = vec![TableWithJoins {
            relation: generate_rows(input, view),
            joins: Vec::new(),
        }];
    }
    Ok(())
}

fn is_generator(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(Expr::Function(function))
        | SelectItem::ExprWithAlias {
            expr: Expr::Function(function),
            ..
        }
        | SelectItem::ExprWithAliases {
            expr: Expr::Function(function),
            ..
        } => is_generator_name(&function.name),
        _ => false,
    }
}

pub(super) fn is_generator_name(name: &ObjectName) -> bool {
    GENERATORS.contains(&name.to_string().to_lowercase().as_str())
}

/// Replaces `*`, which would also return the generated columns, by the columns of each table.
fn expand_wildcard(select: &mut Select) -> Result<()> {
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    if !select.projection.iter().any(is_wildcard) {
        return Ok(());
    }
    let tables = select
        .from
        .iter()
        .flat_map(|table| {
            std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
        })
        .map(table_name)
        .chain(
            select
                .lateral_views
                .iter()
                .map(|view| Some(view.lateral_view_name.clone())),
        )
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            plan_datafusion_err!("`*` beside a generator needs a name for each table of FROM")
        })?;
    select.projection = std::mem::take(&mut select.projection)
        .into_iter()
        .flat_map(|item| match item {
            SelectItem::Wildcard(options) => tables
                .iter()
                .map(|table| {
                    SelectItem::QualifiedWildcard(
                        SelectItemQualifiedWildcardKind::ObjectName(table.clone()),
                        options.clone(),
                    )
                })
                .collect(),
            other => vec![other],
        })
        .collect();
    Ok(())
}

/// Returns the name by which a query refers to the columns of a table.
fn table_name(table: &TableFactor) -> Option<ObjectName> {
    match table {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        } => Some(ObjectName::from(vec![alias.name.clone()])),
        TableFactor::Table {
            name, args: None, ..
        } => Some(name.clone()),
        _ => None,
    }
}

/// Returns the tables of a FROM clause as one relation; `None` if there are no tables.
fn join_tables(tables: Vec<TableWithJoins>) -> Option<TableFactor> {
    let mut tables = tables.into_iter();
    let mut first = tables.next()?;
    for other in tables {
        first.joins.push(Join {
            relation: nest(other),
            global: false,
            join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
        });
    }
    Some(nest(first))
}

/// Returns a table and its joins as one relation.
pub(super) fn nest(table: TableWithJoins) -> TableFactor {
    if table.joins.is_empty() {
        return table.relation;
    }
    TableFactor::NestedJoin {
        table_with_joins: Box::new(table),
        alias: None,
    }
}

/// Returns the table with the rows of `input`, each joined with the rows that a generator returns
/// for it.
pub(super) fn generate_rows(input: Option<TableFactor>, view: LateralView) -> TableFactor {
    let name = view
        .lateral_view_name
        .0
        .last()
        .and_then(|part| part.as_ident().cloned())
        .unwrap_or_else(|| Ident::new("generated"));
    TableFactor::Pivot {
        table: Box::new(input.unwrap_or_else(one_row)),
        aggregate_functions: vec![ExprWithAlias {
            expr: view.lateral_view,
            alias: None,
        }],
        value_column: Vec::new(),
        value_source: PivotValueSource::List(Vec::new()),
        default_on_null: view.outer.then(|| Expr::value(Value::Boolean(true))),
        alias: Some(TableAlias {
            explicit: true,
            name,
            columns: view
                .lateral_col_alias
                .into_iter()
                .map(|column| TableAliasColumnDef {
                    name: column,
                    data_type: None,
                })
                .collect(),
            at: None,
        }),
    }
}

/// Returns a relation with one row and no name, for `SELECT explode(array(1, 2))`.
pub(super) fn one_row() -> TableFactor {
    let no_rows = TableFactor::UNNEST {
        alias: None,
        array_exprs: Vec::new(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    TableFactor::Pivot {
        table: Box::new(no_rows),
        aggregate_functions: Vec::new(),
        value_column: Vec::new(),
        value_source: PivotValueSource::List(Vec::new()),
        default_on_null: None,
        alias: None,
    }
}
