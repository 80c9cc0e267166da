//! Reads the journals below a folder of an object store.

use datafusion::common::DataFusionError;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::error::{Error, Result};
use crate::session::Session;

/// Ending of the name of a journal.
pub const JOURNAL_ENDING: &str = "jsonl";

/// The text of a file that may be a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalText {
    /// Its path below the folder.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Reads the files whose names end as those of journals, below a folder of an object store.
///
/// # Errors
/// If the URL is not one of an object store, or the store fails.
pub async fn read_journals(session: &Session, folder: &str) -> Result<Vec<JournalText>> {
    let url = url::Url::parse(folder).map_err(Error::input(folder))?;
    let store = session.object_stores().get(&url)?.objects;
    let prefix = Path::from_url_path(url.path()).map_err(Error::input(folder))?;
    let failed =
        |e: object_store::Error| Error::from(DataFusionError::ObjectStore(Box::new(e))).at(folder);
    let listed = store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
    let mut journals = vec![];
    for object in listed.map_err(failed)? {
        if object.location.extension() != Some(JOURNAL_ENDING) {
            continue;
        }
        let read = store.get(&object.location).await.map_err(failed)?;
        let bytes = read.bytes().await.map_err(failed)?;
        let key = object.location.as_ref();
        let name = key.strip_prefix(prefix.as_ref()).unwrap_or(key);
        journals.push(JournalText {
            name: name.trim_start_matches('/').to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
    }
    Ok(journals)
}
