//! Fields of structs in a select list: `SELECT s.a` returns a column `a`, and `SELECT s.*` a column
//! for each field.
//!
//! `s.a` is a column of a table `s` too. Only the names of the tables say which one it is.
//!
//! ```text
//! SELECT s.a, s.* FROM t
//!   ──▶ SELECT s.a AS a, __fields_0.* FROM t LATERAL VIEW inline(array(s)) __fields_0
//! ```

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LateralView, ObjectName, Select, SelectItem, SelectItemQualifiedWildcardKind,
    TableAlias, TableFactor, TableWithJoins,
};

use super::tree::call;

/// Gives each field of a struct in a select list its own name, and expands `*` of a struct.
pub(super) fn resolve_fields(select: &mut Select) {
    let has_qualifier = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(_))
                | SelectItem::QualifiedWildcard(..)
        )
    };
    if !select.projection.iter().any(has_qualifier) {
        return;
    }
    let mut tables = Vec::new();
    select
        .from
        .iter()
        .for_each(|table| add_names(table, &mut tables));
    let views = select.lateral_views.iter();
    tables.extend(views.filter_map(|view| last_name(&view.lateral_view_name)));
    let mut expanded = Vec::new();
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                if let Some(field) = field_name(parts, &tables) {
                    super::names::rename(item, &field);
                }
            }
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(qualifier),
                _,
            ) => {
                if let Some(structure) = struct_name(qualifier, &tables) {
                    let view = expand(structure, expanded.len());
                    *qualifier = view.lateral_view_name.clone();
                    expanded.push(view);
                }
            }
            _ => {}
        }
    }
    select.lateral_views.extend(expanded);
}

/// Returns the name of a struct's field; `None` for a column of a table, which has the table's name
/// before it, and perhaps those of a database and a catalog.
fn field_name(parts: &[Ident], tables: &[String]) -> Option<String> {
    match parts {
        [.., table, _] if is_table(table, tables) => None,
        [_, .., field] => Some(field.value.clone()),
        _ => None,
    }
}

/// Returns the struct that stands before `.*`; `None` for a table.
fn struct_name(qualifier: &ObjectName, tables: &[String]) -> Option<Expr> {
    let parts = qualifier.0.iter().map(|part| part.as_ident().cloned());
    let mut parts: Vec<Ident> = parts.collect::<Option<_>>()?;
    if is_table(parts.last()?, tables) {
        return None;
    }
    match parts.len() {
        1 => parts.pop().map(Expr::Identifier),
        _ => Some(Expr::CompoundIdentifier(parts)),
    }
}

fn is_table(part: &Ident, tables: &[String]) -> bool {
    tables
        .iter()
        .any(|table| table.eq_ignore_ascii_case(&part.value))
}

/// Returns the lateral view with a column for each field of a struct.
fn expand(structure: Expr, number: usize) -> LateralView {
    let name = Ident::with_quote('`', format!("__fields_{number}"));
    LateralView {
        lateral_view: call("inline", vec![call("array", vec![structure])]),
        lateral_view_name: ObjectName::from(vec![name]),
        lateral_col_alias: Vec::new(),
        outer: false,
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
