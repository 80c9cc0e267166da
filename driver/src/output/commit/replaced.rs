//! Which files of a folder a write replaces.

use std::collections::BTreeSet;

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::PartitionOverwrite;
use object_store::path::Path;

use crate::visibility::is_visible;

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
/// except its own. A dynamic overwrite replaces only those in partitions that it writes.
pub(super) fn find_replaced(
    target: &Path,
    keys: &[Path],
    tag: &str,
    files: &[PendingFile],
    overwrite: PartitionOverwrite,
) -> Vec<String> {
    let written: BTreeSet<&str> = files
        .iter()
        .map(|file| partition_folder(&file.path))
        .collect();
    let prefix = if target.as_ref().is_empty() {
        String::new()
    } else {
        format!("{target}/")
    };
    let is_replaced = |key: &&Path| {
        let relative = key.as_ref().strip_prefix(&prefix).unwrap_or_default();
        is_visible(target, key)
            // Never its own files, even if some of them are visible already.
            && !key.as_ref().contains(tag)
            && match overwrite {
                PartitionOverwrite::Static => true,
                PartitionOverwrite::Dynamic => written.contains(partition_folder(relative)),
            }
    };
    keys.iter()
        .filter(is_replaced)
        .map(ToString::to_string)
        .collect()
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
    fn records_and_markers_are_not_data() {
        let target = Path::from("gold/t");
        for hidden in [
            "gold/t/_faisca/commit-0000000007.json",
            "gold/t/_SUCCESS",
            "gold/t2/part.parquet",
        ] {
            assert!(!is_visible(&target, &Path::from(hidden)), "{hidden}");
        }
        assert!(is_visible(&target, &Path::from("gold/t/_k=1/part.parquet")));
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
            find_replaced(&target, &keys, "new", &files, PartitionOverwrite::Static),
            ["t/a=1/x", "t/a=2/x", "t/a=2/run-old/x", "t/z"]
        );
        assert_eq!(
            find_replaced(&target, &keys, "new", &files, PartitionOverwrite::Dynamic),
            ["t/a=2/x", "t/a=2/run-old/x"]
        );
    }

    #[test]
    fn partition_folders_end_where_the_values_end() {
        assert_eq!(partition_folder("a=1/b=2/run-x/part-0"), "a=1/b=2");
        assert_eq!(partition_folder("part-0=x"), "");
    }
}
