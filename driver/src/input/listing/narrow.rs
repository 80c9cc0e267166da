//! Lists only the `key=value` folders that match filters on partition keys.
//!
//! Folders are listed level by level, as long as there are filters on the keys of a level. For
//! `day = '2024-01-07'` on a table with 5,000 days, only the names of the days and the files of one
//! day are listed.
//! The name of a folder is not computed from the filter, because a value has several spellings:
//! `7` and `07`, `:` and `%3A`, `day=` and `Day=`.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::logical_expr::Expr;
use faisca_spark::text::Zone;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ListResult, path::Path};

use super::{DataFile, DfResult, Kind, Location, parse_key};
use crate::commit_record::FOLDER;
use crate::input::partition_keys::{matching_rows, parse_value};
use crate::visibility::is_hidden_folder;

/// Maximum number of folders that are listed at the same time.
const LISTINGS_MAX: usize = 16;

/// A folder, with the values of the keys above it.
type KeyFolder = (Path, Vec<ScalarValue>);

/// The folders of one level of keys.
struct KeyFolders {
    folders: Vec<KeyFolder>,
    /// The folder with the commit records of the table, if one was listed.
    records: Option<Path>,
}

impl Location {
    /// Lists the data files that may have rows for `filters`, which must be on partition keys only.
    /// Some of the files may not match.
    ///
    /// # Errors
    /// Same as [`Self::list`], and if a filter cannot be evaluated. Folders that do not match are
    /// not checked.
    pub(crate) async fn list_matching(
        &self,
        keys: &SchemaRef,
        filters: &[Expr],
        zone: Zone,
    ) -> DfResult<Vec<DataFile>> {
        let folders = match self.kind {
            Kind::Folder => self.matching_folders(keys, filters, zone).await?,
            Kind::File | Kind::Glob(_) => None,
        };
        let Some(KeyFolders { folders, records }) = folders else {
            return self.list().await;
        };
        let listings: Vec<_> = folders
            .iter()
            .map(|(folder, _)| self.list_prefix(folder).boxed())
            .collect();
        let metas: Vec<Vec<_>> = futures::stream::iter(listings)
            .buffered(LISTINGS_MAX)
            .try_collect()
            .await?;
        // The records are listed after the files, as in a full listing, so that they name every
        // listed file that was replaced.
        let records = match records {
            Some(records) => self.list_prefix(&records).await?,
            None => vec![],
        };
        let commits = self.read_commits(&records).await?;
        let mut files: Vec<_> = metas.into_iter().flatten().collect();
        let mut prefixes = folders.iter().map(|(folder, _)| folder);
        if !prefixes.all(|folder| commits.matches(folder, &files)) {
            return self.list().await;
        }
        files.retain(|meta| self.is_data(meta) && commits.shows(&meta.location));
        self.to_data_files(files, &commits)
    }

    /// Returns the folders that match, or `None` if everything must be listed: no filter is on the
    /// outermost key, or the folders are not as expected. A full listing reports that.
    async fn matching_folders(
        &self,
        keys: &SchemaRef,
        filters: &[Expr],
        zone: Zone,
    ) -> DfResult<Option<KeyFolders>> {
        if keys.fields().is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = keys.fields().iter().map(|k| k.name().as_str()).collect();
        let mut folders = vec![(self.prefix.clone(), vec![])];
        let mut records = None;
        for depth in 0..names.len() {
            let is_on = |depth: usize, filter: &Expr| {
                depth > 0 && expr_applicable_for_cols(&names[..depth], filter)
            };
            let level: Vec<Expr> = filters
                .iter()
                .filter(|filter| is_on(depth + 1, filter))
                .cloned()
                .collect();
            if level.iter().all(|filter| is_on(depth, filter)) {
                return Ok((depth > 0).then_some(KeyFolders { folders, records }));
            }
            let Some(children) = self.child_folders(&folders, (keys, depth), zone).await? else {
                return Ok(None);
            };
            records = records.or(children.records);
            let children = children.folders;
            let columns: Vec<_> = keys.fields()[..=depth].to_vec();
            let rows: Vec<_> = children.iter().map(|(_, values)| values.clone()).collect();
            let matching = matching_rows(&rows, &Arc::new(Schema::new(columns)), &level)?;
            folders = children
                .into_iter()
                .zip(matching.values().iter())
                .filter_map(|(folder, is_matching)| is_matching.then_some(folder))
                .collect();
        }
        Ok(Some(KeyFolders { folders, records }))
    }

    /// Lists the folders of the key at `depth` below `folders`; `None` if there is anything else.
    async fn child_folders(
        &self,
        folders: &[KeyFolder],
        (keys, depth): (&SchemaRef, usize),
        zone: Zone,
    ) -> DfResult<Option<KeyFolders>> {
        let listings: Vec<_> = folders
            .iter()
            .map(|(folder, _)| self.store().list_with_delimiter(Some(folder)).boxed())
            .collect();
        let listings: Vec<ListResult> = futures::stream::iter(listings)
            .buffered(LISTINGS_MAX)
            .try_collect()
            .await?;
        let field = keys.field(depth);
        let mut children = KeyFolders {
            folders: vec![],
            records: None,
        };
        for ((_, values), listing) in folders.iter().zip(listings) {
            if listing.objects.iter().any(|meta| self.is_data(meta)) {
                return Ok(None);
            }
            for path in listing.common_prefixes {
                let name = path.filename().unwrap_or_default();
                if name == FOLDER {
                    children.records = Some(path);
                    continue;
                }
                if is_hidden_folder(name) {
                    continue;
                }
                let Some((key, value)) = parse_key(name) else {
                    return Ok(None);
                };
                let Ok(value) = parse_value(&value, field.data_type(), zone) else {
                    return Ok(None);
                };
                if key.to_lowercase() != field.name().to_lowercase() {
                    return Ok(None);
                }
                let mut values = values.clone();
                values.push(value);
                children.folders.push((path, values));
            }
        }
        Ok(Some(children))
    }
}
