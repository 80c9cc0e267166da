//! Names columns that are fields of structs as Spark does: `SELECT s.a` returns a column `a`.
//!
//! `s.a` is a column of a table `s` too. Only the names of the tables say which one it is.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Select, SelectItem, TableAlias, TableFactor, TableWithJoins,
};

/// Gives each field of a struct in a select list its own name.
pub(super) fn name_fields(select: &mut Select) {
    let is_compound =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(Expr::CompoundIdentifier(_)));
    if !select.projection.iter().any(is_compound) {
        return;
    }
    let mut tables = Vec::new();
    select
        .from
        .iter()
        .for_each(|table| add_names(table, &mut tables));
    let views = select.lateral_views.iter();
    tables.extend(views.filter_map(|view| last_name(&view.lateral_view_name)));
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
            && is_field(parts, &tables)
            && let Some(name) = parts.last()
        {
            let name = name.value.clone();
            super::names::rename(item, &name);
        }
    }
}

/// Whether a name goes into a struct. A column of a table has the table's name before it, and perhaps
/// those of a database and a catalog.
fn is_field(parts: &[Ident], tables: &[String]) -> bool {
    let is_table = |part: &Ident| {
        tables
            .iter()
            .any(|table| table.eq_ignore_ascii_case(&part.value))
    };
    match parts {
        [.., table, _] if is_table(table) => false,
        [_, _, ..] => true,
        _ => false,
    }
}

fn add_names(table: &TableWithJoins, names: &mut Vec<String>) {
    add_name(&table.relation, names);
    for join in &table.joins {
        add_name(&join.relation, names);
    }
}

fn add_name(table: &TableFactor, names: &mut Vec<String>) {
    match table {
        TableFactor::Table { name, alias, .. } => {
            names.extend(alias_name(alias.as_ref()).or_else(|| last_name(name)));
        }
        TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } => match alias {
            Some(alias) => names.push(alias.name.value.clone()),
            None => add_names(table_with_joins, names),
        },
        TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::UNNEST { alias, .. } => names.extend(alias_name(alias.as_ref())),
        TableFactor::Pivot { table, alias, .. } | TableFactor::Unpivot { table, alias, .. } => {
            match alias {
                Some(alias) => names.push(alias.name.value.clone()),
                None => add_name(table, names),
            }
        }
        _ => {}
    }
}

fn alias_name(alias: Option<&TableAlias>) -> Option<String> {
    alias.map(|alias| alias.name.value.clone())
}

fn last_name(name: &ObjectName) -> Option<String> {
    let part = name.0.last()?;
    part.as_ident().map(|ident| ident.value.clone())
}
