//! Tables of all types, written once as Parquet, with nulls, extremes, and values that occur in
//! several tables.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;
use fastrand::Rng;

pub const TABLES: [&str; 5] = ["a", "b", "skewed", "sparse", "empty"];

/// A type of the generated tables; each table has one column of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U32,
    F32,
    F64,
    Decimal,
    Text,
    Date,
    Timestamp,
    Binary,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U32,
        Self::F32,
        Self::F64,
        Self::Decimal,
        Self::Text,
        Self::Date,
        Self::Timestamp,
        Self::Binary,
    ];
    pub const INTEGERS: [Self; 5] = [Self::I8, Self::I16, Self::I32, Self::I64, Self::U32];

    /// The name of its column in every table.
    pub fn column(self) -> &'static str {
        match self {
            Self::Bool => "flag",
            Self::I8 => "tiny",
            Self::I16 => "small",
            Self::I32 => "int",
            Self::I64 => "big",
            Self::U32 => "uint",
            Self::F32 => "single",
            Self::F64 => "double",
            Self::Decimal => "amount",
            Self::Text => "name",
            Self::Date => "day",
            Self::Timestamp => "time",
            Self::Binary => "bytes",
        }
    }

    /// Its name in our SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Bool => "BOOLEAN",
            Self::I8 => "TINYINT",
            Self::I16 => "SMALLINT",
            Self::I32 => "INT",
            Self::I64 => "BIGINT",
            Self::U32 => "INT UNSIGNED",
            Self::F32 => "REAL",
            Self::F64 => "DOUBLE",
            Self::Decimal => "DECIMAL(12, 2)",
            Self::Text => "VARCHAR",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMP(6)",
            Self::Binary => "BYTEA",
        }
    }

    pub fn is_integer(self) -> bool {
        Self::INTEGERS.contains(&self)
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    pub fn is_number(self) -> bool {
        self.is_integer() || self.is_float() || self == Self::Decimal
    }

    fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U32 => DataType::UInt32,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Decimal => DataType::Decimal128(12, 2),
            Self::Text => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Binary => DataType::Binary,
        }
    }

    /// Few values, so that joins and groups match; numbers share the small ones. Bytes are written
    /// in hexadecimal.
    ///
    /// Floats are small multiples of a half, so that every order of addition has the same exact
    /// sum.
    pub fn values(self) -> Vec<&'static str> {
        let mut values = match self {
            Self::Bool => vec!["true", "false"],
            Self::I8 => vec!["0", "1", "2", "3", "-1", "127", "-128"],
            Self::I16 => vec!["0", "1", "2", "3", "-1", "32767", "-32768"],
            Self::I32 => vec!["0", "1", "2", "3", "-1", "2147483647", "-2147483648"],
            Self::I64 => vec!["0", "1", "2", "3", "-1", "2147483648"],
            Self::U32 => vec!["0", "1", "2", "3", "4294967295"],
            Self::F32 | Self::F64 => vec!["0", "1", "2", "0.5", "-1.5"],
            Self::Decimal => vec!["0", "1", "2", "0.50", "-1.25", "9999999999.99"],
            Self::Text => vec!["", "a", "A", "ab", "b ", "é", "日本", "a%", "1"],
            Self::Date => vec!["2020-01-01", "2020-02-29", "1970-01-01", "1969-12-31"],
            Self::Timestamp => vec![
                "2020-01-01 00:00:00",
                "2020-01-01 12:30:00.123456",
                "1970-01-01 00:00:00",
                "1969-12-31 23:59:59.999999",
            ],
            Self::Binary => vec!["", "00", "00ff", "61", "c3a9"],
        };
        match self {
            Self::I64 => {
                values.extend(["9223372036854775807", "-9223372036854775808"]);
            }
            Self::Date => values.extend(["0001-01-01", "9999-12-31"]),
            Self::Timestamp => {
                values.extend(["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"]);
            }
            Self::F32 | Self::F64 => values.extend(["NaN", "inf", "-inf", "-0.0"]),
            _ => {}
        }
        values
    }
}

/// How the values of a table are drawn.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    files: usize,
    rows_per_file: usize,
    null_percent: u8,
    /// How many rows in a hundred have one value, in addition to the ones that draw it.
    skew_percent: u8,
}

const SHAPES: [Table; 5] = [
    Table {
        name: "a",
        files: 3,
        rows_per_file: 12,
        null_percent: 15,
        skew_percent: 0,
    },
    Table {
        name: "b",
        files: 2,
        rows_per_file: 10,
        null_percent: 10,
        skew_percent: 0,
    },
    Table {
        name: "skewed",
        files: 2,
        rows_per_file: 30,
        null_percent: 5,
        skew_percent: 60,
    },
    Table {
        name: "sparse",
        files: 2,
        rows_per_file: 6,
        null_percent: 60,
        skew_percent: 0,
    },
    Table {
        name: "empty",
        files: 1,
        rows_per_file: 0,
        null_percent: 0,
        skew_percent: 0,
    },
];

fn column(rng: &mut Rng, kind: Kind, table: Table) -> ArrayRef {
    let pool = kind.values();
    let values: Vec<Option<&str>> = (0..table.rows_per_file)
        .map(|_| {
            if rng.u8(..100) < table.null_percent {
                None
            } else if rng.u8(..100) < table.skew_percent {
                Some(pool[1])
            } else {
                Some(pool[rng.usize(..pool.len())])
            }
        })
        .collect();
    if kind == Kind::Binary {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                .collect()
        };
        let values: Vec<_> = values.into_iter().map(|value| value.map(bytes)).collect();
        return Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>());
    }
    let array = cast(&StringArray::from(values.clone()), &kind.arrow()).unwrap();
    let nulls = values.iter().filter(|value| value.is_none()).count();
    assert_eq!(
        array.null_count(),
        nulls,
        "{kind:?} has a value that cannot be read"
    );
    array
}

/// Writes all tables below `folder`, a folder each.
pub fn write(folder: &Path) {
    let mut rng = Rng::with_seed(7);
    let mut fields = vec![Field::new("id", DataType::Int64, true)];
    fields.extend(Kind::ALL.map(|kind| Field::new(kind.column(), kind.arrow(), true)));
    let schema = Arc::new(Schema::new(fields));
    for table in SHAPES {
        std::fs::create_dir_all(folder.join(table.name)).unwrap();
        for file in 0..table.files {
            let first = i64::try_from(file * table.rows_per_file).unwrap();
            let ids = Int64Array::from_iter_values(
                first..first + i64::try_from(table.rows_per_file).unwrap(),
            );
            let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
            columns.extend(Kind::ALL.map(|kind| column(&mut rng, kind, table)));
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
            let path = folder.join(table.name).join(format!("{file}.parquet"));
            let file = std::fs::File::create(path).unwrap();
            let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
    }
}
