//! Finds tables in the keys of an object store, by fixed rules instead of a crawler's heuristics.
//!
//! A table is a folder with files of one format; the `key=value` folders below it are its
//! partitions. Sibling folders are separate tables. Folders that Faísca wrote are skipped, because
//! its jobs register them.

use std::collections::{BTreeMap, BTreeSet};

use faisca_planner::manifest::FileFormat;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::input::source::Files;
use crate::output::commit::partition_folder;

/// A folder that is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFolder {
    /// Key of the folder, without a trailing slash.
    pub(super) folder: String,
    /// Name of the table: that of the folder, in characters that Athena accepts.
    pub(super) name: String,
    pub(super) format: FileFormat,
    pub(super) files: Files,
    /// The files of the table and of its partitions.
    pub(super) objects: Vec<ObjectMeta>,
    /// Names of the partition keys in lower case, from the outermost folder to the innermost.
    pub(super) keys: Vec<String>,
    /// `key=value` folders below the table that contain files.
    pub(super) partitions: BTreeSet<String>,
}

/// The files of one folder that may be a table.
#[derive(Default)]
struct FolderContent {
    formats: BTreeMap<FileFormat, Vec<ObjectMeta>>,
    /// Number of files whose names do not state a format.
    unknown: usize,
    partitions: BTreeSet<String>,
}

/// Returns the tables below a prefix, and the folders that are not tables, each with the reason.
pub(super) fn tables(prefix: &Path, objects: &[ObjectMeta]) -> (Vec<TableFolder>, Vec<String>) {
    let written_folders = folders_of_faisca(objects);
    let mut contents: BTreeMap<String, FolderContent> = BTreeMap::new();
    let mut skipped = vec![];
    for meta in objects
        .iter()
        .filter(|meta| meta.size > 0 && crate::visibility::is_visible(prefix, &meta.location))
    {
        let key = meta.location.as_ref();
        if written_folders
            .iter()
            .any(|folder| key.starts_with(folder.as_str()))
        {
            continue;
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let table = table_folder(folder);
        let content = contents.entry(table.to_owned()).or_default();
        match format_of(key) {
            Some(format) => {
                content
                    .formats
                    .entry(format)
                    .or_default()
                    .push(meta.clone());
                content
                    .partitions
                    .insert(folder[table.len()..].trim_matches('/').to_owned());
            }
            None => content.unknown += 1,
        }
    }
    skipped.extend(
        written_folders
            .iter()
            .map(|folder| format!("{folder}: written by Faísca; its jobs register it")),
    );
    let mut tables = vec![];
    for (folder, content) in contents {
        match table(&folder, content) {
            Ok(table) => tables.push(table),
            Err(reason) => skipped.push(format!("{folder}/: {reason}")),
        }
    }
    make_names_unique(&mut tables);
    (tables, skipped)
}

/// Returns the folders that contain commit records of Faísca, with a trailing slash.
fn folders_of_faisca(objects: &[ObjectMeta]) -> BTreeSet<String> {
    let folder = |meta: &ObjectMeta| {
        meta.location
            .as_ref()
            .split_once("/_faisca/")
            .map(|(folder, _)| format!("{folder}/"))
    };
    objects.iter().filter_map(folder).collect()
}

/// Returns the part of a folder's key before its first `key=value` part.
fn table_folder(folder: &str) -> &str {
    let end = folder
        .split_inclusive('/')
        .take_while(|part| !part.contains('='))
        .map(str::len)
        .sum::<usize>();
    folder[..end].trim_end_matches('/')
}

/// Returns the format that a file's name states, without regard to a compression extension.
fn format_of(key: &str) -> Option<FileFormat> {
    let name = key.rsplit('/').next()?.to_lowercase();
    let stem = [".gz", ".bz2", ".xz", ".zst"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name);
    FileFormat::from_extension(stem.rsplit_once('.')?.1)
}

/// Why a folder is not a table.
#[derive(Debug, thiserror::Error)]
enum NotATable {
    #[error("{0} files whose names do not tell a format (.parquet, .csv, .json)")]
    UnknownFormat(usize),
    #[error("files of more than one format: move them apart")]
    MixedFormats,
    #[error(
        "its files lie at different depths, or below different keys: a table has the same keys \
         everywhere"
    )]
    MixedKeys,
}

/// Returns the table of a folder, or the reason why the folder is not a table.
fn table(folder: &str, content: FolderContent) -> Result<TableFolder, NotATable> {
    let formats = content.formats.len();
    let Some((format, objects)) = content.formats.into_iter().next() else {
        return Err(NotATable::UnknownFormat(content.unknown));
    };
    if formats > 1 {
        return Err(NotATable::MixedFormats);
    }
    let mut keys: BTreeSet<Vec<String>> = BTreeSet::new();
    for partition in &content.partitions {
        let parts = partition.split('/').filter(|part| !part.is_empty());
        keys.insert(
            parts
                .map(|part| {
                    part.split_once('=')
                        .map_or(part, |(key, _)| key)
                        .to_lowercase()
                })
                .collect(),
        );
    }
    if keys.len() > 1
        || content.partitions.iter().any(|partition| {
            !partition.is_empty() && partition_folder(&format!("{partition}/")) != partition
        })
    {
        return Err(NotATable::MixedKeys);
    }
    let keys = keys.into_iter().next().unwrap_or_default();
    let partitions = if keys.is_empty() {
        BTreeSet::new()
    } else {
        content.partitions
    };
    let name = table_name(folder.rsplit('/').next().unwrap_or(folder));
    let files = Files {
        count: objects.len(),
        bytes: objects.iter().map(|meta| meta.size).sum(),
    };
    Ok(TableFolder {
        folder: folder.to_owned(),
        name,
        format,
        files,
        objects,
        keys,
        partitions,
    })
}

/// Returns a table name: lower case, with `_` for each character that Athena does not accept.
fn table_name(folder: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    folder.chars().map(fits).collect()
}

/// Distinguishes tables of the same name: each gets the name of its parent folder as a prefix.
fn make_names_unique(tables: &mut [TableFolder]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    tables
        .iter()
        .for_each(|table| *counts.entry(table.name.clone()).or_default() += 1);
    for table in tables
        .iter_mut()
        .filter(|table| counts.get(&table.name).is_some_and(|count| *count > 1))
    {
        let parent = table.folder.rsplit('/').nth(1).unwrap_or_default();
        table.name = table_name(&format!("{parent}_{}", table.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(keys: &[&str]) -> Vec<ObjectMeta> {
        let meta = |key: &&str| ObjectMeta {
            location: Path::from(*key),
            last_modified: Default::default(),
            size: 10,
            e_tag: None,
            version: None,
        };
        keys.iter().map(meta).collect()
    }

    fn describe(keys: &[&str]) -> (Vec<String>, Vec<String>) {
        let (tables, skipped) = tables(&Path::from("lake"), &objects(keys));
        let text = |t: TableFolder| {
            format!(
                "{} at {} by {:?}: {} of {:?}",
                t.name, t.folder, t.keys, t.files.count, t.format
            )
        };
        (tables.into_iter().map(text).collect(), skipped)
    }

    #[test]
    fn folders_are_tables_and_keys_are_partitions() {
        let (tables, skipped) = describe(&[
            "lake/landing/Enem 2020/a.csv",
            "lake/landing/Enem 2020/b.csv.gz",
            "lake/sales/uf=SP/ano=2020/x.parquet",
            "lake/sales/uf=RJ/ano=2021/y.parquet",
            "lake/events/e.jsonl",
            "lake/_temporary/z.parquet",
        ]);
        let expected = [
            "events at lake/events by []: 1 of Ndjson",
            "enem_2020 at lake/landing/Enem 2020 by []: 2 of Csv",
            "sales at lake/sales by [\"uf\", \"ano\"]: 2 of Parquet",
        ];
        assert_eq!(tables, expected);
        assert_eq!(skipped, Vec::<String>::new());
    }

    #[test]
    fn skipped_folders_are_reported_with_a_reason() {
        let (tables, skipped) = describe(&[
            "lake/mixed/a.csv",
            "lake/mixed/b.parquet",
            "lake/deep/k=1/x.parquet",
            "lake/deep/x.parquet",
            "lake/gold/_faisca/commit-0000000001.json",
            "lake/gold/run-1/part.parquet",
            "lake/pictures/cat.png",
        ]);
        assert_eq!(tables, Vec::<String>::new());
        let reasons = [
            "written by Faísca",
            "different depths",
            "more than one format",
            "do not tell a format",
        ];
        assert!(
            skipped
                .iter()
                .zip(reasons)
                .all(|(text, reason)| text.contains(reason)),
            "{skipped:?}"
        );
        assert_eq!(skipped.len(), reasons.len());
    }

    #[test]
    fn tables_of_one_name_are_distinguished_by_the_parent_folder() {
        let (tables, _) = describe(&["lake/2020/enem/a.csv", "lake/2021/enem/a.csv"]);
        assert_eq!(
            tables,
            [
                "2020_enem at lake/2020/enem by []: 1 of Csv",
                "2021_enem at lake/2021/enem by []: 1 of Csv"
            ]
        );
    }
}
