//! INSERT into partitions, and by name.
//!
//! ```text
//! INSERT INTO t PARTITION (k = 'z', j) SELECT 1, 2        t has the columns v, k, j
//!   ──▶ v = first column of the query, k = 'z', j = second one
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::prelude::Column;
use faisca_spark::commands::{Insert, InsertColumns, Partition};
use faisca_spark::dialect::without_mark;

use super::alter_table::truncate_partition;
use super::dataframe::DataFrame;
use super::existing::{registered_table, unknown_table};
use super::insert::{Replaced, insert};
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::services::Services;

/// The text of a partition value that is null.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Runs an INSERT with PARTITION or BY NAME.
///
/// # Errors
/// Returns an error if the columns of the rows do not fit the table, or the write fails.
pub(super) async fn insert_statement(
    services: &Arc<Services>,
    statement: &Insert,
    rows: DataFrame,
) -> Result<WriteSummary> {
    let name = registered_table(services, &statement.table)?;
    let provider = services.tables.provider(&name);
    let provider = provider.ok_or_else(|| unknown_table(services, &name))?;
    let keys = services.tables.files(&name);
    let keys = keys.map(|files| files.partition_by).unwrap_or_default();
    check_keys(&name, &statement.partition, &keys)?;
    let replaced = replaced_rows(statement, &keys)?;
    let columns: Vec<String> = rows
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let plan = rows.into_inner().into_unoptimized_plan();
    let schema = provider.schema();
    let sources = Sources::find(statement, schema.fields(), &columns)?;
    let plan = sources.project(schema.fields(), plan)?;
    let summary = insert(services, &name, replaced, plan).await?;
    // Without rows, no partition was replaced.
    if replaced == Replaced::Partitions && summary.rows == 0 {
        truncate_partition(services, &statement.table, &statement.partition).await?;
    }
    Ok(summary)
}

fn check_keys(table: &str, partition: &Partition, keys: &[String]) -> Result<()> {
    let is_key = |name: &String| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
    match partition.iter().find(|(name, _)| !is_key(name)) {
        Some((name, _)) => Err(Error::Plan(format!(
            "[NON_PARTITION_COLUMN] `{name}` is not a partition column of table `{table}`; those are: {}",
            keys.join(", ")
        ))),
        None => Ok(()),
    }
}

/// Returns which rows OVERWRITE replaces: those of the partition that is named, else all.
fn replaced_rows(statement: &Insert, keys: &[String]) -> Result<Replaced> {
    let fixed = statement.partition.iter();
    let fixed = fixed.filter(|(_, value)| value.is_some()).count();
    match (statement.is_overwrite, fixed) {
        (false, _) => Ok(Replaced::Nothing),
        (true, 0) => Ok(Replaced::Table),
        (true, fixed) if fixed == keys.len() => Ok(Replaced::Partitions),
        (true, _) => Err(Error::Plan(
            "INSERT OVERWRITE with values for some of the partition columns is not supported: give a value for each of \
             them, or for none, which replaces all rows of the table"
                .to_owned(),
        )),
    }
}

/// Where the value of a column of the table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// A column of the query, by its position.
    Column(usize),
    /// The value of a partition; `None` is null.
    Fixed(Option<String>),
    /// Null: the statement does not name the column.
    Absent,
}

/// The values of the table's columns, in their order.
#[derive(Debug, PartialEq, Eq)]
struct Sources(Vec<Value>);

impl Sources {
    fn find(statement: &Insert, fields: &[Arc<Field>], columns: &[String]) -> Result<Self> {
        let fixed: HashMap<String, &String> = statement
            .partition
            .iter()
            .filter_map(|(name, value)| Some((name.to_lowercase(), value.as_ref()?)))
            .collect();
        let free: Vec<String> = fields
            .iter()
            .map(|field| field.name().to_lowercase())
            .filter(|name| !fixed.contains_key(name))
            .collect();
        let names: Vec<String> = match &statement.columns {
            InsertColumns::ByPosition => free.clone(),
            InsertColumns::Listed(names) => names.iter().map(|name| name.to_lowercase()).collect(),
            InsertColumns::ByName => {
                let names = columns.iter();
                names
                    .map(|name| without_mark(name).to_lowercase())
                    .collect()
            }
        };
        if names.len() != columns.len() {
            return Err(Error::Plan(format!(
                "[INSERT_COLUMN_ARITY_MISMATCH] INSERT has {} columns for {}: {}",
                columns.len(),
                names.len(),
                names.join(", ")
            )));
        }
        let mut positions: HashMap<&str, usize> = HashMap::new();
        for (position, name) in names.iter().enumerate() {
            if !free.contains(name) {
                return Err(Error::Plan(format!(
                    "INSERT: the table has no column `{name}` without a value in PARTITION; its columns are: {}",
                    free.join(", ")
                )));
            }
            if positions.insert(name, position).is_some() {
                return Err(Error::Plan(format!(
                    "INSERT has the column `{name}` twice; name each one once"
                )));
            }
        }
        let values = fields.iter().map(|field| {
            let name = field.name().to_lowercase();
            match (fixed.get(&name), positions.get(name.as_str())) {
                (Some(value), _) if *value == NULL_PARTITION => Value::Fixed(None),
                (Some(value), _) => Value::Fixed(Some((*value).clone())),
                (None, Some(position)) => Value::Column(*position),
                (None, None) => Value::Absent,
            }
        });
        Ok(Self(values.collect()))
    }

    /// Puts the values into the order of the table, with the types of its columns.
    fn project(self, fields: &[Arc<Field>], rows: LogicalPlan) -> Result<LogicalPlan> {
        let values = self.0.into_iter().zip(fields).map(|(value, field)| {
            let data_type = field.data_type();
            let value = match value {
                Value::Column(position) => {
                    let column = Column::from(rows.schema().qualified_field(position));
                    Expr::Column(column).cast_to(data_type, rows.schema())?
                }
                // A partition value is written as text, whatever its type.
                Value::Fixed(Some(text)) => {
                    Expr::Literal(ScalarValue::from(text.as_str()).cast_to(data_type)?, None)
                }
                Value::Fixed(None) | Value::Absent => lit(ScalarValue::try_new_null(data_type)?),
            };
            Ok(value.alias(field.name()))
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn sources(columns: InsertColumns, query: &[&str]) -> Result<Vec<Value>> {
        let text = |text: &&str| (*text).to_owned();
        let statement = Insert {
            table: vec!["t".to_owned()],
            is_overwrite: false,
            partition: vec![
                ("K".to_owned(), Some("z".to_owned())),
                ("j".to_owned(), None),
            ],
            columns,
            query: String::new(),
        };
        let fields = ["a", "B", "k", "j"];
        let fields = fields.map(|name| Arc::new(Field::new(name, DataType::Int32, true)));
        let query: Vec<String> = query.iter().map(text).collect();
        Sources::find(&statement, &fields, &query).map(|sources| sources.0)
    }

    #[test]
    fn columns_are_found_by_position_or_by_name() {
        use Value::{Absent, Column, Fixed};
        let fixed = || Fixed(Some("z".to_owned()));
        let by_position = sources(InsertColumns::ByPosition, &["x", "y", "z"]).unwrap();
        assert_eq!(by_position, [Column(0), Column(1), fixed(), Column(2)]);
        let by_name = sources(InsertColumns::ByName, &["J", "b"]).unwrap();
        assert_eq!(by_name, [Absent, Column(1), fixed(), Column(0)]);
        let listed = InsertColumns::Listed(vec!["j".to_owned(), "A".to_owned()]);
        let listed = sources(listed, &["x", "y"]).unwrap();
        assert_eq!(listed, [Column(1), Absent, fixed(), Column(0)]);
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        for (columns, query) in [
            (InsertColumns::ByPosition, vec!["x", "y"]),
            (InsertColumns::ByName, vec!["a", "c"]),
            (InsertColumns::ByName, vec!["a", "k"]),
            (InsertColumns::ByName, vec!["a", "A"]),
        ] {
            assert!(sources(columns, &query).is_err(), "{query:?}");
        }
    }
}
