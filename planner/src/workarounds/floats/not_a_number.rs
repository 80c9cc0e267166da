//! Statistics of Parquet files leave NaN out.
//!
//! A file of 1.0 and NaN has the minimum and maximum 1.0. DataFusion reads such a column as 1.0
//! everywhere (apache/datafusion#24804), takes `max` from the statistics, and skips files and row
//! groups for `x > 2`, which NaN fulfils (#15812). Here bounds of floating-point columns count as
//! inexact, and scans may skip by conditions on such columns only where NaN would not pass.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, InListExpr, Literal, lit,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, conjunction, split_conjunction};

use super::canonical::CanonicalFloat;
use super::holds_floats;
use crate::workarounds::plan_rule::PlanRule;
use crate::workarounds::scans::{replace_scans, with_statistics};

type Expr = Arc<dyn PhysicalExpr>;

/// Runs before results are taken from statistics.
pub(in crate::workarounds) const INEXACT_FLOAT_BOUNDS: PlanRule = PlanRule {
    name: "inexact_float_bounds",
    rewrite: |plan| {
        replace_scans(plan, |scan| {
            let schema = scan.file_source().table_schema().table_schema();
            has_floats(schema).then(|| with_inexact_bounds(scan, schema))
        })
    },
};

/// Runs after filters were pushed into scans.
pub(in crate::workarounds) const FLOAT_FILTERS_OF_SCANS: PlanRule = PlanRule {
    name: "float_filters_of_scans",
    rewrite: |plan| {
        replace_scans(plan, |scan| {
            let schema = scan.file_source().table_schema().table_schema();
            let source = scan.file_source().downcast_ref::<ParquetSource>()?;
            let predicate = source.filter().filter(|_| has_floats(schema))?;
            let safe = without_skipping_nan(&predicate, schema)?;
            let source = Arc::new(source.with_predicate(safe));
            Some(
                FileScanConfigBuilder::from(scan.clone())
                    .with_source(source)
                    .build(),
            )
        })
    },
};

fn has_floats(schema: &Schema) -> bool {
    schema
        .fields()
        .iter()
        .any(|field| holds_floats(field.data_type()))
}

fn with_inexact_bounds(scan: &FileScanConfig, schema: &Schema) -> FileScanConfig {
    with_statistics(scan, |statistics| {
        let columns = schema
            .fields()
            .iter()
            .zip(&mut statistics.column_statistics);
        for (_, column) in columns.filter(|(field, _)| holds_floats(field.data_type())) {
            column.min_value = column.min_value.clone().to_inexact();
            column.max_value = column.max_value.clone().to_inexact();
        }
    })
}

/// Returns the predicate with conditions hidden from statistics where NaN could pass them, and with
/// conditions on columns that follow from those on their canonical forms; `None` if there are
/// neither.
fn without_skipping_nan(predicate: &Expr, schema: &Schema) -> Option<Expr> {
    let conditions = split_conjunction(predicate);
    let bounded: Vec<&Expr> = conditions.iter().filter_map(|c| bounded_above(c)).collect();
    let mut is_changed = false;
    let mut result = vec![];
    for condition in &conditions {
        if let Some(comparison) = Comparison::with_canonical(condition) {
            let implied = comparison.without_canonical(&bounded);
            is_changed |= implied.is_some();
            result.push(Arc::clone(condition));
            result.extend(implied);
            continue;
        }
        let may_skip = !reads_floats(condition, schema)
            || bounded_above(condition).is_some()
            || bounded_below(condition).is_some_and(|column| bounded.contains(&column));
        if may_skip {
            result.push(Arc::clone(condition));
            continue;
        }
        is_changed = true;
        // Rows are tested as before, but no statistics are known of a CASE.
        let always = vec![(lit(true), Arc::clone(condition))];
        result.push(Arc::new(CaseExpr::try_new(None, always, Some(lit(false))).ok()?) as Expr);
    }
    is_changed.then(|| conjunction(result))
}

/// A column compared with a constant number.
struct Comparison<'a> {
    column: &'a Expr,
    op: Operator,
    number: &'a ScalarValue,
}

impl<'a> Comparison<'a> {
    /// Returns the parts of `canonical_float(column) < 5.0` and similar conditions, in either
    /// order.
    fn with_canonical(condition: &'a Expr) -> Option<Self> {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (binary.left(), binary.right());
        let (function, op, number) = match is_number(right) {
            true => (left, *binary.op(), right),
            false => (right, binary.op().swap()?, left),
        };
        let column = argument_of_canonical(function).filter(|column| column.is::<Column>())?;
        let number = number.downcast_ref::<Literal>()?.value();
        is_number_value(number).then_some(Self { column, op, number })
    }

    /// Returns a condition on the column itself that rows of this one fulfil, if statistics, which
    /// leave NaN out, may serve for it.
    fn without_canonical(&self, bounded: &[&Expr]) -> Option<Expr> {
        let compare = |op, number| -> Expr {
            Arc::new(BinaryExpr::new(Arc::clone(self.column), op, lit(number)))
        };
        match self.op {
            Operator::Lt | Operator::LtEq => Some(compare(self.op, self.number.clone())),
            Operator::Eq => Some(conjunction([
                compare(Operator::GtEq, negative_zero(self.number)),
                compare(Operator::LtEq, self.number.clone()),
            ])),
            Operator::Gt if bounded.contains(&self.column) => {
                Some(compare(self.op, self.number.clone()))
            }
            Operator::GtEq if bounded.contains(&self.column) => {
                Some(compare(self.op, negative_zero(self.number)))
            }
            _ => None,
        }
    }
}

/// Returns -0.0, the smaller one, in place of 0.0, and other numbers as they are.
fn negative_zero(number: &ScalarValue) -> ScalarValue {
    match number {
        ScalarValue::Float32(Some(0.0)) => ScalarValue::from(-0.0_f32),
        ScalarValue::Float64(Some(0.0)) => ScalarValue::from(-0.0_f64),
        other => other.clone(),
    }
}

/// Returns the argument of `canonical_float`.
fn argument_of_canonical(expr: &Expr) -> Option<&Expr> {
    let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let is_canonical = function.fun().inner().is::<CanonicalFloat>();
    function.args().first().filter(|_| is_canonical)
}

fn reads_floats(expr: &Expr, schema: &Schema) -> bool {
    expr.exists(|node| {
        let is_float = node.downcast_ref::<Column>().is_some_and(|column| {
            let field = schema.fields().find(column.name());
            field.is_none_or(|(_, field)| holds_floats(field.data_type()))
        });
        Ok(is_float)
    })
    .unwrap_or(true)
}

/// Returns the column of a condition that NaN, the largest number, does not fulfil: `column < x`,
/// `column <= x`, `column = x` and similar ones, also of the column's canonical form.
fn bounded_above(condition: &Expr) -> Option<&Expr> {
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let is_plain = !list.negated() && list.list().iter().all(is_number);
        return (is_plain && list.expr().is::<Column>()).then(|| list.expr());
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    let side = match binary.op() {
        Operator::Eq if is_number(right) => Some(left),
        Operator::Eq if is_number(left) => Some(right),
        Operator::Lt | Operator::LtEq if is_number(right) => Some(left),
        Operator::Gt | Operator::GtEq if is_number(left) => Some(right),
        _ => None,
    };
    side.map(|side| argument_of_canonical(side).unwrap_or(side))
        .filter(|expr| expr.is::<Column>())
}

/// Returns the column of `column > x` and similar conditions.
fn bounded_below(condition: &Expr) -> Option<&Expr> {
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::Gt | Operator::GtEq if is_number(right) => Some(left),
        Operator::Lt | Operator::LtEq if is_number(left) => Some(right),
        _ => None,
    }
    .filter(|expr| expr.is::<Column>())
}

/// Whether an expression is a constant other than NaN.
fn is_number(expr: &Expr) -> bool {
    let literal = expr.downcast_ref::<Literal>();
    literal.is_some_and(|literal| is_number_value(literal.value()))
}

fn is_number_value(value: &ScalarValue) -> bool {
    use ScalarValue::{Float16, Float32, Float64};
    match value {
        Float16(Some(value)) => !value.is_nan(),
        Float32(Some(value)) => !value.is_nan(),
        Float64(Some(value)) => !value.is_nan(),
        value => !value.is_null(),
    }
}
