//! Maps Arrow types to Hive types, which Glue stores and Athena reads, and back.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// Largest precision of a Hive decimal.
const PRECISION_MAX: u8 = 38;

/// Returns the Hive type of an Arrow type.
///
/// Unsigned integers map to the next larger signed type. The files must hold that type, too; see
/// [`storage_type`].
///
/// # Errors
/// If Athena cannot read the type. The text says how to cast it, and follows the name of a column.
pub fn hive_type(data_type: &DataType) -> Result<String, String> {
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
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| {
                Ok(format!(
                    "{}:{}",
                    // Glue stores names in lower case, also those of nested fields.
                    f.name().to_lowercase(),
                    hive_type(f.data_type())?
                ))
            });
            format!(
                "struct<{}>",
                fields.collect::<Result<Vec<_>, String>>()?.join(",")
            )
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!(
                    "map<{},{}>",
                    hive_type(pair[0].data_type())?,
                    hive_type(pair[1].data_type())?
                )
            }
            other => return Err(format!("a map of {other}: it has no Hive type")),
        },
        DataType::UInt64 => {
            return Err(
                "unsigned 64-bit numbers have no Hive type: cast it to BIGINT or DECIMAL(20, 0)"
                    .to_owned(),
            );
        }
        DataType::Null => {
            return Err(
                "all of its values are null, so it has no type: cast it, say to STRING".to_owned(),
            );
        }
        other => {
            return Err(format!(
                "{other} has no Hive type: cast it, say to STRING or TIMESTAMP"
            ));
        }
    })
}

/// Returns the type that files must hold so that Athena can read the column. `None` if it is the
/// same type.
///
/// Unsigned integers become the next larger signed ones, and timestamps get a unit of microseconds.
/// Types inside lists, maps and structs are not changed.
#[must_use]
pub fn storage_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 => Some(DataType::Int64),
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => None,
    }
}

/// Returns the Arrow type of a Hive type. `varchar` and `char` become text without a length.
///
/// # Errors
/// If the text is not a Hive type, or is one that has no equivalent here.
pub fn arrow_type(hive: &str) -> Result<DataType, String> {
    let mut parser = Parser { rest: hive.trim() };
    let parsed = parser
        .parse()
        .ok_or_else(|| format!("`{hive}` is not a Hive type that is known here"))?;
    if parser.rest.is_empty() {
        Ok(parsed)
    } else {
        Err(format!("`{hive}` is not a Hive type that is known here"))
    }
}

/// A recursive-descent parser of Hive types. `rest` is the text that it has not read yet.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Consumes one character. `None`, and nothing consumed, if another one is next.
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
        let item = |data_type| std::sync::Arc::new(Field::new("item", data_type, true));
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
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
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
                let of = self.parse()?;
                self.eat('>')?;
                DataType::List(item(of))
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
                    std::sync::Arc::new(Field::new("key_value", DataType::Struct(entries), false)),
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
    fn types_survive_the_way_there_and_back() {
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
    fn what_athena_cannot_read_is_refused_with_advice() {
        for (data_type, advice) in [
            (DataType::UInt64, "DECIMAL(20, 0)"),
            (DataType::Null, "cast it"),
            (DataType::Time64(TimeUnit::Nanosecond), "cast it"),
        ] {
            let error = hive_type(&data_type).unwrap_err();
            assert!(error.contains(advice), "{error}");
        }
        assert!(
            hive_type(&DataType::List(std::sync::Arc::new(Field::new(
                "item",
                DataType::UInt64,
                true
            ))))
            .is_err()
        );
        assert!(arrow_type("struct<a>").is_err());
        assert!(arrow_type("int>").is_err());
    }
}
