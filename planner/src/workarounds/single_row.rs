//! A scalar subquery with several rows is an error.
//!
//! With `enable_physical_uncorrelated_scalar_subquery` off, which executors need, DataFusion turns
//! an uncorrelated scalar subquery into a left join, and several rows multiply the outer ones
//! (apache/datafusion#22530). Here an aggregate goes around it that fails on the second row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, LogicalPlanBuilder, Signature,
    Subquery, Volatility,
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
        plan.transform_up_with_subqueries(|node| {
            node.map_expressions(|e| e.transform_up(check_subquery))
        })
        .data()
    }
}

/// Makes a scalar subquery that may have several rows fail on the second one.
fn check_subquery(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        // DataFusion refuses correlated ones unless they are aggregates of one row.
        Expr::ScalarSubquery(scalar)
            if scalar.outer_ref_columns.is_empty()
                && scalar.subquery.max_rows().is_none_or(|rows| rows > 1) =>
        {
            aggregate_single_value(scalar)
                .map(|scalar| Transformed::yes(Expr::ScalarSubquery(scalar)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn aggregate_single_value(scalar: Subquery) -> Result<Subquery> {
    let (qualifier, field) = scalar.subquery.schema().qualified_field(0);
    let value = Expr::from((qualifier, field));
    let name = field.name().clone();
    let only = AggregateUDF::from(SingleValue::default())
        .call(vec![value])
        .alias(&name);
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(scalar.subquery))
        .aggregate(Vec::<Expr>::new(), [only])?
        .build()?;
    Ok(Subquery {
        subquery: Arc::new(plan),
        ..scalar
    })
}

/// `single_value(x)`: the value of the only row, null without a row, an error with several.
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
