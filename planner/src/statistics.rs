//! Statistics and estimates of an operator's output: its rows and the values of its columns.
//!
//! Numbers are `f64`: they are compared with each other, never used as counts.

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};

/// The expected output of an operator, all partitions together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) rows: f64,
    /// Rows before any predicate was applied. The columns' distinct values refer to these.
    pub(crate) base_rows: f64,
    pub(crate) columns: Vec<ColumnValues>,
}

/// Statistics of a column's values, before any predicate was applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnValues {
    /// Upper bound of the number of distinct values.
    pub(crate) distinct: Option<f64>,
    /// Smallest and largest value, of numbers and dates.
    pub(crate) range: Option<(f64, f64)>,
    /// The column is the result of an aggregate function.
    pub(crate) is_aggregate: bool,
    /// Upper bound of the number of distinct values that remain after joins.
    pub(crate) distinct_joined: Option<f64>,
    /// Fraction of rows that passed a key filter on this column whose join is still above.
    pub(crate) key_filter_passed: Option<f64>,
}

impl ColumnValues {
    /// Converts DataFusion's statistics of a column of this type in a table of `rows` rows.
    ///
    /// Without a distinct count, the width of the range is the upper bound.
    pub(crate) fn from_statistics(
        data_type: &DataType,
        statistics: &ColumnStatistics,
        rows: f64,
    ) -> Self {
        let bound = |value: &Precision<ScalarValue>| value.get_value().and_then(scalar_as_number);
        let range = bound(&statistics.min_value).zip(bound(&statistics.max_value));
        let range_width = range
            .filter(|_| !data_type.is_floating())
            .map(|(low, high)| high - low + 1.0);
        let counted = statistics
            .distinct_count
            .get_value()
            .map(|count| *count as f64);
        Self {
            distinct: counted
                .or(range_width)
                .map(|distinct| distinct.clamp(1.0, rows.max(1.0))),
            range,
            ..Self::default()
        }
    }
}

impl Estimate {
    /// Returns an estimate whose columns' values are unknown.
    pub(crate) fn with_unknown_columns(rows: f64, column_count: usize) -> Self {
        Self {
            rows,
            base_rows: rows,
            columns: vec![ColumnValues::default(); column_count],
        }
    }

    /// Multiplies the rows by `selectivity`; at least one row remains.
    pub(crate) fn scale_rows(self, selectivity: f64) -> Self {
        Self {
            rows: (self.rows * selectivity).max(1.0),
            ..self
        }
    }

    /// Keeps the columns at these indices; all columns if there is no projection.
    pub(crate) fn project(self, projection: Option<&[usize]>) -> Self {
        match projection {
            Some(indices) => Self {
                columns: self.column_values(indices.iter().copied().map(Some)),
                ..self
            },
            None => self,
        }
    }

    /// Returns the values of these columns. `None` stands for an expression, whose values are
    /// unknown.
    pub(crate) fn column_values(
        &self,
        columns: impl IntoIterator<Item = Option<usize>>,
    ) -> Vec<ColumnValues> {
        columns
            .into_iter()
            .map(|column| {
                column
                    .and_then(|index| self.columns.get(index).cloned())
                    .unwrap_or_default()
            })
            .collect()
    }
}

/// Converts a number, date or timestamp to a number in its own unit.
pub(crate) fn scalar_as_number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Date32(days) => days.map(f64::from),
        ScalarValue::Decimal128(unscaled, _, scale) => {
            unscaled.map(|unscaled| unscaled as f64 / 10f64.powi(i32::from(*scale)))
        }
        ScalarValue::TimestampSecond(Some(at), _)
        | ScalarValue::TimestampMillisecond(Some(at), _)
        | ScalarValue::TimestampMicrosecond(Some(at), _)
        | ScalarValue::TimestampNanosecond(Some(at), _)
        | ScalarValue::Date64(Some(at)) => Some(*at as f64),
        value if value.data_type().is_numeric() && !value.is_null() => {
            match value.cast_to(&DataType::Float64) {
                Ok(ScalarValue::Float64(number)) => number,
                _ => None,
            }
        }
        _ => None,
    }
}
