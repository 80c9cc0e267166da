//! Spark's types by their names in SQL.

use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit,
};
use datafusion::common::datatype::DataTypeExt;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, StructField, TimezoneInfo,
};

pub use crate::functions::types::{instant_type, name_of};

/// Precision of DECIMAL without parameters.
const DECIMAL_PRECISION: u8 = 10;

/// Plans types that DataFusion does not know, or to which it gives another meaning.
///
/// `TIMESTAMP` is an instant and counts microseconds, since nanoseconds end in the year 2262;
/// `TIMESTAMP_NTZ` is a wall clock; `DECIMAL` has ten digits and no fraction; a `MAP<STRING, INT>`
/// has keys and values.
#[derive(Debug)]
pub struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = spark_type(sql_type)?;
        Ok(data_type.map(DataTypeExt::into_nullable_field_ref))
    }
}

/// Returns the type, or `None` where DataFusion's is Spark's.
fn spark_type(sql_type: &SqlType) -> Result<Option<DataType>> {
    Ok(Some(match sql_type {
        SqlType::Timestamp(digits, TimezoneInfo::WithoutTimeZone)
        | SqlType::TimestampNtz(digits) => DataType::Timestamp(unit(*digits)?, None),
        SqlType::Timestamp(digits, _) => DataType::Timestamp(unit(*digits)?, Some("UTC".into())),
        SqlType::Decimal(size) | SqlType::Dec(size) | SqlType::Numeric(size) => decimal(size)?,
        SqlType::Binary(None) => DataType::Binary,
        SqlType::Character(_) | SqlType::CharacterVarying(_) | SqlType::CharVarying(_) => {
            DataType::Utf8View
        }
        SqlType::Map(key, value) => map(resolve_nested(key)?, resolve_nested(value)?),
        SqlType::Custom(name, parameters) if parameters.is_empty() => {
            return Ok(type_by_name(&name.to_string()));
        }
        _ => return Ok(None),
    }))
}

fn type_by_name(name: &str) -> Option<DataType> {
    Some(match name.to_lowercase().as_str() {
        "byte" => DataType::Int8,
        "short" => DataType::Int16,
        "timestamp_ltz" => instant_type(),
        "void" => DataType::Null,
        _ => return None,
    })
}

fn decimal(size: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => (u64::from(DECIMAL_PRECISION), 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale))
            if (1..=DECIMAL128_MAX_PRECISION).contains(&precision)
                && scale >= 0
                && scale.unsigned_abs() <= precision =>
        {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => plan_err!(
            "DECIMAL({precision}, {scale}): the precision is from 1 to {DECIMAL128_MAX_PRECISION}, and the scale from 0 to \
             the precision"
        ),
    }
}

/// Returns the unit of a TIMESTAMP with this many digits after the second; Spark's have six.
fn unit(digits: Option<u64>) -> Result<TimeUnit> {
    Ok(match digits.unwrap_or(6) {
        0 => TimeUnit::Second,
        3 => TimeUnit::Millisecond,
        6 => TimeUnit::Microsecond,
        9 => TimeUnit::Nanosecond,
        digits => return plan_err!("TIMESTAMP({digits}): the digits are 0, 3, 6 or 9"),
    })
}

fn map(key: DataType, value: DataType) -> DataType {
    let entry = DataType::Struct(Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]));
    DataType::Map(Arc::new(Field::new("entries", entry, false)), false)
}

fn structure(fields: &[StructField]) -> Result<DataType> {
    let fields = fields.iter().enumerate().map(|(n, field)| {
        let name = match &field.field_name {
            Some(name) => name.value.clone(),
            None => format!("col{}", n + 1),
        };
        Ok(Field::new(name, resolve_nested(&field.field_type)?, true))
    });
    Ok(DataType::Struct(fields.collect::<Result<Fields>>()?))
}

/// A type inside of a map, for which DataFusion is not asked.
fn resolve_nested(sql_type: &SqlType) -> Result<DataType> {
    if let Some(data_type) = spark_type(sql_type)? {
        return Ok(data_type);
    }
    Ok(match sql_type {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) => DataType::Int32,
        SqlType::BigInt(_) => DataType::Int64,
        SqlType::Float(_) | SqlType::Real => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::String(_) | SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => {
            DataType::Utf8View
        }
        SqlType::Date => DataType::Date32,
        SqlType::Bytea => DataType::Binary,
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item)) => {
            DataType::new_list(resolve_nested(item)?, true)
        }
        SqlType::Struct(fields, _) => structure(fields)?,
        other => {
            return plan_err!("{other} is not a type that a map can hold here");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::parser::Parser;

    fn read(sql: &str) -> DataType {
        let sql_type = Parser::new(&crate::dialect::SparkDialect)
            .try_with_sql(sql)
            .and_then(|mut parser| parser.parse_data_type())
            .unwrap();
        resolve_nested(&sql_type).unwrap()
    }

    #[test]
    fn types_are_those_of_spark() {
        assert_eq!(read("DECIMAL"), DataType::Decimal128(10, 0));
        assert_eq!(read("dec(5, 2)"), DataType::Decimal128(5, 2));
        assert_eq!(read("long"), DataType::Int64);
        assert_eq!(read("short"), DataType::Int16);
        assert_eq!(
            read("array<map<string, struct<a: int, b: double>>>").to_string(),
            DataType::new_list(
                map(
                    DataType::Utf8View,
                    DataType::Struct(Fields::from(vec![
                        Field::new("a", DataType::Int32, true),
                        Field::new("b", DataType::Float64, true),
                    ]))
                ),
                true
            )
            .to_string()
        );
        assert!(spark_type(&SqlType::Decimal(ExactNumberInfo::Precision(39))).is_err());
    }
}
