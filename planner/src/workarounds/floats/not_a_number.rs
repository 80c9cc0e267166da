//! Statistics of Parquet files leave NaN out.
//!
//! A file of 1.0 and NaN has the minimum and maximum 1.0. DataFusion reads such a column as 1.0
//! everywhere (apache/datafusion#24804), takes `max` from the statistics, and skips files and row
//! groups for `x > 2`, which NaN fulfils (#15812). Here bounds of floating-point columns count as
//! inexact, and scans may skip by conditions on such columns only where NaN would not pass.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, InListExpr, Literal, lit,
};
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};

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

fn holds_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => holds_floats(values),
        DataType::RunEndEncoded(_, values) => holds_floats(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_floats(field.data_type())),
        other => other.is_floating(),
    }
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

/// Returns the predicate with conditions hidden from statistics where NaN could pass them; `None` if there
/// are no such conditions.
fn without_skipping_nan(predicate: &Expr, schema: &Schema) -> Option<Expr> {
    let conditions = split_conjunction(predicate);
    let bounded: Vec<&Expr> = conditions.iter().filter_map(|c| bounded_above(c)).collect();
    let mut is_changed = false;
    let mut result = vec![];
    for condition in &conditions {
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
/// `column <= x`, `column = x` and similar ones.
fn bounded_above(condition: &Expr) -> Option<&Expr> {
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let is_plain = !list.negated() && list.list().iter().all(is_number);
        return (is_plain && list.expr().is::<Column>()).then(|| list.expr());
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::Eq if is_number(right) => Some(left),
        Operator::Eq if is_number(left) => Some(right),
        Operator::Lt | Operator::LtEq if is_number(right) => Some(left),
        Operator::Gt | Operator::GtEq if is_number(left) => Some(right),
        _ => None,
    }
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
    use datafusion::common::ScalarValue::{Float16, Float32, Float64};
    let literal = expr.downcast_ref::<Literal>();
    literal.is_some_and(|literal| match literal.value() {
        Float16(Some(value)) => !value.is_nan(),
        Float32(Some(value)) => !value.is_nan(),
        Float64(Some(value)) => !value.is_nan(),
        value => !value.is_null(),
    })
}
