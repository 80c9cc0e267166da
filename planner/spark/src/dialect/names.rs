//! Makes names unique that may occur twice in Spark: columns of a select list, and common table
//! expressions of nested queries.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, Query, SelectItem, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::column_names::name_of;

/// Marks a repeated name of a column: it is appended once for each earlier column of the name. It
/// is invisible, and [`without_mark`] removes it from the names of a result.
const MARK: char = '\u{2063}';

/// Gives each column of a select list a unique name, as DataFusion requires.
///
/// The first of equal names stays as it is, so that outer queries read that column.
pub(super) fn mark_duplicates(items: &mut [SelectItem]) {
    let has_wildcard = items.iter().any(
        |item| matches!(item, SelectItem::Wildcard(options) if options.to_string().is_empty()),
    );
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        let is_column = matches!(
            item,
            SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        );
        let Some(name) = column_name(item) else {
            continue;
        };
        // A wildcard returns each column of the tables already.
        let count = seen
            .entry(name.to_lowercase())
            .or_insert(usize::from(has_wildcard && is_column));
        *count += 1;
        if *count > 1 {
            let marks: String = std::iter::repeat_n(MARK, *count - 1).collect();
            rename(item, &format!("{name}{marks}"));
        }
    }
}

/// Returns the name of a column without the mark of a duplicate.
#[must_use]
pub fn without_mark(name: &str) -> &str {
    name.trim_end_matches(MARK)
}

/// Returns the name of an item's column, which may be generated from its expression.
pub(super) fn column_name(item: &SelectItem) -> Option<String> {
    Some(match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last()?.value.clone(),
        SelectItem::UnnamedExpr(expr) => name_of(expr),
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        _ => return None,
    })
}

/// Gives an item a name, in lower case like all names of a plan.
pub(super) fn rename(item: &mut SelectItem, name: &str) {
    let alias = Ident::with_quote('`', name.to_lowercase());
    let expr = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr, alias };
}

/// Renames common table expressions that hide one of an outer query: DataFusion allows each name
/// once.
#[derive(Default)]
pub(super) struct CteScopes {
    scopes: Vec<HashSet<String>>,
    renamed: usize,
}

impl CteScopes {
    /// Enters a query, and renames its common table expressions that hide outer ones.
    pub(super) fn enter(&mut self, query: &mut Query) {
        let mut names = HashSet::new();
        let count = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        for n in 0..count {
            let Some(with) = &mut query.with else { break };
            let name = with.cte_tables[n].alias.name.value.to_lowercase();
            if self.scopes.iter().any(|scope| scope.contains(&name)) {
                self.renamed += 1;
                let new_name = Ident::with_quote('`', format!("__{name}_{}", self.renamed));
                let mut references = References::new(name.clone(), new_name);
                // The query of a common table expression sees itself only if it is recursive.
                let first_reader = if with.recursive { n } else { n + 1 };
                for cte in &mut with.cte_tables[first_reader..] {
                    let _ = cte.query.visit(&mut references);
                }
                with.cte_tables[n].alias.name = references.new_name.clone();
                let _ = query.body.visit(&mut references);
            }
            names.insert(name);
        }
        self.scopes.push(names);
    }

    /// Leaves the query that was entered last.
    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }
}

/// Replaces references to a table by its new name, with the old one as alias.
struct References {
    name: String,
    new_name: Ident,
    /// For each query around the current node: whether it, or one around it, redefines the name.
    hidden: Vec<bool>,
}

impl References {
    fn new(name: String, new_name: Ident) -> Self {
        Self {
            name,
            new_name,
            hidden: Vec::new(),
        }
    }
}

impl VisitorMut for References {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let is_hidden = self.hidden.last() == Some(&true);
        let is_redefined = query.with.as_mut().is_some_and(|with| {
            let is_same = |cte: &Cte| cte.alias.name.value.to_lowercase() == self.name;
            let Some(position) = with.cte_tables.iter().position(is_same) else {
                return false;
            };
            // The expressions before it, and its own query, still read the outer one.
            let readers = position + usize::from(!with.recursive);
            if !is_hidden {
                let mut references = Self::new(self.name.clone(), self.new_name.clone());
                for cte in &mut with.cte_tables[..readers] {
                    let _ = cte.query.visit(&mut references);
                }
            }
            true
        });
        self.hidden.push(is_hidden || is_redefined);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = table
            && let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && ident.value.to_lowercase() == self.name
            && self.hidden.last() != Some(&true)
        {
            let original = ident.clone();
            *name = ObjectName::from(vec![self.new_name.clone()]);
            alias.get_or_insert(TableAlias {
                explicit: true,
                name: original,
                columns: Vec::new(),
                at: None,
            });
        }
        ControlFlow::Continue(())
    }
}
