//! Set operations on two frames with the same columns, and removal of duplicates.

use faisca_spark::columns::functions::row_number;
use faisca_spark::columns::{Column, Window, col, join_list, lit, quote_name};

use super::DataFrame;
use crate::error::Result;
use crate::session::columns::unknown_column;

/// What [`DataFrame::union_by_name`] does with a column that one side lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingColumns {
    /// The union is an error.
    Refuse,
    /// The rows of that side get null.
    FillWithNull,
}

impl DataFrame {
    /// Appends the rows of `other` and keeps duplicates. Columns match by position, as in Spark.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let all = people.union(others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the number or the types of the columns do not match.
    pub fn union(self, other: Self) -> Result<Self> {
        self.map(|f| f.union(other.frame))
    }

    /// Appends the rows of `other` and keeps duplicates. Columns match by name.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_driver::MissingColumns;
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let all = people.union_by_name(others, MissingColumns::FillWithNull)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if a side lacks a column and `missing` refuses that, or the types of two
    /// columns do not match.
    pub fn union_by_name(self, other: Self, missing: MissingColumns) -> Result<Self> {
        let (left, right) = (self.schema(), other.schema());
        let mut names: Vec<String> = left.fields().iter().map(|f| f.name().clone()).collect();
        let is_known = |names: &[String], name: &str| {
            names
                .iter()
                .any(|known| known.to_lowercase() == name.to_lowercase())
        };
        for field in right.fields() {
            if !is_known(&names, field.name()) {
                names.push(field.name().clone());
            }
        }
        let select = |frame: Self| {
            let mut columns = vec![];
            for name in &names {
                columns.push(match (frame.find(name), missing) {
                    (Some(spelled), _) => col(&spelled).alias(name),
                    (None, MissingColumns::FillWithNull) => lit(None::<bool>).alias(name),
                    (None, MissingColumns::Refuse) => {
                        return Err(unknown_column(name, &[frame.frame.schema()]));
                    }
                });
            }
            frame.select(columns)
        };
        let (left, right) = (select(self)?, select(other)?);
        left.query_with(&right, |this, other| {
            format!("SELECT * FROM {this} UNION ALL SELECT * FROM {other}")
        })
    }

    fn set_operation(&self, other: &Self, operator: &str) -> Result<Self> {
        self.query_with(other, |this, other| {
            format!("SELECT * FROM {this} {operator} SELECT * FROM {other}")
        })
    }

    /// Keeps the rows that `other` also has, without duplicates.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let both = people.intersect(&others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::union`].
    pub fn intersect(self, other: &Self) -> Result<Self> {
        self.set_operation(other, "INTERSECT")
    }

    /// Keeps the rows that `other` also has. A row that occurs m times here and n times there is
    /// kept min(m, n) times.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let both = people.intersect_all(&others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::union`].
    pub fn intersect_all(self, other: &Self) -> Result<Self> {
        self.set_operation(other, "INTERSECT ALL")
    }

    /// Keeps the rows that `other` does not have, without duplicates.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let rest = people.subtract(&others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::union`].
    pub fn subtract(self, other: &Self) -> Result<Self> {
        self.set_operation(other, "EXCEPT")
    }

    /// Removes the rows of `other` and keeps other duplicates: each row of `other` removes one
    /// equal row.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame, others: DataFrame) -> Result<()> {
    /// let rest = people.except_all(&others)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::union`].
    pub fn except_all(self, other: &Self) -> Result<Self> {
        self.set_operation(other, "EXCEPT ALL")
    }

    /// Keeps one row for each combination of values of these columns. Which one is not determined.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let one_of_each_city = people.drop_duplicates(&["city"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn drop_duplicates(self, columns: &[&str]) -> Result<Self> {
        const ROW_NUMBER: &str = "__faisca_row";
        let names: Vec<Column> = self
            .schema()
            .fields()
            .iter()
            .map(|f| col(f.name()))
            .collect();
        // Ranking functions need an order; a constant leaves it open which row is kept.
        let numbering = Window::partition_by(columns.iter().copied()).order_by([lit(1)]);
        let numbered = self.query(|this| {
            format!(
                "SELECT *, {} AS {} FROM {this}",
                row_number().over(&numbering),
                quote_name(ROW_NUMBER)
            )
        })?;
        let names = join_list(names.iter().map(Column::text));
        numbered.query(|this| {
            format!(
                "SELECT {names} FROM {this} WHERE {} = 1",
                quote_name(ROW_NUMBER)
            )
        })
    }
}
