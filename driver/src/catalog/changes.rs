//! Plans what a write changes in a catalog, before the first byte is written.
//!
//! A table that the catalog or Athena would refuse must fail here, in seconds, and not after the
//! query has run for hours.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use faisca_planner::manifest::{
    CatalogTable, FileFormat, OnSchemaChange, PartitionOverwrite, SaveMode, Write,
};

use super::catalogs::Catalogs;
use super::definition::{
    TableColumn, TableDefinition, TablePartition, checked_name, file_parameters,
};
use super::glue::{hive_type, projection};
use super::registration::{Registration, merged};
use crate::error::{Error, Result};

/// A table that a write will register, checked against the table that exists now.
pub(crate) struct PlannedTable {
    /// What to register. Its location and its partitions are filled in once the files are known.
    pub(crate) registration: Registration,
    /// The table as it is now, if it exists.
    pub(crate) present: Option<TableDefinition>,
    /// Its partitions as they are now. Empty if it does not exist or is not partitioned.
    pub(crate) partitions: Vec<TablePartition>,
}

/// What a write does to the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableOutlook {
    /// The table is created, with this number of columns.
    New(usize),
    /// The columns stay the same.
    Kept,
    /// The columns change. The text describes how, for users.
    Changed(String),
}

/// Compares the columns of a table, if it exists, with those that a registration gives it.
pub(crate) fn outlook(
    present: Option<&TableDefinition>,
    registration: &Registration,
) -> TableOutlook {
    let Some(present) = present else {
        return TableOutlook::New(registration.table.columns.len());
    };
    let difference = Difference::between(&present.columns, &merged(present, registration).columns);
    if difference.is_empty() {
        TableOutlook::Kept
    } else {
        TableOutlook::Changed(difference.to_string())
    }
}

impl PlannedTable {
    /// Returns what the write does to the columns of the table.
    pub(crate) fn outlook(&self) -> TableOutlook {
        outlook(self.present.as_ref(), &self.registration)
    }

    /// Checks names and types, and compares the table with the one in the catalog. Changes nothing.
    ///
    /// `step` is the name of the step of the job. It is also the name of the table, unless `asked`
    /// has one.
    ///
    /// # Errors
    /// If Athena could not read the table, if the database is missing and is not to be created, if
    /// the new columns are not compatible with the present ones, or if the catalog fails.
    pub(crate) async fn plan(
        catalogs: &Catalogs,
        asked: &CatalogTable,
        step: &str,
        schema: &Schema,
        write: &Write,
    ) -> Result<Self> {
        let database = checked_name("database name", &asked.database)?;
        let name = checked_name("table name", asked.table_of(step))?;
        if write.format != FileFormat::Parquet {
            return Err(Error::Write(
                "catalog: tables are of Parquet; set write.format to parquet".to_owned(),
            ));
        }
        let table = definition(name, asked, schema, write)?;
        let catalog = catalogs.get(asked.kind).await;
        if !asked.create_database
            // An earlier step of a planned job may create the database; then the catalog does not
            // have it.
            && !catalogs.expects_database(asked.kind, &database)
            && !catalog.database_exists(&database).await?
        {
            let help = "create it, or set catalog.createDatabase to true";
            return Err(Error::Write(format!(
                "catalog: there is no database `{database}`; {help}"
            )));
        }
        let present = catalog
            .table(&database, &table.name)
            .await?
            .map(|(present, _)| present);
        let mut partitions = vec![];
        if let Some(present) = &present {
            // If old files stay in the table, a column must keep the type that they hold.
            let keeps_files = write.mode != SaveMode::Overwrite
                || write.partition_overwrite == PartitionOverwrite::Dynamic;
            compatible(
                &database,
                present,
                &table,
                asked.on_schema_change,
                keeps_files,
            )?;
            if !present.partition_keys.is_empty() {
                partitions = catalog.partitions(&database, &table.name).await?;
            }
        }
        let registration = Registration {
            kind: asked.kind,
            database,
            create_database: asked.create_database,
            skip_archive: asked.skip_archive,
            on_schema_change: asked.on_schema_change,
            table,
            partitions: None,
            statistics: vec![],
            commit: String::new(),
        };
        Ok(Self {
            registration,
            present,
            partitions,
        })
    }
}

/// Builds the definition of the table that a write makes. Its location stays empty: it is known
/// only once the write begins.
///
/// # Errors
/// If a column has a type that Athena cannot read, if a comment names an unknown column, or if the
/// partition projection is invalid.
fn definition(
    name: String,
    asked: &CatalogTable,
    schema: &Schema,
    write: &Write,
) -> Result<TableDefinition> {
    let (columns, partition_keys) = columns(asked, schema, write)?;
    projection::check(&asked.parameters, &partition_keys)
        .map_err(|e| Error::Write(format!("catalog.parameters: {e}")))?;
    let mut parameters = asked.parameters.clone();
    // After those of the user: Athena could not read the files if these were wrong.
    parameters.extend(file_parameters(write.format));
    Ok(TableDefinition {
        name,
        columns,
        partition_keys,
        location: String::new(),
        format: write.format,
        comment: asked.comment.clone(),
        parameters,
        serde: BTreeMap::new(),
    })
}

/// Splits the columns of a result into those in the files and the partition keys.
///
/// The keys are in the order of `partitionBy`, which is the order of the folders.
///
/// # Errors
/// If a column has a type without a Hive equivalent, or a comment names an unknown column.
fn columns(
    asked: &CatalogTable,
    schema: &Schema,
    write: &Write,
) -> Result<(Vec<TableColumn>, Vec<TableColumn>)> {
    let mut columns = vec![];
    let mut keys: BTreeMap<usize, TableColumn> = BTreeMap::new();
    for field in schema.fields() {
        let hive_type = hive_type(field.data_type())
            .map_err(|e| Error::Write(format!("catalog: column `{}`: {e}", field.name())))?;
        let comment = asked
            .column_comments
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(field.name()))
            .map(|(_, text)| text.clone());
        let column = TableColumn {
            name: field.name().to_lowercase(),
            hive_type,
            comment,
        };
        match write
            .partition_by
            .iter()
            .position(|key| key.eq_ignore_ascii_case(field.name()))
        {
            Some(position) => drop(keys.insert(position, column)),
            None => columns.push(column),
        }
    }
    if let Some(unknown) = asked.column_comments.keys().find(|name| {
        !schema
            .fields()
            .iter()
            .any(|f| f.name().eq_ignore_ascii_case(name))
    }) {
        let near = faisca_planner::manifest::nearest(
            unknown,
            schema.fields().iter().map(|f| f.name().as_str()),
        );
        let help = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Error::Write(format!(
            "catalog.columnComments: the result has no column `{unknown}`{help}"
        )));
    }
    Ok((columns, keys.into_values().collect()))
}

/// Checks whether the table `present` may be replaced by `next`.
///
/// `keeps_files` says that old files stay in the table. Their columns then cannot change type,
/// whatever the rule.
///
/// # Errors
/// If the partition keys differ, or the columns differ in a way that `rule` does not allow.
pub(crate) fn compatible(
    database: &str,
    present: &TableDefinition,
    next: &TableDefinition,
    rule: OnSchemaChange,
    keeps_files: bool,
) -> Result<()> {
    let name = format!("{database}.{}", present.name);
    let names = |keys: &[TableColumn]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    // No rule allows this: the folders of the old files are named after the old keys.
    if names(&present.partition_keys) != names(&next.partition_keys) {
        let (is, would) = (
            names(&present.partition_keys).join(", "),
            names(&next.partition_keys).join(", "),
        );
        let what = format!("the table {name} is partitioned by [{is}], the result by [{would}]");
        return Err(Error::Write(format!(
            "catalog: {what}; drop the table first, or set partitionBy to the same"
        )));
    }
    let difference = Difference::between(&present.columns, &next.columns);
    let refused = match rule {
        OnSchemaChange::Fail => !difference.is_empty(),
        OnSchemaChange::AddColumns => !difference.changed.is_empty(),
        OnSchemaChange::Replace => keeps_files && !difference.changed.is_empty(),
    };
    if !refused {
        return Ok(());
    }
    let help = match rule {
        OnSchemaChange::Fail if difference.changed.is_empty() && difference.removed.is_empty() => {
            "set catalog.onSchemaChange to addColumns"
        }
        OnSchemaChange::Fail => "cast the columns, or set catalog.onSchemaChange to replace",
        OnSchemaChange::AddColumns => {
            "cast the columns, or set catalog.onSchemaChange to replace and write.mode to overwrite"
        }
        OnSchemaChange::Replace => {
            "old files hold the old type: cast the columns, or overwrite the whole table"
        }
    };
    Err(Error::Write(format!(
        "catalog: the result does not fit the table {name}: {difference}; {help}"
    )))
}

/// How one list of columns differs from another. Each entry is a text for users.
#[derive(Debug, Default)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    /// Compares by name. The order of the columns and their comments do not count.
    fn between(present: &[TableColumn], next: &[TableColumn]) -> Self {
        let mut difference = Self::default();
        for column in next {
            match present.iter().find(|c| c.name == column.name) {
                None => difference
                    .added
                    .push(format!("{} {}", column.name, column.hive_type)),
                Some(old) if old.hive_type != column.hive_type => {
                    difference.changed.push(format!(
                        "{} {} instead of {}",
                        column.name, column.hive_type, old.hive_type
                    ));
                }
                Some(_) => {}
            }
        }
        let gone = present
            .iter()
            .filter(|c| !next.iter().any(|n| n.name == c.name));
        difference.removed = gone
            .map(|c| format!("{} {}", c.name, c.hive_type))
            .collect();
        difference
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("new", &self.added),
            ("missing", &self.removed),
            ("of another type", &self.changed),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, c)| !c.is_empty())
            .map(|(what, c)| format!("{what}: {}", c.join(", ")))
            .collect();
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::tests::table;
    use super::*;

    #[test]
    fn a_difference_is_refused_or_taken_as_the_rule_says() {
        let present = table(&[("a", "int"), ("b", "string")]);
        let cases = [
            (table(&[("a", "int"), ("b", "string")]), [true, true, true]),
            (
                table(&[("a", "int"), ("b", "string"), ("c", "date")]),
                [false, true, true],
            ),
            (table(&[("a", "int")]), [false, true, true]),
            (
                table(&[("a", "bigint"), ("b", "string")]),
                [false, false, true],
            ),
        ];
        let rules = [
            OnSchemaChange::Fail,
            OnSchemaChange::AddColumns,
            OnSchemaChange::Replace,
        ];
        for (next, expected) in cases {
            let found = rules.map(|rule| compatible("d", &present, &next, rule, false).is_ok());
            assert_eq!(found, expected, "{next:?}");
        }
        let error = compatible(
            "d",
            &present,
            &table(&[("a", "bigint"), ("c", "int")]),
            OnSchemaChange::Fail,
            false,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains(
                "new: c int; missing: b string; of another type: a bigint instead of int"
            ),
            "{error}"
        );
        assert!(
            compatible(
                "d",
                &present,
                &table(&[("a", "bigint")]),
                OnSchemaChange::Replace,
                true
            )
            .is_err()
        );
    }
}
