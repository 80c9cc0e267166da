//! DataFrames with the methods of Spark.
//!
//! Column names are case-insensitive. Columns of Spark's SQL are planned as a statement over the
//! frame, so that a method and its SQL return the same result. Expressions of DataFusion are
//! accepted too; for everything else that its DataFrame offers, call [`DataFrame::into_inner`]; the
//! result runs on the same executors.
//!
//! - this file: selecting, filtering, sorting
//! - `joins`, `sets`: two frames
//! - `grouped`: groups, roll-ups, pivots
//! - `missing`, `statistics`: nulls; summary statistics and samples
//! - `actions`: methods that run the query
//! - `term`: what the methods accept; `query`: Spark's SQL over a frame

mod actions;
pub(super) mod grouped;
mod joins;
pub(super) mod missing;
mod query;
pub(super) mod sets;
mod statistics;
mod term;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Column as DfColumn;
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::ident;
use faisca_spark::columns::{Column, expr, join_list};

use super::columns::{find_column, remove_marks, resolve, unknown_column};
use super::writer::DataFrameWriter;
use crate::error::Result;
use crate::input::SharedView;
use crate::services::Services;
use crate::stack::plan_on_large_stack;
pub use term::{SortKey, Term};
use term::{SortKeys, Terms};

/// A query that has not run yet. Cheap to clone.
///
/// Each method returns a new query. Nothing runs before [`Self::collect`], [`Self::count`],
/// [`Self::show`] or a write; each of these runs the whole query again. Column names are
/// case-insensitive, and the result keeps the spelling of the data. Where a column is expected, a
/// text is the name of one.
///
/// ```no_run
/// use datafusion::common::JoinType;
/// use faisca_driver::{DataFrame, Session};
/// use faisca_spark::columns::functions::{avg, count};
/// use faisca_spark::columns::{col, lit};
///
/// # async fn example(session: &Session) -> faisca_driver::Result<()> {
/// let people: DataFrame = session.read().option("header", true).csv("people.csv").await?;
/// let cities = session.read().parquet("cities").await?.select_columns(&["city", "state"])?;
/// let by_state = people
///     .filter(col("age").gt_eq(18))?
///     .with_column("decade", col("age").div_whole(10))?
///     .with_column_renamed("town", "city")?
///     .drop_columns(&["comment"])?
///     .join(cities, &["city"], JoinType::Inner)?
///     .group_by(["state"])
///     .agg([avg("age").alias("mean_age"), count(lit(1)).alias("people")])?
///     .sort([col("people").desc()])?
///     .limit(10)?;
/// println!("{}", by_state.clone().explain().await?);
/// by_state.show().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DataFrame {
    services: Arc<Services>,
    frame: DfDataFrame,
}

impl fmt::Debug for DataFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFrame")
            .field("plan", self.frame.logical_plan())
            .finish_non_exhaustive()
    }
}

impl DataFrame {
    pub(crate) fn new(services: Arc<Services>, frame: DfDataFrame) -> Self {
        Self { services, frame }
    }

    /// Returns the underlying DataFusion DataFrame, which runs on the same executors.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use datafusion::prelude::{col, lit};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let frame = people.into_inner().filter(col("age").gt(lit(18)))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_inner(self) -> DfDataFrame {
        self.frame
    }

    /// Returns the names and Arrow types of the result's columns. Nothing runs.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// for field in people.schema().fields() {
    ///     println!("{}: {}", field.name(), field.data_type());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        remove_marks(self.frame.schema().as_arrow())
    }

    /// Replaces the underlying DataFrame with what `change` returns.
    fn map(
        self,
        change: impl FnOnce(DfDataFrame) -> datafusion::common::Result<DfDataFrame>,
    ) -> Result<Self> {
        let Self { services, frame } = self;
        Ok(Self {
            services,
            frame: change(frame)?,
        })
    }

    fn resolve(&self, expr: Expr) -> Result<Expr> {
        resolve(expr, &[self.frame.schema()])
    }

    fn resolve_all(&self, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.resolve(expr)).collect()
    }

    /// Keeps the rows for which `predicate` is true; rows for which it is null are removed. The
    /// columns stay the same.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let adults = people.filter(col("age").gt_eq(18))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error for an unknown column, which suggests the nearest name, and for types that
    /// do not match.
    pub fn filter(self, predicate: impl Into<Term>) -> Result<Self> {
        match Terms::collect([predicate])? {
            Terms::Exprs(predicates) => {
                let predicates = self.resolve_all(predicates)?;
                match conjunction(predicates) {
                    Some(predicate) => self.map(|f| f.filter(predicate)),
                    None => Ok(self),
                }
            }
            Terms::Columns(predicates) => {
                let conditions: Vec<_> = predicates.iter().map(Column::text).collect();
                let condition = conditions.join(" AND ");
                self.query(|this| format!("SELECT * FROM {this} WHERE {condition}"))
            }
        }
    }

    /// Computes these columns, in this order. All other columns are removed. A generator such as
    /// `explode` returns several rows for each row.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.select([col("name"), (col("age") + 1).alias("next_age")])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn select<T: Into<Term>>(self, columns: impl IntoIterator<Item = T>) -> Result<Self> {
        match Terms::collect(columns)? {
            Terms::Exprs(exprs) => {
                let exprs = self.resolve_all(exprs)?;
                self.map(|f| f.select(exprs))
            }
            Terms::Columns(columns) => {
                let columns = join_list(columns.iter().map(ToString::to_string));
                self.query(|this| format!("SELECT {columns} FROM {this}"))
            }
        }
    }

    /// Computes these expressions of Spark's SQL, such as `a + 1 AS b`.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ages = people.select_expr(&["name", "age + 1 AS next_age"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn select_expr(self, expressions: &[&str]) -> Result<Self> {
        self.select(expressions.iter().map(|expression| expr(expression)))
    }

    /// Keeps these columns, in this order.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let names = people.select_columns(&["name", "city"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn select_columns(self, names: &[&str]) -> Result<Self> {
        let exprs = self.resolve_all(names.iter().map(|name| ident(*name)).collect())?;
        self.map(|f| f.select(exprs))
    }

    /// Adds the column `name` at the end, or replaces the existing column of that name in its
    /// position.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.with_column("decade", col("age").div_whole(10))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn with_column(self, name: &str, column: impl Into<Term>) -> Result<Self> {
        self.with_columns([(name, column)])
    }

    /// Adds or replaces several columns. Each is computed from the columns before the call.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.with_columns([("next", col("age") + 1), ("last", col("age") - 1)])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn with_columns<'a, T: Into<Term>>(
        self,
        columns: impl IntoIterator<Item = (&'a str, T)>,
    ) -> Result<Self> {
        let (names, terms): (Vec<&str>, Vec<T>) = columns.into_iter().unzip();
        let mut new = match Terms::collect(terms)? {
            Terms::Exprs(exprs) => {
                let exprs = self.resolve_all(exprs)?;
                return names
                    .iter()
                    .zip(exprs)
                    .try_fold(self, |frame, (name, expr)| {
                        let name = frame.find(name).unwrap_or_else(|| (*name).to_owned());
                        frame.map(|f| f.with_column(&name, expr))
                    });
            }
            Terms::Columns(columns) => names.into_iter().zip(columns).collect::<Vec<_>>(),
        };
        let mut list = vec![];
        for field in self.schema().fields() {
            let replaced = new
                .iter()
                .position(|(name, _)| name.to_lowercase() == field.name().to_lowercase());
            list.push(match replaced {
                Some(position) => new.remove(position).1.alias(field.name()),
                None => Column::from(field.name()),
            });
        }
        list.extend(new.into_iter().map(|(name, column)| column.alias(name)));
        self.select(list)
    }

    /// Renames one column. Its position stays the same.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.with_column_renamed("town", "city")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`]. Unlike in Spark, an unknown column is an error.
    pub fn with_column_renamed(self, old: &str, new: &str) -> Result<Self> {
        let old = self
            .find(old)
            .ok_or_else(|| unknown_column(old, &[self.frame.schema()]))?;
        let columns: Vec<Expr> = self
            .frame
            .schema()
            .iter()
            .map(|(qualifier, field)| {
                let column = Expr::Column(DfColumn::new(qualifier.cloned(), field.name()));
                if *field.name() == old {
                    column.alias(new)
                } else {
                    column
                }
            })
            .collect();
        self.map(|f| f.select(columns))
    }

    /// Removes these columns.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let people = people.drop_columns(&["comment"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`]. Unlike in Spark, an unknown column is an error.
    pub fn drop_columns(self, names: &[&str]) -> Result<Self> {
        let resolved = names.iter().map(|name| {
            self.find(name)
                .ok_or_else(|| unknown_column(name, &[self.frame.schema()]))
        });
        let dropped = resolved.collect::<Result<Vec<_>>>()?;
        let remaining = self
            .frame
            .schema()
            .iter()
            .filter(|(_, field)| !dropped.contains(field.name()));
        let remaining: Vec<Expr> = remaining
            .map(|(qualifier, field)| Expr::Column(DfColumn::new(qualifier.cloned(), field.name())))
            .collect();
        self.map(|f| f.select(remaining))
    }

    /// Sorts all rows. A name or a column sorts ascending with nulls first; [`Column::desc`] and
    /// similar methods set another order.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let oldest_first = people.sort([col("age").desc(), col("name").asc()])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn sort<K: Into<SortKey>>(self, keys: impl IntoIterator<Item = K>) -> Result<Self> {
        match SortKeys::collect(keys)? {
            SortKeys::Columns(columns) => {
                let order = join_list(columns.iter().map(Column::text));
                self.query(|this| format!("SELECT * FROM {this} ORDER BY {order}"))
            }
            SortKeys::Exprs(keys) => {
                let resolved = keys.into_iter().map(|key| {
                    Ok(SortExpr {
                        expr: self.resolve(key.expr)?,
                        ..key
                    })
                });
                let keys = resolved.collect::<Result<Vec<_>>>()?;
                self.map(|f| f.sort(keys))
            }
        }
    }

    /// Keeps the first `count` rows. Without a preceding [`Self::sort`], it keeps any `count` rows.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let ten = people.limit(10)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn limit(self, count: usize) -> Result<Self> {
        self.map(|f| f.limit(0, Some(count)))
    }

    /// Skips the first `count` rows.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # use faisca_spark::columns::col;
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let rest = people.sort([col("name").asc()])?.offset(10)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn offset(self, count: usize) -> Result<Self> {
        self.map(|f| f.limit(count, None))
    }

    /// Removes duplicate rows: those that are equal in every column.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// let cities = people.select_columns(&["city"])?.distinct()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn distinct(self) -> Result<Self> {
        self.map(DfDataFrame::distinct)
    }

    /// Registers the query as a view for SQL, and replaces a view or table of the same name. The
    /// view stores no rows: each query that reads it computes them again.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result, Session};
    /// # async fn example(session: &Session, people: DataFrame) -> Result<()> {
    /// people.create_or_replace_temp_view("people")?;
    /// session.sql("SELECT count(*) FROM people").await?.show().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if two columns differ only by case.
    pub fn create_or_replace_temp_view(self, name: &str) -> Result<()> {
        let Self { services, frame } = self;
        services.register_table(name, frame.into_view(), None)
    }

    /// Registers a view that `readers` steps of a job read. If there are several readers and the
    /// rows are expensive to compute, the rows are materialized once.
    pub(crate) fn register_view(self, name: &str, readers: usize) -> Result<()> {
        let shared = SharedView::new(self.frame.logical_plan().clone()).filter(|_| readers > 1);
        match shared {
            Some(view) => self.services.register_table(name, Arc::new(view), None),
            None => self.create_or_replace_temp_view(name),
        }
    }

    /// Returns a text that shows the stages of the query, and the optimizer rules that changed
    /// them. The query is planned, but does not run.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// println!("{}", people.explain().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the query cannot be planned.
    pub async fn explain(self) -> Result<String> {
        let (state, plan) = self.frame.into_parts();
        let stages = plan_on_large_stack(crate::statement::explain(&plan, &state));
        Ok(stages.await?)
    }

    /// Returns a writer for the rows of this query, with default options. Nothing runs before one
    /// of the writer's output methods is called.
    ///
    /// ```no_run
    /// # use faisca_driver::{DataFrame, Result};
    /// # async fn example(people: DataFrame) -> Result<()> {
    /// people.write().parquet("out/people").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(self) -> DataFrameWriter {
        DataFrameWriter::new(self.services, self.frame)
    }

    /// Returns the name of a column as the data spells it, or `None` if there is no such column.
    fn find(&self, name: &str) -> Option<String> {
        find_column(name, &[self.frame.schema()]).map(|column| column.name)
    }
}
