//! Where the files of a catalog's table are, below the folder of the table.
//!
//! Objects cannot be exchanged atomically. On an object store, an overwrite therefore goes to a new
//! subfolder, and one change in the catalog moves readers to it:
//!
//! ```text
//! gold/t/run-4f2a/part-0.parquet                 table's location: gold/t/run-4f2a/
//! gold/u/uf=SP/run-4f2a/part-0.parquet           partition's location: gold/u/uf=SP/run-4f2a/
//! ```
//!
//! An append goes to the present location of the table or partition. Local folders are exchanged as
//! a whole and need no subfolders.

use std::collections::{BTreeMap, BTreeSet};

use faisca_executor::protocol::PendingFile;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};
use percent_encoding::percent_decode_str;

use crate::catalog::{PartitionChange, PlannedTable, Registration, TablePartition};
use crate::error::{Error, Result};
use crate::output::commit::partition_folder;

/// Subfolders between the folders of the partitions and the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Subfolder of tables without partitions, and of partitions that `subfolders` does not name.
    /// Empty if the files are directly in the folder.
    pub(crate) subfolder: String,
    /// Subfolders of existing partitions, by the `key=value` folders of the partition.
    pub(crate) subfolders: BTreeMap<String, String>,
}

impl Layout {
    /// Plans the layout of a table below `location`, on an object store. `tag` identifies the
    /// write.
    ///
    /// # Errors
    /// If an append would have to write outside `location`, where the present table or partition
    /// is.
    pub(crate) fn plan(
        write: &Write,
        location: &str,
        planned: &PlannedTable,
        tag: &str,
    ) -> Result<Self> {
        if write.mode == SaveMode::Overwrite {
            return Ok(Self {
                subfolder: format!("run-{tag}"),
                subfolders: BTreeMap::new(),
            });
        }
        let below = |place: &str| {
            let inside = slashed(place)
                .strip_prefix(location)
                .map(|rest| rest.trim_end_matches('/').to_owned());
            inside.ok_or_else(|| {
                let what = format!(
                    "the table {}.{} is at {place}",
                    planned.registration.database, planned.registration.table.name
                );
                Error::Write(format!(
                    "catalog: {what}, not below {location}; set write.path to where it is"
                ))
            })
        };
        let mut layout = Self::default();
        match &planned.present {
            Some(present) if write.partition_by.is_empty() => {
                layout.subfolder = below(&present.location)?
            }
            Some(_) => {
                for partition in &planned.partitions {
                    let place = below(&partition.location)?;
                    // The slash marks the last folder as one; `partition_folder` ignores a file
                    // name.
                    let folder = partition_folder(&format!("{place}/")).to_owned();
                    layout.subfolders.insert(
                        folder.clone(),
                        // What follows the `key=value` folders is the subfolder of an earlier
                        // overwrite.
                        place[folder.len()..].trim_matches('/').to_owned(),
                    );
                }
            }
            None => {}
        }
        Ok(layout)
    }

    /// Returns the subfolder of a partition, given its `key=value` folders.
    fn of(&self, folder: &str) -> &str {
        self.subfolders.get(folder).unwrap_or(&self.subfolder)
    }

    /// Returns what the catalog registers, once the files are known: locations, partitions and
    /// totals.
    pub(crate) fn registration(
        &self,
        write: &Write,
        location: &str,
        mut planned: Registration,
        files: &[PendingFile],
    ) -> Registration {
        let place = |folder: &str| {
            let parts = [folder, self.of(folder)]
                .into_iter()
                .filter(|part| !part.is_empty());
            parts.fold(location.to_owned(), |place, part| format!("{place}{part}/"))
        };
        let keys = planned.table.partition_keys.len();
        if keys == 0 {
            planned.table.location = place("");
            let sum = |of: fn(&PendingFile) -> u64| files.iter().map(of).sum::<u64>().to_string();
            // An append does not know the totals of the table.
            if write.mode == SaveMode::Overwrite {
                planned
                    .table
                    .parameters
                    .insert("numRows".to_owned(), sum(|f| f.rows));
                planned
                    .table
                    .parameters
                    .insert("totalSize".to_owned(), sum(|f| f.bytes));
                planned
                    .table
                    .parameters
                    .insert("numFiles".to_owned(), files.len().to_string());
            }
            return planned;
        }
        // Only the partitions point to the subfolders; new partitions may be anywhere below.
        planned.table.location = location.to_owned();
        let folders: BTreeSet<&str> = files
            .iter()
            .map(|file| partition_folder(&file.path))
            .collect();
        let put = folders
            .into_iter()
            .map(|folder| TablePartition {
                values: values(folder),
                location: place(folder),
            })
            .collect();
        // A static overwrite replaces the whole table, so partitions without new files are removed.
        let only = write.mode == SaveMode::Overwrite
            && write.partition_overwrite == PartitionOverwrite::Static;
        planned.partitions = Some(PartitionChange { put, only });
        planned
    }
}

/// Returns the values in a path of partition folders: `1` and `x/y` in `a=1/b=x%2Fy`.
pub(crate) fn values(folder: &str) -> Vec<String> {
    let value = |part: &str| {
        percent_decode_str(part.split_once('=').map_or("", |(_, value)| value))
            .decode_utf8_lossy()
            .into_owned()
    };
    folder.split('/').map(value).collect()
}

/// Returns a location with exactly one slash at the end, and with `s3://` for `s3a://`.
fn slashed(place: &str) -> String {
    format!("{}/", known_scheme(place.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_the_folders_say() {
        assert_eq!(values("uf=SP/c=a%2Fb"), ["SP", "a/b"]);
        assert_eq!(
            values("uf=__HIVE_DEFAULT_PARTITION__"),
            ["__HIVE_DEFAULT_PARTITION__"]
        );
    }
}
