//! Decides where the files of a catalog table are, below the folder of the table.
//!
//! Objects cannot be exchanged atomically. On an object store, an overwrite therefore goes to a new
//! subfolder, and one change in the catalog moves readers to it:
//!
//! ```text
//! gold/t/run-4f2a/part-0.parquet                 table's location: gold/t/run-4f2a/
//! gold/u/uf=SP/run-4f2a/part-0.parquet           partition's location: gold/u/uf=SP/run-4f2a/
//! ```
//!
//! An append goes to the present location of the table or partition; a new partition gets a
//! subfolder named after the last overwrite. Local folders are exchanged as a whole and need no
//! subfolders. Tables with partition projection have none either: their readers compute
//! `gold/u/uf=SP/`, and would miss files in subfolders, or see replaced ones.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use faisca_executor::protocol::PendingFile;
use faisca_executor::sink::{NULL_PARTITION, partition_folders};
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use percent_encoding::percent_decode_str;

use crate::catalog::{
    PartitionChange, PartitionLookup, PlannedTable, Registration, TableColumn, TablePartition,
    arrow_type, check_template, newest_overwrite,
};
use crate::error::{Error, Result};
use crate::output::commit::partition_folder;

/// Where a write puts its files, below the folder of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Subfolder of tables without partitions, and of partitions that `existing` does not name.
    /// Empty if the files are directly in the folder.
    pub(crate) subfolder: String,
    /// Partitions that exist and stay, by the `key=value` folders that a sink derives from their
    /// values. Values are compared by their types: `month=01` and `month=1` are one partition.
    pub(crate) existing: BTreeMap<String, ExistingPartition>,
}

/// A partition that exists before a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExistingPartition {
    /// Where its new files go, relative to the folder of the table.
    pub(crate) path: String,
    /// Its values, as the catalog spells them.
    pub(crate) values: Vec<String>,
}

/// Kind of storage that contains the folder of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// A folder of this machine, which a commit exchanges as a whole.
    Local,
    /// An object store.
    Objects,
}

impl Layout {
    /// Plans the layout of a table below `location`. `tag` identifies the write.
    ///
    /// # Errors
    /// Returns an error if an append would have to write outside `location`, where the present
    /// table or partition is, or if readers of the table would look for its partitions elsewhere.
    pub(crate) fn plan(
        write: &Write,
        location: &str,
        planned: &PlannedTable,
        tag: &str,
        storage: Storage,
    ) -> Result<Self> {
        let is_overwrite = write.mode == SaveMode::Overwrite;
        let mut layout = Self {
            subfolder: subfolder(write, planned, tag, storage),
            existing: BTreeMap::new(),
        };
        let relative = |path: &str| {
            let inside = with_slash(path)
                .strip_prefix(location)
                .map(|rest| rest.trim_end_matches('/').to_owned());
            inside.ok_or_else(|| {
                let table = &planned.registration;
                Error::Write(format!(
                    "catalog: the table {}.{} is at {path}, not below {location}; set write.path to \
                     where it is",
                    table.database, table.table.name
                ))
            })
        };
        if let Some(present) = planned.present.as_ref().filter(|_| !is_overwrite)
            && write.partition_by.is_empty()
        {
            layout.subfolder = relative(&present.location)?;
        }
        let is_dynamic = write.partition_overwrite == PartitionOverwrite::Dynamic;
        if !is_overwrite || is_dynamic {
            for partition in &planned.partitions {
                let path = match relative(&partition.location) {
                    // An overwrite moves the partitions that it writes to the new location.
                    Err(_) if is_overwrite => String::new(),
                    path => path?,
                };
                layout.add(planned, partition, path, is_overwrite)?;
            }
        }
        if planned.lookup == PartitionLookup::Projection {
            let table = &planned.registration.table;
            check_template(&table.parameters, location, &table.partition_keys)
                .map_err(|error| Error::TableParameters(error.into()))?;
        }
        Ok(layout)
    }

    /// Adds a partition that exists at `path`. An overwrite moves it to the subfolder.
    ///
    /// # Errors
    /// Returns an error if readers compute the locations of partitions, and would not find this
    /// one.
    fn add(
        &mut self,
        planned: &PlannedTable,
        partition: &TablePartition,
        path: String,
        is_overwrite: bool,
    ) -> Result<()> {
        let keys = &planned.registration.table.partition_keys;
        // A value that does not have its key's type cannot equal a written value.
        let Some(folders) = derived_folders(&planned.key_names, keys, &partition.values)? else {
            return Ok(());
        };
        if planned.lookup == PartitionLookup::Projection && path != folders {
            return Err(Error::Write(format!(
                "catalog: with partition projection, readers look for a partition in {folders}, but it \
                 is at {}; overwrite the whole table once",
                partition.location
            )));
        }
        let path = if is_overwrite {
            // The slash at the end marks the last name as a folder: `partition_folder` ignores file
            // names.
            let path = format!("{path}/");
            let present = match partition_folder(&path) {
                // The partition is outside the table's folder, or its folder does not contain its
                // values.
                "" => folders.as_str(),
                present => present,
            };
            join_paths([present, self.subfolder.as_str()])
        } else {
            path
        };
        let values = partition.values.clone();
        self.existing
            .insert(folders, ExistingPartition { path, values });
        Ok(())
    }

    /// Returns the paths of the partitions that exist, by derived folders, for the sinks.
    pub(crate) fn existing_paths(&self) -> BTreeMap<String, String> {
        let paths = self.existing.iter();
        paths
            .map(|(folders, partition)| (folders.clone(), partition.path.clone()))
            .collect()
    }

    /// Completes the registration once the files are known: locations, partitions and totals.
    pub(crate) fn registration(
        &self,
        write: &Write,
        location: &str,
        mut planned: Registration,
        files: &[PendingFile],
    ) -> Registration {
        let table = &mut planned.table;
        if table.partition_keys.is_empty() {
            table.location = folder_url(location, &self.subfolder);
            // An append does not know the totals of the table.
            if write.mode == SaveMode::Overwrite {
                let rows = files.iter().map(|file| file.rows).sum::<u64>();
                let bytes = files.iter().map(|file| file.bytes).sum::<u64>();
                table.parameters.extend([
                    ("numRows".to_owned(), rows.to_string()),
                    ("totalSize".to_owned(), bytes.to_string()),
                    ("numFiles".to_owned(), files.len().to_string()),
                ]);
            }
            return planned;
        }
        // Only the partitions point to the subfolders; new partitions may be anywhere below.
        table.location = location.to_owned();
        // A static overwrite replaces the whole table, so partitions without new files are removed.
        let removes_others = write.mode == SaveMode::Overwrite
            && write.partition_overwrite == PartitionOverwrite::Static;
        let put = self.written_partitions(location, files);
        planned.partitions = Some(PartitionChange {
            put,
            removes_others,
        });
        planned
    }

    /// Returns the partitions that contain `files`, each once.
    fn written_partitions(&self, location: &str, files: &[PendingFile]) -> Vec<TablePartition> {
        let existing: BTreeMap<&str, &Vec<String>> = self
            .existing
            .values()
            .map(|partition| (partition.path.as_str(), &partition.values))
            .collect();
        let mut written = BTreeMap::new();
        for file in files {
            let path = file.path.rsplit_once('/').map_or("", |(path, _)| path);
            let values = match existing.get(path) {
                Some(values) => (*values).clone(),
                None => values(partition_folder(&file.path)),
            };
            written.insert(folder_url(location, path), values);
        }
        written
            .into_iter()
            .map(|(location, values)| TablePartition { values, location })
            .collect()
    }
}

/// Returns the subfolder of new partitions, and of a table without partitions that is overwritten.
fn subfolder(write: &Write, planned: &PlannedTable, tag: &str, storage: Storage) -> String {
    if storage == Storage::Local || planned.lookup == PartitionLookup::Projection {
        return String::new();
    }
    if write.mode == SaveMode::Overwrite {
        return format!("run-{tag}");
    }
    // The folder of a partition that an overwrite removed may still contain its files, and readers
    // descend into subfolders: new files therefore go to a subfolder. It is named after the last
    // overwrite, so that two concurrent appends choose the same one.
    let newest = planned.present.as_ref().and_then(newest_overwrite);
    newest.map_or_else(String::new, |number| format!("run-{number}"))
}

/// Returns the `key=value` folders that a sink derives from the values of a partition. `None` if a
/// value is not of the type of its key.
///
/// # Errors
/// Returns an error if a key has an unsupported type.
fn derived_folders(
    names: &[String],
    keys: &[TableColumn],
    values: &[String],
) -> Result<Option<String>> {
    let mut columns: Vec<ArrayRef> = vec![];
    for (key, value) in keys.iter().zip(values) {
        let data_type =
            arrow_type(&key.hive_type).map_err(|e| Error::column(&key.name)(e).at("catalog"))?;
        let scalar = match value.as_str() {
            NULL_PARTITION => ScalarValue::try_from(&data_type)?,
            value => match ScalarValue::try_from_string(value.to_owned(), &data_type) {
                Ok(scalar) => scalar,
                Err(_) => return Ok(None),
            },
        };
        columns.push(scalar.to_array()?);
    }
    let names = names.iter().map(String::as_str);
    Ok(Some(partition_folders(names, &columns, 0)?))
}

/// Joins the parts of a path that are not empty.
fn join_paths<const N: usize>(parts: [&str; N]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

/// Returns the URL of a folder below `location`, with a slash at the end.
fn folder_url(location: &str, path: &str) -> String {
    if path.is_empty() {
        location.to_owned()
    } else {
        format!("{location}{path}/")
    }
}

/// Returns the partition values in a path of `key=value` folders: `1` and `x/y` in `a=1/b=x%2Fy`.
pub(crate) fn values(folder: &str) -> Vec<String> {
    let value = |part: &str| {
        percent_decode_str(part.split_once('=').map_or("", |(_, value)| value))
            .decode_utf8_lossy()
            .into_owned()
    };
    folder.split('/').map(value).collect()
}

/// Returns a location with exactly one slash at the end, and with `s3://` for `s3a://`.
fn with_slash(location: &str) -> String {
    format!("{}/", known_scheme(location.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_from_the_names_of_folders() {
        assert_eq!(values("uf=SP/c=a%2Fb"), ["SP", "a/b"]);
        assert_eq!(
            values("uf=__HIVE_DEFAULT_PARTITION__"),
            ["__HIVE_DEFAULT_PARTITION__"]
        );
    }

    fn keys(hive_type: &str) -> [TableColumn; 1] {
        [TableColumn {
            name: "k".to_owned(),
            hive_type: hive_type.to_owned(),
            comment: None,
        }]
    }

    #[test]
    fn partitions_are_found_by_value_in_every_spelling() {
        let folder = |hive_type: &str, value: &str| {
            let values = [value.to_owned()];
            derived_folders(&["K".to_owned()], &keys(hive_type), &values).unwrap()
        };
        for (hive_type, spellings, expected) in [
            ("int", &["7", "07", "007"][..], "K=7"),
            ("string", &["07"], "K=07"),
            ("decimal(10,2)", &["1.5", "1.50", "01.50"], "K=1.50"),
            ("double", &["Infinity", "inf", "INF"], "K=Infinity"),
            ("double", &["-Infinity", "-inf"], "K=-Infinity"),
            ("double", &["1", "1.0", "1e0"], "K=1.0"),
            ("boolean", &["true", "TRUE"], "K=true"),
            (
                "timestamp",
                &[
                    "2024-02-29 13:14:15",
                    "2024-02-29T13:14:15",
                    "2024-02-29T13:14:15Z",
                    "2024-02-29 13:14:15.000",
                ],
                "K=2024-02-29 13%3A14%3A15",
            ),
            ("date", &["2024-02-29"], "K=2024-02-29"),
            ("int", &[NULL_PARTITION], "K=__HIVE_DEFAULT_PARTITION__"),
        ] {
            for value in spellings {
                let derived = folder(hive_type, value);
                assert_eq!(derived.as_deref(), Some(expected), "{hive_type} {value}");
            }
        }
        assert_eq!(folder("int", "abc"), None);
    }

    #[test]
    fn files_in_the_folder_of_a_partition_keep_its_values() {
        let file = |path: &str| PendingFile {
            path: path.to_owned(),
            rows: 1,
            bytes: 1,
            upload: None,
        };
        let existing = ExistingPartition {
            path: "UF=SP/run-1".to_owned(),
            values: vec!["SP".to_owned()],
        };
        let layout = Layout {
            subfolder: String::new(),
            existing: BTreeMap::from([("uf=SP".to_owned(), existing)]),
        };
        let files = ["UF=SP/run-1/a", "UF=SP/run-1/b", "uf=a%2Fb/c"].map(file);
        let written = layout.written_partitions("s3://lake/t/", &files);
        let partition = |value: &str, location: &str| TablePartition {
            values: vec![value.to_owned()],
            location: location.to_owned(),
        };
        assert_eq!(
            written,
            [
                partition("SP", "s3://lake/t/UF=SP/run-1/"),
                partition("a/b", "s3://lake/t/uf=a%2Fb/"),
            ]
        );
    }
}
