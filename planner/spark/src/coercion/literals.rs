//! Literals in the type of the expression beside them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

/// Gives an expression a type: a literal becomes a literal of the type, any other expression is
/// cast.
pub(crate) fn with_type(expr: Expr, data_type: &DataType, schema: &DFSchema) -> Result<Expr> {
    if let Expr::Literal(value, metadata) = &expr
        && !value.data_type().is_string()
        && let Ok(value) = value.cast_to(data_type)
    {
        return Ok(Expr::Literal(value, metadata.clone()));
    }
    if expr.get_type(schema)? == *data_type {
        return Ok(expr);
    }
    Ok(cast(expr, data_type.clone()))
}

/// Returns a literal in the type of the value that it is compared with, if that type represents it
/// exactly.
pub(crate) fn fit_literal(expr: &Expr, other: &DataType) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else {
        return None;
    };
    let value = match value {
        _ if value.is_null() || !other.is_numeric() => return None,
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => &parse_number(text, other)?,
        value => value,
    };
    let own = value.data_type();
    if !own.is_numeric() {
        return None;
    }
    let fitted = match other {
        DataType::Float32 if own.is_integer() => value.cast_to(other).ok()?,
        DataType::Float32 => return None,
        DataType::Float64 => value.cast_to(other).ok()?,
        // Beside a literal of a floating type, the other value becomes a DOUBLE.
        _ if own.is_floating() => return None,
        _ => {
            let fitted = value.cast_to(other).ok()?;
            // A cast to fewer digits rounds, so compare with the original.
            (fitted.cast_to(&own).ok()? == *value).then_some(fitted)?
        }
    };
    Some(Expr::Literal(fitted, metadata.clone()))
}

/// Returns the number in a text, in the type as which text is read beside a value of another type.
fn parse_number(text: &str, other: &DataType) -> Option<ScalarValue> {
    match other.is_integer() {
        true => text
            .trim()
            .parse()
            .ok()
            .map(|n| ScalarValue::Int64(Some(n))),
        false if other.is_floating() => text
            .trim()
            .parse()
            .ok()
            .map(|n| ScalarValue::Float64(Some(n))),
        false => None,
    }
}

/// Returns a literal of a whole number as the shortest decimal that holds it, as Spark does beside
/// decimals.
pub(crate) fn as_decimal_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else {
        return None;
    };
    if value.is_null() || !value.data_type().is_integer() {
        return None;
    }
    let ScalarValue::Int64(Some(number)) = value.cast_to(&DataType::Int64).ok()? else {
        return None;
    };
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
    let precision = u8::try_from(digits).ok()?;
    let decimal = ScalarValue::Decimal128(Some(i128::from(number)), precision, 0);
    Some(Expr::Literal(decimal, metadata.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::lit;

    #[test]
    fn a_literal_takes_the_type_of_a_column_that_has_it() {
        let decimal = |n, p, s| lit(ScalarValue::Decimal128(Some(n), p, s));
        for (literal, column, expected) in [
            (lit(5_i32), DataType::Int64, Some(lit(5_i64))),
            (lit(5_i32), DataType::Int8, Some(lit(5_i8))),
            (lit(500_i32), DataType::Int8, None),
            (decimal(15, 2, 1), DataType::Float64, Some(lit(1.5))),
            (decimal(15, 2, 1), DataType::Int64, None),
            (decimal(50, 2, 1), DataType::Int64, Some(lit(5_i64))),
            (
                decimal(15, 2, 1),
                DataType::Decimal128(15, 2),
                Some(decimal(150, 15, 2)),
            ),
            (decimal(15, 2, 1), DataType::Decimal128(5, 0), None),
            (lit("7"), DataType::Int32, Some(lit(7_i32))),
            (lit("7"), DataType::Utf8, None),
            (lit(1.5), DataType::Int64, None),
        ] {
            assert_eq!(
                fit_literal(&literal, &column),
                expected,
                "{literal} {column}"
            );
        }
        assert_eq!(
            as_decimal_literal(&lit(-120_i32)),
            Some(decimal(-120, 3, 0))
        );
    }
}
