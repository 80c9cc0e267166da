//! Which expressions can fail on some row.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

/// Functions that return a value for every argument. All other functions are assumed to fail for
/// some.
const SAFE_FUNCTIONS: [&str; 47] = [
    "abs",
    "array_field",
    "ascii",
    "bit_length",
    "btrim",
    "canonical_float",
    "canonical_nan",
    "ceil",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "endswith",
    "equal_null",
    "floor",
    "get_field",
    "greatest",
    "initcap",
    "instr",
    "isnan",
    "isnotnull",
    "isnull",
    "least",
    "left",
    "length",
    "locate",
    "lower",
    "ltrim",
    "md5",
    "nullif",
    "nvl",
    "octet_length",
    "plain_number",
    "replace",
    "reverse",
    "rtrim",
    "starts_with",
    "startswith",
    "string",
    "strpos",
    "trim",
    "upper",
];
/// The same, with an end of their own in other dialects.
const SAFE_TEXT_FUNCTIONS: [&str; 4] = ["substr", "substring", "right", "round"];

/// Functions of dates and timestamps that return a value for every one of them, though not for
/// every text.
const TIME_FUNCTIONS: [&str; 19] = [
    "date_part",
    "date_trunc",
    "datediff",
    "day",
    "dayofweek",
    "dayofyear",
    "hour",
    "last_day",
    "minute",
    "month",
    "quarter",
    "second",
    "to_wall_timestamp",
    "trunc",
    "unix_micros",
    "unix_seconds",
    "weekday",
    "weekofyear",
    "year",
];

fn function_can_fail(function: &ScalarFunction, schema: &DFSchema) -> Result<bool> {
    let name = function.name();
    if TIME_FUNCTIONS.contains(&name) {
        return function.args.iter().try_fold(false, |fails, argument| {
            let is_text = argument.get_type(schema)?.is_string();
            Ok(fails || is_text && !matches!(argument, Expr::Literal(..)))
        });
    }
    // A wrong expression fails at once, or never.
    let is_match = name == "regexp_like" && matches!(function.args.get(1), Some(Expr::Literal(..)));
    Ok(!is_match && !is_safe_function(name))
}

pub(super) fn is_safe_function(name: &str) -> bool {
    SAFE_FUNCTIONS.contains(&name) || SAFE_TEXT_FUNCTIONS.contains(&name)
}

/// Whether evaluating `expr` can fail for some row. Constants fail at once or never.
pub(super) fn can_fail(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut fails = false;
    expr.apply(|node| {
        fails |= node_can_fail(node, schema)?;
        Ok(match (fails, node) {
            (true, _) => TreeNodeRecursion::Stop,
            // What is inside has its own guards, or runs elsewhere.
            (
                _,
                Expr::Case(_) | Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_),
            ) => TreeNodeRecursion::Jump,
            _ => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(fails)
}

fn node_can_fail(node: &Expr, schema: &DFSchema) -> Result<bool> {
    let of_column = || !node.column_refs().is_empty();
    Ok(match node {
        Expr::Cast(cast) => {
            !is_safe_cast(&cast.expr.get_type(schema)?, cast.field.data_type()) && of_column()
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Divide | Operator::Modulo,
            right,
        }) => {
            let may_fail = !left.get_type(schema)?.is_floating() && !is_safe_divisor(right);
            may_fail && of_column()
        }
        Expr::ScalarFunction(function) => function_can_fail(function, schema)? && of_column(),
        _ => false,
    })
}

/// Whether an expression is a constant by which every whole number can be divided.
fn is_safe_divisor(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => divides_all(value),
        Expr::Cast(cast) => is_safe_divisor(&cast.expr),
        Expr::Negative(value) => is_safe_divisor(value),
        _ => false,
    }
}

/// Whether every whole number can be divided by a constant. The smallest one divided by -1
/// overflows; 1 is left out, since it may be negated.
pub(super) fn divides_all(divisor: &ScalarValue) -> bool {
    let number = divisor.cast_to(&DataType::Float64);
    matches!(number, Ok(ScalarValue::Float64(Some(number))) if number.abs() > 1.0)
}

/// Whether each value of `from` has one in `to`.
pub(super) fn is_safe_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Dictionary, Float32, Float64, LargeBinary,
        LargeUtf8, Null, Timestamp, Utf8, Utf8View,
    };
    let digits = |integer: &DataType| match integer {
        DataType::Int8 | DataType::UInt8 => Some(3),
        DataType::Int16 | DataType::UInt16 => Some(5),
        DataType::Int32 | DataType::UInt32 => Some(10),
        DataType::Int64 | DataType::UInt64 => Some(20),
        _ => None,
    };
    match (from, to) {
        (from, to) if from == to => true,
        (Dictionary(_, from), to) => is_safe_cast(from, to),
        (from, Dictionary(_, to)) => is_safe_cast(from, to),
        (Null | Boolean, _) => true,
        (Binary | BinaryView | LargeBinary, Utf8 | LargeUtf8 | Utf8View) => false,
        (_, Utf8 | LargeUtf8 | Utf8View) => true,
        (from, Float32 | Float64) => from.is_numeric(),
        (Date32, Date64) | (Timestamp(_, _), Date32 | Date64) => true,
        (Timestamp(from, _), Timestamp(to, _)) => from >= to,
        (from, DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) => {
            let whole = i16::from(*precision) - i16::from(*scale);
            match from {
                DataType::Decimal128(p, s) => i16::from(*p) - i16::from(*s) <= whole,
                other => digits(other).is_some_and(|digits| digits <= whole),
            }
        }
        (from, to) => match (from.primitive_width(), to.primitive_width()) {
            (Some(narrow), Some(wide)) if from.is_integer() && to.is_integer() => {
                let keeps_sign = from.is_signed_integer() == to.is_signed_integer();
                narrow <= wide && keeps_sign || narrow < wide && to.is_signed_integer()
            }
            _ => false,
        },
    }
}
