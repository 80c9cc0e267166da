//! Lists the data files at a path. Schemas, scans and counts all use these rules.
//!
//! ```text
//!   path ── resolve ──► Location ── list ──► [DataFile]
//!            file, folder or glob             with the key=value folders above each file
//! ```
//!
//! The rules are Spark's. Names that begin with `.` or `_` are hidden. Below a folder, only
//! `key=value` folders are read; a glob also reads the folders that it names. For a table that
//! Faísca wrote to an object store, its commit record states which files are current.
//!
//! # Layout
//! - [`Location`], [`DataFile`]: paths and their files
//! - `commits`: the files that commit records hide
//! - `glob`: patterns; `narrow`: lists only the folders whose keys match filters

mod commits;
mod glob;
mod narrow;

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::known_scheme;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use percent_encoding::percent_decode_str;

pub(crate) use commits::Commits;
use glob::Glob;

use crate::visibility::is_visible;

/// Maximum number of plain subfolders that an error names.
const NAMED_SUBFOLDERS_MAX: usize = 3;

type DfResult<T> = std::result::Result<T, DataFusionError>;

/// What a path names.
#[derive(Debug, Clone)]
enum Kind {
    /// One file, which may not exist.
    File,
    /// A folder, with the `key=value` folders below it.
    Folder,
    /// A pattern for names below the prefix.
    Glob(Glob),
}

/// Maximum number of times that a path is listed until a listing contains all files of the newest
/// commits.
const LISTING_ATTEMPTS_MAX: usize = 3;

/// What determines which of the files below a path are current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authority {
    /// The commit records of the tables below the path.
    CommitRecords,
    /// The path itself: a catalog names it, or it is a local folder. All files are current.
    Path,
}

/// A path of a store, which can be listed repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    /// The file or the folder, or the last folder before the pattern of a glob.
    prefix: Path,
    kind: Kind,
    authority: Authority,
}

/// Visible files, and the commits that they belong to.
type CommittedFiles = (Vec<ObjectMeta>, Commits);

/// A data file, with the partition of its rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataFile {
    pub(crate) meta: ObjectMeta,
    /// Keys and values of the `key=value` folders above it, unescaped, outermost first.
    pub(crate) keys: Vec<(String, String)>,
}

/// A subfolder that contains data files but is not read, because it is no `key=value` folder.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SkippedFolder {
    /// Its path, relative to the prefix.
    path: String,
    is_below_key: bool,
}

impl Location {
    /// Determines whether a path is a file, a folder or a glob. An existing file or folder with
    /// exactly this name wins, even if the name contains `[`, `*` or `?`.
    ///
    /// # Errors
    /// Returns an error for a malformed path, an unknown or unreachable store, and a local path
    /// that is neither a file nor a folder.
    pub(crate) async fn resolve(context: &SessionContext, path: &str) -> DfResult<Self> {
        let path = known_scheme(path);
        match path.split_once("://") {
            Some(("http" | "https", _)) => {
                let end = path.find(['?', '#']).unwrap_or(path.len());
                Self::resolve_remote(context, &path[..end]).await
            }
            Some((scheme, _)) if scheme != "file" => Self::resolve_remote(context, &path).await,
            _ => Self::resolve_local(context, &path),
        }
    }

    fn resolve_local(context: &SessionContext, path: &str) -> DfResult<Self> {
        let decoded;
        let path = match path.strip_prefix("file://") {
            Some(encoded) => {
                decoded = percent_decode_str(encoded).decode_utf8_lossy().into_owned();
                decoded.as_str()
            }
            None => path,
        };
        let url = ObjectStoreUrl::local_filesystem();
        let store = context.runtime_env().object_store(&url)?;
        let location = |path: &str, kind| {
            Ok(Self {
                prefix: Path::from_absolute_path(absolute(path)?)
                    .map_err(object_store::Error::from)?,
                url: url.clone(),
                store: Arc::clone(&store),
                kind,
                // A commit to a local folder exchanges the folder, so all its files are current.
                authority: Authority::Path,
            })
        };
        if let Ok(metadata) = std::fs::metadata(path) {
            return match metadata.file_type() {
                kind if kind.is_dir() => location(path, Kind::Folder),
                kind if kind.is_file() => location(path, Kind::File),
                _ => Err(DataFusionError::Plan(format!(
                    "{path} is neither a file nor a folder: pipes, sockets and devices cannot be read"
                ))),
            };
        }
        match Glob::split(path)? {
            Some((folder, glob)) => {
                let folder = if folder.is_empty() { "." } else { folder };
                location(folder, Kind::Glob(glob))
            }
            None if path.ends_with('/') => location(path, Kind::Folder),
            None => location(path, Kind::File),
        }
    }

    async fn resolve_remote(context: &SessionContext, path: &str) -> DfResult<Self> {
        let root_end = path
            .find("://")
            .and_then(|scheme| path[scheme + 3..].find('/').map(|slash| scheme + 3 + slash))
            .unwrap_or(path.len());
        let (root, key) = path.split_at(root_end);
        let url = ListingTableUrl::parse(format!("{root}/"))?.object_store();
        let store = context.runtime_env().object_store(&url)?;
        let key = key.trim_start_matches('/');
        let prefix = |key: &str| Path::from_url_path(key).map_err(object_store::Error::from);
        let mut location = Self {
            url,
            store,
            prefix: prefix(key)?,
            kind: Kind::Folder,
            authority: Authority::CommitRecords,
        };
        if key.is_empty() {
            return Ok(location);
        }
        let split = Glob::split(key)?;
        if key.ends_with('/') && split.is_none() {
            return Ok(location);
        }
        if !key.ends_with('/') && location.head().await?.is_some() {
            location.kind = Kind::File;
            return Ok(location);
        }
        // An object store has no folders: a name is a folder if there are objects below it.
        let is_folder = location
            .store
            .list(Some(&location.prefix))
            .try_next()
            .await?
            .is_some();
        match split {
            _ if is_folder => {}
            Some((folder, glob)) => {
                location.prefix = prefix(folder)?;
                location.kind = Kind::Glob(glob);
            }
            None => location.kind = Kind::File,
        }
        Ok(location)
    }

    /// Marks the path as named by a catalog: commit records are ignored. The catalog may refer to
    /// replaced files for some time; they are kept for its readers.
    pub(crate) fn named_by_catalog(mut self) -> Self {
        self.authority = Authority::Path;
        self
    }

    /// Returns the store of the path.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Returns the URL of the store, as scans need it.
    pub(crate) fn store_url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// Returns the name of a file as users know it: a URL, or an absolute path.
    pub(crate) fn name_of(&self, file: &Path) -> String {
        let root = self.url.as_str();
        format!("{}{file}", root.strip_prefix("file://").unwrap_or(root))
    }

    /// Returns the message for a path without data files.
    pub(crate) fn no_files_message(&self) -> &'static str {
        match self.kind {
            Kind::File => "there is no such file",
            Kind::Folder => "there are no data files in this folder",
            Kind::Glob(_) => "no data files match this pattern",
        }
    }

    /// Lists the data files, sorted by path. Empty files are left out.
    ///
    /// # Errors
    /// Returns an error if the store cannot be listed, if all files are in plain subfolders, or if
    /// a plain subfolder is below a `key=value` folder.
    pub(crate) async fn list(&self) -> DfResult<Vec<DataFile>> {
        if let Kind::File = self.kind {
            let meta = self.head().await?;
            return Ok(meta
                .map(|meta| DataFile { meta, keys: vec![] })
                .into_iter()
                .collect());
        }
        let (files, commits) = self.list_committed().await?;
        self.to_data_files(files, &commits)
    }

    /// Lists every visible file below the path's folder, at any depth. Empty files are left out.
    ///
    /// # Errors
    /// Returns an error if the store cannot be listed.
    pub(crate) async fn list_below(&self) -> DfResult<Vec<ObjectMeta>> {
        Ok(self.list_committed().await?.0)
    }

    async fn list_committed(&self) -> DfResult<CommittedFiles> {
        let mut attempts = 1..=LISTING_ATTEMPTS_MAX;
        loop {
            let mut objects = self.list_prefix(&self.prefix).await?;
            let commits = self.read_commits(&objects).await?;
            // Files that are missing even in the last listing were deleted by someone.
            if commits.matches(&self.prefix, &objects) || attempts.next().is_none() {
                objects.retain(|meta| self.is_data(meta) && commits.shows(&meta.location));
                return Ok((objects, commits));
            }
        }
    }

    /// Reads the commit records that a listing of the prefix shows.
    async fn read_commits(&self, objects: &[ObjectMeta]) -> DfResult<Commits> {
        match self.authority {
            Authority::CommitRecords => Commits::read(&self.store, &self.prefix, objects).await,
            Authority::Path => Ok(Commits::default()),
        }
    }

    /// Lists all objects below a prefix, hidden ones too.
    async fn list_prefix(&self, prefix: &Path) -> DfResult<Vec<ObjectMeta>> {
        Ok(self.store.list(Some(prefix)).try_collect().await?)
    }

    fn is_data(&self, meta: &ObjectMeta) -> bool {
        meta.size > 0 && is_visible(&self.prefix, &meta.location)
    }

    async fn head(&self) -> DfResult<Option<ObjectMeta>> {
        match self.store.head(&self.prefix).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Selects the files that the path names, with their keys, sorted by path.
    fn to_data_files(&self, metas: Vec<ObjectMeta>, commits: &Commits) -> DfResult<Vec<DataFile>> {
        let mut files = vec![];
        let mut skipped = vec![];
        for meta in metas {
            let names: Vec<String> = meta
                .location
                .prefix_match(&self.prefix)
                .into_iter()
                .flatten()
                .map(|part| part.as_ref().to_owned())
                .collect();
            let Some(folders) = self.unnamed_folders(&names) else {
                continue;
            };
            let is_plain =
                |name: &String| !name.contains('=') && !commits.is_run_folder(name, &meta.location);
            if let Some(plain) = folders.iter().position(is_plain) {
                let depth = names.len() - 1 - folders.len() + plain;
                skipped.push(SkippedFolder {
                    path: names[..=depth].join("/"),
                    is_below_key: depth > 0,
                });
                continue;
            }
            let keys = names[..names.len() - 1]
                .iter()
                .filter_map(|name| parse_key(name));
            files.push(DataFile {
                keys: keys.collect(),
                meta,
            });
        }
        files.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        // As in Spark, files in plain subfolders beside data files do not belong to the table. If
        // there are no others, or if the subfolder is below a partition, leaving them out without
        // an error would lose rows.
        if files.is_empty() || skipped.iter().any(|folder| folder.is_below_key) {
            refuse_subfolders(skipped)?;
        }
        Ok(files)
    }

    /// Returns the folders of a file that the path itself does not name, or `None` if the path does
    /// not select the file. `names` are the names below the prefix.
    fn unnamed_folders<'a>(&self, names: &'a [String]) -> Option<&'a [String]> {
        let (_, folders) = names.split_last()?;
        match &self.kind {
            Kind::Glob(glob) => {
                if glob.matches(&names.join("/")) {
                    return Some(&[]);
                }
                // The deepest folder that matches is read as a folder.
                let depth = (1..=folders.len())
                    .rev()
                    .find(|depth| glob.matches(&folders[..*depth].join("/")))?;
                Some(&folders[depth..])
            }
            Kind::File | Kind::Folder => Some(folders),
        }
    }
}

/// Returns an error that names the subfolders, unless there are none.
fn refuse_subfolders(mut skipped: Vec<SkippedFolder>) -> DfResult<()> {
    // Those below a partition are the reason for the error if there are any.
    if skipped.iter().any(|folder| folder.is_below_key) {
        skipped.retain(|folder| folder.is_below_key);
    }
    skipped.sort();
    skipped.dedup();
    let Some(first) = skipped.first().map(|folder| folder.path.as_str()) else {
        return Ok(());
    };
    let named = skipped.iter().take(NAMED_SUBFOLDERS_MAX);
    let names: Vec<&str> = named.map(|folder| folder.path.as_str()).collect();
    let more = if skipped.len() > names.len() {
        ", …"
    } else {
        ""
    };
    Err(DataFusionError::Plan(format!(
        "there are data files in the subfolders {}{more}, which are not of the form `key=value` and are not read; name them in the path, for example `…/{first}/*`, or `…/**` for all",
        names.join(", ")
    )))
}

/// Parses the name of a `key=value` folder; unescapes key and value as Hive does.
fn parse_key(folder: &str) -> Option<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (key, value) = folder.split_once('=')?;
    (!key.is_empty()).then(|| (decode(key), decode(value)))
}

/// Returns an absolute path without `..`. A symbolic link as the last name is kept, because the
/// extension of its name decides about compression.
fn absolute(path: &str) -> DfResult<std::path::PathBuf> {
    let path = std::path::absolute(path)?;
    let is_parent = |c: std::path::Component<'_>| matches!(c, std::path::Component::ParentDir);
    if !path.components().any(is_parent) {
        return Ok(path);
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(std::fs::canonicalize(parent)?.join(name)),
        _ => Ok(std::fs::canonicalize(path)?),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn list(kind: Kind, keys: &[&str]) -> DfResult<Vec<String>> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for key in keys {
            store.put(&Path::parse(key).unwrap(), "x".into()).await?;
        }
        let location = Location {
            url: ObjectStoreUrl::parse("memory://")?,
            store,
            prefix: Path::from("t"),
            kind,
            authority: Authority::CommitRecords,
        };
        let files = location.list().await?;
        let files = files.iter();
        Ok(files
            .map(|f| format!("{} {:?}", f.meta.location, f.keys))
            .collect())
    }

    fn glob(pattern: &str) -> Kind {
        Kind::Glob(Glob::split(pattern).unwrap().unwrap().1)
    }

    #[tokio::test]
    async fn hidden_names_and_plain_subfolders_beside_files_are_left_out() {
        let keys = [
            "t/.a.csv.crc",
            "t/_SUCCESS",
            "t/a.csv",
            "t/b.csv.gz",
            "t/c.csv._COPYING_",
            "t/_temporary/x.csv",
            "t/old/d.csv",
            "other/a.csv",
        ];
        let files = list(Kind::Folder, &keys).await.unwrap();
        assert_eq!(files, ["t/a.csv []", "t/b.csv.gz []"]);
    }

    #[tokio::test]
    async fn keys_come_from_folders_even_if_their_names_begin_with_an_underscore() {
        let files = list(Kind::Folder, &["t/_k=x%3Ay/a", "t/_k=z/_b"])
            .await
            .unwrap();
        assert_eq!(files, ["t/_k=x%3Ay/a [(\"_k\", \"x:y\")]"]);
    }

    #[tokio::test]
    async fn files_that_are_only_in_subfolders_are_refused_by_name() {
        for keys in [
            &["t/2024/a", "t/2025/k=1/b"][..],
            &["t/k=1/a", "t/k=1/2024/b"],
        ] {
            let error = list(Kind::Folder, keys).await.unwrap_err().to_string();
            assert!(
                error.contains("2024") && error.contains("key=value"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_glob_reads_the_folders_that_it_names() {
        let keys = ["t/k=1/a.csv", "t/k=2/b.csv", "t/2024/c.csv", "t/d.csv"];
        let cases: [(&str, &[&str]); 6] = [
            (
                "*/*.csv",
                &[
                    "t/2024/c.csv []",
                    "t/k=1/a.csv [(\"k\", \"1\")]",
                    "t/k=2/b.csv [(\"k\", \"2\")]",
                ],
            ),
            (
                "k=[12]",
                &[
                    "t/k=1/a.csv [(\"k\", \"1\")]",
                    "t/k=2/b.csv [(\"k\", \"2\")]",
                ],
            ),
            (
                "k=*/*.csv",
                &[
                    "t/k=1/a.csv [(\"k\", \"1\")]",
                    "t/k=2/b.csv [(\"k\", \"2\")]",
                ],
            ),
            ("*.csv", &["t/d.csv []"]),
            (
                "{2024,k=2}/*",
                &["t/2024/c.csv []", "t/k=2/b.csv [(\"k\", \"2\")]"],
            ),
            ("20??/", &["t/2024/c.csv []"]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(
                list(glob(pattern), &keys).await.unwrap(),
                expected,
                "{pattern}"
            );
        }
    }
}
