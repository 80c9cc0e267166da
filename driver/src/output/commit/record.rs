//! The commit record: one small object by which a write to an object store becomes a fact.
//!
//! ```text
//! out/_faisca/commit-0000000007.json     created only if absent: of two writers one wins
//!   completing ─► uploads completed ─► table registered ─► removing ─► old files removed ─► done
//! ```
//!
//! Each step can be repeated, so any process that finds an unfinished record completes it.

use faisca_executor::protocol::PendingFile;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::catalog::Registration;

/// Folder of the records, below the output. Readers of data lakes skip names that begin so.
pub(super) const FOLDER: &str = "_faisca";
/// Version of this format.
const FORMAT: u32 = 1;

/// How far a commit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Its files may not be there yet.
    Completing,
    /// Its files are there; those that they replace may be, too.
    Removing,
    /// Nothing is left to do, or only later.
    Done,
}

/// One committed write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommitRecord {
    pub(super) format: u32,
    pub(super) state: State,
    /// Part of the name of every file of this write.
    pub(super) tag: String,
    /// Its files, by their paths below the output.
    pub(super) files: Vec<PendingFile>,
    /// Whether it takes the place of what was there.
    pub(super) replaces: bool,
    /// Keys of the objects that it replaces.
    pub(super) remove: Vec<String>,
    /// They are removed at this time, in seconds since 1970.
    pub(super) remove_at: u64,
    /// Table to register.
    pub(super) registration: Option<Registration>,
    /// Leave a `_SUCCESS`.
    pub(super) success_file: bool,
}

impl CommitRecord {
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

    /// What readers and later writers need of a commit that is over.
    pub(super) fn ended(mut self) -> Self {
        self.state = State::Done;
        self.registration = None;
        for file in &mut self.files {
            file.upload = None;
        }
        self
    }

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

/// The place of a record below its output. Later ones sort after earlier ones.
pub(super) fn name(version: u64) -> String {
    format!("{FOLDER}/commit-{version:010}.json")
}

/// The key of a record.
pub(super) fn key(target: &Path, version: u64) -> Path {
    name(version).split('/').fold(target.clone(), Path::join)
}

/// The version that a key below a target names, if it is a record's.
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

/// Whether a key below a target is a file that readers see: hidden names are not.
pub(super) fn is_data(target: &Path, key: &Path) -> bool {
    crate::input::source::is_visible(target, key)
}

/// The `key=value` folders of a path below the target; empty where there are none.
pub(crate) fn partition_folder(path: &str) -> &str {
    let end = path
        .split_inclusive('/')
        .take_while(|part| part.contains('=') && part.ends_with('/'))
        .map(str::len)
        .sum::<usize>();
    path[..end].trim_end_matches('/')
}

/// Keys that a write replaces.
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
