//! Determines, by commit records, which objects below a path are not current files of a table.
//!
//! An overwrite may keep the files that it replaces for some time, for queries that still read
//! them. A catalog points readers past these files; a reader by path has only the commit record.
//!
//! ```text
//!   t/_faisca/commit-2.json   replaced: run-1/a        listed   run-1/a   run-2/b
//!                             files:    run-2/b        read               run-2/b
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStore};

use super::DfResult;
use crate::commit_record::{CommitRecord, FOLDER, ReadError, State, key, key_below, version};
use crate::error::{Error, external};

/// Prefix of the names of the subfolders that overwrites of catalog tables write to.
const RUN_FOLDER: &str = "run-";

/// The tables with commit records at a path, and the objects that their records leave out.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// Folders of the tables.
    tables: Vec<Path>,
    /// Keys of objects that are hidden from readers by path.
    hidden: HashSet<String>,
    /// Keys of the files of the newest commits, which must exist.
    current: BTreeSet<Path>,
    /// Whether a listed record no longer existed when it was read.
    is_outdated: bool,
}

impl Commits {
    /// Reads the newest record of each table that `objects`, a listing of `prefix`, shows. If
    /// `prefix` is inside a table, reads its record, too.
    ///
    /// Sends one request for each table, and another one if `prefix` is inside a table.
    ///
    /// # Errors
    /// Returns an error if the store fails, a record cannot be parsed, or it names objects outside
    /// of its folder.
    pub(crate) async fn read(
        store: &Arc<dyn ObjectStore>,
        prefix: &Path,
        objects: &[ObjectMeta],
    ) -> DfResult<Self> {
        let mut newest: BTreeMap<Path, u64> = BTreeMap::new();
        let mut add_records = |objects: &[ObjectMeta]| {
            for (table, version) in objects.iter().filter_map(|meta| record_at(&meta.location)) {
                let newest = newest.entry(table).or_default();
                *newest = version.max(*newest);
            }
        };
        add_records(objects);
        if let Some(table) = enclosing_table(prefix) {
            let folder = table.join(FOLDER);
            add_records(&store.list(Some(&folder)).try_collect::<Vec<_>>().await?);
        }
        let mut commits = Self::default();
        for (table, version) in newest {
            commits.add(store, table, version).await?;
        }
        Ok(commits)
    }

    async fn add(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        table: Path,
        version: u64,
    ) -> DfResult<()> {
        let record = match CommitRecord::read(store, &table, version).await {
            Ok(record) => record,
            // The record was deleted: a commit that can never be finished is undone.
            Err(ReadError::Store(object_store::Error::NotFound { .. })) => {
                self.is_outdated = true;
                return Ok(());
            }
            Err(ReadError::Store(error)) => return Err(error.into()),
            Err(ReadError::Record(error)) => {
                return Err(external(Error::CommitRecord {
                    url: table.to_string(),
                    key: key(&table, version).to_string(),
                    source: error.into(),
                }));
            }
        };
        let files = record.files.iter();
        let files: Vec<Path> = files
            .map(|file| Path::parse(key_below(&table, &file.path)))
            .collect::<Result<_, _>>()
            .map_err(object_store::Error::from)?;
        let kept = record.kept.into_iter().flat_map(|kept| kept.keys);
        self.hidden.extend(kept);
        // Until all files of a commit exist, readers see the table as it was before.
        if record.state == State::Completing {
            self.hidden
                .extend(files.into_iter().map(|file| file.to_string()));
        } else {
            self.hidden.extend(record.remove);
            self.current.extend(files);
        }
        self.tables.push(table);
        Ok(())
    }

    /// Returns true if readers of a path see the object.
    pub(crate) fn shows(&self, key: &Path) -> bool {
        !self.hidden.contains(key.as_ref())
    }

    /// Returns true if `folder`, a parent of the file `key`, is only the subfolder of one
    /// overwrite. Its files belong to the folder above it.
    pub(super) fn is_run_folder(&self, folder: &str, key: &Path) -> bool {
        folder.starts_with(RUN_FOLDER) && self.tables.iter().any(|table| key.prefix_matches(table))
    }

    /// Returns true if a listing of `prefix` contains all files of the newest commits. A listing
    /// may have begun before a commit that ended since.
    pub(super) fn matches(&self, prefix: &Path, objects: &[ObjectMeta]) -> bool {
        let listed: HashSet<&Path> = objects.iter().map(|meta| &meta.location).collect();
        let mut current = self.current.iter();
        !self.is_outdated
            && current.all(|file| !file.prefix_matches(prefix) || listed.contains(file))
    }
}

/// Returns the table and the version of a commit record; `None` for other objects.
fn record_at(location: &Path) -> Option<(Path, u64)> {
    let parts: Vec<PathPart<'_>> = location.parts().collect();
    let [table @ .., folder, _] = parts.as_slice() else {
        return None;
    };
    if folder.as_ref() != FOLDER {
        return None;
    }
    let table = Path::from_iter(table.iter().cloned());
    version(&table, location).map(|version| (table, version))
}

/// Returns the folder that is the table of `prefix`, if the names say that `prefix` is inside one.
fn enclosing_table(prefix: &Path) -> Option<Path> {
    let parts: Vec<PathPart<'_>> = prefix.parts().collect();
    let is_inside = |part: &PathPart<'_>| {
        let name = part.as_ref();
        name.contains('=') || name.starts_with(RUN_FOLDER)
    };
    let depth = parts.iter().rposition(|part| !is_inside(part))? + 1;
    (depth < parts.len()).then(|| Path::from_iter(parts.into_iter().take(depth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_partition_is_above_its_keys() {
        for (prefix, table) in [
            ("lake/t/k=1/j=2/run-a", Some("lake/t")),
            ("lake/t/run-a", Some("lake/t")),
            ("lake/t", None),
            ("k=1", None),
            ("lake/k=1/t", None),
        ] {
            let enclosing = enclosing_table(&Path::from(prefix));
            assert_eq!(enclosing, table.map(Path::from), "{prefix}");
        }
    }

    #[test]
    fn records_name_their_table() {
        let record = Path::from("lake/t/_faisca/commit-0000000007.json");
        assert_eq!(record_at(&record), Some((Path::from("lake/t"), 7)));
        assert_eq!(record_at(&Path::from("lake/t/_faisca/probe-1")), None);
        assert_eq!(record_at(&Path::from("t/commit-0000000007.json")), None);
    }
}
