//! Writes the names of session variables as `@x`, which DataFusion looks up in the session.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, VisitMut, VisitorMut};

/// Replaces `session.x` and `system.session.x` by the variable `x`, where there is one.
pub fn qualified_variables(tree: &mut impl VisitMut, is_variable: impl Fn(&str) -> bool) {
    let mut replacement = Qualified { is_variable };
    // The visitor never breaks.
    let _ = tree.visit(&mut replacement);
}

/// Replaces a name that no table has as a column by the variable of this name. Returns whether the
/// name occurs.
///
/// # Errors
/// If several queries of the statement have the name: it may be a column in some of them.
pub fn unqualified_variable(tree: &mut impl VisitMut, name: &str) -> Result<bool> {
    let mut replacement = Unqualified {
        name,
        selects: Vec::new(),
        next_select: 1,
        places: HashSet::new(),
    };
    // The visitor never breaks.
    let _ = tree.visit(&mut replacement);
    if replacement.places.len() > 1 {
        return plan_err!(
            "`{name}` is a variable, and several queries of this statement have the name; write session.{name} for the variable"
        );
    }
    Ok(!replacement.places.is_empty())
}

fn variable(name: &str) -> Expr {
    Expr::Identifier(Ident::new(format!("@{}", name.to_lowercase())))
}

/// Names the column of an item that is a variable alone.
fn name_items(select: &mut Select, variable_of: impl Fn(&Expr) -> Option<String>) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = variable_of(expr)
        {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('`', name.to_lowercase()),
            };
        }
    }
}

struct Qualified<F> {
    is_variable: F,
}

impl<F: Fn(&str) -> bool> Qualified<F> {
    fn name(&self, expr: &Expr) -> Option<String> {
        let Expr::CompoundIdentifier(parts) = expr else {
            return None;
        };
        let parts: Vec<String> = parts.iter().map(|part| part.value.to_lowercase()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["session", name] | ["system", "session", name] if (self.is_variable)(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        }
    }
}

impl<F: Fn(&str) -> bool> VisitorMut for Qualified<F> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_items(select, |expr| self.name(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(name) = self.name(expr) {
            *expr = variable(&name);
        }
        ControlFlow::Continue(())
    }
}

struct Unqualified<'a> {
    name: &'a str,
    /// Numbers of the SELECTs around the current node.
    selects: Vec<usize>,
    next_select: usize,
    /// Numbers of the SELECTs that have the name; 0 is outside of all.
    places: HashSet<usize>,
}

impl Unqualified<'_> {
    fn is_name(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Identifier(name) if name.value.eq_ignore_ascii_case(self.name))
    }
}

impl VisitorMut for Unqualified<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_items(select, |expr| {
            self.is_name(expr).then(|| self.name.to_owned())
        });
        self.selects.push(self.next_select);
        self.next_select += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        self.selects.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // A parameter of a lambda hides the variable.
        if let Expr::Lambda(lambda) = expr {
            let parameters = lambda.params.to_string().to_lowercase();
            let mut parameters = parameters.split(|c: char| !c.is_alphanumeric() && c != '_');
            if parameters.any(|parameter| parameter == self.name.to_lowercase()) {
                self.places.extend([usize::MAX, usize::MAX - 1]);
            }
        }
        if self.is_name(expr) {
            *expr = variable(self.name);
            self.places
                .insert(self.selects.last().copied().unwrap_or(0));
        }
        ControlFlow::Continue(())
    }
}
