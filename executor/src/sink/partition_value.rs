//! The text of partition values, and the names of the folders that contain it.
//!
//! Both follow Hive, so that Hive, Spark and Trino read them: `ts=2024-02-29 13%3A14%3A15.5`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, exec_datafusion_err};
use faisca_spark::text::Zone;

/// Value of the partition whose key is null, or an empty text.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Microseconds of a second.
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Returns the `key=value` folders of one row, joined by slashes. `names` and `columns` are those
/// of the partition keys, outermost folder first.
///
/// # Errors
/// If a column has a type without a text form.
pub fn partition_folders<'a>(
    names: impl IntoIterator<Item = &'a str>,
    columns: &[ArrayRef],
    row: usize,
) -> Result<String> {
    let folder = |(name, column): (&str, &ArrayRef)| {
        let value = partition_value(column, row)?;
        Ok(format!("{name}={}", escape(&value)))
    };
    let folders = names.into_iter().zip(columns).map(folder);
    Ok(folders.collect::<Result<Vec<String>>>()?.join("/"))
}

/// Returns a partition column as the folders show it: instants as wall clocks of the session's time
/// zone, other values unchanged.
///
/// # Errors
/// If a timestamp is out of the range of microseconds.
pub(super) fn shown_values(column: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    let DataType::Timestamp(_, Some(name)) = column.data_type() else {
        return Ok(Arc::clone(column));
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(name)));
    let micros = cast(column, &micros)?;
    let instants = micros.as_primitive::<TimestampMicrosecondType>();
    let walls = instants.unary::<_, TimestampMicrosecondType>(|instant| zone.wall_of(instant));
    Ok(Arc::new(walls))
}

/// Returns the value of one row as a catalog stores it.
///
/// Timestamps have the form `2024-02-29 13:14:15.5`, in UTC, without zeros at the end of the
/// fraction. Infinite numbers are `Infinity` and `-Infinity`.
///
/// # Errors
/// If the column has a type without a text form.
fn partition_value(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok(NULL_PARTITION.to_owned());
    }
    let value = match column.data_type() {
        DataType::Timestamp(_, _) => timestamp(&column.slice(row, 1))?,
        DataType::Float32 | DataType::Float64 => match infinity(&column.slice(row, 1))? {
            Some(infinite) => infinite.to_owned(),
            None => display(column, row)?,
        },
        _ => display(column, row)?,
    };
    Ok(if value.is_empty() {
        NULL_PARTITION.to_owned()
    } else {
        value
    })
}

fn display(column: &ArrayRef, row: usize) -> Result<String> {
    let options = FormatOptions::default();
    Ok(ArrayFormatter::try_new(column, &options)?
        .value(row)
        .to_string())
}

/// Returns the text of a single timestamp.
fn timestamp(value: &ArrayRef) -> Result<String> {
    // The zone only affects how a timestamp is displayed: the number counts from 1970 in UTC.
    let zone = match value.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let micros = cast(value, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>().value(0);
    let date = timestamp_us_to_datetime(micros)
        .ok_or_else(|| exec_datafusion_err!("the timestamp of {micros} µs is out of range"))?;
    let seconds = date.format("%Y-%m-%d %H:%M:%S");
    let fraction = format!("{:06}", micros.rem_euclid(MICROS_PER_SECOND));
    Ok(match fraction.trim_end_matches('0') {
        "" => seconds.to_string(),
        digits => format!("{seconds}.{digits}"),
    })
}

/// Returns the text of a single number if it is infinite.
fn infinity(value: &ArrayRef) -> Result<Option<&'static str>> {
    let number = cast(value, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .value(0);
    Ok(if number == f64::INFINITY {
        Some("Infinity")
    } else if number == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    })
}

/// Percent-encodes the characters that Hive encodes, so that any value is a single folder.
fn escape(value: &str) -> String {
    const RESERVED: &str = "\"#%'*/:=?\\{[]^";
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_control() || RESERVED.contains(c) {
            for byte in c.to_string().bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float32Array, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };

    use super::*;

    /// Returns the values of all rows.
    fn values(column: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(column);
        (0..column.len())
            .map(|row| partition_value(&column, row).unwrap())
            .collect()
    }

    #[test]
    fn values_are_escaped_as_by_hive() {
        assert_eq!(escape("São Paulo"), "São Paulo");
        assert_eq!(escape("a=b:c\n"), "a%3Db%3Ac%0A");
        assert_eq!(
            values(StringArray::from(vec![Some(""), None, Some("x")])),
            [NULL_PARTITION, NULL_PARTITION, "x"]
        );
    }

    /// The texts are those of Java's `Timestamp.toString`, which Hive writes, but for a fraction of
    /// zero. Spark 4 prints the same.
    #[test]
    fn timestamps_have_the_form_of_hive_in_each_unit_and_zone() {
        const LEAP_DAY: i64 = 1_709_212_455;
        let whole = "2024-02-29 13:14:15";
        assert_eq!(values(TimestampSecondArray::from(vec![LEAP_DAY])), [whole]);
        assert_eq!(
            values(TimestampMillisecondArray::from(vec![LEAP_DAY * 1000 + 500])),
            ["2024-02-29 13:14:15.5"]
        );
        assert_eq!(
            values(TimestampNanosecondArray::from(vec![
                LEAP_DAY * 1_000_000_000 + 123_456_789
            ])),
            ["2024-02-29 13:14:15.123456"]
        );
        let micros = TimestampMicrosecondArray::from(vec![LEAP_DAY * MICROS_PER_SECOND, -1]);
        assert_eq!(
            values(micros.with_timezone("America/Sao_Paulo")),
            [whole, "1969-12-31 23:59:59.999999"]
        );
    }

    /// The texts are those of Java's `Double.toString`.
    #[test]
    fn infinite_numbers_have_the_form_of_java() {
        let expected = ["Infinity", "-Infinity", "NaN", "1.5"];
        let numbers = vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.5];
        assert_eq!(values(Float64Array::from(numbers)), expected);
        let numbers = vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1.5];
        assert_eq!(values(Float32Array::from(numbers)), expected);
    }

    #[test]
    fn folders_are_in_the_order_of_the_keys() {
        let columns: [ArrayRef; 2] = [
            Arc::new(StringArray::from(vec!["a/b"])),
            Arc::new(Int32Array::from(vec![7])),
        ];
        assert_eq!(
            partition_folders(["UF", "n"], &columns, 0).unwrap(),
            "UF=a%2Fb/n=7"
        );
    }
}
