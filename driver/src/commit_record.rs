//! The commit record: a small object whose creation decides that a write to an object store
//! happens.
//!
//! ```text
//! out/_faisca/commit-0000000007.json     created only if absent: of two writers one wins
//!   completing ─► uploads completed ─► table registered ─► removing ─► old files removed ─► done
//! ```
//!
//! Each step can be repeated, so any process that finds an unfinished record can complete it.
//!
//! **A record is data, not an order.** Anyone who may write to the folder may have written the
//! record, and the job that completes it may have more rights. So a record that was read is checked
//! before it is used: every name in it lies inside the folder.

use std::collections::BTreeSet;
use std::time::Duration;

use faisca_executor::protocol::PendingFile;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::catalog::Registration;
use crate::visibility::is_visible;
use crate::write_identity::{CommittedWrite, CommittedWrites, WriteId, now};

/// Why a commit record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is not the JSON of a record.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its format is unknown to this version.
    #[error("format {format} is not {FORMAT}: written by another version of faisca")]
    OtherFormat { format: u32 },
    #[error("it has {bytes} bytes, and at most {RECORD_BYTES_MAX} are read")]
    TooLarge { bytes: u64 },
    /// It names something outside of its folder.
    #[error("`{name}` is not {expected}; if faisca did not write the record, remove it")]
    Foreign {
        /// What the name should be.
        expected: &'static str,
        name: String,
    },
}

/// Why a commit record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The store failed, or has no such record.
    #[error(transparent)]
    Store(#[from] object_store::Error),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl RecordError {
    fn foreign(name: &str, expected: &'static str) -> Self {
        let name = name.to_owned();
        Self::Foreign { expected, name }
    }
}

/// Bytes of the largest record that is read. One that names 100,000 files has about 50 MiB.
const RECORD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Folder of the records, below the output. Readers skip names that begin with an underscore.
pub(crate) const FOLDER: &str = "_faisca";
/// Version of the format of a record.
const FORMAT: u32 = 1;
/// Characters of the shortest tag. A shorter one could be part of the names of other writes.
const TAG_CHARS_MIN: usize = 8;

/// The next step of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Complete the uploads and register the table. Files may be missing.
    Completing,
    /// Remove the files that were replaced. All new files exist.
    Removing,
    /// Nothing is left to do, except to remove replaced files at a later time.
    Done,
}

/// One committed write, as it is stored in JSON. Changes of the format need a new `FORMAT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommitRecord {
    /// Version of the format. Another version of faisca may have written the record.
    pub(crate) format: u32,
    pub(crate) state: State,
    /// Part of the name of every file of this write.
    pub(crate) tag: String,
    /// Files of the write, by their paths below the output.
    pub(crate) files: Vec<PendingFile>,
    /// Whether the write is an overwrite.
    pub(crate) replaces: bool,
    /// Keys of the objects that the write replaces.
    pub(crate) remove: Vec<String>,
    /// When these objects may be removed, in seconds since 1970. Zero means at once.
    pub(crate) remove_at: u64,
    /// Objects that earlier commits replaced, and that were still kept when this one began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<KeptObjects>,
    /// Table to register, if any.
    pub(crate) registration: Option<Registration>,
    /// Whether to add an empty `_SUCCESS` object.
    pub(crate) success_file: bool,
    /// This write, if it has an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) write: Option<CommittedWrite>,
    /// Writes of earlier commits. The newest record names them all, so that no other is read.
    #[serde(default, skip_serializing_if = "CommittedWrites::is_empty")]
    pub(crate) earlier: CommittedWrites,
}

/// Objects that one commit replaced, and that stay for queries that still read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptObjects {
    /// Keys of the objects.
    pub(crate) keys: Vec<String>,
    /// When they may be removed, in seconds since 1970.
    pub(crate) remove_at: u64,
}

impl CommitRecord {
    /// Creates the record of an append without a table; the caller sets what differs.
    pub(crate) fn new(tag: String, files: Vec<PendingFile>) -> Self {
        let (state, replaces, registration) = (State::Completing, false, None);
        Self {
            format: FORMAT,
            state,
            tag,
            files,
            replaces,
            remove: vec![],
            remove_at: 0,
            kept: vec![],
            registration,
            success_file: false,
            write: None,
            earlier: CommittedWrites::default(),
        }
    }

    /// Returns the write with this identity, if this commit or one before it has committed it.
    pub(crate) fn find_write(&self, id: &WriteId) -> Option<&CommittedWrite> {
        let own = self.write.as_ref().filter(|write| write.id == *id);
        own.or_else(|| self.earlier.find(id))
    }

    /// Returns the writes that the record of the next commit names as earlier ones.
    pub(crate) fn remembered_writes(&self) -> CommittedWrites {
        self.earlier.clone().with(self.write.clone(), now())
    }

    /// Returns the record of a finished commit, without what only the commit itself needed: uploads
    /// and registration. Later writers still need the files and the objects to remove.
    pub(crate) fn into_ended(mut self) -> Self {
        self.state = State::Done;
        self.registration = None;
        for file in &mut self.files {
            file.upload = None;
        }
        self
    }

    /// Returns the objects that this commit and earlier ones replaced and that are still there.
    pub(crate) fn all_kept(&self) -> Vec<KeptObjects> {
        let mut all = self.kept.clone();
        if !self.remove.is_empty() {
            all.push(KeptObjects {
                keys: self.remove.clone(),
                remove_at: self.remove_at,
            });
        }
        all
    }

    /// Leaves each object in one of the two lists: those kept since earlier commits, and those that
    /// this commit removes after `retention`.
    pub(crate) fn part_kept_and_removed(&mut self, retention: Duration) {
        if retention.is_zero() {
            let removed: BTreeSet<&String> = self.remove.iter().collect();
            for kept in &mut self.kept {
                kept.keys.retain(|key| !removed.contains(key));
            }
        } else {
            // They keep their own time: a table that is overwritten often would otherwise keep all
            // of its files.
            let kept: BTreeSet<&String> = self.kept.iter().flat_map(|kept| &kept.keys).collect();
            self.remove.retain(|key| !kept.contains(key));
        }
        self.kept.retain(|kept| !kept.keys.is_empty());
    }

    /// Takes the keys of the objects that may be removed now, in seconds since 1970. The record
    /// then names the others only.
    pub(crate) fn take_due(&mut self, now: u64) -> Vec<String> {
        let mut due = vec![];
        if self.remove_at <= now {
            due.append(&mut self.remove);
        }
        self.kept.retain_mut(|kept| {
            let stays = kept.remove_at > now;
            if !stays {
                due.append(&mut kept.keys);
            }
            stays
        });
        due
    }

    /// Reads the record of a version of `target`, and checks that its objects are below it.
    ///
    /// # Errors
    /// If the store fails, or the record is too large, not valid, or names objects elsewhere.
    pub(crate) async fn read(
        objects: &dyn ObjectStore,
        target: &Path,
        version: u64,
    ) -> Result<Self, ReadError> {
        let object = objects.get(&key(target, version)).await?;
        let bytes = object.meta.size;
        if bytes > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge { bytes }.into());
        }
        let record = Self::parse(&object.bytes().await?)?;
        record.check_objects(target)?;
        Ok(record)
    }

    /// Parses a record.
    ///
    /// # Errors
    /// If the JSON is not valid, or is of another format.
    fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(json)?;
        if record.format != FORMAT {
            return Err(RecordError::OtherFormat {
                format: record.format,
            });
        }
        Ok(record)
    }

    /// Checks that the table of the record is at `url`, which ends with a slash, or below it, for
    /// writers: readers use no table.
    ///
    /// # Errors
    /// Returns the first name that is not, and what is wrong with it.
    pub(crate) fn check_table(&self, url: &str, version: u64) -> Result<(), RecordError> {
        match &self.registration {
            Some(registration) => check_registration(registration, url, version),
            None => Ok(()),
        }
    }

    /// Checks that every object of the record is below `target`.
    ///
    /// # Errors
    /// Returns the first name that is not, and what is wrong with it.
    fn check_objects(&self, target: &Path) -> Result<(), RecordError> {
        let is_tag = self.tag.len() >= TAG_CHARS_MIN
            && self.tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_tag {
            return Err(RecordError::foreign(&self.tag, "the tag of a write"));
        }
        let is_inside = |key: &str| {
            Path::parse(key).is_ok_and(|path| {
                path.as_ref() == key && path != *target && is_visible(target, &path)
            })
        };
        for file in &self.files {
            let key = key_below(target, &file.path);
            if !is_inside(&key) || !file.path.contains(&self.tag) {
                return Err(RecordError::foreign(&file.path, "a file of this write"));
            }
        }
        let kept = self.kept.iter().flat_map(|kept| &kept.keys);
        if let Some(key) = self.remove.iter().chain(kept).find(|key| !is_inside(key)) {
            return Err(RecordError::foreign(key, "a file of this folder"));
        }
        Ok(())
    }
}

/// Returns the key of a path below `target`, which is empty for the root of the store.
pub(crate) fn key_below(target: &Path, path: &str) -> String {
    if target.as_ref().is_empty() {
        path.to_owned()
    } else {
        format!("{target}/{path}")
    }
}

/// Checks that a registration is of the record of this version, and of a table at `url`.
fn check_registration(
    registration: &Registration,
    url: &str,
    version: u64,
) -> Result<(), RecordError> {
    let commit = registration.commit.as_deref().unwrap_or_default();
    if commit != format!("{url}{}", name(version)) {
        return Err(RecordError::foreign(commit, "this record"));
    }
    let changes = registration.partitions.iter();
    let partitions = changes.flat_map(|change| &change.put);
    let mut locations = partitions
        .map(|partition| &partition.location)
        .chain([&registration.table.location]);
    match locations.find(|location| !is_below(url, location)) {
        Some(location) => Err(RecordError::foreign(location, "a table in this folder")),
        None => Ok(()),
    }
}

/// Returns whether the URL of a folder is `url`, which ends with a slash, or a folder below it.
pub(crate) fn is_below(url: &str, location: &str) -> bool {
    let Some(relative) = location.strip_prefix(url) else {
        return false;
    };
    let names = relative.strip_suffix('/').unwrap_or(relative);
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    relative.is_empty() || names.split('/').all(is_name)
}

/// Returns the path of a record below its output. The width of the number is fixed, so that the
/// order of the names is that of the versions.
pub(crate) fn name(version: u64) -> String {
    format!("{FOLDER}/commit-{version:010}.json")
}

/// Returns the key of a record in the store.
pub(crate) fn key(target: &Path, version: u64) -> Path {
    name(version).split('/').fold(target.clone(), Path::join)
}

/// Returns the version of the record at `key`. `None` if it is not a record of this target.
pub(crate) fn version(target: &Path, key: &Path) -> Option<u64> {
    let parts: Vec<_> = key.prefix_match(target)?.collect();
    match parts.as_slice() {
        [folder, name] if folder.as_ref() == FOLDER => name
            .as_ref()
            .strip_prefix("commit-")?
            .strip_suffix(".json")?
            .parse()
            .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use faisca_planner::manifest::{CatalogKind, FileFormat, OnSchemaChange};

    use super::*;
    use crate::catalog::{PartitionChange, TableDefinition, TablePartition};

    #[test]
    fn records_are_found_by_their_names() {
        let target = Path::from("gold/t");
        let record = key(&target, 7);
        assert_eq!(record.as_ref(), "gold/t/_faisca/commit-0000000007.json");
        assert_eq!(version(&target, &record), Some(7));
        assert_eq!(version(&target, &Path::from("gold/t/_faisca/other")), None);
    }

    #[test]
    fn objects_are_removed_when_their_own_time_has_come_and_not_later() {
        let keys = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let mut record = CommitRecord::new("new".to_owned(), vec![]);
        record.remove = keys(&["t/c"]);
        record.remove_at = 30;
        record.kept = [("t/a", 10), ("t/b", 20)]
            .map(|(key, remove_at)| KeptObjects {
                keys: keys(&[key]),
                remove_at,
            })
            .to_vec();
        assert_eq!(record.take_due(10), ["t/a"]);
        let kept: Vec<_> = record.all_kept().into_iter().flat_map(|k| k.keys).collect();
        assert_eq!(kept, ["t/b", "t/c"]);
        let ended = record.clone().into_ended();
        assert_eq!(
            ended.all_kept(),
            record.all_kept(),
            "a finished commit keeps them"
        );
        assert_eq!(record.take_due(30), ["t/c", "t/b"]);
        assert_eq!(record.all_kept(), []);
        assert_eq!(record.take_due(40), Vec::<String>::new());
    }

    #[test]
    fn an_overwrite_that_keeps_nothing_removes_what_others_kept() {
        let parted = |retention: Duration| {
            let mut record = CommitRecord::new("new".to_owned(), vec![]);
            record.remove = vec!["t/a".to_owned(), "t/b".to_owned()];
            record.kept = vec![KeptObjects {
                keys: vec!["t/a".to_owned()],
                remove_at: 10,
            }];
            record.part_kept_and_removed(retention);
            (record.kept.len(), record.remove)
        };
        assert_eq!(
            parted(Duration::ZERO),
            (0, vec!["t/a".to_owned(), "t/b".to_owned()])
        );
        assert_eq!(parted(Duration::from_secs(1)), (1, vec!["t/b".to_owned()]));
    }

    /// A record of the folder `s3://b/gold/t/` with one registered partition, changed by `change`.
    fn checked(
        change: impl FnOnce(&mut CommitRecord, &mut Registration),
    ) -> Result<(), RecordError> {
        let table = TableDefinition {
            name: "t".to_owned(),
            columns: vec![],
            partition_keys: vec![],
            location: "s3://b/gold/t/".to_owned(),
            format: FileFormat::Parquet,
            comment: None,
            parameters: BTreeMap::new(),
            serde: BTreeMap::new(),
        };
        let mut registration = Registration::new(
            CatalogKind::Glue,
            "d".to_owned(),
            table,
            OnSchemaChange::Fail,
        )
        .with_commit(
            "s3://b/gold/t/_faisca/commit-0000000003.json".to_owned(),
            true,
        );
        let partition = TablePartition {
            values: vec!["1".to_owned()],
            location: "s3://b/gold/t/a=1/run-x/".to_owned(),
        };
        registration.partitions = Some(PartitionChange {
            put: vec![partition],
            removes_others: true,
        });
        let file_path = "a=1/run-x/part-00000-0123456789ab-a1-000.parquet";
        let mut record = CommitRecord::new(
            "0123456789ab".to_owned(),
            vec![PendingFile {
                path: file_path.to_owned(),
                rows: 1,
                bytes: 1,
                upload: None,
            }],
        );
        record.remove = vec!["gold/t/a=1/old.parquet".to_owned()];
        record.kept = vec![KeptObjects {
            keys: vec!["gold/t/a=2/older.parquet".to_owned()],
            remove_at: 10,
        }];
        change(&mut record, &mut registration);
        record.registration = Some(registration);
        record.check_objects(&Path::from("gold/t"))?;
        record.check_table("s3://b/gold/t/", 3)
    }

    #[test]
    fn a_record_that_names_anything_outside_of_its_folder_is_refused() {
        checked(|_, _| ()).unwrap();
        for outside in [
            "payroll/2026.parquet",
            "gold/t2/part.parquet",
            "gold/t",
            "gold/t/../../payroll/x",
            "gold/t//x",
            "gold/t/_faisca/commit-0000000002.json",
            "",
        ] {
            let error = checked(|record, _| record.remove.push(outside.to_owned())).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("`{outside}`")), "{text}");
            let kept = |record: &mut CommitRecord| record.kept[0].keys[0] = outside.to_owned();
            assert!(checked(|record, _| kept(record)).is_err(), "{outside}");
        }
        for outside in [
            "../x-0123456789ab",
            "x/./0123456789ab",
            "part-of-another-write",
            "",
        ] {
            let error = checked(|record, _| record.files[0].path = outside.to_owned()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("`{outside}`")), "{text}");
        }
        for location in [
            "s3://attacker/x/",
            "s3://b/gold/t2/",
            "s3://b/gold/t/../payroll/",
            "s3://b/gold/t//",
            "",
        ] {
            let of_table = |registration: &mut Registration| {
                registration.table.location = location.to_owned();
            };
            assert!(checked(|_, r| of_table(r)).is_err(), "{location}");
            let of_partition = |registration: &mut Registration| {
                let change = registration.partitions.as_mut().unwrap();
                change.put[0].location = location.to_owned();
            };
            assert!(checked(|_, r| of_partition(r)).is_err(), "{location}");
        }
        let other = "s3://b/gold/t/_faisca/commit-0000000009.json";
        assert!(checked(|_, r| r.commit = Some(other.to_owned())).is_err());
    }

    #[test]
    fn a_record_at_the_root_of_a_store_names_its_files() {
        let mut record = CommitRecord::new(
            "0123456789ab".to_owned(),
            vec![PendingFile {
                path: "a=1/part-00000-0123456789ab-a1-000.parquet".to_owned(),
                rows: 1,
                bytes: 1,
                upload: None,
            }],
        );
        record.remove = vec!["a=1/old.parquet".to_owned()];
        record.check_objects(&Path::from("")).unwrap();
        record
            .remove
            .push("_faisca/commit-0000000001.json".to_owned());
        record.check_objects(&Path::from("")).unwrap_err();
    }

    #[test]
    fn a_tag_that_is_part_of_the_names_of_others_is_refused() {
        for tag in ["", "part", "a", "../gold/t/x", "parquet"] {
            let error = checked(|record, _| record.tag = tag.to_owned()).unwrap_err();
            assert!(error.to_string().contains("is not the tag"), "{error}");
        }
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let mut json = serde_json::to_value(CommitRecord::new("a".to_owned(), vec![])).unwrap();
        assert!(json.as_object_mut().unwrap().remove("kept").is_none());
        let record = CommitRecord::parse(json.to_string().as_bytes()).unwrap();
        assert_eq!(record.kept, []);
    }
}
