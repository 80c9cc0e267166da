//! Calls of functions that DataFusion plans in another form.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, CeilFloorKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, NullTreatment, ObjectName, OrderByExpr,
    OrderByOptions, Value,
};

use super::tree::call;

/// Rewrites one call in place, by the name of its function.
pub(super) fn rewrite(function: &mut Function) {
    match function.name.to_string().to_lowercase().as_str() {
        "struct" => rewrite_as_named_struct(function),
        "listagg" | "string_agg" => rewrite_listagg(function),
        "first_value" | "last_value" | "first" | "last" => rewrite_ignore_nulls(function),
        "grouping_id" => rename(function, "grouping"),
        "array_agg" => rewrite_array_agg(function),
        "collect_list" => rewrite_distinct_list(function),
        "dateadd" | "date_add" if has_arguments(function, 3) => rename(function, "timestampadd"),
        "datediff" | "date_diff" | "timediff" if has_arguments(function, 3) => {
            rename(function, "timestampdiff");
        }
        "ltrim" | "rtrim" => swap_arguments(function),
        "ceil" | "ceiling" if has_arguments(function, 2) => rename(function, "ceil_to_scale"),
        "floor" if has_arguments(function, 2) => rename(function, "floor_to_scale"),
        "rank" | "dense_rank" | "percent_rank" => remove_arguments(function),
        _ => {}
    }
}

/// Rewrites `ceil(x, scale)` and `floor(x, scale)`, which are separate functions here.
pub(super) fn rewrite_rounding_to_scale(expr: &mut Expr) {
    let rewritten = match expr {
        Expr::Ceil {
            expr: number,
            field: CeilFloorKind::Scale(scale),
        } => call(
            "ceil_to_scale",
            vec![number.as_ref().clone(), Expr::Value(scale.clone())],
        ),
        Expr::Floor {
            expr: number,
            field: CeilFloorKind::Scale(scale),
        } => call(
            "floor_to_scale",
            vec![number.as_ref().clone(), Expr::Value(scale.clone())],
        ),
        _ => return,
    };
    *expr = rewritten;
}

/// Rewrites `nanvl(a, b)` as CASE, which computes `b` only where `a` is NaN.
pub(super) fn rewrite_nanvl(expr: &mut Expr) {
    let Expr::Function(function) = expr else {
        return;
    };
    if !function.name.to_string().eq_ignore_ascii_case("nanvl") || function.over.is_some() {
        return;
    }
    let FunctionArguments::List(list) = &function.args else {
        return;
    };
    if let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(other)),
    ] = list.args.as_slice()
    {
        let condition = call("isnan", vec![value.clone()]);
        *expr = case(condition, other.clone(), Some(value.clone()));
    }
}

/// Returns `CASE WHEN condition THEN result ELSE other END`.
pub(super) fn case(condition: Expr, result: Expr, other: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: other.map(Box::new),
    }
}

/// Replaces the name of a call's function.
pub(super) fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName::from(vec![Ident::new(name)]);
}

fn has_arguments(function: &Function, count: usize) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.args.len() == count)
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

/// Rewrites `struct(…)`, which the parser reads as an expression of its own rather than as a call.
pub(super) fn rewrite_struct(expr: &mut Expr) {
    if let Expr::Struct { values, fields } = expr
        && fields.is_empty()
        && !values.is_empty()
    {
        *expr = call("struct", std::mem::take(values));
        if let Expr::Function(function) = expr {
            rewrite_as_named_struct(function);
        }
    }
}

/// Rewrites `first_value(x, true)` as `first_value(x) IGNORE NULLS`.
fn rewrite_ignore_nulls(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    if let [
        _,
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(flag))),
    ] = list.args.as_slice()
        && let Value::Boolean(ignores_nulls) = flag.value
        && function.null_treatment.is_none()
    {
        list.args.pop();
        function.null_treatment = ignores_nulls.then_some(NullTreatment::IgnoreNulls);
    }
}

/// `(a, 1)` where a value stands is a struct with the fields `a` and `col2`.
pub(super) fn rewrite_tuple(expr: &mut Expr) {
    if let Expr::Tuple(values) = expr {
        *expr = call("struct", std::mem::take(values));
        if let Expr::Function(function) = expr {
            rewrite_as_named_struct(function);
        }
    }
}

/// Names the fields of the tuples that are arguments of a call.
pub(super) fn name_fields_of_tuples(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args {
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                rewrite_tuple(expr);
            }
        }
    }
}

/// Removes the arguments of `rank(a) OVER (ORDER BY a)`: the order of the window determines the
/// rank.
fn remove_arguments(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && function.over.is_some()
    {
        list.args.clear();
    }
}

/// Rewrites `struct(a, 1)` as `named_struct('a', a, 'col2', 1)`.
fn rewrite_as_named_struct(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let is_plain =
        |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if list.args.is_empty() || !list.args.iter().all(is_plain) {
        return;
    }
    let mut named = Vec::with_capacity(list.args.len() * 2);
    for (index, value) in std::mem::take(&mut list.args).into_iter().enumerate() {
        let name = match &value {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => {
                name.value.clone()
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Named { name, .. })) => {
                name.value.clone()
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(names))) => names
                .last()
                .map_or_else(String::new, |name| name.value.clone()),
            _ => format!("col{}", index + 1),
        };
        let value = match value {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Named { expr, .. })) => {
                argument(*expr)
            }
            other => other,
        };
        named.extend([argument(text(&name)), value]);
    }
    list.args = named;
    rename(function, "named_struct");
}

/// Rewrites `listagg(DISTINCT x) WITHIN GROUP (ORDER BY y)` as DataFusion's
/// `string_agg(DISTINCT x, '' ORDER BY y)`.
fn rewrite_listagg(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if function.within_group.is_empty() && !is_distinct {
        // Without an order, our own function is called, which needs no delimiter.
        if list.clauses.is_empty() {
            rename(function, "listagg");
        }
        return;
    }
    if list.args.len() == 1 {
        list.args.push(argument(text("")));
    }
    let mut order = std::mem::take(&mut function.within_group);
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.first()
        && order.is_empty()
    {
        // Any order is correct; this one makes the result the same in every run.
        order.push(OrderByExpr {
            expr: value.clone(),
            options: OrderByOptions {
                asc: None,
                nulls_first: None,
            },
            with_fill: None,
        });
    }
    list.clauses.push(FunctionArgumentClause::OrderBy(order));
    rename(function, "string_agg");
}

/// Rewrites `array_agg` as `collect_list` or `collect_set`: Spark's leaves nulls out, and returns
/// an empty array for a group without values.
fn rewrite_array_agg(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    if function.over.is_some() || function.null_treatment.is_some() {
        return;
    }
    if !list.clauses.is_empty() {
        // `collect_list` and `collect_set` take no ORDER BY.
        function.null_treatment = Some(NullTreatment::IgnoreNulls);
        return;
    }
    match list.duplicate_treatment.take() {
        Some(DuplicateTreatment::Distinct) => rename(function, "collect_set"),
        _ => rename(function, "collect_list"),
    }
}

/// Rewrites `collect_list(DISTINCT x)` as `collect_set(x)`: the function keeps duplicates.
fn rewrite_distinct_list(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
    {
        list.duplicate_treatment = None;
        rename(function, "collect_set");
    }
}

/// Swaps the arguments of `ltrim(characters, text)`: DataFusion takes the text first.
fn swap_arguments(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && list.args.len() == 2
    {
        list.args.swap(0, 1);
    }
}
