//! Maps Arrow types to Hive types, which Glue stores and Athena reads, and back.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use faisca_planner::nested_types::convert_nested;
use faisca_spark::types::instant_type;

/// Why a type has no equivalent in Hive or in Arrow. Displays as text that follows the name of a
/// column, and says how to cast it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HiveTypeError {
    /// The entries of a map are not pairs.
    #[error("a map of {0}: it has no Hive type")]
    Entries(DataType),
    /// Hive has no unsigned numbers, and no wider ones.
    #[error("unsigned 64-bit numbers have no Hive type: cast it to BIGINT or DECIMAL(20, 0)")]
    Unsigned64,
    /// Readers on Hive take unsigned numbers of files for signed ones.
    #[error(
        "its files hold unsigned 32-bit numbers, which Athena and Trino read as signed ones: write \
         them again with BIGINT"
    )]
    Unsigned32,
    /// The column has only nulls.
    #[error("all of its values are null, so it has no type: cast it, say to STRING")]
    Null,
    /// Hive has no such type.
    #[error("{0} has no Hive type: cast it, say to STRING or TIMESTAMP")]
    Unsupported(DataType),
    /// A field of a struct has a name that is not possible in the text of a type.
    #[error(
        "its struct has a field `{0}`, which the type of a Hive column cannot contain: rename it, \
         with letters, digits and _"
    )]
    FieldName(String),
    /// Two fields of a struct have the same name in lower case.
    #[error("its struct has two fields `{0}`, which differ only by case at most: rename one")]
    DuplicateFields(String),
    /// The values of a partition key are text, from which this type cannot be restored.
    #[error(
        "{0} cannot be the type of a partition key: cast it to STRING, or leave it out of \
         partitionBy"
    )]
    PartitionKey(String),
    /// The text is not a Hive type, or is one without an equivalent in Arrow.
    #[error("`{0}` is not a supported Hive type")]
    Unknown(String),
}

/// Largest precision of a Hive decimal.
const PRECISION_MAX: u8 = 38;

/// Returns the Hive type of an Arrow type.
///
/// Unsigned integers map to the next larger signed type. The files must hold that type, too; see
/// [`storage_type`].
///
/// # Errors
/// If Athena cannot read the type. The text says how to cast it, and follows the name of a column.
pub fn hive_type(data_type: &DataType) -> Result<String, HiveTypeError> {
    Ok(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "int".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, _) => "timestamp".to_owned(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
            // Hive has no negative scale.
            if *s >= 0 && *p <= PRECISION_MAX =>
        {
            format!("decimal({p},{s})")
        }
        // An encoding in memory only: files hold the plain values.
        DataType::Dictionary(_, values) => hive_type(values)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item) => {
            format!("array<{}>", hive_type(item.data_type())?)
        }
        DataType::Struct(fields) => struct_type(fields)?,
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!(
                    "map<{},{}>",
                    hive_type(pair[0].data_type())?,
                    hive_type(pair[1].data_type())?
                )
            }
            other => return Err(HiveTypeError::Entries(other.clone())),
        },
        DataType::UInt64 => return Err(HiveTypeError::Unsigned64),
        DataType::Null => return Err(HiveTypeError::Null),
        other => return Err(HiveTypeError::Unsupported(other.clone())),
    })
}

/// Returns the Hive type of a struct.
///
/// # Errors
/// If Hive's text of types cannot contain a field: Trino and Athena could then read no column of
/// the table.
fn struct_type(fields: &Fields) -> Result<String, HiveTypeError> {
    let names: Vec<String> = fields.iter().map(|f| f.name().to_lowercase()).collect();
    let is_readable =
        |name: &String| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if let Some(name) = names.iter().find(|name| !is_readable(name)) {
        return Err(HiveTypeError::FieldName(name.clone()));
    }
    for (number, name) in names.iter().enumerate() {
        if names[..number].contains(name) {
            return Err(HiveTypeError::DuplicateFields(name.clone()));
        }
    }
    let fields = names
        .iter()
        .zip(fields)
        // Glue stores names in lower case, also those of nested fields.
        .map(|(name, field)| Ok(format!("{name}:{}", hive_type(field.data_type())?)));
    let fields = fields.collect::<Result<Vec<_>, HiveTypeError>>()?;
    Ok(format!("struct<{}>", fields.join(",")))
}

/// Returns the type that files must hold so that Athena can read the column. `None` if it is the
/// same type.
///
/// Unsigned integers become the next larger signed ones, timestamps get a unit of microseconds, and
/// dictionaries of such values become plain. This includes types inside lists, maps and structs.
#[must_use]
pub fn storage_type(data_type: &DataType) -> Option<DataType> {
    convert_nested(data_type, &|data_type| match data_type {
        DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 => Some(DataType::Int64),
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Dictionary(_, values) => storage_type(values),
        _ => None,
    })
}

/// Returns true if files hold unsigned 32-bit integers at any depth of the type.
///
/// Their Hive type is `bigint`, but Athena and Trino read the bits of such files as signed 32-bit
/// integers: large numbers become negative without an error.
pub(crate) fn has_unsigned_32(data_type: &DataType) -> bool {
    match data_type {
        DataType::UInt32 => true,
        DataType::Dictionary(_, values) => has_unsigned_32(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_unsigned_32(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_unsigned_32(f.data_type())),
        _ => false,
    }
}

/// Checks that a Hive type can be that of a partition key, whose values are text in the catalog.
///
/// # Errors
/// If readers could not restore the values. The text says how to cast the column, and follows its
/// name.
pub(crate) fn check_key_type(hive_type: &str) -> Result<(), HiveTypeError> {
    let is_nested = hive_type.contains('<');
    if is_nested || hive_type == "binary" {
        return Err(HiveTypeError::PartitionKey(hive_type.to_owned()));
    }
    Ok(())
}

/// Returns the Arrow type of a Hive type. `varchar` and `char` become text without a length.
///
/// # Errors
/// If the text is not a Hive type, or is one that has no equivalent here.
pub fn arrow_type(hive: &str) -> Result<DataType, HiveTypeError> {
    let mut parser = Parser { rest: hive.trim() };
    let parsed = parser.parse().filter(|_| parser.rest.is_empty());
    parsed.ok_or_else(|| HiveTypeError::Unknown(hive.to_owned()))
}

/// A recursive-descent parser of Hive types. `rest` is the text that it has not read yet.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Consumes this character. Returns `None`, and consumes nothing, if the next character
    /// differs.
    fn eat(&mut self, token: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    /// Consumes the text up to the next punctuation, and returns it in lower case without spaces.
    fn word(&mut self) -> String {
        let end = self
            .rest
            .find(['<', '>', '(', ')', ',', ':'])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim().to_lowercase()
    }

    /// Consumes one type. `None` if the text is not a known type.
    fn parse(&mut self) -> Option<DataType> {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        Some(match self.word().as_str() {
            "boolean" => DataType::Boolean,
            "tinyint" => DataType::Int8,
            "smallint" => DataType::Int16,
            "int" | "integer" => DataType::Int32,
            "bigint" => DataType::Int64,
            "float" | "real" => DataType::Float32,
            "double" => DataType::Float64,
            "string" => DataType::Utf8,
            "varchar" | "char" => {
                // Arrow's text has no maximum length.
                self.eat('(')?;
                self.word();
                self.eat(')')?;
                DataType::Utf8
            }
            "binary" => DataType::Binary,
            "date" => DataType::Date32,
            "timestamp" => instant_type(),
            "decimal" => {
                self.eat('(')?;
                let precision = self.word().parse().ok()?;
                let scale = if self.eat(',').is_some() {
                    self.word().parse().ok()?
                } else {
                    0
                };
                self.eat(')')?;
                DataType::Decimal128(precision, scale)
            }
            "array" => {
                self.eat('<')?;
                let values = self.parse()?;
                self.eat('>')?;
                DataType::List(item(values))
            }
            "map" => {
                self.eat('<')?;
                let key = self.parse()?;
                self.eat(',')?;
                let value = self.parse()?;
                self.eat('>')?;
                let entries = Fields::from(vec![
                    Field::new("key", key, false),
                    Field::new("value", value, true),
                ]);
                DataType::Map(
                    Arc::new(Field::new("key_value", DataType::Struct(entries), false)),
                    false,
                )
            }
            "struct" => {
                self.eat('<')?;
                let mut fields = vec![];
                loop {
                    let name = self.word();
                    self.eat(':')?;
                    fields.push(Field::new(name, self.parse()?, true));
                    if self.eat(',').is_none() {
                        break;
                    }
                }
                self.eat('>')?;
                DataType::Struct(Fields::from(fields))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive_a_round_trip() {
        let types = [
            "boolean",
            "tinyint",
            "smallint",
            "int",
            "bigint",
            "float",
            "double",
            "string",
            "binary",
            "date",
            "timestamp",
            "decimal(15,2)",
            "array<int>",
            "map<string,array<double>>",
            "struct<a:int,b:struct<c:array<map<string,date>>>>",
        ];
        for hive in types {
            assert_eq!(hive_type(&arrow_type(hive).unwrap()).unwrap(), hive);
        }
        assert_eq!(arrow_type("varchar(20)").unwrap(), DataType::Utf8);
    }

    #[test]
    fn types_that_athena_cannot_read_are_refused_with_advice() {
        for (data_type, advice) in [
            (DataType::UInt64, "DECIMAL(20, 0)"),
            (DataType::Null, "cast it"),
            (DataType::Time64(TimeUnit::Nanosecond), "cast it"),
        ] {
            let error = hive_type(&data_type).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
        assert!(
            hive_type(&DataType::List(Arc::new(Field::new(
                "item",
                DataType::UInt64,
                true
            ))))
            .is_err()
        );
        assert!(arrow_type("struct<a>").is_err());
        assert!(arrow_type("int>").is_err());
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    fn structure(fields: &[(&str, DataType)]) -> DataType {
        let field =
            |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
        DataType::Struct(fields.iter().map(field).collect())
    }

    fn map(value: DataType) -> DataType {
        let entries = structure(&[("key", DataType::Utf8), ("value", value)]);
        DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
    }

    #[test]
    fn unsigned_numbers_and_timestamps_are_converted_at_every_depth() {
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
        let both = |number: DataType, time: DataType| {
            list(structure(&[
                ("a", DataType::Utf8),
                ("b", map(list(number.clone()))),
                ("c", structure(&[("d", number), ("e", time)])),
            ]))
        };
        let stored_as = both(DataType::UInt32, milliseconds);
        let stored = both(DataType::Int64, microseconds);
        assert_eq!(storage_type(&stored_as), Some(stored.clone()));
        assert_eq!(hive_type(&stored_as), hive_type(&stored));
        assert_eq!(storage_type(&stored), None);
        let dictionary =
            |values: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        assert_eq!(
            storage_type(&list(dictionary(DataType::UInt16))),
            Some(list(DataType::Int32))
        );
        assert_eq!(storage_type(&dictionary(DataType::Utf8)), None);
    }

    #[test]
    fn unsigned_32_bit_numbers_are_detected_at_every_depth() {
        for nested in [
            DataType::UInt32,
            list(DataType::UInt32),
            map(structure(&[("a", list(DataType::UInt32))])),
        ] {
            assert!(has_unsigned_32(&nested), "{nested}");
        }
        // Parquet stores these as signed 32-bit integers, which hold all of their values.
        assert!(!has_unsigned_32(&list(DataType::UInt16)));
        assert!(!has_unsigned_32(&list(DataType::UInt8)));
    }

    /// Trino 476 cannot parse a type that contains `c-d`, and then reads no column of the table.
    #[test]
    fn struct_fields_that_hive_types_cannot_name_are_refused_with_advice() {
        for name in ["a b", "c-d", "e.f", "c:d", "e,f", "g>h", ""] {
            let nested = list(structure(&[("ok", DataType::Utf8), (name, DataType::Utf8)]));
            let error = hive_type(&nested).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
            assert!(error.contains("rename it"), "{error}");
        }
        let doubled = structure(&[("Nota", DataType::Utf8), ("nota", DataType::Utf8)]);
        assert_eq!(
            hive_type(&doubled),
            Err(HiveTypeError::DuplicateFields("nota".to_owned()))
        );
        let accented = structure(&[("Média_2", DataType::Int32)]);
        assert_eq!(hive_type(&accented).unwrap(), "struct<média_2:int>");
    }

    #[test]
    fn binary_and_nested_partition_keys_are_refused() {
        for refused in ["binary", "array<int>", "map<string,int>", "struct<a:int>"] {
            let error = check_key_type(refused).unwrap_err().to_string();
            assert!(error.contains("partitionBy"));
        }
        for taken in ["string", "decimal(38,10)", "timestamp", "boolean", "double"] {
            assert_eq!(check_key_type(taken), Ok(()));
        }
    }
}
