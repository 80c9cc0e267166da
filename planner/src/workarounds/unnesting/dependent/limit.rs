//! LIMIT and OFFSET of a subquery, for each value of a domain.

use std::sync::Arc;

use datafusion::common::{Column, Result, ScalarValue, not_impl_err};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Filter, Limit, LogicalPlan, Projection, SkipType, Sort,
    SortExpr, SubqueryAlias, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, lit,
};

use super::{KeyedPlan, run_for_all};
use crate::workarounds::unnesting::columns::{select, select_columns};
use crate::workarounds::unnesting::domain::Domain;

/// Limits the rows of each key.
pub(super) fn run_limit(domain: &Domain, limit: Limit) -> Result<KeyedPlan> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return not_impl_err!(
            "LIMIT or OFFSET that is no number, in a subquery that uses columns of the outer query"
        );
    };
    run(domain, Arc::unwrap_or_clone(limit.input), skip, fetch)
}

/// Runs the rows of `plan` after the first `skip` and up to `fetch` of them.
pub(super) fn run(
    domain: &Domain,
    plan: LogicalPlan,
    skip: usize,
    fetch: Option<usize>,
) -> Result<KeyedPlan> {
    // The limit is pushed down to the sort, where the order of the rows is known.
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = add_limit(projection.input, skip, fetch);
            let plan = Projection::try_new_with_schema(projection.expr, input, projection.schema)?;
            run_for_all(domain, LogicalPlan::Projection(plan))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = add_limit(alias.input, skip, fetch);
            let plan = SubqueryAlias::try_new(input, alias.alias)?;
            run_for_all(domain, LogicalPlan::SubqueryAlias(plan))
        }
        LogicalPlan::Sort(Sort {
            expr,
            input,
            fetch: None,
        }) => {
            let input = run_for_all(domain, Arc::unwrap_or_clone(input))?;
            let mut order = expr;
            for key in &mut order {
                let expr = std::mem::take(&mut key.expr);
                key.expr = domain.replace(expr, &input.keys)?;
            }
            limit_each_key(domain, input, order, skip, fetch)
        }
        plan => {
            let input = run_for_all(domain, plan)?;
            limit_each_key(domain, input, vec![], skip, fetch)
        }
    }
}

fn add_limit(input: Arc<LogicalPlan>, skip: usize, fetch: Option<usize>) -> Arc<LogicalPlan> {
    let literal = |rows: usize| Box::new(lit(i64::try_from(rows).unwrap_or(i64::MAX)));
    Arc::new(LogicalPlan::Limit(Limit {
        skip: Some(literal(skip)),
        fetch: fetch.map(literal),
        input,
    }))
}

/// Numbers the rows of each key in `order`, and keeps those after the first `skip`, up to `fetch`
/// of them.
fn limit_each_key(
    domain: &Domain,
    input: KeyedPlan,
    order: Vec<SortExpr>,
    skip: usize,
    fetch: Option<usize>,
) -> Result<KeyedPlan> {
    let KeyedPlan { plan, keys } = input;
    let schema = Arc::clone(plan.schema());
    let number = row_number()
        .partition_by(keys.iter().cloned().map(Expr::Column).collect())
        .order_by(order)
        .window_frame(WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::CurrentRow,
        ))
        .build()?;
    let plan = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(plan))?);
    let (qualifier, field) = plan.schema().qualified_field(schema.fields().len());
    let number = Expr::from((qualifier, field));
    let name = domain.names.next("row");
    let columns = schema.columns().into_iter().map(Expr::Column);
    let exprs: Vec<Expr> = columns.chain([number.alias(&name)]).collect();
    let plan = select(plan, &[], exprs)?;
    let number = Expr::Column(Column::new_unqualified(name));
    let mut condition = number.clone().gt(lit(skip as u64));
    if let Some(fetch) = fetch {
        condition = condition.and(number.lt_eq(lit(skip.saturating_add(fetch) as u64)));
    }
    let plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
    let plan = select_columns(plan, &[], &schema)?;
    Ok(KeyedPlan { plan, keys })
}
