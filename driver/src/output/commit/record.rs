//! The commit record: a small object whose creation decides that a write to an object store
//! happens.
//!
//! ```text
//! out/_faisca/commit-0000000007.json     created only if absent: of two writers one wins
//!   completing ─► uploads completed ─► table registered ─► removing ─► old files removed ─► done
//! ```
//!
//! Each step can be repeated, so any process that finds an unfinished record can complete it.

use faisca_executor::protocol::PendingFile;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::catalog::Registration;

/// Folder of the records, below the output. Readers skip names that begin with an underscore.
pub(super) const FOLDER: &str = "_faisca";
/// Version of the format of a record.
const FORMAT: u32 = 1;

/// The next step of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Complete the uploads and register the table. Files may be missing.
    Completing,
    /// Remove the files that were replaced. All new files exist.
    Removing,
    /// Nothing is left to do, except to remove replaced files at a later time.
    Done,
}

/// One committed write, as it is stored in JSON. Changes of the format need a new `FORMAT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommitRecord {
    /// Version of the format. Another version of faisca may have written the record.
    pub(super) format: u32,
    pub(super) state: State,
    /// Part of the name of every file of this write.
    pub(super) tag: String,
    /// Files of the write, by their paths below the output.
    pub(super) files: Vec<PendingFile>,
    /// Whether the write is an overwrite.
    pub(super) replaces: bool,
    /// Keys of the objects that the write replaces.
    pub(super) remove: Vec<String>,
    /// When these objects may be removed, in seconds since 1970. Zero means at once.
    pub(super) remove_at: u64,
    /// Table to register, if any.
    pub(super) registration: Option<Registration>,
    /// Whether to add an empty `_SUCCESS` object.
    pub(super) success_file: bool,
}

impl CommitRecord {
    /// Creates the record of an append without a table; the caller sets what differs.
    pub(super) fn new(tag: String, files: Vec<PendingFile>) -> Self {
        let (state, replaces, registration) = (State::Completing, false, None);
        Self {
            format: FORMAT,
            state,
            tag,
            files,
            replaces,
            remove: vec![],
            remove_at: 0,
            registration,
            success_file: false,
        }
    }

    /// Returns the record of a finished commit, without what only the commit itself needed: uploads
    /// and registration. Later writers still need the files and the objects to remove.
    pub(super) fn ended(mut self) -> Self {
        self.state = State::Done;
        self.registration = None;
        for file in &mut self.files {
            file.upload = None;
        }
        self
    }

    /// Parses a record.
    ///
    /// # Errors
    /// If the JSON is not valid, or is of another format.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if record.format != FORMAT {
            return Err(format!(
                "format {} is not {FORMAT}: written by another version of faisca",
                record.format
            ));
        }
        Ok(record)
    }
}

/// Returns the path of a record below its output. The width of the number is fixed, so that the
/// order of the names is that of the versions.
pub(super) fn name(version: u64) -> String {
    format!("{FOLDER}/commit-{version:010}.json")
}

/// Returns the key of a record in the store.
pub(super) fn key(target: &Path, version: u64) -> Path {
    name(version).split('/').fold(target.clone(), Path::join)
}

/// Returns the version of the record at `key`. `None` if it is not a record of this target.
pub(super) fn version(target: &Path, key: &Path) -> Option<u64> {
    let below: Vec<_> = key.prefix_match(target)?.collect();
    match below.as_slice() {
        [folder, name] if folder.as_ref() == FOLDER => name
            .as_ref()
            .strip_prefix("commit-")?
            .strip_suffix(".json")?
            .parse()
            .ok(),
        _ => None,
    }
}

/// Whether `key` is a file below the target that readers see. Hidden files are not.
pub(super) fn is_data(target: &Path, key: &Path) -> bool {
    crate::input::source::is_visible(target, key)
}

/// Returns the leading `key=value` folders of a path below the target: `a=1/b=2` of
/// `a=1/b=2/x/part-0`. Empty if there are none.
pub(crate) fn partition_folder(path: &str) -> &str {
    let end = path
        .split_inclusive('/')
        .take_while(|part| part.contains('=') && part.ends_with('/'))
        .map(str::len)
        .sum::<usize>();
    path[..end].trim_end_matches('/')
}

/// Returns those of `keys` that an overwrite with this tag replaces: all files that readers see,
/// except its own. With `dynamic`, only those in partitions that it writes.
pub(super) fn replaced(
    target: &Path,
    keys: &[Path],
    tag: &str,
    files: &[PendingFile],
    dynamic: bool,
) -> Vec<String> {
    let written: std::collections::BTreeSet<&str> = files
        .iter()
        .map(|file| partition_folder(&file.path))
        .collect();
    let prefix = if target.as_ref().is_empty() {
        String::new()
    } else {
        format!("{target}/")
    };
    let goes = |key: &&Path| {
        let below = key.as_ref().strip_prefix(&prefix).unwrap_or_default();
        is_data(target, key)
            // Never its own files, even if some of them are visible already.
            && !key.as_ref().contains(tag)
            && (!dynamic || written.contains(partition_folder(below)))
    };
    keys.iter().filter(goes).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> PendingFile {
        PendingFile {
            path: path.to_owned(),
            rows: 1,
            bytes: 1,
            upload: None,
        }
    }

    #[test]
    fn records_are_found_by_their_names_and_no_reader_sees_them() {
        let target = Path::from("gold/t");
        let at = key(&target, 7);
        assert_eq!(at.as_ref(), "gold/t/_faisca/commit-0000000007.json");
        assert_eq!(version(&target, &at), Some(7));
        assert_eq!(version(&target, &Path::from("gold/t/_faisca/other")), None);
        assert!(!is_data(&target, &at));
        assert!(!is_data(&target, &Path::from("gold/t/_SUCCESS")));
        assert!(is_data(&target, &Path::from("gold/t/_k=1/part.parquet")));
        assert!(!is_data(&target, &Path::from("gold/t2/part.parquet")));
    }

    #[test]
    fn overwrite_replaces_all_or_only_the_partitions_that_it_writes() {
        let target = Path::from("t");
        let keys: Vec<Path> = [
            "t/a=1/x",
            "t/a=2/x",
            "t/a=2/run-old/x",
            "t/a=2/y-new",
            "t/_faisca/commit-1.json",
            "t/z",
        ]
        .map(Path::from)
        .to_vec();
        let files = [file("a=2/y-new")];
        assert_eq!(
            replaced(&target, &keys, "new", &files, false),
            ["t/a=1/x", "t/a=2/x", "t/a=2/run-old/x", "t/z"]
        );
        assert_eq!(
            replaced(&target, &keys, "new", &files, true),
            ["t/a=2/x", "t/a=2/run-old/x"]
        );
    }

    #[test]
    fn partition_folders_end_where_the_values_end() {
        assert_eq!(partition_folder("a=1/b=2/run-x/part-0"), "a=1/b=2");
        assert_eq!(partition_folder("part-0=x"), "");
    }
}
