//! Figures of columns, and samples of rows.

use arrow::datatypes::DataType;
use faisca_spark::columns::{col, listed, quoted};

use super::DataFrame;
use crate::error::{Error, Result};

/// The figures of [`DataFrame::describe`], with the call that computes each.
const FIGURES: [(&str, &str); 5] = [
    ("count", "count"),
    ("mean", "avg"),
    ("stddev", "stddev"),
    ("min", "min"),
    ("max", "max"),
];

impl DataFrame {
    /// Returns count, mean, standard deviation, minimum and maximum of each column of numbers or
    /// texts, as texts in the rows of a column `summary`. Without names, of all such columns.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn describe(self, columns: &[&str]) -> Result<Self> {
        let schema = self.schema();
        let mut chosen = vec![];
        for field in schema.fields() {
            let data_type = field.data_type();
            let is_text = matches!(
                data_type,
                DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
            );
            let is_named = columns.is_empty()
                || (columns.iter()).any(|name| self.find(name).as_ref() == Some(field.name()));
            if is_named && (is_text || data_type.is_numeric()) {
                chosen.push((field.name().clone(), is_text));
            }
        }
        // One pass computes all figures in one row, which is then turned into rows.
        let (mut figures, mut rows) = (vec![], vec![]);
        for (figure, function) in FIGURES {
            let mut row = vec![format!("'{figure}'")];
            for (position, (name, is_text)) in chosen.iter().enumerate() {
                let own = quoted(name);
                let has_figure = !is_text || !matches!(figure, "mean" | "stddev");
                let argument = if has_figure {
                    own
                } else {
                    "CAST(NULL AS DOUBLE)".to_owned()
                };
                let result = format!("{figure}_{position}");
                figures.push(format!(
                    "CAST({function}({argument}) AS STRING) AS {result}"
                ));
                row.push(result);
            }
            rows.push(listed(row));
        }
        let names = chosen.iter().map(|(name, _)| quoted(name));
        let names = listed(std::iter::once("summary".to_owned()).chain(names));
        let (figures, rows) = (listed(figures), listed(rows));
        let count = FIGURES.len();
        if chosen.is_empty() {
            return Err(Error::Plan(
                "no column of numbers or texts to describe".to_owned(),
            ));
        }
        self.query(|this| {
            format!(
                "SELECT stack({count}, {rows}) AS ({names}) FROM (SELECT {figures} FROM {this})"
            )
        })
    }

    /// Keeps each row with the probability `fraction`, from 0 to 1. `seed` makes the choice differ;
    /// it does not repeat it, because a task may run twice.
    ///
    /// # Errors
    /// Returns an error if the fraction is not between 0 and 1.
    pub fn sample(self, fraction: f64, seed: i64) -> Result<Self> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::Plan(format!(
                "sample: the fraction {fraction} is not between 0 and 1"
            )));
        }
        self.query(|this| format!("SELECT * FROM {this} WHERE rand({seed}L) < {fraction:?}D"))
    }

    /// Turns columns into rows: one for each of `values`, with its name in `variable` and its value in
    /// `value`, beside the columns `ids`. The columns must have one type.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn unpivot(
        self,
        ids: &[&str],
        values: &[&str],
        variable: &str,
        value: &str,
    ) -> Result<Self> {
        use faisca_spark::columns::lit;
        if values.is_empty() {
            return Err(Error::Plan(
                "unpivot: name at least one column of values".to_owned(),
            ));
        }
        let ids = ids.iter().map(|id| col(id).to_string());
        let pairs = values
            .iter()
            .map(|name| format!("{}, {}", lit(*name), col(name)));
        let stack = format!(
            "stack({}, {}) AS ({}, {})",
            values.len(),
            listed(pairs),
            quoted(variable),
            quoted(value)
        );
        let columns = listed(ids.chain([stack]));
        self.query(|this| format!("SELECT {columns} FROM {this}"))
    }
}
