//! Numbers with Spark's types: `1` is INT, `3000000000` BIGINT, `1.5` DECIMAL(2, 1), `1e3` DOUBLE,
//! and `1L` BIGINT.
//!
//! DataFusion's planner gives numbers its own types, and consults its extensions only for
//! dictionaries. So a number becomes a dictionary with one entry, under a key that no statement can
//! contain.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::common::{Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::Expr as PlannedExpr;
use datafusion::logical_expr::planner::RawDictionaryExpr;
use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, DictionaryField, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr,
    GroupByExpr, Ident, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query,
    Select, SetExpr, TableFactor, UnaryOperator, Value, ValueWithSpan, Values, VisitMut,
    VisitorMut, WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};

/// Prefix of the key of a number. The name of its type follows if the number has a suffix.
const KEY_PREFIX: &str = "\u{2063}number ";

/// Gives the numbers of all queries in a tree their types.
///
/// Positions of columns, counts of rows and bounds of window frames stay as they are.
pub(super) fn type_literals(tree: &mut impl VisitMut) {
    // The visitor never breaks.
    let _ = tree.visit(&mut Numbers::default());
}

#[derive(Default)]
struct Numbers {
    /// Queries around the current node. Numbers of other statements are settings and options.
    depth: usize,
}

impl VisitorMut for Numbers {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if let SetExpr::Values(values) = query.body.as_mut() {
            widen_decimals_to_doubles(values);
        }
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order_by.kind
        {
            keys.iter_mut().for_each(|key| keep_type(&mut key.expr));
        }
        if let Some(fetch) = &mut query.fetch
            && let Some(quantity) = &mut fetch.quantity
        {
            keep_type(quantity);
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().for_each(keep_type);
                offset
                    .iter_mut()
                    .for_each(|offset| keep_type(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                keep_type(offset);
                keep_type(limit);
            }
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            for key in keys {
                match key {
                    Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
                        sets.iter_mut().flatten().for_each(keep_type);
                    }
                    key => keep_type(key),
                }
            }
        }
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = window {
                keep_frame(window);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let arguments = match table {
            TableFactor::Table {
                args: Some(arguments),
                ..
            } => &mut arguments.args,
            TableFactor::Function { args, .. } => args,
            _ => return ControlFlow::Continue(()),
        };
        for argument in arguments {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                keep_type(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            _ if self.depth == 0 => {}
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(window)) = &mut function.over {
                    keep_frame(window);
                }
            }
            // DataFusion's planner accepts a tuple only if its first item is a plain number.
            Expr::Tuple(values) if values.first().and_then(suffix_and_digits).is_some() => {
                *expr = Expr::Struct {
                    values: std::mem::take(values),
                    fields: Vec::new(),
                };
            }
            Expr::Value(ValueWithSpan {
                value: Value::Number(_, is_kept @ true),
                ..
            }) => *is_kept = false,
            Expr::Interval(interval) => keep_type(&mut interval.value),
            other => {
                if let Some((kind, digits)) = signed_suffix_and_digits(other) {
                    *other = dictionary(kind, digits);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Marks a number that keeps DataFusion's type.
fn keep_type(expr: &mut Expr) {
    let number = match expr {
        Expr::UnaryOp { expr, .. } => expr.as_mut(),
        other => other,
    };
    if let Expr::Value(value) = number
        && let Value::Number(_, is_kept) = &mut value.value
    {
        *is_kept = true;
    }
}

fn keep_frame(window: &mut WindowSpec) {
    let Some(WindowFrame {
        start_bound,
        end_bound,
        ..
    }) = &mut window.window_frame
    else {
        return;
    };
    for bound in std::iter::once(start_bound).chain(end_bound.as_mut()) {
        if let WindowFrameBound::Preceding(Some(offset))
        | WindowFrameBound::Following(Some(offset)) = bound
        {
            keep_type(offset);
        }
    }
}

/// Makes the decimals of a column of VALUES DOUBLE if the column contains a DOUBLE: its type is
/// fixed when the list is planned, before [`crate::coercion`] sees it.
fn widen_decimals_to_doubles(values: &mut Values) {
    let is_double = |item: &Expr| match item {
        Expr::Cast { data_type, .. } => is_floating(data_type),
        _ => signed_suffix_and_digits(item).is_some_and(|(kind, digits)| {
            kind == "DOUBLE" || kind.is_empty() && digits.contains(['e', 'E'])
        }),
    };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let items = || values.rows.iter().filter_map(|row| row.content.get(column));
        if !items().any(is_double) {
            continue;
        }
        for item in values
            .rows
            .iter_mut()
            .filter_map(|row| row.content.get_mut(column))
        {
            if let Some(("", digits)) = signed_suffix_and_digits(item)
                && digits.contains('.')
            {
                *item = dictionary("DOUBLE", digits);
            }
        }
    }
}

fn is_floating(data_type: &SqlType) -> bool {
    matches!(
        data_type,
        SqlType::Double(_)
            | SqlType::DoublePrecision
            | SqlType::Float(_)
            | SqlType::Real
            | SqlType::Float4
            | SqlType::Float8
            | SqlType::Float64
    )
}

/// Returns the suffix type and the digits of a number, with its sign.
fn signed_suffix_and_digits(expr: &Expr) -> Option<(&'static str, String)> {
    match expr {
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: operand,
        } => suffix_and_digits(operand).map(|(kind, digits)| (kind, format!("-{digits}"))),
        other => suffix_and_digits(other),
    }
}

/// Returns the type that the suffix of a number names, empty without a suffix, and its digits.
fn suffix_and_digits(expr: &Expr) -> Option<(&'static str, String)> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => Some(("", digits.clone())),
            _ => None,
        },
        // A suffix is a typed string here.
        Expr::TypedString(typed) => {
            let Value::SingleQuotedString(digits) = &typed.value.value else {
                return None;
            };
            let kind = match &typed.data_type {
                SqlType::TinyInt(_) => "TINYINT",
                SqlType::SmallInt(_) => "SMALLINT",
                SqlType::BigInt(_) => "BIGINT",
                SqlType::Float(_) => "FLOAT",
                SqlType::Double(_) => "DOUBLE",
                SqlType::Decimal(ExactNumberInfo::None) => "DECIMAL",
                _ => return None,
            };
            Some((kind, digits.clone()))
        }
        _ => None,
    }
}

fn dictionary(kind: &str, digits: String) -> Expr {
    Expr::Dictionary(vec![DictionaryField {
        key: Ident::new(format!("{KEY_PREFIX}{kind}")),
        value: Box::new(Expr::value(Value::SingleQuotedString(digits))),
    }])
}

/// Plans a dictionary that stands for a number; `None` if it is a real dictionary.
pub(crate) fn plan(dictionary: &RawDictionaryExpr) -> Option<Result<PlannedExpr>> {
    let ([PlannedExpr::Literal(key, _)], [PlannedExpr::Literal(digits, _)]) =
        (dictionary.keys.as_slice(), dictionary.values.as_slice())
    else {
        return None;
    };
    let kind = key.try_as_str()??.strip_prefix(KEY_PREFIX)?;
    let digits = digits.try_as_str()??;
    Some(typed_value(kind, digits).map(|value| PlannedExpr::Literal(value, None)))
}

fn typed_value(kind: &str, digits: &str) -> Result<ScalarValue> {
    fn read<T: std::str::FromStr>(kind: &str, digits: &str) -> Result<Option<T>> {
        digits
            .parse()
            .map(Some)
            .map_err(|_| plan_datafusion_err!("the number {digits} is not in the range of {kind}"))
    }
    let is_whole = digits
        .trim_start_matches('-')
        .bytes()
        .all(|byte| byte.is_ascii_digit());
    Ok(match kind {
        "TINYINT" => ScalarValue::Int8(read(kind, digits)?),
        "SMALLINT" => ScalarValue::Int16(read(kind, digits)?),
        "BIGINT" => ScalarValue::Int64(read(kind, digits)?),
        "FLOAT" => ScalarValue::Float32(read(kind, digits)?),
        "DOUBLE" => ScalarValue::Float64(read(kind, digits)?),
        "DECIMAL" => decimal(digits)?,
        _ if is_whole => match (digits.parse::<i32>(), digits.parse::<i64>()) {
            (Ok(number), _) => ScalarValue::Int32(Some(number)),
            (_, Ok(number)) => ScalarValue::Int64(Some(number)),
            _ => decimal(digits)?,
        },
        _ if digits.contains(['e', 'E']) => ScalarValue::Float64(read("DOUBLE", digits)?),
        _ => decimal(digits)?,
    })
}

/// Returns a decimal with all digits of a number as written, including zeros at its end.
fn decimal(text: &str) -> Result<ScalarValue> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{whole}{fraction}");
    let mut digits = joined.trim_start_matches('0').to_owned();
    let exponent: i32 = exponent
        .parse()
        .map_err(|_| plan_datafusion_err!("{text} is not a number"))?;
    let mut scale = i32::try_from(fraction.len()).unwrap_or(i32::MAX) - exponent;
    if scale < 0 {
        digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        scale = 0;
    }
    let precision = digits.len().max(scale.unsigned_abs() as usize).max(1);
    let (Ok(precision), Ok(scale)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return plan_err!("{text} has more digits than a decimal, {DECIMAL128_MAX_PRECISION}");
    };
    let number = match digits.is_empty() {
        true => Ok(0),
        false => format!("{sign}{digits}").parse::<i128>(),
    };
    match number {
        Ok(number) if precision <= DECIMAL128_MAX_PRECISION => {
            Ok(ScalarValue::Decimal128(Some(number), precision, scale))
        }
        _ => plan_err!("{text} has more digits than a decimal, {DECIMAL128_MAX_PRECISION}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_types_of_spark() {
        let decimal =
            |number, precision, scale| ScalarValue::Decimal128(Some(number), precision, scale);
        for (kind, digits, expected) in [
            ("", "1", ScalarValue::from(1_i32)),
            ("", "-2147483648", ScalarValue::from(i32::MIN)),
            ("", "2147483648", ScalarValue::from(2_147_483_648_i64)),
            (
                "",
                "9223372036854775808",
                decimal(9_223_372_036_854_775_808, 19, 0),
            ),
            ("", "1.5", decimal(15, 2, 1)),
            ("", "0.0", decimal(0, 1, 1)),
            ("", "-.05", decimal(-5, 2, 2)),
            ("", "5.", decimal(5, 1, 0)),
            ("", "1e3", ScalarValue::from(1000_f64)),
            ("BIGINT", "1", ScalarValue::from(1_i64)),
            ("TINYINT", "-128", ScalarValue::from(-128_i8)),
            ("DECIMAL", "123.0E-28", decimal(1230, 29, 29)),
            ("DECIMAL", "1E2", decimal(100, 3, 0)),
        ] {
            assert_eq!(
                typed_value(kind, digits).unwrap(),
                expected,
                "{digits}{kind}"
            );
        }
        assert!(typed_value("TINYINT", "128").is_err());
        assert!(typed_value("", &"9".repeat(39)).is_err());
    }
}
