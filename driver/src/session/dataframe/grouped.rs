//! Grouped rows, their aggregates and pivots.

use faisca_spark::columns::{Column, Literal, functions, join_list, lit};

use super::DataFrame;
use super::term::{Term, Terms};
use crate::error::{Error, Result};

/// How keys form groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grouping {
    /// One group for each combination of values.
    Plain,
    /// Also groups without the last keys, down to one group of all rows.
    Rollup,
    /// Also groups of every subset of the keys.
    Cube,
}

/// The rows of a query, grouped by keys; [`DataFrame::group_by`] returns it.
///
/// ```no_run
/// use faisca_driver::{GroupedData, Session};
/// use faisca_spark::columns::functions::{count, max};
/// use faisca_spark::columns::lit;
///
/// # async fn example(session: &Session) -> faisca_driver::Result<()> {
/// let sales = session.read().parquet("sales").await?;
/// let by_store: GroupedData = sales.group_by(["state", "store"]);
/// let totals = by_store.agg([
///     count(lit(1)).alias("sales"),
///     max("amount").alias("largest"),
/// ])?;
/// totals.show().await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Debug)]
pub struct GroupedData {
    frame: DataFrame,
    keys: Vec<Term>,
    grouping: Grouping,
}

/// Grouped rows whose aggregates are computed once for each value of a column;
/// [`GroupedData::pivot`] returns it.
#[must_use]
#[derive(Debug)]
pub struct PivotedData {
    grouped: GroupedData,
    column: Column,
    /// The values: each as a SQL literal, and as the name of its column.
    values: Vec<(String, String)>,
}

impl DataFrame {
    fn group<T: Into<Term>>(
        self,
        keys: impl IntoIterator<Item = T>,
        grouping: Grouping,
    ) -> GroupedData {
        GroupedData {
            frame: self,
            keys: keys.into_iter().map(Into::into).collect(),
            grouping,
        }
    }

    /// Groups the rows by these keys; [`GroupedData::agg`] then aggregates each group.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::avg;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.group_by(["city"]).agg([avg("age")])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn group_by<T: Into<Term>>(self, keys: impl IntoIterator<Item = T>) -> GroupedData {
        self.group(keys, Grouping::Plain)
    }

    /// Groups the rows as [`Self::group_by`] does and adds subtotals: one set of groups without the
    /// last key, one without the last two, and so on to one group of all rows. The keys that a
    /// subtotal leaves out are null.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::avg;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.rollup(["state", "city"]).agg([avg("age")])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rollup<T: Into<Term>>(self, keys: impl IntoIterator<Item = T>) -> GroupedData {
        self.group(keys, Grouping::Rollup)
    }

    /// Groups the rows as [`Self::rollup`] does, with subtotals for every subset of the keys.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::avg;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.cube(["state", "city"]).agg([avg("age")])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cube<T: Into<Term>>(self, keys: impl IntoIterator<Item = T>) -> GroupedData {
        self.group(keys, Grouping::Cube)
    }

    /// Aggregates all rows into one row, with one column for each aggregate. An empty input also
    /// yields one row.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::{max, min};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.agg([min("age"), max("age")])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn agg<T: Into<Term>>(self, aggregates: impl IntoIterator<Item = T>) -> Result<Self> {
        self.group(Vec::<Term>::new(), Grouping::Plain)
            .agg(aggregates)
    }
}

impl GroupedData {
    /// Returns one row for each group: the columns of the keys, then one column for each aggregate.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::avg;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.group_by(["city"]).agg([avg("age").alias("mean_age")])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn agg<T: Into<Term>>(self, aggregates: impl IntoIterator<Item = T>) -> Result<DataFrame> {
        let key_count = self.keys.len();
        let aggregates = aggregates.into_iter().map(Into::into);
        match Terms::collect(self.keys.into_iter().chain(aggregates))? {
            Terms::Exprs(exprs) => {
                if self.grouping != Grouping::Plain {
                    return Err(Error::Plan(
                        "rollup and cube take columns of Spark's SQL, not expressions of DataFusion"
                            .to_owned(),
                    ));
                }
                let mut keys = self.frame.resolve_all(exprs)?;
                let aggregates = keys.split_off(key_count);
                self.frame.map(|f| f.aggregate(keys, aggregates))
            }
            Terms::Columns(columns) => {
                let (keys, _) = columns.split_at(key_count);
                let clause = group_clause(keys, self.grouping);
                let list = join_list(columns.iter().map(ToString::to_string));
                (self.frame).query(|this| format!("SELECT {list} FROM {this}{clause}"))
            }
        }
    }

    /// Counts the rows of each group, in a column `count`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people_of_cities = people.group_by(["city"]).count()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn count(self) -> Result<DataFrame> {
        self.agg([functions::count(lit(1)).alias("count")])
    }

    fn aggregate_each(self, columns: &[&str], function: fn(Column) -> Column) -> Result<DataFrame> {
        self.agg(columns.iter().map(|name| function(Column::from(*name))))
    }

    /// Returns the sum of each of these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let incomes = people.group_by(["city"]).sum(&["income"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn sum(self, columns: &[&str]) -> Result<DataFrame> {
        self.aggregate_each(columns, functions::sum)
    }

    /// Returns the mean of each of these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.group_by(["city"]).avg(&["age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn avg(self, columns: &[&str]) -> Result<DataFrame> {
        self.aggregate_each(columns, functions::avg)
    }

    /// Returns the minimum of each of these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let youngest = people.group_by(["city"]).min(&["age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn min(self, columns: &[&str]) -> Result<DataFrame> {
        self.aggregate_each(columns, functions::min)
    }

    /// Returns the maximum of each of these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let oldest = people.group_by(["city"]).max(&["age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn max(self, columns: &[&str]) -> Result<DataFrame> {
        self.aggregate_each(columns, functions::max)
    }

    /// Computes each aggregate separately for each of these values of `column`, in a column of its
    /// own. Spark can query the distinct values; here the caller must list them.
    ///
    /// ```no_run
    /// use faisca_driver::DataFrame;
    /// use faisca_spark::columns::functions::sum;
    ///
    /// # fn example(sales: DataFrame) -> faisca_driver::Result<DataFrame> {
    /// sales.group_by(["store"]).pivot("quarter", [1, 2, 3, 4]).agg([sum("amount")])
    /// # }
    /// ```
    pub fn pivot<L: Literal>(
        self,
        column: impl Into<Column>,
        values: impl IntoIterator<Item = L>,
    ) -> PivotedData {
        let values = values.into_iter().map(|value| {
            let literal = value.to_sql();
            let name = literal.trim_matches('\'').to_owned();
            (literal, name)
        });
        PivotedData {
            grouped: self,
            column: column.into(),
            values: values.collect(),
        }
    }
}

impl PivotedData {
    /// Returns one row for each group: the columns of the keys, then one column for each value and
    /// aggregate. The columns have the names of the values, followed by that of the aggregate if
    /// there are several.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::functions::avg;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.group_by(["city"]).pivot("sex", ["female", "male"]).agg([avg("age")])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn agg<C: Into<Column>>(
        self,
        aggregates: impl IntoIterator<Item = C>,
    ) -> Result<DataFrame> {
        let aggregates: Vec<Column> = aggregates.into_iter().map(Into::into).collect();
        let mut columns = vec![];
        for (literal, name) in &self.values {
            for aggregate in &aggregates {
                let condition = format!("{} <=> {literal}", self.column.text());
                let column = format!("{} FILTER (WHERE {condition})", aggregate.text());
                let name = match aggregates.as_slice() {
                    [_] => name.clone(),
                    _ => format!(
                        "{name}_{}",
                        aggregate.alias_name().unwrap_or(aggregate.text())
                    ),
                };
                columns.push(faisca_spark::columns::expr(&column).alias(&name));
            }
        }
        self.grouped.agg(columns)
    }
}

/// Returns the GROUP BY clause of these keys; an empty text without keys.
fn group_clause(keys: &[Column], grouping: Grouping) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let keys = join_list(keys.iter().map(Column::text));
    match grouping {
        Grouping::Plain => format!(" GROUP BY {keys}"),
        Grouping::Rollup => format!(" GROUP BY ROLLUP ({keys})"),
        Grouping::Cube => format!(" GROUP BY CUBE ({keys})"),
    }
}
