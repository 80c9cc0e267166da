//! Replaces operators that mean something else in DataFusion than in Spark.
//!
//! `7 / 2` is 3.5, `7 DIV 2` is 3, `array(10, 20)[0]` is 10, and `'5' + 3` is 8.

pub(crate) mod arithmetic;
mod array_field;
mod array_item;
mod decimal;
mod divisor;
pub(crate) mod intervals;
mod item_positions;
mod labeled_cast;
mod pair;
mod quotient;

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawDictionaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, cast,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::dialect::plan_number;
use crate::functions::FunctionSyntax;
use crate::functions::types::instant_type;
use array_field::ArrayField;
pub use array_field::{array_field, item_type};
use array_item::ArrayItem;
use decimal::DecimalOperator;
use divisor::Divisor;
pub(crate) use intervals::INTERVAL;
use intervals::{FACTOR, IntervalOperator};
pub(crate) use item_positions::ItemPositions;
use labeled_cast::LabeledCast;
pub(crate) use labeled_cast::{LABELED_CAST, without_label};
use quotient::Quotient;

/// Plans operators of SQL text as Spark means them.
#[derive(Debug, Default)]
pub struct SparkOperators;

/// Plans all operators and special forms of SQL text. The first planner that plans one wins.
#[must_use]
pub fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> =
        vec![Arc::new(SparkOperators), Arc::new(FunctionSyntax::new())];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// The functions that [`SparkOperators`] plans. Executors find them by name.
#[must_use]
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        Arc::new(ScalarUDF::from(ArrayField::default())),
        Arc::new(ScalarUDF::from(ArrayItem::default())),
        Arc::new(ScalarUDF::from(Divisor::default())),
        Arc::new(ScalarUDF::from(Quotient)),
        Arc::new(ScalarUDF::from(ItemPositions)),
        Arc::new(ScalarUDF::from(LabeledCast::default())),
    ];
    functions.extend(IntervalOperator::ALL.map(|operator| Arc::new(ScalarUDF::from(operator))));
    functions.extend(DecimalOperator::ALL.map(|operator| Arc::new(ScalarUDF::from(operator))));
    functions
}

impl ExprPlanner for SparkOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        // An expression without a type yet, such as a placeholder, keeps DataFusion's plan.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some(result) = plan_interval_operation(&expr, &left, &right) {
            return Ok(PlannerResult::Planned(result));
        }
        Ok(match expr.op {
            BinaryOperator::Divide => divide(expr, &left, &right),
            BinaryOperator::MyIntegerDivide => divide_whole(expr, &left, &right),
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Modulo => {
                if let Some(result) = plan_time_operation(&expr, &left, &right) {
                    return Ok(PlannerResult::Planned(result));
                }
                calculate_with_text(expr, &left, &right)
            }
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Spaceship => compare_with_boolean(expr, &left, &right),
            _ => PlannerResult::Original(expr),
        })
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        match plan_number(&expr) {
            Some(number) => number.map(PlannerResult::Planned),
            None => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListIndex { key } = &expr.field_access else {
            return Ok(PlannerResult::Original(expr));
        };
        let container = expr.expr.get_type(schema)?;
        if let DataType::Map(entries, _) = &container
            && let DataType::Struct(fields) = entries.data_type()
            && key.get_type(schema)? != *fields[0].data_type()
        {
            // DataFusion compares keys without a common type.
            let key_type = fields[0].data_type();
            let key = match key.as_ref() {
                Expr::Literal(value, metadata) => {
                    Expr::Literal(value.cast_to(key_type)?, metadata.clone())
                }
                other => cast(other.clone(), key_type.clone()),
            };
            return Ok(PlannerResult::Original(RawFieldAccessExpr {
                field_access: GetFieldAccess::ListIndex { key: Box::new(key) },
                expr: expr.expr,
            }));
        }
        if !matches!(container, DataType::List(_) | DataType::LargeList(_)) {
            return Ok(PlannerResult::Original(expr));
        }
        let index = cast(key.as_ref().clone(), DataType::Int64);
        let item = ScalarUDF::from(ArrayItem::default()).call(vec![expr.expr, index]);
        Ok(PlannerResult::Planned(item))
    }
}

/// Plans `/` with text, which is read as a DOUBLE. Numbers are divided by [`arithmetic::resolve`],
/// which knows all types.
fn divide(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> PlannerResult<RawBinaryExpr> {
    let is_operand = |t: &DataType| is_text(t) || t.is_numeric() || t.is_null();
    let has_text = is_text(left) || is_text(right);
    if !has_text || !is_operand(left) || !is_operand(right) {
        return PlannerResult::Original(expr);
    }
    let (dividend, divisor) = (as_double(expr.left, left), as_double(expr.right, right));
    PlannerResult::Planned(binary(dividend, Operator::Divide, checked_divisor(divisor)))
}

/// Plans `DIV`, which cuts off the fraction and returns BIGINT.
fn divide_whole(
    expr: RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> PlannerResult<RawBinaryExpr> {
    let is_whole = |t: &DataType| t.is_integer() || is_text(t) || t.is_null();
    if is_whole(left) && is_whole(right) {
        let (left, right) = (
            cast(expr.left, DataType::Int64),
            cast(expr.right, DataType::Int64),
        );
        let quotient = ScalarUDF::from(Quotient).call(vec![left, right]);
        return PlannerResult::Planned(quotient);
    }
    let quotient = binary(expr.left, Operator::Divide, expr.right);
    PlannerResult::Planned(cast(quotient, DataType::Int64))
}

/// Reads text beside a BOOLEAN as one. DataFusion has no such comparison.
fn compare_with_boolean(
    mut expr: RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> PlannerResult<RawBinaryExpr> {
    match (left, right) {
        (DataType::Boolean, text) if is_text(text) => {
            expr.right = cast(expr.right, DataType::Boolean);
        }
        (text, DataType::Boolean) if is_text(text) => {
            expr.left = cast(expr.left, DataType::Boolean);
        }
        _ => {}
    }
    PlannerResult::Original(expr)
}

/// Reads text beside a number as a number: as BIGINT beside whole numbers, as DOUBLE beside others
/// and beside text.
fn calculate_with_text(
    expr: RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> PlannerResult<RawBinaryExpr> {
    let Some(op) = arithmetic_operator(&expr.op) else {
        return PlannerResult::Original(expr);
    };
    let number_type = |other: &DataType| {
        if other.is_integer() {
            DataType::Int64
        } else {
            DataType::Float64
        }
    };
    if is_text(left) && right.is_numeric() {
        return PlannerResult::Planned(binary(cast(expr.left, number_type(right)), op, expr.right));
    }
    if left.is_numeric() && is_text(right) {
        return PlannerResult::Planned(binary(expr.left, op, cast(expr.right, number_type(left))));
    }
    if is_text(left) && is_text(right) {
        let (left, right) = (
            cast(expr.left, DataType::Float64),
            cast(expr.right, DataType::Float64),
        );
        return PlannerResult::Planned(binary(left, op, right));
    }
    PlannerResult::Original(expr)
}

/// Plans operations with intervals. An interval is multiplied or divided by a number, which may be
/// text. Text plus or minus an interval is read as a timestamp. The difference of two dates is the
/// interval of the days between them.
fn plan_interval_operation(
    expr: &RawBinaryExpr,
    left: &DataType,
    right: &DataType,
) -> Option<Expr> {
    // Text beside a date is read as a date.
    let is_date = |data_type: &DataType| *data_type == DataType::Date32 || data_type.is_string();
    if matches!(expr.op, BinaryOperator::Minus)
        && (*left == DataType::Date32 && is_date(right)
            || is_date(left) && *right == DataType::Date32)
    {
        let date = |value: &Expr, data_type: &DataType| match data_type {
            DataType::Date32 => value.clone(),
            _ => cast(value.clone(), DataType::Date32),
        };
        let dates = vec![date(&expr.left, left), date(&expr.right, right)];
        return Some(ScalarUDF::from(IntervalOperator::Between).call(dates));
    }
    let is_interval = |t: &DataType| matches!(t, DataType::Interval(_) | DataType::Duration(_));
    let (interval, other, other_type) = match (is_interval(left), is_interval(right)) {
        (true, false) => (&expr.left, &expr.right, right),
        (false, true) => (&expr.right, &expr.left, left),
        _ => return None,
    };
    let operator = match expr.op {
        BinaryOperator::Multiply => IntervalOperator::Multiply,
        BinaryOperator::Divide if is_interval(left) => IntervalOperator::Divide,
        BinaryOperator::Plus | BinaryOperator::Minus if is_text(other_type) => {
            let op = arithmetic_operator(&expr.op)?;
            let time = cast(other.clone(), instant_type());
            return (is_interval(right) || op == Operator::Plus)
                .then(|| binary(time, op, interval.clone()));
        }
        _ => return None,
    };
    if !other_type.is_numeric() && !is_text(other_type) && !other_type.is_null() {
        return None;
    }
    let interval = match left == &INTERVAL || right == &INTERVAL {
        true => interval.clone(),
        false => cast(interval.clone(), INTERVAL),
    };
    Some(ScalarUDF::from(operator).call(vec![interval, cast(other.clone(), FACTOR)]))
}

/// Plans sums and differences of dates and timestamps. A date plus an interval with hours is a
/// timestamp, the result for null is null, and text that is subtracted from a time is read as one.
fn plan_time_operation(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let op = arithmetic_operator(&expr.op)?;
    let timestamp = |date: &Expr| cast(date.clone(), instant_type());
    if *left == DataType::Date32 && has_time_of_day(&expr.right) {
        return Some(binary(timestamp(&expr.left), op, expr.right.clone()));
    }
    if *right == DataType::Date32 && has_time_of_day(&expr.left) {
        return Some(binary(expr.left.clone(), op, timestamp(&expr.right)));
    }
    let is_time = |t: &DataType| matches!(t, DataType::Date32 | DataType::Timestamp(..));
    let (time, other) = match (is_time(left), is_time(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return None,
    };
    let is_difference = matches!(expr.op, BinaryOperator::Minus);
    if other.is_null() && (is_difference || matches!(expr.op, BinaryOperator::Plus)) {
        return Some(Expr::Literal(ScalarValue::try_new_null(time).ok()?, None));
    }
    (is_difference && is_text(other)).then(|| {
        let as_time = |expr: &Expr| cast(expr.clone(), time.clone());
        binary(as_time(&expr.left), Operator::Minus, as_time(&expr.right))
    })
}

/// Is this an interval with hours or less, which a date alone cannot hold?
fn has_time_of_day(expr: &Expr) -> bool {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = expr else {
        return false;
    };
    interval.nanoseconds != 0
}

fn arithmetic_operator(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::Plus => Some(Operator::Plus),
        BinaryOperator::Minus => Some(Operator::Minus),
        BinaryOperator::Multiply => Some(Operator::Multiply),
        BinaryOperator::Modulo => Some(Operator::Modulo),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn as_double(expr: Expr, data_type: &DataType) -> Expr {
    if *data_type == DataType::Float64 {
        expr
    } else {
        cast(expr, DataType::Float64)
    }
}

/// Adds the check that a divisor is not zero. A literal other than zero needs none.
fn checked_divisor(divisor: Expr) -> Expr {
    let value = match &divisor {
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    if let Expr::Literal(value, _) = value
        && value
            .cast_to(&DataType::Float64)
            .is_ok_and(|number| number != 0.0_f64.into() && number != (-0.0_f64).into())
    {
        return divisor;
    }
    ScalarUDF::from(Divisor::default()).call(vec![divisor])
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}
