//! Rewrites of grouping sets: `GROUP BY a, b WITH ROLLUP`, `CUBE (a, (b, c))`, `grouping_id()`.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, GroupByWithModifier, Query, Select, SelectItem, SetExpr,
    VisitMut, VisitorMut,
};

use super::tree::call;

/// Maximum number of elements of a CUBE with several keys in one: each element doubles the number
/// of sets.
const CUBE_MAX: usize = 16;

/// Rewrites `GROUP BY a, b WITH ROLLUP` and `GROUP BY a, b GROUPING SETS (…)` in the syntax of the
/// SQL standard.
pub(super) fn expand(group_by: &mut GroupByExpr) -> Result<()> {
    let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
        return Ok(());
    };
    if modifiers.is_empty() {
        expressions.iter_mut().for_each(expand_composite_elements);
        share_keys(expressions);
        return Ok(());
    }
    if modifiers.len() > 1 {
        return Err(plan_datafusion_err!(
            "GROUP BY takes one of WITH ROLLUP, WITH CUBE and GROUPING SETS"
        ));
    }
    let keys = || expressions.iter().map(|key| vec![key.clone()]).collect();
    let sets = match modifiers.remove(0) {
        GroupByWithModifier::Rollup => Expr::Rollup(keys()),
        GroupByWithModifier::Cube => Expr::Cube(keys()),
        // The sets name the keys again, so that the list before them is redundant.
        GroupByWithModifier::GroupingSets(sets) => sets,
        GroupByWithModifier::Totals => {
            return Err(plan_datafusion_err!(
                "GROUP BY … WITH TOTALS is not Spark's SQL; use WITH ROLLUP"
            ));
        }
    };
    *expressions = vec![sets];
    share_keys(expressions);
    Ok(())
}

/// Writes the keys of sets that differ only in the order of a sum or product as the first of them:
/// they are one column.
fn share_keys(expressions: &mut [Expr]) {
    let mut seen: Vec<(String, Expr)> = Vec::new();
    let sets = expressions.iter_mut().filter_map(|expr| match expr {
        Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => Some(sets),
        _ => None,
    });
    for key in sets.flatten().flatten() {
        let ordered = in_order(key);
        match seen.iter().find(|(known, _)| *known == ordered) {
            Some((_, first)) => *key = first.clone(),
            None => seen.push((ordered, key.clone())),
        }
    }
}

/// The text of an expression with the operands of sums and products sorted.
fn in_order(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp {
            left,
            op: op @ (BinaryOperator::Plus | BinaryOperator::Multiply),
            right,
        } => {
            let mut operands = [in_order(left), in_order(right)];
            operands.sort();
            format!("({op} {} {})", operands[0], operands[1])
        }
        Expr::Nested(inner) => in_order(inner),
        other => other.to_string().to_lowercase(),
    }
}

/// Rewrites `ROLLUP (a, (b, c))` and `CUBE (a, (b, c))` as GROUPING SETS. DataFusion allows one key
/// in each element.
fn expand_composite_elements(expr: &mut Expr) {
    let is_plain = |elements: &[Vec<Expr>]| elements.iter().all(|keys| keys.len() == 1);
    let sets: Vec<Vec<Expr>> = match expr {
        Expr::Rollup(elements) if !is_plain(elements) => (0..=elements.len())
            .rev()
            .map(|count| elements[..count].concat())
            .collect(),
        Expr::Cube(elements) if !is_plain(elements) && elements.len() < CUBE_MAX => {
            let count = elements.len();
            let has_element = |set: usize, element: usize| (set >> (count - 1 - element)) & 1 == 1;
            let keys_of = |set: usize| {
                let elements = elements.iter().enumerate();
                elements
                    .filter(|(element, _)| has_element(set, *element))
                    .flat_map(|(_, keys)| keys.clone())
                    .collect()
            };
            (0..1_usize << count).rev().map(keys_of).collect()
        }
        _ => return,
    };
    *expr = Expr::GroupingSets(sets.into_iter().map(remove_duplicates).collect());
}

fn remove_duplicates(keys: Vec<Expr>) -> Vec<Expr> {
    let mut different: Vec<Expr> = Vec::with_capacity(keys.len());
    for key in keys {
        if !different.contains(&key) {
            different.push(key);
        }
    }
    different
}

/// Adds the keys of GROUP BY as arguments to `grouping_id()` without arguments, which is also written `grouping__id`.
///
/// # Errors
/// If a query without grouping sets calls `grouping` or `grouping_id`.
pub(super) fn complete_ids(query: &mut Query) -> Result<()> {
    let completion = match query.body.as_mut() {
        SetExpr::Select(select) => complete_ids_of(select)?,
        body => {
            let mut result = Ok(());
            for_each_select(body, &mut |select| {
                if result.is_ok() {
                    result = complete_ids_of(select).map(drop);
                }
            });
            return result;
        }
    };
    match completion {
        Some(mut completion) => completion.complete(&mut query.order_by),
        None => Ok(()),
    }
}

/// Calls a function for each SELECT of a set operation.
pub(super) fn for_each_select(body: &mut SetExpr, change: &mut impl FnMut(&mut Select)) {
    match body {
        SetExpr::Select(select) => change(select),
        SetExpr::SetOperation { left, right, .. } => {
            for_each_select(left, change);
            for_each_select(right, change);
        }
        _ => {}
    }
}

fn complete_ids_of(select: &mut Select) -> Result<Option<GroupingIds>> {
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else {
        return Ok(None);
    };
    let mut has_sets = !modifiers.is_empty();
    let mut keys: Vec<Expr> = Vec::new();
    for expression in expressions {
        match expression {
            Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                has_sets = true;
                keys.extend(sets.concat());
            }
            other => keys.push(other.clone()),
        }
    }
    let mut completion = GroupingIds {
        keys: remove_duplicates(keys),
        has_sets,
        depth: 0,
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
            && let Expr::Identifier(name) = &*expr
            && completion.is_virtual(expr)
        {
            *item = SelectItem::ExprWithAlias {
                alias: name.clone(),
                expr: expr.clone(),
            };
        }
    }
    completion.complete(&mut select.projection)?;
    completion.complete(&mut select.having)?;
    Ok(Some(completion))
}

/// Completes the `grouping_id()` calls of one query.
struct GroupingIds {
    keys: Vec<Expr>,
    has_sets: bool,
    /// Queries around the current node, within the one that has the keys.
    depth: usize,
}

impl GroupingIds {
    fn complete(&mut self, tree: &mut impl VisitMut) -> Result<()> {
        match tree.visit(self) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Is this the column `grouping__id`, which every query with grouping sets has?
    fn is_virtual(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Identifier(name)
            if self.has_sets && name.value.eq_ignore_ascii_case("grouping__id"))
    }

    fn arguments(&self) -> Vec<FunctionArg> {
        let argument = |key: &Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(key.clone()));
        self.keys.iter().map(argument).collect()
    }
}

/// Returns the name of a call of `grouping` or `grouping_id`.
fn grouping_call(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let name = function.name.to_string().to_lowercase();
    matches!(name.as_str(), "grouping" | "grouping_id").then_some(name)
}

impl VisitorMut for GroupingIds {
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
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if !self.has_sets
            && let Some(name) = grouping_call(expr)
        {
            return ControlFlow::Break(plan_datafusion_err!(
                "[UNSUPPORTED_GROUPING_EXPRESSION] {name} distinguishes the grouping sets of a query, and this query has none; \
                 write GROUP BY ROLLUP, CUBE or GROUPING SETS"
            ));
        }
        if self.is_virtual(expr) {
            *expr = call("grouping_id", self.keys.clone());
        } else if let Expr::Function(Function { name, args, .. }) = expr
            && name.to_string().eq_ignore_ascii_case("grouping_id")
            && let FunctionArguments::List(FunctionArgumentList { args, .. }) = args
            && args.is_empty()
        {
            *args = self.arguments();
        }
        ControlFlow::Continue(())
    }
}
