//! What a write changes in a catalog, decided before the first byte is written.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use faisca_executor::sink::{Sketches, Values};
use faisca_planner::manifest::{CatalogKind, CatalogTable, FileFormat, SaveMode, Write};
use serde::{Deserialize, Serialize};

use super::{
    Catalog, Catalogs, Changed, ColumnStatistics, ColumnValues, OnSchemaChange, TableColumn, TableDefinition, TablePartition, checked_name, hive_type,
};
use crate::error::{Error, Result};

/// Parameter of a table: the commit record of its newest overwrite.
const COMMIT: &str = "faisca.commit";
/// A change of a table is tried so often against faster writers.
const UPDATE_TRIES: usize = 10;

/// A table to register, as it stands in a commit record: whoever finds it can carry it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) kind: CatalogKind,
    pub(crate) database: String,
    pub(crate) create_database: bool,
    pub(crate) skip_archive: bool,
    pub(crate) on_schema_change: OnSchemaChange,
    pub(crate) table: TableDefinition,
    pub(crate) partitions: Option<PartitionChange>,
    /// What its columns hold, where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) statistics: Vec<ColumnStatistics>,
    /// URL of the commit record that this belongs to; empty on this machine's disk.
    #[serde(default)]
    pub(crate) commit: String,
}

impl Registration {
    /// Adds what the columns hold, as each task saw it.
    ///
    /// # Errors
    /// If the tasks' sketches are damaged.
    pub(crate) fn describe(&mut self, schema: &SchemaRef, tasks: &[Bytes]) -> Result<()> {
        let mut sketches = Sketches::new(schema)?;
        tasks.iter().try_for_each(|task| sketches.merge(task))?;
        for summary in sketches.summaries()? {
            let column = summary.name.to_lowercase();
            let Some(known) = self.table.columns.iter().find(|known| known.name == column) else { continue };
            let values = match summary.values {
                Values::Long(bounds) => ColumnValues::Long(bounds),
                Values::Double(bounds) => ColumnValues::Double(bounds),
                Values::Date(bounds) => ColumnValues::Date(bounds),
                Values::Text { longest, bytes, count } => ColumnValues::Text { longest, average: bytes as f64 / count.max(1) as f64 },
                Values::Boolean { trues, falses } => ColumnValues::Boolean { trues, falses },
            };
            let (nulls, distinct) = (summary.nulls, summary.distinct);
            self.statistics.push(ColumnStatistics { hive_type: known.hive_type.clone(), column, nulls, distinct, values });
        }
        Ok(())
    }

    /// The same, as part of a commit that does or does not replace what is there.
    pub(crate) fn of_commit(mut self, commit: String, replaces: bool) -> Self {
        if replaces {
            self.table.parameters.insert(COMMIT.to_owned(), commit.clone());
        }
        Self { commit, ..self }
    }
}

/// Partitions of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionChange {
    /// Those that are there now.
    pub(crate) put: Vec<TablePartition>,
    /// Every other one goes.
    pub(crate) only: bool,
}

/// A table that a write will register, checked against what is there.
pub(crate) struct PlannedTable {
    pub(crate) registration: Registration,
    /// The table before.
    pub(crate) present: Option<TableDefinition>,
    /// Its partitions before, if it has any.
    pub(crate) partitions: Vec<TablePartition>,
}

/// What a write makes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableOutlook {
    /// It comes into being, with so many columns.
    New(usize),
    /// Its columns stay.
    Kept,
    /// Its columns change so.
    Changed(String),
}

/// What a registration makes of the columns of a table that may be there.
pub(crate) fn outlook(present: Option<&TableDefinition>, registration: &Registration) -> TableOutlook {
    let Some(present) = present else { return TableOutlook::New(registration.table.columns.len()) };
    let difference = Difference::between(&present.columns, &merged(present, registration).columns);
    if difference.is_empty() { TableOutlook::Kept } else { TableOutlook::Changed(difference.to_string()) }
}

impl PlannedTable {
    /// What becomes of the table's columns.
    pub(crate) fn outlook(&self) -> TableOutlook {
        outlook(self.present.as_ref(), &self.registration)
    }

    /// Checks names and types, and looks at the catalog.
    ///
    /// # Errors
    /// If Athena could not read the table, the database is missing, or the columns differ from
    /// what is there.
    pub(crate) async fn plan(catalogs: &Catalogs, asked: &CatalogTable, step: &str, schema: &Schema, write: &Write) -> Result<Self> {
        let database = checked_name("database name", &asked.database)?;
        let name = checked_name("table name", asked.table.as_deref().unwrap_or(step))?;
        if write.format != FileFormat::Parquet {
            return Err(Error::Write("catalog: tables are of Parquet; set write.format to parquet".to_owned()));
        }
        let (columns, partition_keys) = columns(asked, schema, write)?;
        let mut parameters = asked.parameters.clone();
        parameters.insert("classification".to_owned(), "parquet".to_owned());
        parameters.insert("typeOfData".to_owned(), "file".to_owned());
        parameters.insert("EXTERNAL".to_owned(), "TRUE".to_owned());
        let table = TableDefinition {
            name,
            columns,
            partition_keys,
            location: String::new(),
            format: write.format,
            comment: asked.comment.clone(),
            parameters,
            serde: BTreeMap::new(),
        };
        let catalog = catalogs.get(asked.kind).await;
        if !asked.create_database && !catalogs.expects_database(asked.kind, &database) && !catalog.database_exists(&database).await? {
            let help = "create it, or set catalog.createDatabase to true";
            return Err(Error::Write(format!("catalog: there is no database `{database}`; {help}")));
        }
        let present = catalog.table(&database, &table.name).await?.map(|(present, _)| present);
        let mut partitions = vec![];
        if let Some(present) = &present {
            let keeps_files = write.mode != SaveMode::Overwrite || write.partition_overwrite == faisca_planner::manifest::PartitionOverwrite::Dynamic;
            compatible(&database, present, &table, asked.on_schema_change, keeps_files)?;
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
        Ok(Self { registration, present, partitions })
    }
}

fn columns(asked: &CatalogTable, schema: &Schema, write: &Write) -> Result<(Vec<TableColumn>, Vec<TableColumn>)> {
    let mut columns = vec![];
    let mut keys: BTreeMap<usize, TableColumn> = BTreeMap::new();
    for field in schema.fields() {
        let hive_type = hive_type(field.data_type()).map_err(|e| Error::Write(format!("catalog: column `{}`: {e}", field.name())))?;
        let comment = asked.column_comments.iter().find(|(name, _)| name.eq_ignore_ascii_case(field.name())).map(|(_, text)| text.clone());
        let column = TableColumn { name: field.name().to_lowercase(), hive_type, comment };
        match write.partition_by.iter().position(|key| key.eq_ignore_ascii_case(field.name())) {
            Some(position) => drop(keys.insert(position, column)),
            None => columns.push(column),
        }
    }
    if let Some(unknown) = asked.column_comments.keys().find(|name| !schema.fields().iter().any(|f| f.name().eq_ignore_ascii_case(name))) {
        let near = faisca_planner::manifest::nearest(unknown, schema.fields().iter().map(|f| f.name().as_str()));
        let help = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Error::Write(format!("catalog.columnComments: the result has no column `{unknown}`{help}")));
    }
    Ok((columns, keys.into_values().collect()))
}

/// Whether a table may become another.
pub(crate) fn compatible(database: &str, present: &TableDefinition, next: &TableDefinition, rule: OnSchemaChange, keeps_files: bool) -> Result<()> {
    let name = format!("{database}.{}", present.name);
    let names = |keys: &[TableColumn]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    if names(&present.partition_keys) != names(&next.partition_keys) {
        let (is, would) = (names(&present.partition_keys).join(", "), names(&next.partition_keys).join(", "));
        let what = format!("the table {name} is partitioned by [{is}], the result by [{would}]");
        return Err(Error::Write(format!("catalog: {what}; drop the table first, or set partitionBy to the same")));
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
        OnSchemaChange::Fail if difference.changed.is_empty() && difference.removed.is_empty() => "set catalog.onSchemaChange to addColumns",
        OnSchemaChange::Fail => "cast the columns, or set catalog.onSchemaChange to replace",
        OnSchemaChange::AddColumns => "cast the columns, or set catalog.onSchemaChange to replace and write.mode to overwrite",
        OnSchemaChange::Replace => "old files hold the old type: cast the columns, or overwrite the whole table",
    };
    Err(Error::Write(format!("catalog: the result does not fit the table {name}: {difference}; {help}")))
}

/// How one list of columns differs from another.
#[derive(Debug, Default)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    fn between(present: &[TableColumn], next: &[TableColumn]) -> Self {
        let mut difference = Self::default();
        for column in next {
            match present.iter().find(|c| c.name == column.name) {
                None => difference.added.push(format!("{} {}", column.name, column.hive_type)),
                Some(old) if old.hive_type != column.hive_type => {
                    difference.changed.push(format!("{} {} instead of {}", column.name, column.hive_type, old.hive_type));
                }
                Some(_) => {}
            }
        }
        let gone = present.iter().filter(|c| !next.iter().any(|n| n.name == c.name));
        difference.removed = gone.map(|c| format!("{} {}", c.name, c.hive_type)).collect();
        difference
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("new", &self.added), ("missing", &self.removed), ("of another type", &self.changed)];
        let parts: Vec<String> = parts.iter().filter(|(_, c)| !c.is_empty()).map(|(what, c)| format!("{what}: {}", c.join(", "))).collect();
        f.write_str(&parts.join("; "))
    }
}

/// The definition after a write: what others said about the table stays.
fn merged(present: &TableDefinition, registration: &Registration) -> TableDefinition {
    let mut next = registration.table.clone();
    let mut parameters = present.parameters.clone();
    parameters.extend(next.parameters);
    next.parameters = parameters;
    next.comment = next.comment.or_else(|| present.comment.clone());
    for column in &mut next.columns {
        if column.comment.is_none() {
            column.comment = present.columns.iter().find(|c| c.name == column.name).and_then(|c| c.comment.clone());
        }
    }
    if registration.on_schema_change == OnSchemaChange::AddColumns {
        // Old columns stay, in their order: files without them read as null.
        let (mut columns, new) = (present.columns.clone(), next.columns);
        for column in new {
            match columns.iter_mut().find(|c| c.name == column.name) {
                Some(old) => *old = column,
                None => columns.push(column),
            }
        }
        next.columns = columns;
    }
    next
}

/// Whether a table was overwritten by a later commit than this: a writer that was asleep while
/// another finished its work must not turn the table back.
fn is_overtaken(present: &TableDefinition, registration: &Registration) -> bool {
    let folder = |commit: &str| commit.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let newest = present.parameters.get(COMMIT).map_or("", String::as_str);
    folder(newest) == folder(&registration.commit) && *newest > *registration.commit
}

impl Catalogs {
    /// Creates or updates a table and its partitions. May be taken again.
    ///
    /// # Errors
    /// Of the catalog.
    pub(crate) async fn register(&self, registration: &Registration) -> Result<()> {
        let catalog = self.get(registration.kind).await;
        let (database, name) = (registration.database.as_str(), registration.table.name.as_str());
        if registration.create_database && !catalog.database_exists(database).await? {
            catalog.create_database(database).await?;
        }
        let Some(definition) = put_table(catalog.as_ref(), registration).await? else { return Ok(()) };
        if !registration.statistics.is_empty()
            && let Err(error) = catalog.put_statistics(database, name, &registration.statistics).await
        {
            // They speed queries up, and no row depends on them.
            tracing::warn!("{error}");
        }
        let Some(change) = &registration.partitions else { return Ok(()) };
        catalog.put_partitions(database, &definition, &change.put).await?;
        if change.only {
            let present = catalog.partitions(database, name).await?;
            let gone = present.into_iter().map(|p| p.values).filter(|values| !change.put.iter().any(|p| p.values == *values));
            catalog.delete_partitions(database, name, &gone.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// The table's definition from now on; `None` if a later commit has overwritten it.
async fn put_table(catalog: &dyn Catalog, registration: &Registration) -> Result<Option<TableDefinition>> {
    let database = registration.database.as_str();
    for _ in 0..UPDATE_TRIES {
        let (definition, changed) = match catalog.table(database, &registration.table.name).await? {
            None => (registration.table.clone(), catalog.create_table(database, &registration.table).await?),
            Some((present, _)) if is_overtaken(&present, registration) => return Ok(None),
            Some((present, version)) => {
                let next = merged(&present, registration);
                if next == present {
                    return Ok(Some(next));
                }
                let changed = catalog.update_table(database, &next, &version, registration.skip_archive).await?;
                (next, changed)
            }
        };
        if changed == Changed::Yes {
            return Ok(Some(definition));
        }
    }
    let name = &registration.table.name;
    Err(Error::Write(format!("catalog: {database}.{name} is being changed by others all the time; run the job again to finish")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)]) -> TableDefinition {
        let column = |(name, hive): &(&str, &str)| TableColumn { name: (*name).to_owned(), hive_type: (*hive).to_owned(), comment: None };
        TableDefinition {
            name: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            partition_keys: vec![],
            location: String::new(),
            format: FileFormat::Parquet,
            comment: None,
            parameters: BTreeMap::new(),
            serde: BTreeMap::new(),
        }
    }

    #[test]
    fn a_difference_is_refused_or_taken_as_the_rule_says() {
        let present = table(&[("a", "int"), ("b", "string")]);
        let cases = [
            (table(&[("a", "int"), ("b", "string")]), [true, true, true]),
            (table(&[("a", "int"), ("b", "string"), ("c", "date")]), [false, true, true]),
            (table(&[("a", "int")]), [false, true, true]),
            (table(&[("a", "bigint"), ("b", "string")]), [false, false, true]),
        ];
        let rules = [OnSchemaChange::Fail, OnSchemaChange::AddColumns, OnSchemaChange::Replace];
        for (next, expected) in cases {
            let found = rules.map(|rule| compatible("d", &present, &next, rule, false).is_ok());
            assert_eq!(found, expected, "{next:?}");
        }
        let error = compatible("d", &present, &table(&[("a", "bigint"), ("c", "int")]), OnSchemaChange::Fail, false).unwrap_err().to_string();
        assert!(error.contains("new: c int; missing: b string; of another type: a bigint instead of int"), "{error}");
        assert!(compatible("d", &present, &table(&[("a", "bigint")]), OnSchemaChange::Replace, true).is_err());
    }

    #[test]
    fn what_others_said_about_a_table_stays() {
        let mut present = table(&[("a", "int"), ("b", "string")]);
        present.comment = Some("theirs".to_owned());
        present.columns[0].comment = Some("an a".to_owned());
        present.parameters.insert("owner.team".to_owned(), "x".to_owned());
        let registration = Registration {
            kind: CatalogKind::Local,
            database: "d".to_owned(),
            create_database: false,
            skip_archive: false,
            on_schema_change: OnSchemaChange::AddColumns,
            table: table(&[("c", "date"), ("a", "int")]),
            partitions: None,
            statistics: vec![],
            commit: String::new(),
        };
        let next = merged(&present, &registration);
        let names: Vec<_> = next.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(next.comment.as_deref(), Some("theirs"));
        assert_eq!(next.columns[0].comment.as_deref(), Some("an a"));
        assert!(next.parameters.contains_key("owner.team"));
    }

    #[test]
    fn a_writer_that_was_overtaken_leaves_the_table() {
        let registration = |commit: &str, replaces| {
            let registration = Registration {
                kind: CatalogKind::Local,
                database: "d".to_owned(),
                create_database: false,
                skip_archive: false,
                on_schema_change: OnSchemaChange::Fail,
                table: table(&[("a", "int")]),
                partitions: None,
                statistics: vec![],
                commit: String::new(),
            };
            registration.of_commit(commit.to_owned(), replaces)
        };
        let present = registration("s3://b/t/_faisca/commit-0000000010.json", true).table;
        let overtaken = |commit: &str, replaces| is_overtaken(&present, &registration(commit, replaces));
        assert!(overtaken("s3://b/t/_faisca/commit-0000000009.json", true));
        assert!(overtaken("s3://b/t/_faisca/commit-0000000009.json", false));
        assert!(!overtaken("s3://b/t/_faisca/commit-0000000010.json", true));
        assert!(!overtaken("s3://b/t/_faisca/commit-0000000011.json", false));
        assert!(!overtaken("s3://b/a/_faisca/commit-0000000001.json", true), "a table that moves to another folder");
        assert!(!is_overtaken(&table(&[]), &registration("s3://b/t/_faisca/commit-0000000001.json", true)));
    }
}
