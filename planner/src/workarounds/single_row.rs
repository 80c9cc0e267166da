//! Makes a scalar subquery with several rows an error.
//!
//! With `enable_physical_uncorrelated_scalar_subquery` off, which executors need, DataFusion turns
//! an uncorrelated scalar subquery into a left join, and several rows multiply the outer ones
//! (apache/datafusion#22530). Here the subquery is wrapped in an aggregate that fails on the second
//! row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, FetchType, LogicalPlan, LogicalPlanBuilder,
    Signature, Subquery, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// Wraps the scalar subqueries that may have several rows.
#[derive(Debug)]
pub(super) struct SingleRow;

impl AnalyzerRule for SingleRow {
    fn name(&self) -> &'static str {
        "single_row"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let checked = plan.transform_up_with_subqueries(|node| {
            node.map_expressions(|e| e.transform_up(check_subquery))
        })?;
        match checked.transformed {
            true => with_new_schemas(checked.data),
            false => Ok(checked.data),
        }
    }
}

/// Makes a scalar subquery that may have several rows fail on the second one.
fn check_subquery(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        // DataFusion refuses correlated subqueries unless they are aggregates with one row.
        Expr::ScalarSubquery(scalar)
            if scalar.outer_ref_columns.is_empty() && !is_nullable_row(&scalar.subquery) =>
        {
            aggregate_single_value(scalar)
                .map(|scalar| Transformed::yes(Expr::ScalarSubquery(scalar)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether a scalar subquery has at most one row, and, if it may have none, a column that may be
/// null.
fn is_nullable_row(plan: &LogicalPlan) -> bool {
    has_one_row_at_most(plan) && (has_row(plan) || plan.schema().field(0).is_nullable())
}

/// Whether the operators of a plan imply that it has at most one row. DataFusion's `max_rows` may
/// be wrong, since it is also derived from the keys of groups, see
/// [`group_keys`](super::group_keys).
pub(super) fn has_one_row_at_most(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row_at_most(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row_at_most(&alias.input),
        LogicalPlan::Filter(filter) => has_one_row_at_most(&filter.input),
        LogicalPlan::Window(window) => has_one_row_at_most(&window.input),
        LogicalPlan::Sort(sort) => has_one_row_at_most(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || has_one_row_at_most(&limit.input)
        }
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        _ => false,
    }
}

/// Whether a plan that has at most one row always has that row.
fn has_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_row(&alias.input),
        LogicalPlan::Window(window) => has_row(&window.input),
        LogicalPlan::Sort(sort) => has_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(values) => values.values.len() == 1,
        _ => false,
    }
}

/// Derives the schemas of all nodes again. A scalar subquery without a row is null, but DataFusion
/// takes it for not null if its column is, and removes `IS NOT NULL` above it.
pub(super) fn with_new_schemas(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))
        .data()
}

fn aggregate_single_value(scalar: Subquery) -> Result<Subquery> {
    let (qualifier, field) = scalar.subquery.schema().qualified_field(0);
    let value = Expr::from((qualifier, field));
    let name = field.name().clone();
    let single_value = AggregateUDF::from(SingleValue::default())
        .call(vec![value])
        .alias(&name);
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(scalar.subquery))
        .aggregate(Vec::<Expr>::new(), [single_value])?
        .build()?;
    Ok(Subquery {
        subquery: Arc::new(plan),
        ..scalar
    })
}

/// The aggregate `single_value(x)`: the value of the only row, null without a row, an error with
/// several.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SingleValue {
    signature: Signature,
}

impl Default for SingleValue {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &'static str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = Field::new(
            format_state_name(args.name, "single_value"),
            args.return_type().clone(),
            true,
        );
        let rows = Field::new(
            format_state_name(args.name, "rows"),
            DataType::UInt64,
            false,
        );
        Ok(vec![value.into(), rows.into()])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleValueAccumulator {
            value: ScalarValue::try_from(args.return_type())?,
            rows: 0,
        }))
    }
}

#[derive(Debug)]
struct SingleValueAccumulator {
    value: ScalarValue,
    rows: u64,
}

impl SingleValueAccumulator {
    /// Adds `rows` rows. Their value is at `index` of `values`.
    fn add(&mut self, values: &ArrayRef, index: usize, rows: u64) -> Result<()> {
        self.rows += rows;
        if self.rows > 1 {
            return exec_err!(
                "a scalar subquery returned more than one row; \
                 use an aggregate such as max(…), LIMIT 1, or IN"
            );
        }
        if rows == 1 {
            self.value = ScalarValue::try_from_array(values, index)?;
        }
        Ok(())
    }
}

impl Accumulator for SingleValueAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [values] if !values.is_empty() => self.add(values, 0, values.len() as u64),
            _ => Ok(()),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, rows] = states else {
            return Ok(());
        };
        for (index, rows) in rows.as_primitive::<UInt64Type>().iter().enumerate() {
            self.add(values, index, rows.unwrap_or_default())?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            self.value.clone(),
            ScalarValue::UInt64(Some(self.rows)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }
}
