//! Windows of window functions: partition, order and frame.

use std::fmt;

use super::column::Column;
use super::join_list;

/// The rows over which [`Column::over`] computes: a partition, its order, and a frame around each
/// row.
///
/// ```
/// use faisca_spark::columns::functions::sum;
/// use faisca_spark::columns::{FrameBound, Window, col};
///
/// let so_far = Window::partition_by(["account"])
///     .order_by([col("day").desc()])
///     .rows_between(FrameBound::UnboundedPreceding, FrameBound::CurrentRow);
/// assert_eq!(
///     sum("amount").over(&so_far).to_string(),
///     "sum(`amount`) OVER (PARTITION BY `account` ORDER BY `day` DESC NULLS LAST \
///      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
/// );
/// ```
#[must_use]
#[derive(Debug, Clone, Default)]
pub struct Window {
    partition: String,
    order: String,
    frame: Option<Frame>,
}

/// A bound of a window frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameBound {
    /// The first row of the partition.
    UnboundedPreceding,
    /// This many rows before the current row; for a range, this distance of the sort key.
    Preceding(u64),
    /// The current row; for a range, also its peers.
    CurrentRow,
    /// This many rows after the current row; for a range, this distance of the sort key.
    Following(u64),
    /// The last row of the partition.
    UnboundedFollowing,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    unit: &'static str,
    start: FrameBound,
    end: FrameBound,
}

impl Window {
    /// Returns a window over the rows that have the same values in these columns.
    pub fn partition_by<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self {
            partition: list_of_texts(columns),
            ..Self::default()
        }
    }

    /// Orders the rows of each partition: ascending by default, or as [`Column::desc`] and its like
    /// specify.
    pub fn order_by<C: Into<Column>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        Self {
            order: list_of_texts(columns),
            ..self
        }
    }

    /// Sets a frame counted in rows.
    pub fn rows_between(self, start: FrameBound, end: FrameBound) -> Self {
        let unit = "ROWS";
        Self {
            frame: Some(Frame { unit, start, end }),
            ..self
        }
    }

    /// Sets a frame by the distance of the sort key.
    pub fn range_between(self, start: FrameBound, end: FrameBound) -> Self {
        let unit = "RANGE";
        Self {
            frame: Some(Frame { unit, start, end }),
            ..self
        }
    }
}

fn list_of_texts<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> String {
    join_list(
        columns
            .into_iter()
            .map(|column| column.into().text().to_owned()),
    )
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![];
        if !self.partition.is_empty() {
            parts.push(format!("PARTITION BY {}", self.partition));
        }
        if !self.order.is_empty() {
            parts.push(format!("ORDER BY {}", self.order));
        }
        if let Some(Frame { unit, start, end }) = self.frame {
            parts.push(format!("{unit} BETWEEN {start} AND {end}"));
        }
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for FrameBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnboundedPreceding => f.write_str("UNBOUNDED PRECEDING"),
            Self::Preceding(distance) => write!(f, "{distance} PRECEDING"),
            Self::CurrentRow => f.write_str("CURRENT ROW"),
            Self::Following(distance) => write!(f, "{distance} FOLLOWING"),
            Self::UnboundedFollowing => f.write_str("UNBOUNDED FOLLOWING"),
        }
    }
}
