//! Expands `OVER w` and `OVER (w)`, which use the windows that the WINDOW clause of a query names.
//!
//! DataFusion's planner supports the first form only in a select list, and takes the second for a
//! window without a definition. Both are replaced by the definition, wherever the query uses them.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, Query, Select, SetExpr, VisitMut,
    VisitorMut, WindowSpec, WindowType,
};

use super::grouping::for_each_select;

/// Replaces the names of windows in a query, but not in the queries inside it.
///
/// # Errors
/// If a window has no definition or two, or is extended where it is used.
pub(super) fn expand(query: &mut Query) -> Result<()> {
    match query.body.as_mut() {
        SetExpr::Select(select) => expand_in(select, query.order_by.as_mut()),
        body => {
            let mut result = Ok(());
            for_each_select(body, &mut |select| {
                if result.is_ok() {
                    result = expand_in(select, None);
                }
            });
            result
        }
    }
}

fn expand_in(select: &mut Select, mut order_by: Option<&mut OrderBy>) -> Result<()> {
    let definitions = std::mem::take(&mut select.named_window);
    check_names(&definitions)?;
    let mut expansion = Expansion {
        definitions: &definitions,
        depth: 0,
    };
    let sorted = match &mut order_by {
        Some(order_by) => order_by.visit(&mut expansion),
        None => ControlFlow::Continue(()),
    };
    for clause in [
        sorted,
        select.projection.visit(&mut expansion),
        select.having.visit(&mut expansion),
        select.qualify.visit(&mut expansion),
        select.sort_by.visit(&mut expansion),
        select.cluster_by.visit(&mut expansion),
    ] {
        if let ControlFlow::Break(error) = clause {
            return Err(error);
        }
    }
    Ok(())
}

fn is_same_name(a: &Ident, b: &Ident) -> bool {
    a.value.to_lowercase() == b.value.to_lowercase()
}

fn check_names(definitions: &[NamedWindowDefinition]) -> Result<()> {
    for (n, definition) in definitions.iter().enumerate() {
        if definitions[..n]
            .iter()
            .any(|earlier| is_same_name(&earlier.0, &definition.0))
        {
            return plan_err!("the WINDOW clause defines `{}` twice", definition.0.value);
        }
    }
    Ok(())
}

struct Expansion<'a> {
    definitions: &'a [NamedWindowDefinition],
    /// Queries around the current node, within the one that has the definitions.
    depth: usize,
}

impl Expansion<'_> {
    /// Returns the definition of a window, which may name another window.
    fn definition(&self, name: &Ident) -> Result<WindowSpec> {
        let mut name = name;
        // Each step follows one definition, so that a longer chain is a circle.
        for _ in 0..=self.definitions.len() {
            let Some(definition) = self
                .definitions
                .iter()
                .find(|definition| is_same_name(&definition.0, name))
            else {
                return plan_err!(
                    "no window named `{}`; the WINDOW clause of the same query defines it, as in WINDOW {} AS (ORDER BY a)",
                    name.value,
                    name.value
                );
            };
            name = match &definition.1 {
                NamedWindowExpr::NamedWindow(other) => other,
                NamedWindowExpr::WindowSpec(spec) => match &spec.window_name {
                    Some(other) => {
                        check_only_name(spec, other)?;
                        other
                    }
                    None => return Ok(spec.clone()),
                },
            };
        }
        plan_err!("the window `{}` is defined by itself", name.value)
    }
}

/// Refuses a window that extends a named one: in Spark, a window is either a name or a definition.
fn check_only_name(spec: &WindowSpec, name: &Ident) -> Result<()> {
    if spec.partition_by.is_empty() && spec.order_by.is_empty() && spec.window_frame.is_none() {
        return Ok(());
    }
    plan_err!(
        "the window `{}` cannot be extended; write its PARTITION BY, ORDER BY and frame again",
        name.value
    )
}

impl VisitorMut for Expansion<'_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let definition = match &function.over {
            _ if self.depth > 0 => return ControlFlow::Continue(()),
            Some(WindowType::NamedWindow(name)) => self.definition(name),
            Some(WindowType::WindowSpec(spec)) => match &spec.window_name {
                Some(name) => check_only_name(spec, name).and_then(|()| self.definition(name)),
                None => return ControlFlow::Continue(()),
            },
            None => return ControlFlow::Continue(()),
        };
        match definition {
            Ok(spec) => {
                function.over = Some(WindowType::WindowSpec(spec));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}
