//! `GROUP BY window(time, '10 minutes')`: windows of time.
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

/// Moves the windows of a query into its FROM clause; a row is in each of its windows.
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
        // A query has one kind of windows; another one stays a call of a function that does not exist.
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
    name_parts(select);
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

/// `window.start` is a column with the name `start`.
fn name_parts(select: &mut Select) {
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
