//! Summary statistics, samples and unpivoting.

use arrow::datatypes::DataType;
use faisca_spark::columns::{col, join_list, quote_name};

use super::DataFrame;
use crate::error::{Error, Result};

/// The rows of [`DataFrame::describe`], each with the SQL function that computes it.
const STATISTICS: [(&str, &str); 5] = [
    ("count", "count"),
    ("mean", "avg"),
    ("stddev", "stddev"),
    ("min", "min"),
    ("max", "max"),
];

impl DataFrame {
    /// Returns count, mean, standard deviation, minimum and maximum of each of these columns: one
    /// row for each statistic, with its name in the column `summary` and the values as strings. An
    /// empty list means all columns of numbers and strings.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.describe(&["age"])?.show().await?;
    /// # Ok(())
    /// # }
    /// ```
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
        // One pass computes all statistics in one row; `stack` then turns it into rows.
        let (mut statistics, mut rows) = (vec![], vec![]);
        for (statistic, function) in STATISTICS {
            let mut row = vec![format!("'{statistic}'")];
            for (position, (name, is_text)) in chosen.iter().enumerate() {
                let own = quote_name(name);
                let has_statistic = !is_text || !matches!(statistic, "mean" | "stddev");
                let argument = if has_statistic {
                    own
                } else {
                    "CAST(NULL AS DOUBLE)".to_owned()
                };
                let result = format!("{statistic}_{position}");
                statistics.push(format!(
                    "CAST({function}({argument}) AS STRING) AS {result}"
                ));
                row.push(result);
            }
            rows.push(join_list(row));
        }
        let names = chosen.iter().map(|(name, _)| quote_name(name));
        let names = join_list(std::iter::once("summary".to_owned()).chain(names));
        let (statistics, rows) = (join_list(statistics), join_list(rows));
        let count = STATISTICS.len();
        if chosen.is_empty() {
            return Err(Error::Plan(
                "no column of numbers or texts to describe".to_owned(),
            ));
        }
        self.query(|this| {
            format!(
                "SELECT stack({count}, {rows}) AS ({names}) FROM (SELECT {statistics} FROM {this})"
            )
        })
    }

    /// Keeps each row with the probability `fraction`, from 0 to 1. A seed chooses the same rows
    /// again only if the partitions have the same rows in the same order. Queries that run in the
    /// driver alone ignore the seed.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let tenth = people.sample(0.1, 42)?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Turns columns into rows: one for each of the columns `values`, with its name in the column
    /// `variable` and its value in the column `value`, beside the columns `ids`. The columns
    /// `values` must have the same type.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let notes = people.unpivot(&["name"], &["math", "physics"], "subject", "note")?;
    /// # Ok(())
    /// # }
    /// ```
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
            join_list(pairs),
            quote_name(variable),
            quote_name(value)
        );
        let columns = join_list(ids.chain([stack]));
        self.query(|this| format!("SELECT {columns} FROM {this}"))
    }
}
