//! DataFrames: DataFusion's own, with Spark's verbs and columns without regard to case.
//!
//! Everything that DataFusion's DataFrame can do is one [`DataFrame::into_inner`] away, and runs on
//! the same executors.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::dataframe::DataFrame as DfDataFrame;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::ident;
use faisca_planner::manifest::{
    CatalogTable, Compression, FileFormat, PartitionOverwrite, SaveMode, Write, nearest,
};

use super::Session;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::input::SharedView;
use crate::output::write::write;

/// Rows that [`DataFrame::show`] prints.
const SHOWN_ROWS: usize = 20;

/// A query that has not run yet. Cheap to clone.
#[derive(Clone)]
pub struct DataFrame {
    session: Session,
    frame: DfDataFrame,
}

impl DataFrame {
    pub(crate) fn new(session: Session, frame: DfDataFrame) -> Self {
        Self { session, frame }
    }

    /// DataFusion's DataFrame; it runs on the same executors.
    #[must_use]
    pub fn into_inner(self) -> DfDataFrame {
        self.frame
    }

    /// Wraps a DataFusion DataFrame of this session's context.
    #[must_use]
    pub fn from_inner(session: &Session, frame: DfDataFrame) -> Self {
        Self::new(session.clone(), frame)
    }

    /// Names and types of its columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::new(self.frame.schema().as_arrow().clone())
    }

    fn map(
        self,
        f: impl FnOnce(DfDataFrame) -> datafusion::common::Result<DfDataFrame>,
    ) -> Result<Self> {
        let Self { session, frame } = self;
        Ok(Self {
            session,
            frame: f(frame)?,
        })
    }

    fn resolve(&self, expr: Expr) -> Result<Expr> {
        resolve(expr, &[self.frame.schema()])
    }

    fn resolve_all(&self, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.resolve(expr)).collect()
    }

    /// Rows for which `predicate` holds.
    ///
    /// # Errors
    /// For a column that is not there, with the nearest name. The same for all that follow.
    pub fn filter(self, predicate: Expr) -> Result<Self> {
        let predicate = self.resolve(predicate)?;
        self.map(|f| f.filter(predicate))
    }

    /// These expressions as the new columns.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn select(self, exprs: Vec<Expr>) -> Result<Self> {
        let exprs = self.resolve_all(exprs)?;
        self.map(|f| f.select(exprs))
    }

    /// These columns, by name.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn select_columns(self, names: &[&str]) -> Result<Self> {
        self.select(names.iter().map(|name| ident(*name)).collect())
    }

    /// All columns, with `name` added or replaced.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn with_column(self, name: &str, expr: Expr) -> Result<Self> {
        let expr = self.resolve(expr)?;
        let name = self.find(name).unwrap_or_else(|| name.to_owned());
        self.map(|f| f.with_column(&name, expr))
    }

    /// All columns, one with another name.
    ///
    /// # Errors
    /// As [`Self::filter`].
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

    /// All columns but these.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn drop_columns(self, names: &[&str]) -> Result<Self> {
        let found = names.iter().map(|name| {
            self.find(name)
                .ok_or_else(|| unknown_column(name, &[self.frame.schema()]))
        });
        let dropped = found.collect::<Result<Vec<_>>>()?;
        let kept = self
            .frame
            .schema()
            .iter()
            .filter(|(_, field)| !dropped.contains(field.name()));
        let kept: Vec<Expr> = kept
            .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
            .collect();
        self.map(|f| f.select(kept))
    }

    /// Groups rows by equal keys, for [`GroupedData::agg`].
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn group_by(self, keys: Vec<Expr>) -> Result<GroupedData> {
        let keys = self.resolve_all(keys)?;
        Ok(GroupedData { frame: self, keys })
    }

    /// Aggregates over all rows.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn agg(self, aggregates: Vec<Expr>) -> Result<Self> {
        self.group_by(vec![])?.agg(aggregates)
    }

    /// Joins on columns of the same name, which appear once in the result, as in Spark.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn join(self, right: Self, on: &[&str], how: JoinType) -> Result<Self> {
        let missing = |frame: &Self, name: &str| unknown_column(name, &[frame.frame.schema()]);
        let mut left_keys = vec![];
        let mut right_keys = vec![];
        for name in on {
            left_keys.push(self.find(name).ok_or_else(|| missing(&self, name))?);
            right_keys.push(right.find(name).ok_or_else(|| missing(&right, name))?);
        }
        let right_frame = right.frame.alias("__right")?;
        let equal = |(left, right): (&String, &String)| {
            let column = |table: &str, name: &String| Expr::Column(Column::new(Some(table), name));
            column("__left", left).eq(column("__right", right))
        };
        let on: Vec<Expr> = left_keys.iter().zip(&right_keys).map(equal).collect();
        let one_side = matches!(
            how,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti
        );
        let joined = self.frame.alias("__left")?.join_on(right_frame, how, on)?;
        if one_side {
            return Ok(Self {
                session: self.session,
                frame: joined,
            });
        }
        let names: Vec<String> = joined
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        let is_alone = |name: &String| names.iter().filter(|n| *n == name).count() == 1;
        let mut columns = vec![];
        for (qualifier, field) in joined.schema().iter() {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let is_right = qualifier.is_some_and(|q| q.table() == "__right");
            let key = right_keys.iter().position(|k| k == field.name());
            match (
                is_right,
                key,
                left_keys.iter().position(|k| k == field.name()),
            ) {
                (true, Some(_), _) => {}
                (false, _, Some(index)) if matches!(how, JoinType::Right | JoinType::Full) => {
                    let other = Expr::Column(Column::new(Some("__right"), &right_keys[index]));
                    columns.push(
                        datafusion::functions::expr_fn::coalesce(vec![column, other])
                            .alias(field.name()),
                    );
                }
                (false, _, Some(_)) => columns.push(column.alias(field.name())),
                // Two columns of one name keep their side, so that both can be told apart.
                _ if is_alone(field.name()) => columns.push(column.alias(field.name())),
                _ => columns.push(column),
            }
        }
        Ok(Self {
            session: self.session,
            frame: joined.select(columns)?,
        })
    }

    /// Rows in order.
    ///
    /// # Errors
    /// As [`Self::filter`].
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

    /// The first `count` rows.
    ///
    /// # Errors
    /// Only if DataFusion refuses.
    pub fn limit(self, count: usize) -> Result<Self> {
        self.map(|f| f.limit(0, Some(count)))
    }

    /// Rows without duplicates.
    ///
    /// # Errors
    /// Only if DataFusion refuses.
    pub fn distinct(self) -> Result<Self> {
        self.map(DfDataFrame::distinct)
    }

    /// Rows of both, duplicates kept.
    ///
    /// # Errors
    /// If their columns do not match.
    pub fn union(self, other: Self) -> Result<Self> {
        self.map(|f| f.union(other.frame))
    }

    /// Makes the query known to SQL under a name.
    ///
    /// # Errors
    /// If two columns differ only by case.
    pub fn create_or_replace_temp_view(self, name: &str) -> Result<()> {
        let Self { session, frame } = self;
        session.register_table(name, frame.into_view())
    }

    /// The same for so many readers, which share its rows if they are dear to make.
    pub(crate) fn register_view(self, name: &str, readers: usize) -> Result<()> {
        let shared = SharedView::new(self.frame.logical_plan().clone()).filter(|_| readers > 1);
        match shared {
            Some(view) => self.session.register_table(name, Arc::new(view)),
            None => self.create_or_replace_temp_view(name),
        }
    }

    /// Runs the query.
    ///
    /// # Errors
    /// Of any task.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        Ok(self.frame.collect().await?)
    }

    /// Runs the query and counts its rows.
    ///
    /// # Errors
    /// Of any task.
    pub async fn count(self) -> Result<usize> {
        Ok(self.frame.count().await?)
    }

    /// Runs the query and prints its first rows.
    ///
    /// # Errors
    /// Of any task.
    pub async fn show(self) -> Result<()> {
        Ok(self.frame.show_limit(SHOWN_ROWS).await?)
    }

    /// The stages that the query would run as, and the rules that shaped them.
    ///
    /// # Errors
    /// If it cannot be planned.
    pub async fn explain(self) -> Result<String> {
        let (state, plan) = self.frame.into_parts();
        Ok(crate::statement::explain(&plan, &state).await?)
    }

    /// Writes the query's result.
    pub fn write(self) -> DataFrameWriter {
        DataFrameWriter {
            frame: self,
            write: Write::to(""),
            problem: None,
        }
    }

    /// The data's spelling of a column.
    fn find(&self, name: &str) -> Option<String> {
        find(name, &[self.frame.schema()]).map(|column| column.name)
    }
}

/// Grouped rows, waiting for aggregates.
#[must_use]
pub struct GroupedData {
    frame: DataFrame,
    keys: Vec<Expr>,
}

impl GroupedData {
    /// One row a group: the keys and these aggregates.
    ///
    /// # Errors
    /// As [`DataFrame::filter`].
    pub fn agg(self, aggregates: Vec<Expr>) -> Result<DataFrame> {
        let aggregates = self.frame.resolve_all(aggregates)?;
        let keys = self.keys;
        self.frame.map(|f| f.aggregate(keys, aggregates))
    }
}

/// Says how and where a result is written.
#[must_use]
pub struct DataFrameWriter {
    frame: DataFrame,
    write: Write,
    problem: Option<Error>,
}

impl DataFrameWriter {
    /// What happens to what is there. Default: an error.
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.write.mode = mode;
        self
    }

    /// Columns that become `key=value` folders.
    pub fn partition_by<I: IntoIterator<Item = S>, S: Into<String>>(mut self, columns: I) -> Self {
        self.write.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Registers the output as a table.
    pub fn catalog(mut self, table: CatalogTable) -> Self {
        self.write.catalog = Some(table);
        self
    }

    /// `compression`, `targetFileSize`, `mode` or `partitionOverwriteMode`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`option(\"header\", true)` reads better than a reference"
    )]
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        if let Err(error) = set_write_option(&mut self.write, key, &value.to_string()) {
            self.problem.get_or_insert(error);
        }
        self
    }

    /// Writes Parquet into a folder.
    ///
    /// # Errors
    /// Of planning, of any task, or of the commit; the folder then is as it was.
    pub async fn parquet(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Parquet, path).await
    }

    /// Writes CSV, with a header.
    ///
    /// # Errors
    /// As [`Self::parquet`].
    pub async fn csv(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Csv, path).await
    }

    /// Writes one JSON object a line.
    ///
    /// # Errors
    /// As [`Self::parquet`].
    pub async fn json(self, path: &str) -> Result<WriteSummary> {
        self.save(FileFormat::Ndjson, path).await
    }

    /// Writes into the folder NAME of the warehouse and registers it under that name. The warehouse is
    /// `spark-warehouse`, unless the setting `faisca.warehouse` or `spark.sql.warehouse.dir` says otherwise.
    ///
    /// # Errors
    /// As [`Self::parquet`].
    pub async fn save_as_table(self, name: &str) -> Result<WriteSummary> {
        let session = self.frame.session.clone();
        let format = self.write.format;
        let path = format!(
            "{}/{}",
            session.services.warehouse.trim_end_matches('/'),
            name.to_lowercase()
        );
        let summary = self.save(format, &path).await?;
        session.register_output(name, &path, format).await?;
        Ok(summary)
    }

    async fn save(mut self, format: FileFormat, path: &str) -> Result<WriteSummary> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.write.format = format;
        self.write.path = path.to_owned();
        let inner = std::sync::Arc::clone(&self.frame.session.services);
        write(
            &inner,
            self.frame.frame,
            &self.write,
            format!("write {path}"),
        )
        .await
    }
}

/// Sets an option of a write by name.
///
/// # Errors
/// For an unknown name or value.
pub(crate) fn set_write_option(write: &mut Write, key: &str, value: &str) -> Result<()> {
    match key.to_lowercase().as_str() {
        "compression" => {
            write.compression = Some(
                match value.to_lowercase().split('(').next().unwrap_or_default() {
                    "none" | "uncompressed" => Compression::None,
                    "snappy" => Compression::Snappy,
                    "gzip" | "gz" => Compression::Gzip,
                    "zstd" | "zst" => Compression::Zstd,
                    "lz4" => Compression::Lz4,
                    _ => {
                        return Err(Error::Plan(format!(
                            "compression: `{value}` is not one of none, snappy, gzip, zstd, lz4"
                        )));
                    }
                },
            );
        }
        "targetfilesize" => write.target_file_size = Some(value.to_owned()),
        "mode" => {
            write.mode = match value.to_lowercase().as_str() {
                "overwrite" => SaveMode::Overwrite,
                "append" => SaveMode::Append,
                "ignore" => SaveMode::Ignore,
                "error" | "errorifexists" => SaveMode::ErrorIfExists,
                _ => {
                    return Err(Error::Plan(format!(
                        "mode: `{value}` is not one of overwrite, append, ignore, errorifexists"
                    )));
                }
            }
        }
        "partitionoverwritemode" => {
            write.partition_overwrite = match value.to_lowercase().as_str() {
                "static" => PartitionOverwrite::Static,
                "dynamic" => PartitionOverwrite::Dynamic,
                _ => {
                    return Err(Error::Plan(format!(
                        "partitionOverwriteMode: `{value}` is not one of static, dynamic"
                    )));
                }
            }
        }
        "successfile" | "mapreduce.fileoutputcommitter.marksuccessfuljobs" => {
            write.success_file = value
                .parse()
                .map_err(|_| Error::Plan(format!("{key}: `{value}` is not true or false")))?;
        }
        // CSV files always have a header.
        "has_header" | "header" if value.eq_ignore_ascii_case("true") => {}
        _ => {
            let known = [
                "compression",
                "targetFileSize",
                "mode",
                "partitionOverwriteMode",
                "successFile",
            ];
            let help = nearest(key, known).map_or_else(
                || format!("known: {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Error::Plan(format!(
                "unknown write option `{key}` with value `{value}`; {help}"
            )));
        }
    }
    Ok(())
}

/// Puts the data's spelling into every column of an expression.
fn resolve(expr: Expr, schemas: &[&DFSchema]) -> Result<Expr> {
    let mut unknown = None;
    let resolved = expr
        .transform(|node| match node {
            Expr::Column(column) => {
                let exact = schemas.iter().any(|s| s.has_column(&column));
                match if exact {
                    Some(column.clone())
                } else {
                    find(&column.name, schemas)
                } {
                    Some(found) => Ok(Transformed::yes(Expr::Column(found))),
                    None => {
                        unknown.get_or_insert(column.name.clone());
                        Ok(Transformed::no(Expr::Column(column)))
                    }
                }
            }
            other => Ok(Transformed::no(other)),
        })
        .data()?;
    match unknown {
        Some(name) => Err(unknown_column(&name, schemas)),
        None => Ok(resolved),
    }
}

fn find(name: &str, schemas: &[&DFSchema]) -> Option<Column> {
    let fields = || schemas.iter().flat_map(|s| s.iter());
    let exact = fields().find(|(_, f)| f.name() == name);
    let found =
        exact.or_else(|| fields().find(|(_, f)| f.name().to_lowercase() == name.to_lowercase()))?;
    Some(Column::new(found.0.cloned(), found.1.name()))
}

fn unknown_column(name: &str, schemas: &[&DFSchema]) -> Error {
    let names: Vec<&str> = schemas
        .iter()
        .flat_map(|s| s.fields().iter().map(|f| f.name().as_str()))
        .collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("columns here: {}", names.join(", ")),
    };
    Error::Plan(format!("no column named `{name}`; {help}"))
}
