//! Results of two engines as multisets of typed rows.
//!
//! Only this is normalised: the type and scale of a number, because the engines derive different
//! ones; floats within a relative tolerance, because sums depend on the order; all NaNs and both
//! zeros, because SQL does not distinguish them.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Sums of the generated floats are exact in any order, but averages and REAL's conversions are
/// not.
const RELATIVE_TOLERANCE: f64 = 1e-6;

#[derive(Debug, Clone)]
pub enum Cell {
    Null,
    /// An integer or a decimal, without zeros at its end.
    Exact(String),
    Float(f64),
    Text(String),
}

pub type Row = Vec<Cell>;

impl Cell {
    pub fn exact(number: &str) -> Self {
        let number = if number.contains('.') {
            number.trim_end_matches('0').trim_end_matches('.')
        } else {
            number
        };
        Self::Exact(if number == "-0" { "0" } else { number }.to_owned())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Exact(_) | Self::Float(_) => 1,
            Self::Text(_) => 2,
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Exact(text) => text.parse().unwrap_or(f64::NAN),
            Self::Float(value) if *value == 0.0 => 0.0,
            Self::Float(value) if value.is_nan() => f64::NAN,
            Self::Float(value) => *value,
            Self::Null | Self::Text(_) => f64::NAN,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Exact(left), Self::Exact(right)) => {
                let numbers = self.number().total_cmp(&other.number());
                numbers.then_with(|| left.cmp(right))
            }
            _ if self.rank() == 1 && other.rank() == 1 => self.number().total_cmp(&other.number()),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(left), Self::Text(right)) | (Self::Exact(left), Self::Exact(right)) => {
                left == right
            }
            _ if self.rank() == 1 && other.rank() == 1 => {
                let (left, right) = (self.number(), other.number());
                left.total_cmp(&right).is_eq()
                    || (left - right).abs() <= RELATIVE_TOLERANCE * left.abs().max(right.abs())
                        && left.is_finite()
                        && right.is_finite()
            }
            _ => false,
        }
    }
}

/// The rows of our batches.
pub fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = vec![];
    for batch in batches {
        let columns: Vec<Vec<Cell>> = batch.columns().iter().map(|c| cells(c)).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column[row].clone()).collect());
        }
    }
    rows
}

fn cells(column: &dyn Array) -> Vec<Cell> {
    // Sessions are in UTC, where instants and wall clocks show the same.
    let options = FormatOptions::default()
        .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.6f"))
        .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6f"));
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    let cell = |row: usize| {
        if column.is_null(row) {
            return Cell::Null;
        }
        match column.data_type() {
            DataType::Null => Cell::Null,
            DataType::Float32 => {
                Cell::Float(column.as_primitive::<Float32Type>().value(row).into())
            }
            DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
            kind if kind.is_integer() || kind.is_decimal() => {
                Cell::exact(&formatter.value(row).to_string())
            }
            DataType::Timestamp(TimeUnit::Second, _) => unreachable!("no query makes seconds"),
            _ => Cell::Text(formatter.value(row).to_string()),
        }
    };
    (0..column.len()).map(cell).collect()
}

fn sorted(rows: &[Row]) -> Vec<&Row> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|left, right| {
        let cells = left
            .iter()
            .zip(*right)
            .map(|(left, right)| left.order(right));
        cells.fold(Ordering::Equal, Ordering::then)
    });
    rows
}

/// Returns true if both are equal as multisets of rows.
pub fn are_equal(left: &[Row], right: &[Row]) -> bool {
    let rows_equal = |left: &Row, right: &Row| {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(left, right)| left.equals(right))
    };
    if left.len() != right.len() {
        return false;
    }
    let (left, mut right) = (sorted(left), sorted(right));
    // Almost equal floats may sort differently: a row without an equal at its index is searched
    // among the rest.
    left.iter().enumerate().all(|(index, row)| {
        let matching = (index..right.len()).find(|other| rows_equal(row, right[*other]));
        matching.is_some_and(|other| {
            let row = right.remove(other);
            right.insert(index, row);
            true
        })
    })
}

/// Returns the first rows as text, sorted.
pub fn print(rows: &[Row]) -> String {
    const ROWS_PRINTED_MAX: usize = 12;
    let text = |cell: &Cell| match cell {
        Cell::Null => "∅".to_owned(),
        Cell::Exact(number) => number.clone(),
        Cell::Float(value) => format!("{value:?}"),
        Cell::Text(text) => format!("'{text}'"),
    };
    let mut lines: Vec<String> = sorted(rows)
        .into_iter()
        .take(ROWS_PRINTED_MAX)
        .map(|row| row.iter().map(text).collect::<Vec<_>>().join(" | "))
        .collect();
    lines.push(format!("({} rows)", rows.len()));
    lines.join("\n  ")
}
