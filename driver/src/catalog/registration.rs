//! The registration of a table in a catalog, in steps that any process can repeat.
//!
//! A commit record contains a [`Registration`]. If the job dies after the record is written, the
//! next job that finds the record registers the table.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use faisca_executor::sink::Sketches;
use faisca_planner::manifest::{CatalogKind, OnSchemaChange};
use serde::{Deserialize, Serialize};

use super::catalogs::Catalogs;
use super::definition::{
    Catalog, ChangeOutcome, ColumnStatistics, OldVersion, TableDefinition, TablePartition,
};
use crate::error::{Error, Result};

/// Parameter of a table that names the commit record of its newest overwrite.
const COMMIT: &str = "faisca.commit";
/// Parameters that describe the content of a table. A write removes those that it does not set,
/// because they describe the old content.
const TOTALS: [&str; 7] = [
    "numRows",
    "numFiles",
    "totalSize",
    "rawDataSize",
    // Those of Glue's crawler.
    "recordCount",
    "objectCount",
    "sizeKey",
];
/// Maximum number of attempts to change a table while other writers change it, too.
const UPDATE_ATTEMPTS_MAX: usize = 10;

/// All that a process needs to register a table. It is stored in a commit record, so the names of
/// its fields are part of the format of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The catalog.
    pub(crate) kind: CatalogKind,
    /// Name of the database, in lower case.
    pub(crate) database: String,
    /// Whether to create the database if it is missing.
    pub(crate) create_database: bool,
    /// Whether Glue keeps no older version of the definition.
    pub(crate) skip_archive: bool,
    /// How columns that differ from the present ones are treated.
    pub(crate) on_schema_change: OnSchemaChange,
    /// The definition. It is merged with the present one.
    pub(crate) table: TableDefinition,
    /// Change of the partitions. `None` if they stay as they are.
    pub(crate) partitions: Option<PartitionChange>,
    /// Statistics of the columns. Empty if the write did not request them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) statistics: Vec<ColumnStatistics>,
    /// URL of the commit record that contains this. `None` for writes to local folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
}

impl Registration {
    /// Creates the registration of a table, without partitions and statistics, in a database that
    /// exists.
    pub(crate) fn new(
        kind: CatalogKind,
        database: String,
        table: TableDefinition,
        on_schema_change: OnSchemaChange,
    ) -> Self {
        Self {
            kind,
            database,
            create_database: false,
            skip_archive: false,
            on_schema_change,
            table,
            partitions: None,
            statistics: vec![],
            commit: None,
        }
    }

    /// Adds the statistics of the columns, from the sketches that the tasks of the write produced.
    ///
    /// # Errors
    /// If a sketch cannot be decoded.
    pub(crate) fn describe(&mut self, schema: &SchemaRef, tasks: &[Bytes]) -> Result<()> {
        let mut sketches = Sketches::new(schema)?;
        tasks.iter().try_for_each(|task| sketches.merge(task))?;
        for summary in sketches.summaries()? {
            let column = summary.name.to_lowercase();
            // Partition keys are not in the files; the catalog has no statistics of them.
            let Some(known) = self.table.columns.iter().find(|c| c.name == column) else {
                continue;
            };
            let (nulls, distinct, values) = (summary.nulls, summary.distinct, summary.values);
            self.statistics.push(ColumnStatistics {
                hive_type: known.hive_type.clone(),
                column,
                nulls,
                distinct,
                values,
            });
        }
        Ok(())
    }

    /// Returns true if both register the same table.
    pub(crate) fn names_same_table(&self, other: &Self) -> bool {
        let name = |r: &Self| (r.kind, r.database.clone(), r.table.name.clone());
        name(self) == name(other)
    }

    /// Returns this registration as part of a commit. `commit` is the URL of its record, and
    /// `replaces` says whether the commit is an overwrite.
    pub(crate) fn with_commit(mut self, commit: String, replaces: bool) -> Self {
        // An append does not move the table, so it never makes an earlier commit obsolete.
        if replaces {
            self.table
                .parameters
                .insert(COMMIT.to_owned(), commit.clone());
        }
        self.commit = Some(commit);
        self
    }
}

/// Returns the number of the commit that overwrote a table last, in the digits of its record.
/// `None` if no commit did.
pub(crate) fn newest_overwrite(table: &TableDefinition) -> Option<&str> {
    let (_, record) = table.parameters.get(COMMIT)?.rsplit_once('/')?;
    record.strip_prefix("commit-")?.strip_suffix(".json")
}

/// How a registration changes the partitions of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionChange {
    /// Partitions to create or replace.
    pub(crate) put: Vec<TablePartition>,
    /// Whether all other partitions are removed.
    #[serde(rename = "only")]
    pub(crate) removes_others: bool,
}

/// Returns the definition after a write. Comments and parameters that others added to the table
/// stay, unless the registration replaces them.
pub(super) fn merge_definitions(
    present: &TableDefinition,
    registration: &Registration,
) -> TableDefinition {
    let mut next = registration.table.clone();
    let mut parameters = present.parameters.clone();
    parameters.retain(|name, _| !TOTALS.contains(&name.as_str()));
    parameters.extend(next.parameters);
    next.parameters = parameters;
    next.comment = next.comment.or_else(|| present.comment.clone());
    for column in &mut next.columns {
        if column.comment.is_none() {
            column.comment = present
                .columns
                .iter()
                .find(|c| c.name == column.name)
                .and_then(|c| c.comment.clone());
        }
    }
    if registration.on_schema_change == OnSchemaChange::AddColumns {
        // Old columns stay, in their order: they are null in files that do not have them.
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

/// Returns true if a later commit has overwritten the table already.
///
/// A writer may be suspended between its commit and its registration. When it continues, it must
/// not return the table to its older files.
fn is_overtaken(present: &TableDefinition, registration: &Registration) -> bool {
    let (Some(newest), Some(commit)) = (present.parameters.get(COMMIT), &registration.commit)
    else {
        return false;
    };
    let folder = |commit: &str| commit.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    // Records of one folder have numbers of fixed width, so the order of the names is that of the
    // commits. Records of different folders have no order: the table was moved on purpose.
    folder(newest) == folder(commit) && newest > commit
}

impl Catalogs {
    /// Returns where the table that a registration names is now; `None` if there is none.
    ///
    /// # Errors
    /// If the catalog fails.
    pub(crate) async fn present_location(
        &self,
        registration: &Registration,
    ) -> Result<Option<String>> {
        let catalog = self.get(registration.kind).await;
        let table = (catalog.as_ref())
            .table(&registration.database, &registration.table.name)
            .await?;
        Ok(table.map(|(present, _)| present.location))
    }

    /// Creates or updates a table, its statistics and its partitions. Can be repeated, also by
    /// several processes at once.
    ///
    /// The definition comes first, since partitions need a table. New partitions are added before
    /// old ones are removed, so a reader never misses one that was only moved. Does nothing if a
    /// later commit has overwritten the table.
    ///
    /// # Errors
    /// If the catalog fails, or other writers change the table during all attempts.
    pub(crate) async fn register(&self, registration: &Registration) -> Result<()> {
        let catalog = self.get(registration.kind).await;
        let (database, name) = (
            registration.database.as_str(),
            registration.table.name.as_str(),
        );
        if registration.create_database && !catalog.database_exists(database).await? {
            catalog.create_database(database).await?;
        }
        let (definition, is_new) = match put_table(catalog.as_ref(), registration).await? {
            Put::Created(definition) => (definition, true),
            Put::Updated(definition) => (definition, false),
            Put::Overtaken => return Ok(()),
        };
        // Statistics of older rows are wrong, so they are removed even without new ones.
        if (!is_new || !registration.statistics.is_empty())
            && let Err(error) = catalog
                .replace_statistics(database, &definition, &registration.statistics)
                .await
        {
            // Statistics make queries faster, but no result depends on them.
            tracing::warn!(
                "the statistics of {database}.{name} may be those of older rows: {error}"
            );
        }
        let Some(change) = &registration.partitions else {
            return Ok(());
        };
        catalog
            .put_partitions(database, &definition, &change.put)
            .await?;
        if change.removes_others {
            // Read now, and not when the write was planned: others may have added partitions since.
            let present = catalog.partitions(database, name).await?;
            let replaced = present
                .into_iter()
                .map(|p| p.values)
                .filter(|values| !change.put.iter().any(|p| p.values == *values));
            catalog
                .delete_partitions(database, name, &replaced.collect::<Vec<_>>())
                .await?;
        }
        Ok(())
    }
}

/// What a registration did with the definition of its table.
enum Put {
    /// The table is new.
    Created(TableDefinition),
    /// The table existed. Its definition may be the same as before.
    Updated(TableDefinition),
    /// A later commit has overwritten the table, and nothing was changed.
    Overtaken,
}

/// Writes the definition of the table, merged with the present one, and returns it.
///
/// # Errors
/// If the catalog fails, or every attempt was a conflict.
async fn put_table(catalog: &dyn Catalog, registration: &Registration) -> Result<Put> {
    let database = registration.database.as_str();
    let old = if registration.skip_archive {
        OldVersion::Discarded
    } else {
        OldVersion::Archived
    };
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let (put, changed) = match catalog.table(database, &registration.table.name).await? {
            None => (
                Put::Created(registration.table.clone()),
                catalog.create_table(database, &registration.table).await?,
            ),
            Some((present, _)) if is_overtaken(&present, registration) => {
                return Ok(Put::Overtaken);
            }
            Some((present, version)) => {
                let next = merge_definitions(&present, registration);
                // A repeated registration changes nothing, and adds no version to Glue's archive.
                if next == present {
                    return Ok(Put::Updated(next));
                }
                let changed = catalog.update_table(database, &next, &version, old).await?;
                (Put::Updated(next), changed)
            }
        };
        if changed == ChangeOutcome::Applied {
            return Ok(put);
        }
    }
    let name = &registration.table.name;
    Err(Error::Conflict(format!(
        "catalog: other writers changed {database}.{name} during each of {UPDATE_ATTEMPTS_MAX} attempts to \
         register it; run the job again to finish"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::definition::tests::table;
    use super::*;

    fn registration(table: TableDefinition, on_schema_change: OnSchemaChange) -> Registration {
        Registration::new(CatalogKind::Local, "d".to_owned(), table, on_schema_change)
    }

    #[test]
    fn comments_and_parameters_of_others_stay() {
        let mut present = table(&[("a", "int"), ("b", "string")]);
        present.comment = Some("theirs".to_owned());
        present.columns[0].comment = Some("an a".to_owned());
        present
            .parameters
            .insert("owner.team".to_owned(), "x".to_owned());
        let registration = registration(
            table(&[("c", "date"), ("a", "int")]),
            OnSchemaChange::AddColumns,
        );
        let next = merge_definitions(&present, &registration);
        let names: Vec<_> = next.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(next.comment.as_deref(), Some("theirs"));
        assert_eq!(next.columns[0].comment.as_deref(), Some("an a"));
        assert!(next.parameters.contains_key("owner.team"));
    }

    #[test]
    fn totals_of_older_rows_do_not_stay() {
        let totals = |rows: &str| {
            let mut definition = table(&[("a", "int")]);
            let parameters = [("numRows", rows), ("recordCount", rows), ("owner", "x")];
            for (name, value) in parameters
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
            {
                definition
                    .parameters
                    .insert(name.to_owned(), value.to_owned());
            }
            definition
        };
        let rows = |next: &str| {
            let next = registration(totals(next), OnSchemaChange::Fail);
            let merged = merge_definitions(&totals("10"), &next);
            assert!(merged.parameters.contains_key("owner"));
            merged.parameters.get("numRows").cloned()
        };
        assert_eq!(rows(""), None);
        assert_eq!(rows("3000").as_deref(), Some("3000"));
    }

    #[test]
    fn a_writer_that_was_overtaken_leaves_the_table() {
        let commit = |commit: &str, replaces| {
            registration(table(&[("a", "int")]), OnSchemaChange::Fail)
                .with_commit(commit.to_owned(), replaces)
        };
        let present = commit("s3://b/t/_faisca/commit-0000000010.json", true).table;
        assert_eq!(newest_overwrite(&present), Some("0000000010"));
        assert_eq!(newest_overwrite(&table(&[])), None);
        let overtaken = |name: &str, replaces| is_overtaken(&present, &commit(name, replaces));
        assert!(overtaken("s3://b/t/_faisca/commit-0000000009.json", true));
        assert!(overtaken("s3://b/t/_faisca/commit-0000000009.json", false));
        assert!(!overtaken("s3://b/t/_faisca/commit-0000000010.json", true));
        assert!(!overtaken("s3://b/t/_faisca/commit-0000000011.json", false));
        assert!(
            !overtaken("s3://b/a/_faisca/commit-0000000001.json", true),
            "a table that moves to another folder"
        );
        assert!(!is_overtaken(
            &table(&[]),
            &commit("s3://b/t/_faisca/commit-0000000001.json", true)
        ));
    }
}
