//! DataFrames with the methods of Spark, built on those of DataFusion.
//!
//! Column names are case-insensitive. For everything else that DataFusion's DataFrame offers, call
//! [`DataFrame::into_inner`]; the result runs on the same executors.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, DataFusionError, JoinType};
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::ident;
use faisca_spark::dialect::without_mark;

use super::columns::{find_column, resolve, unknown_column};
use super::writer::DataFrameWriter;
use crate::error::Result;
use crate::input::SharedView;
use crate::services::Services;
use crate::stack::plan_on_large_stack;

/// Number of rows that [`DataFrame::show`] prints at most.
const SHOWN_ROWS: usize = 20;

/// A query that has not run yet. Cheap to clone.
///
/// Each method returns a new query. Nothing runs before [`Self::collect`], [`Self::count`],
/// [`Self::show`] or a write; each of these runs the whole query again. Column names are
/// case-insensitive, and the result keeps the spelling of the data. Arguments are DataFusion's
/// expressions.
///
/// ```no_run
/// use datafusion::common::JoinType;
/// use datafusion::functions_aggregate::expr_fn::{avg, count};
/// use datafusion::prelude::{col, lit};
/// use faisca_driver::{DataFrame, Session};
///
/// # async fn example(session: &Session) -> faisca_driver::Result<()> {
/// let people: DataFrame = session.read().option("header", true).csv("people.csv").await?;
/// let cities = session.read().parquet("cities").await?.select_columns(&["city", "state"])?;
/// let by_state = people
///     .filter(col("age").gt_eq(lit(18)))?
///     .with_column("decade", col("age") / lit(10))?
///     .with_column_renamed("town", "city")?
///     .drop_columns(&["comment"])?
///     .join(cities, &["city"], JoinType::Inner)?
///     .group_by(vec![col("state")])?
///     .agg(vec![avg(col("age")).alias("mean_age"), count(lit(1)).alias("people")])?
///     .sort(vec![col("people").sort(false, true)])?
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
    #[must_use]
    pub fn into_inner(self) -> DfDataFrame {
        self.frame
    }

    /// Returns the names and Arrow types of the result's columns. Nothing runs.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        unmarked(self.frame.schema().as_arrow())
    }

    /// Replaces the underlying DataFrame by what `change` returns.
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
    /// # Errors
    /// Returns an error for an unknown column, which suggests the nearest name, and for types that
    /// do not match.
    pub fn filter(self, predicate: Expr) -> Result<Self> {
        let predicate = self.resolve(predicate)?;
        self.map(|f| f.filter(predicate))
    }

    /// Computes one column for each expression, in this order. All other columns are removed.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn select(self, exprs: Vec<Expr>) -> Result<Self> {
        let exprs = self.resolve_all(exprs)?;
        self.map(|f| f.select(exprs))
    }

    /// Keeps these columns, in this order.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn select_columns(self, names: &[&str]) -> Result<Self> {
        self.select(names.iter().map(|name| ident(*name)).collect())
    }

    /// Adds the column `name` at the end, or replaces the existing column of that name in its
    /// position.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn with_column(self, name: &str, expr: Expr) -> Result<Self> {
        let expr = self.resolve(expr)?;
        let name = self.find(name).unwrap_or_else(|| name.to_owned());
        self.map(|f| f.with_column(&name, expr))
    }

    /// Renames one column. Its position stays the same.
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
                let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
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
            .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
            .collect();
        self.map(|f| f.select(remaining))
    }

    /// Groups the rows by these keys; [`GroupedData::agg`] then aggregates each group.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn group_by(self, keys: Vec<Expr>) -> Result<GroupedData> {
        let keys = self.resolve_all(keys)?;
        Ok(GroupedData { frame: self, keys })
    }

    /// Aggregates all rows into one row, with one column for each aggregate. An empty input also
    /// yields one row.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn agg(self, aggregates: Vec<Expr>) -> Result<Self> {
        self.group_by(vec![])?.agg(aggregates)
    }

    /// Joins two queries on equality of the columns `on`, which must exist on both sides.
    ///
    /// The result contains the columns of the left side, then the remaining columns of the right
    /// side. Each join column appears once, as in Spark. A semi or anti join returns the columns of
    /// one side only.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn join(self, right: Self, on: &[&str], how: JoinType) -> Result<Self> {
        let unknown = |frame: &Self, name: &str| unknown_column(name, &[frame.frame.schema()]);
        let mut left_keys = vec![];
        let mut right_keys = vec![];
        for name in on {
            left_keys.push(self.find(name).ok_or_else(|| unknown(&self, name))?);
            right_keys.push(right.find(name).ok_or_else(|| unknown(&right, name))?);
        }
        // Both sides may read the same table; the aliases keep their columns apart.
        let right_frame = right.frame.alias("__right")?;
        let equal = |(left, right): (&String, &String)| {
            let column = |table: &str, name: &String| Expr::Column(Column::new(Some(table), name));
            column("__left", left).eq(column("__right", right))
        };
        let on: Vec<Expr> = left_keys.iter().zip(&right_keys).map(equal).collect();
        let returns_one_side = matches!(
            how,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti
        );
        let joined = self.frame.alias("__left")?.join_on(right_frame, how, on)?;
        let frame = if returns_one_side {
            joined
        } else {
            let columns = joined_columns(joined.schema(), &left_keys, &right_keys, how);
            joined.select(columns)?
        };
        Ok(Self {
            services: self.services,
            frame,
        })
    }

    /// Sorts all rows. Each [`SortExpr`] states its direction and where nulls go.
    ///
    /// # Errors
    /// Same as [`Self::filter`].
    pub fn sort(self, exprs: Vec<SortExpr>) -> Result<Self> {
        let resolved = exprs.into_iter().map(|s| {
            Ok(SortExpr {
                expr: self.resolve(s.expr)?,
                ..s
            })
        });
        let exprs = resolved.collect::<Result<Vec<_>>>()?;
        self.map(|f| f.sort(exprs))
    }

    /// Keeps the first `count` rows. Without a preceding [`Self::sort`], it keeps any `count` rows.
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn limit(self, count: usize) -> Result<Self> {
        self.map(|f| f.limit(0, Some(count)))
    }

    /// Removes duplicate rows: those that are equal in every column.
    ///
    /// # Errors
    /// Returns an error if DataFusion rejects the plan.
    pub fn distinct(self) -> Result<Self> {
        self.map(DfDataFrame::distinct)
    }

    /// Appends the rows of `other` and keeps duplicates. Columns match by position, as in Spark.
    ///
    /// # Errors
    /// Returns an error if the number or the types of the columns do not match.
    pub fn union(self, other: Self) -> Result<Self> {
        self.map(|f| f.union(other.frame))
    }

    /// Registers the query as a view for SQL, and replaces a view or table of the same name. The
    /// view stores no rows: each query that reads it computes them again.
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

    /// Runs the query and returns all its rows, which must fit into the memory of this process.
    ///
    /// # Errors
    /// Returns an error if the query cannot be planned, or a task still fails after its retries.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        let schema = self.schema();
        let batches = plan_on_large_stack(self.frame.collect()).await?;
        if batches.iter().all(|batch| batch.schema() == schema) {
            return Ok(batches);
        }
        let named = batches.into_iter().map(|batch| {
            // Types that differ from the plan's stay; only the names of duplicates change.
            let schema = unmarked(&batch.schema());
            let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &rows)
                .map_err(DataFusionError::from)
        });
        Ok(named.collect::<Result<Vec<_>, _>>()?)
    }

    /// Runs the query and returns its rows as a stream. Dropping the stream stops the query.
    ///
    /// The columns are those of [`Self::schema`], in the same order.
    ///
    /// # Errors
    /// Same as [`Self::collect`]; the stream itself ends with the first error.
    pub async fn stream(self) -> Result<SendableRecordBatchStream> {
        Ok(plan_on_large_stack(self.frame.execute_stream()).await?)
    }

    /// Runs the query and returns the number of its rows. The rows stay on the executors.
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn count(self) -> Result<usize> {
        Ok(plan_on_large_stack(self.frame.count()).await?)
    }

    /// Runs the query and prints its first 20 rows as a table to standard output.
    ///
    /// # Errors
    /// Same as [`Self::collect`].
    pub async fn show(self) -> Result<()> {
        Ok(plan_on_large_stack(self.frame.show_limit(SHOWN_ROWS)).await?)
    }

    /// Returns a text that shows the stages of the query, and the optimizer rules that changed
    /// them. The query is planned, but does not run.
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
    pub fn write(self) -> DataFrameWriter {
        DataFrameWriter::new(self.services, self.frame)
    }

    /// Returns the name of a column as the data spells it, or `None` if there is no such column.
    fn find(&self, name: &str) -> Option<String> {
        find_column(name, &[self.frame.schema()]).map(|column| column.name)
    }
}

/// Returns the columns of a join on equal keys: those of the left side, then the remaining ones of the
/// right side. `left_keys` and `right_keys` name the join columns as each side spells them.
fn joined_columns(
    joined: &DFSchema,
    left_keys: &[String],
    right_keys: &[String],
    how: JoinType,
) -> Vec<Expr> {
    let names: Vec<&String> = joined.fields().iter().map(|f| f.name()).collect();
    let is_alone = |name: &String| names.iter().filter(|n| **n == name).count() == 1;
    let position_in = |keys: &[String], name: &String| keys.iter().position(|key| key == name);
    let mut columns = vec![];
    for (qualifier, field) in joined.iter() {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let name = field.name();
        if qualifier.is_some_and(|q| q.table() == "__right") {
            match position_in(right_keys, name) {
                // The left side already yields the join column.
                Some(_) => {}
                None if is_alone(name) => columns.push(column.alias(name)),
                None => columns.push(column),
            }
            continue;
        }
        columns.push(match position_in(left_keys, name) {
            // A row without a match on the left has its key on the right side only.
            Some(index) if matches!(how, JoinType::Right | JoinType::Full) => {
                let other = Expr::Column(Column::new(Some("__right"), &right_keys[index]));
                coalesce(vec![column, other]).alias(name)
            }
            Some(_) => column.alias(name),
            None if is_alone(name) => column.alias(name),
            // Columns that share a name keep their qualifier, so that both stay addressable.
            None => column,
        });
    }
    columns
}

/// The rows of a query, grouped by keys; [`DataFrame::group_by`] returns it.
///
/// ```no_run
/// use datafusion::functions_aggregate::expr_fn::{count, max};
/// use datafusion::prelude::{col, lit};
/// use faisca_driver::{GroupedData, Session};
///
/// # async fn example(session: &Session) -> faisca_driver::Result<()> {
/// let sales = session.read().parquet("sales").await?;
/// let by_store: GroupedData = sales.group_by(vec![col("state"), col("store")])?;
/// let totals = by_store.agg(vec![
///     count(lit(1)).alias("sales"),
///     max(col("amount")).alias("largest"),
/// ])?;
/// totals.show().await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Debug)]
pub struct GroupedData {
    frame: DataFrame,
    keys: Vec<Expr>,
}

impl GroupedData {
    /// Returns one row for each group: the columns of the keys, then one column for each aggregate.
    ///
    /// # Errors
    /// Same as [`DataFrame::filter`].
    pub fn agg(self, aggregates: Vec<Expr>) -> Result<DataFrame> {
        let aggregates = self.frame.resolve_all(aggregates)?;
        let keys = self.keys;
        self.frame.map(|f| f.aggregate(keys, aggregates))
    }
}

/// Returns the columns without the marks that tell duplicates apart: a result may have two columns of
/// one name.
fn unmarked(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let name = without_mark(field.name());
        if name.len() == field.name().len() {
            Arc::clone(field)
        } else {
            Arc::new(field.as_ref().clone().with_name(name))
        }
    });
    let fields: Fields = fields.collect();
    SchemaRef::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
