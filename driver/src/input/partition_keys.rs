//! Parses the values of `key=value` folders with the types that Spark infers, and applies filters
//! to them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use faisca_executor::sink::NULL_PARTITION;
use faisca_spark::text::Zone;
use faisca_spark::types::instant_type;

use super::listing::DataFile;

type DfResult<T> = Result<T, DataFusionError>;

/// Number of digits of the widest decimal.
const DECIMAL_DIGITS_MAX: usize = 38;

/// Returns the names and types of a table's partition keys, outermost first. The names are spelled
/// as in the path of the first file.
///
/// # Errors
/// Returns an error that names two files if they are below different keys, or one file if two of
/// its folders have the same key.
pub(crate) fn infer_keys(files: &[DataFile]) -> DfResult<Schema> {
    let Some(first) = files.first() else {
        return Ok(Schema::empty());
    };
    let mut types: Vec<Option<KeyType>> = vec![None; first.keys.len()];
    // Many files share a folder, so each value is parsed once.
    let mut parsed: Vec<HashSet<&str>> = vec![HashSet::new(); first.keys.len()];
    for file in files {
        check_keys(first, file)?;
        for (index, (_, value)) in file.keys.iter().enumerate() {
            if value != NULL_PARTITION && parsed[index].insert(value) {
                let new = KeyType::from_value(value);
                types[index] = Some(types[index].map_or(new, |known| known.widen(new)));
            }
        }
    }
    let fields = first.keys.iter().zip(types).map(|((name, _), key_type)| {
        let key_type = key_type.unwrap_or(KeyType::Text);
        Field::new(name, key_type.data_type(), true)
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// Checks that a file is below the same keys as the first file.
fn check_keys(first: &DataFile, file: &DataFile) -> DfResult<()> {
    let names = |file: &DataFile| -> Vec<String> {
        let keys = file.keys.iter();
        keys.map(|(key, _)| key.to_lowercase()).collect()
    };
    let (expected, keys) = (names(first), names(file));
    if expected != keys {
        let display = |names: &[String]| match names {
            [] => "no `key=value` folder".to_owned(),
            names => names.join("/"),
        };
        return plan_err!(
            "the files of a table must be below the same partition keys: {} is below {}, but {} is below {}",
            first.meta.location,
            display(&expected),
            file.meta.location,
            display(&keys)
        );
    }
    let mut sorted = keys;
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => plan_err!(
            "{}: two folders have the key `{}`",
            file.meta.location,
            pair[0]
        ),
        None => Ok(()),
    }
}

/// The types that Spark infers for partition keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Int,
    Long,
    /// Whole numbers that need more digits than [`Self::Long`] has.
    Decimal,
    Double,
    Date,
    Timestamp,
    Text,
}

impl KeyType {
    fn from_value(value: &str) -> Self {
        let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return match () {
                () if value.parse::<i32>().is_ok() => Self::Int,
                () if value.parse::<i64>().is_ok() => Self::Long,
                () if digits.len() <= DECIMAL_DIGITS_MAX => Self::Decimal,
                () => Self::Double,
            };
        }
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        if value.chars().all(is_number) && value.parse::<f64>().is_ok_and(f64::is_finite) {
            return Self::Double;
        }
        let parses = |data_type: &DataType| parse_value(value, data_type, Zone::UTC).is_ok();
        let begins_with_date = value.len() >= 10
            && value.bytes().take(10).enumerate().all(|(at, b)| match at {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            });
        match begins_with_date {
            true if value.len() == 10 && parses(&DataType::Date32) => Self::Date,
            true if value.len() > 10 && parses(&Self::Timestamp.data_type()) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    /// Returns the type that holds the values of both: text if no other does, as in Spark.
    fn widen(self, other: Self) -> Self {
        use KeyType::{Date, Decimal, Double, Int, Long, Text, Timestamp};
        match (self, other) {
            (a, b) if a == b => a,
            (Int, Long) | (Long, Int) => Long,
            (Int | Long, Decimal) | (Decimal, Int | Long) => Decimal,
            (Int, Double) | (Double, Int) => Double,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            _ => Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Decimal => DataType::Decimal128(38, 0),
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => instant_type(),
            Self::Text => DataType::Utf8,
        }
    }
}

/// Parses an unescaped value of a key. Folders show instants as wall clocks of the session's zone.
///
/// # Errors
/// Returns an error if the value does not have this type.
pub(crate) fn parse_value(value: &str, data_type: &DataType, zone: Zone) -> DfResult<ScalarValue> {
    match (value, data_type) {
        (NULL_PARTITION, _) => ScalarValue::try_from(data_type),
        (value, DataType::Timestamp(_, Some(_))) => {
            let wall_type = DataType::Timestamp(TimeUnit::Microsecond, None);
            match ScalarValue::try_from_string(value.to_owned(), &wall_type)? {
                ScalarValue::TimestampMicrosecond(Some(wall), _) => {
                    let instant = Some(zone.instant_of(wall));
                    ScalarValue::TimestampMicrosecond(instant, Some("UTC".into()))
                        .cast_to(data_type)
                }
                _ => ScalarValue::try_from(data_type),
            }
        }
        (value, data_type) => ScalarValue::try_from_string(value.to_owned(), data_type),
    }
}

/// Parses the values of a file's keys.
///
/// # Errors
/// Returns an error that names the file and the key if a value does not have the key's type, or if
/// the file has another number of keys.
pub(crate) fn parse_values(
    file: &DataFile,
    keys: &SchemaRef,
    zone: Zone,
) -> DfResult<Vec<ScalarValue>> {
    if file.keys.len() != keys.fields().len() {
        return plan_err!(
            "{}: it is below {} `key=value` folders, but the table has {} partition keys",
            file.meta.location,
            file.keys.len(),
            keys.fields().len()
        );
    }
    let values = file.keys.iter().zip(keys.fields()).map(|((_, value), key)| {
        parse_value(value, key.data_type(), zone).map_err(|_| {
            plan_datafusion_err!(
                "{}: the value `{value}` of the partition key `{}` does not have its type, {}; give a schema with another type",
                file.meta.location,
                key.name(),
                key.data_type()
            )
        })
    });
    values.collect()
}

/// Returns true if a filter uses partition keys only.
pub(crate) fn is_on_keys(keys: &Schema, filter: &Expr) -> bool {
    let fields = keys.fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    !names.is_empty() && expr_applicable_for_cols(&names, filter)
}

/// Returns how a table applies each filter: filters on keys select files exactly, others are hints.
pub(crate) fn filter_pushdown(
    keys: &Schema,
    filters: &[&Expr],
) -> Vec<TableProviderFilterPushDown> {
    let pushdown = |filter: &&Expr| match is_on_keys(keys, filter) {
        true => TableProviderFilterPushDown::Exact,
        false => TableProviderFilterPushDown::Inexact,
    };
    filters.iter().map(pushdown).collect()
}

/// Returns which rows of key values match all filters. The filters must be on `keys` only.
///
/// # Errors
/// Returns an error if a filter cannot be evaluated.
pub(crate) fn matching_rows(
    rows: &[Vec<ScalarValue>],
    keys: &SchemaRef,
    filters: &[Expr],
) -> DfResult<BooleanArray> {
    let Some(filter) = conjunction(filters.iter().cloned()).filter(|_| !rows.is_empty()) else {
        return Ok(BooleanArray::from(vec![true; rows.len()]));
    };
    let columns: DfResult<Vec<ArrayRef>> = (0..keys.fields().len())
        .map(|index| ScalarValue::iter_to_array(rows.iter().map(|row| row[index].clone())))
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(keys), columns?)?;
    let schema = DFSchema::try_from(Arc::clone(keys))?;
    let expr = datafusion::physical_expr::create_physical_expr(
        &filter,
        &schema,
        &ExecutionProps::new(),
        &Default::default(),
    )?;
    let matching = expr.evaluate(&batch)?.into_array(rows.len())?;
    let matching = datafusion::common::cast::as_boolean_array(&matching)?;
    // A filter that is null for a row does not select it.
    Ok(match matching.null_count() {
        0 => matching.clone(),
        _ => prep_null_mask_filter(matching),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_values_are_those_that_spark_infers() {
        let cases: [(&[&str], DataType); 13] = [
            (&["2", "10", "-3"], DataType::Int32),
            (&["007"], DataType::Int32),
            (&["1", "3000000000"], DataType::Int64),
            (&["1", "30000000000000000000"], DataType::Decimal128(38, 0)),
            (&["1", "2.5"], DataType::Float64),
            (&["1e5"], DataType::Float64),
            (&["3000000000", "2.5"], DataType::Utf8),
            (&["2024-02-29"], DataType::Date32),
            (&["2023-02-29"], DataType::Utf8),
            (&["2024-02-29", "2024-02-29 13:14:15"], instant_type()),
            (&["1", "a"], DataType::Utf8),
            (&["true", "NaN"], DataType::Utf8),
            (&[NULL_PARTITION], DataType::Utf8),
        ];
        for (values, expected) in cases {
            let types = values
                .iter()
                .filter(|v| **v != NULL_PARTITION)
                .map(|v| KeyType::from_value(v));
            let key_type = types.reduce(KeyType::widen).unwrap_or(KeyType::Text);
            assert_eq!(key_type.data_type(), expected, "{values:?}");
        }
    }
}
