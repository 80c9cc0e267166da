//! Replaces casts whose results in Arrow differ from Spark's.
//!
//! Arrow reads text of a time in UTC, counts microseconds where Spark counts seconds, and writes
//! times, fractions and nested values as text in another format. The casts of a statement, and
//! those that type coercion adds, become calls of Spark's functions, which know the session's time
//! zone.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast, lit, try_cast, when,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::{
    NORMALIZE_INTERVAL, OnInvalid, is_text, normalize_interval, scalar_function, zone_name,
};
use crate::operators::INTERVAL;

/// Microseconds of a second.
const SECOND_MICROS: f64 = 1_000_000.0;
/// The function that writes a number without an exponent.
const PLAIN_NUMBER: &str = "plain_number";

/// Replaces casts by Spark's. The rule runs after the coercion of types.
#[derive(Debug, Default)]
pub struct SparkCasts;

impl AnalyzerRule for SparkCasts {
    fn name(&self) -> &'static str {
        "spark_casts"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let settings = CastSettings {
            zone: zone_name(config),
            on_invalid: match config.execution.enable_ansi_mode {
                true => OnInvalid::Fail,
                false => OnInvalid::Null,
            },
        };
        plan.transform_up_with_subqueries(|node| replace_casts(node, &settings))
            .data()
    }
}

/// Session settings on which casts depend.
struct CastSettings {
    zone: Arc<str>,
    /// What `CAST` does with a value that cannot be cast.
    on_invalid: OnInvalid,
}

/// Functions that fail in ANSI mode, each with the one that returns null.
const NULL_FUNCTIONS: [(&str, &str); 4] = [
    ("make_timestamp", "try_make_timestamp"),
    ("make_timestamp_ntz", "try_make_timestamp_ntz"),
    ("to_date", "try_to_date"),
    ("to_timestamp", "try_to_timestamp"),
];

fn replace_casts(node: LogicalPlan, settings: &CastSettings) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let replaced = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|expr| Ok(replace_cast(expr, &schema, settings)))?;
        Ok(replaced.update_data(|expr| name.restore(expr)))
    })?;
    if !replaced.transformed {
        return Ok(replaced);
    }
    replaced.map_data(LogicalPlan::recompute_schema)
}

fn replace_cast(expr: Expr, schema: &DFSchema, settings: &CastSettings) -> Transformed<Expr> {
    let zone = &settings.zone;
    let (operand, target, on_invalid) = match &expr {
        Expr::Cast(Cast { expr, field }) => (expr.as_ref(), field.data_type(), settings.on_invalid),
        Expr::TryCast(TryCast { expr, field }) => {
            (expr.as_ref(), field.data_type(), OnInvalid::Null)
        }
        Expr::ScalarFunction(call) if settings.on_invalid == OnInvalid::Null => {
            return match null_function(call) {
                Some(lenient) => Transformed::yes(lenient),
                None => Transformed::no(expr),
            };
        }
        Expr::BinaryExpr(operation) => {
            let replaced = move_instant(operation, schema, zone)
                .or_else(|| normalize_sum(&expr, operation, schema));
            return replaced.map_or_else(|| Transformed::no(expr.clone()), Transformed::yes);
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), metadata) => {
            let normal = ScalarValue::IntervalMonthDayNano(Some(normalize_interval(*interval)));
            return Transformed::yes(Expr::Literal(normal, metadata.clone()));
        }
        _ => return Transformed::no(expr),
    };
    let Ok(source) = operand.get_type(schema) else {
        return Transformed::no(expr);
    };
    if is_text(&source) && target.is_decimal() {
        return read_plain_number(expr);
    }
    if let Some(converted) = cast_struct_by_position(operand, &source, target, on_invalid) {
        return converted
            .transform_up(|expr| Ok(replace_cast(expr, schema, settings)))
            .unwrap_or_else(|_| Transformed::no(expr));
    }
    let Some(function) = Conversion::between(&source, target, zone)
        .and_then(|conversion| scalar_function(conversion.function(on_invalid)))
    else {
        return Transformed::no(expr);
    };
    let value = Arc::new(function).call(vec![operand.clone()]);
    let is_fraction = source.is_temporal() && target.is_numeric() && !target.is_integer();
    let value = if is_fraction {
        // The function returns microseconds, Spark seconds with a fraction.
        let micros = cast(value, DataType::Float64);
        Expr::BinaryExpr(BinaryExpr::new(
            Box::new(micros),
            Operator::Divide,
            Box::new(lit(SECOND_MICROS)),
        ))
    } else {
        value
    };
    let target = target.clone();
    match value.get_type(schema) {
        Ok(data_type) if data_type == target => Transformed::yes(value),
        Ok(_) => Transformed::yes(cast(value, target)),
        Err(_) => Transformed::no(expr),
    }
}

/// Casts text to a decimal without its exponent, which Arrow does not read.
fn read_plain_number(mut expr: Expr) -> Transformed<Expr> {
    let (Expr::Cast(Cast { expr: operand, .. }) | Expr::TryCast(TryCast { expr: operand, .. })) =
        &mut expr
    else {
        return Transformed::no(expr);
    };
    // A view was analyzed before.
    let is_plain =
        matches!(operand.as_ref(), Expr::ScalarFunction(call) if call.name() == PLAIN_NUMBER);
    let function = scalar_function(PLAIN_NUMBER).filter(|_| !is_plain);
    let Some(function) = function else {
        return Transformed::no(expr);
    };
    let text = std::mem::take(operand.as_mut());
    **operand = Arc::new(function).call(vec![text]);
    Transformed::yes(expr)
}

/// Returns an instant plus or minus an interval as a call that moves it by days of the session's
/// zone; `None` for other operations. In UTC, where all days have the same length, Arrow's sum is
/// Spark's.
fn move_instant(operation: &BinaryExpr, schema: &DFSchema, zone: &str) -> Option<Expr> {
    if zone == "UTC" {
        return None;
    }
    let function = match operation.op {
        Operator::Plus => "instant_plus_interval",
        Operator::Minus => "instant_minus_interval",
        _ => return None,
    };
    let types = (
        operation.left.get_type(schema).ok()?,
        operation.right.get_type(schema).ok()?,
    );
    let (instant, interval) = match types {
        (DataType::Timestamp(_, Some(_)), DataType::Interval(_)) => {
            (&operation.left, &operation.right)
        }
        (DataType::Interval(_), DataType::Timestamp(_, Some(_))) => {
            (&operation.right, &operation.left)
        }
        _ => return None,
    };
    let interval = cast(
        interval.as_ref().clone(),
        DataType::Interval(IntervalUnit::MonthDayNano),
    );
    let function = Arc::new(scalar_function(function)?);
    Some(function.call(vec![instant.as_ref().clone(), interval]))
}

/// Returns a sum or difference of intervals in its normal form; `None` for other operations.
fn normalize_sum(expr: &Expr, operation: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let is_sum = matches!(operation.op, Operator::Plus | Operator::Minus);
    if !is_sum || expr.get_type(schema).ok()? != INTERVAL {
        return None;
    }
    let function = Arc::new(scalar_function(NORMALIZE_INTERVAL)?);
    Some(function.call(vec![expr.clone()]))
}

/// Returns the call that returns null where this one fails.
fn null_function(call: &ScalarFunction) -> Option<Expr> {
    let (_, lenient) = NULL_FUNCTIONS
        .into_iter()
        .find(|(name, _)| *name == call.name())?;
    let function = Arc::new(scalar_function(lenient)?);
    Some(function.call(call.args.clone()))
}

/// Casts a struct to one with other names: Spark takes the fields by their positions, Arrow by
/// their names.
fn cast_struct_by_position(
    operand: &Expr,
    source: &DataType,
    target: &DataType,
    on_invalid: OnInvalid,
) -> Option<Expr> {
    let (DataType::Struct(before), DataType::Struct(after)) = (source, target) else {
        return None;
    };
    let names = before.iter().zip(after).map(|(a, b)| a.name() == b.name());
    if before.len() != after.len() || before.is_empty() || names.into_iter().all(|same| same) {
        return None;
    }
    let fields = before.iter().zip(after).flat_map(|(from, to)| {
        let field = get_field(operand.clone(), from.name().as_str());
        let typed = match on_invalid {
            OnInvalid::Null => try_cast(field, to.data_type().clone()),
            OnInvalid::Fail => cast(field, to.data_type().clone()),
        };
        [lit(to.name().as_str()), typed]
    });
    let value = named_struct(fields.collect());
    // Without ELSE a struct that is null stays null.
    when(operand.clone().is_not_null(), value).end().ok()
}

/// A cast that Spark and Arrow compute differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    /// Text to a date.
    Date,
    /// An instant to its date in the session's zone.
    Day,
    /// Text, seconds since 1970, dates and wall clocks of the session's zone to an instant.
    Instant,
    /// Text, seconds since 1970 and instants to a wall clock of the session's zone.
    Wall,
    /// A timestamp to whole seconds since 1970.
    Seconds,
    /// A timestamp to microseconds since 1970.
    Micros,
    /// Text to a condition.
    Boolean,
    /// Text to a floating-point number.
    Double,
    /// A value to text.
    Text,
    /// A difference of timestamps to an interval.
    Interval,
}

impl Conversion {
    /// Returns the conversion between two types; `None` where Arrow's cast is Spark's.
    fn between(source: &DataType, target: &DataType, zone: &str) -> Option<Self> {
        use DataType::{
            Boolean, Date32, Duration, FixedSizeList, Float16, Float32, Float64, Interval,
            LargeList, List, Map, Struct, Timestamp,
        };
        let has_spark_text = matches!(
            source,
            Timestamp(..)
                | Interval(_)
                | Float16
                | Float32
                | Float64
                | List(_)
                | LargeList(_)
                | FixedSizeList(..)
                | Struct(_)
                | Map(..)
        );
        Some(match (source, target) {
            (source, Date32) if is_text(source) => Self::Date,
            (source, Boolean) if is_text(source) => Self::Boolean,
            (source, Float64) if is_text(source) => Self::Double,
            (source, Timestamp(_, None)) if is_text(source) || source.is_numeric() => Self::Wall,
            (source, Timestamp(_, Some(_))) if is_text(source) || source.is_numeric() => {
                Self::Instant
            }
            (Timestamp(_, Some(_)), Timestamp(_, None)) => Self::Wall,
            // In UTC, Arrow's cast is Spark's. It stays, because statistics prune files through
            // casts, not through functions.
            (Date32 | Timestamp(_, None), Timestamp(_, Some(_))) if zone != "UTC" => Self::Instant,
            (Timestamp(_, Some(_)), Date32) if zone != "UTC" => Self::Day,
            (Timestamp(..), target) if target.is_integer() => Self::Seconds,
            (Timestamp(..), target) if target.is_numeric() => Self::Micros,
            (_, target) if has_spark_text && is_text(target) => Self::Text,
            (Duration(_), target) if *target == INTERVAL => Self::Interval,
            _ => return None,
        })
    }

    /// Returns the name of the function that converts.
    fn function(self, on_invalid: OnInvalid) -> &'static str {
        match (self, on_invalid) {
            (Self::Date, OnInvalid::Fail) | (Self::Day, _) => "date",
            (Self::Date, OnInvalid::Null) => "try_to_date",
            (Self::Boolean, OnInvalid::Fail) => "boolean",
            (Self::Boolean, OnInvalid::Null) => "try_to_boolean",
            (Self::Double, OnInvalid::Fail) => "double",
            (Self::Double, OnInvalid::Null) => "try_to_double",
            (Self::Instant, OnInvalid::Fail) => "timestamp",
            (Self::Instant, OnInvalid::Null) => "try_to_timestamp",
            (Self::Wall, OnInvalid::Fail) => "to_wall_timestamp",
            (Self::Wall, OnInvalid::Null) => "try_to_wall_timestamp",
            (Self::Seconds, _) => "unix_seconds",
            (Self::Micros, _) => "unix_micros",
            (Self::Text, _) => "string",
            (Self::Interval, _) => NORMALIZE_INTERVAL,
        }
    }
}
