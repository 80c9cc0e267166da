//! Rewrites `GROUP BY window(time, '10 minutes')`, which groups by time windows.
//!
//! ```text
//! SELECT window.start, count(*) FROM t GROUP BY window(t.time, '1 hour')
//!   ──▶ SELECT window.start AS start, count(*)
//!       FROM t LATERAL VIEW explode(time_windows(t.time, '1 hour')) __windows AS window GROUP BY window
//! ```

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Ident, LateralView, ObjectName, Select,
    SelectItem,
};

use super::calls::rename;
use super::tree::call;

const WINDOW: &str = "window";

/// Moves the time windows of a query into its FROM clause, which returns a row once for each window
/// that contains it.
pub(super) fn move_to_from(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return;
    };
    let selected = select.projection.iter_mut().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    let mut windows: Option<Function> = None;
    for expr in keys.iter_mut().chain(selected) {
        let Expr::Function(function) = &*expr else {
            continue;
        };
        // A query can have one definition of windows. Another one stays a call of `window`, which
        // the planner rejects as an unknown function.
        if is_window(function)
            && windows
                .as_ref()
                .is_none_or(|known| known.args == function.args)
        {
            windows.get_or_insert_with(|| function.clone());
            *expr = Expr::Identifier(Ident::new(WINDOW));
        }
    }
    let Some(mut function) = windows else { return };
    name_window_fields(select);
    rename(&mut function, "time_windows");
    select.lateral_views.push(LateralView {
        lateral_view: call("explode", vec![Expr::Function(function)]),
        lateral_view_name: ObjectName::from(vec![Ident::with_quote('`', "__windows")]),
        lateral_col_alias: vec![Ident::new(WINDOW)],
        outer: false,
    });
}

fn is_window(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return false;
    };
    function.over.is_none()
        && function.name.to_string().eq_ignore_ascii_case(WINDOW)
        && (2..=4).contains(&list.args.len())
}

/// Names the columns `window.start` and `window.end` of a select list `start` and `end`.
fn name_window_fields(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
            && let [window, part] = parts.as_slice()
            && window.value.eq_ignore_ascii_case(WINDOW)
        {
            *item = SelectItem::ExprWithAlias {
                alias: part.clone(),
                expr: Expr::CompoundIdentifier(parts.clone()),
            };
        }
    }
}
