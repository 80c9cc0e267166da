//! Compares a query's rows with those that another engine wrote.

use std::cmp::Ordering;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::error::Result;

/// Two numbers are equal up to this fraction of the greater one: sums of floats depend on their
/// order, and averages of decimals have more digits in some engines.
const TOLERANCE: f64 = 1e-5;

#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    /// A number of any type: engines differ in the types of sums and quotients.
    Number(f64),
    Text(String),
}

impl Cell {
    fn is_close(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
            }
            (a, b) => a == b,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

type Row = Vec<Cell>;

/// Compares rows with those of a Parquet file, and describes the first difference. The order of
/// rows does not matter: rows that are equal in the keys of ORDER BY have none.
pub(crate) async fn difference(batches: &[RecordBatch], file: &Path) -> Result<Option<String>> {
    let expected = SessionContext::new()
        .read_parquet(file.display().to_string(), ParquetReadOptions::default())
        .await?
        .collect()
        .await?;
    let (rows, expected) = (sorted_rows(batches)?, sorted_rows(&expected)?);
    if rows.len() != expected.len() {
        let lengths = format!("{} rows instead of {}", rows.len(), expected.len());
        return Ok(Some(lengths));
    }
    let is_close = |(row, expected): &(&Row, &Row)| {
        row.len() == expected.len() && row.iter().zip(*expected).all(|(a, b)| a.is_close(b))
    };
    let different = rows.iter().zip(&expected).find(|pair| !is_close(pair));
    Ok(different.map(|(row, expected)| format!("{row:?} instead of {expected:?}")))
}

/// Returns the rows, sorted by text before numbers: engines may differ in a number's last digits.
fn sorted_rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for batch in batches {
        let columns = batch.columns().iter().map(cells);
        let columns = columns.collect::<Result<Vec<_>>>()?;
        rows.extend((0..batch.num_rows()).map(|row| {
            let cell = |column: &Vec<Cell>| column.get(row).cloned().unwrap_or(Cell::Null);
            columns.iter().map(cell).collect::<Row>()
        }));
    }
    let is_number = |cell: &Cell| matches!(cell, Cell::Number(_));
    rows.sort_by(|a: &Row, b: &Row| {
        let pairs = || a.iter().zip(b);
        let (numbers, exact): (Vec<_>, Vec<_>) =
            pairs().partition(|(a, b)| is_number(a) && is_number(b));
        let mut in_order = exact.into_iter().chain(numbers);
        in_order
            .find_map(|(a, b)| Some(a.compare(b)).filter(|order| order.is_ne()))
            .unwrap_or(Ordering::Equal)
    });
    Ok(rows)
}

fn cells(column: &ArrayRef) -> Result<Vec<Cell>> {
    let arrow = |error| datafusion::error::DataFusionError::from(error);
    if column.data_type().is_numeric() {
        let numbers = cast(column, &DataType::Float64).map_err(arrow)?;
        let numbers = numbers.as_primitive::<Float64Type>().iter();
        return Ok(numbers
            .map(|number| number.map_or(Cell::Null, Cell::Number))
            .collect());
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options).map_err(arrow)?;
    let text = |row| match column.is_null(row) {
        true => Cell::Null,
        false => Cell::Text(formatter.value(row).to_string()),
    };
    Ok((0..column.len()).map(text).collect())
}
