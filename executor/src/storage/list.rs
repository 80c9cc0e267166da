//! Lists many objects by concurrent requests.
//!
//! A store returns a thousand keys per request, and each page names the next: ten thousand objects
//! are ten sequential round trips. If the first page is not the last, the folders after it are
//! listed, and the rest is split at their names into ranges that are listed concurrently.
//!
//! ```text
//! first page │ range up to k=03/ │ range up to k=07/ │ … (at most RANGES_MAX)
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::{ObjectMeta, Result};

/// Ranges listed concurrently.
const RANGES_MAX: usize = 16;

/// A range of keys, `after` (exclusive) to `until` (exclusive).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    after: Option<String>,
    until: Option<String>,
}

/// Lists all objects below a prefix, in no particular order.
pub(super) fn list_in_ranges<S: PaginatedListStore>(
    store: Arc<S>,
    prefix: String,
) -> BoxStream<'static, Result<ObjectMeta>> {
    list_after(store, prefix, None)
}

fn list_after<S: PaginatedListStore>(
    store: Arc<S>,
    prefix: String,
    after: Option<String>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let started = async move {
        let first = page(&store, &prefix, after, None, None).await?;
        let objects = first.result.objects;
        let Some(last) = objects
            .last()
            .map(|meta| meta.location.to_string())
            .filter(|_| first.page_token.is_some())
        else {
            return Ok(futures::stream::iter(objects).map(Ok).boxed());
        };
        let folders = page(&store, &prefix, Some(last.clone()), None, Some("/")).await?;
        let names: Vec<String> = folders
            .result
            .common_prefixes
            .iter()
            .map(|path| format!("{path}/"))
            .filter(|name| *name > last)
            .collect();
        let mut ranges = split(last, &names);
        let mut parts = vec![futures::stream::iter(objects).map(Ok).boxed()];
        if folders.page_token.is_some()
            && let Some(last_range) = ranges.pop()
        {
            // There are more folders than one page names: repeat after the last of them.
            parts.push(list_after(
                Arc::clone(&store),
                prefix.clone(),
                last_range.after,
            ));
        }
        parts.extend(
            ranges
                .into_iter()
                .map(|range| list_range(Arc::clone(&store), prefix.clone(), range)),
        );
        Ok::<_, object_store::Error>(
            futures::stream::iter(parts)
                .flatten_unordered(RANGES_MAX)
                .boxed(),
        )
    };
    futures::stream::once(started).try_flatten().boxed()
}

/// Splits all keys after `last` into ranges, at some of the names of the folders.
fn split(last: String, folders: &[String]) -> Vec<Range> {
    let step = folders.len().div_ceil(RANGES_MAX - 1).max(1);
    let mut ranges = vec![Range {
        after: Some(last),
        until: None,
    }];
    for cut in folders.iter().step_by(step) {
        if let Some(range) = ranges.last_mut() {
            range.until = Some(cut.clone());
        }
        ranges.push(Range {
            after: Some(cut.clone()),
            until: None,
        });
    }
    ranges
}

fn list_range<S: PaginatedListStore>(
    store: Arc<S>,
    prefix: String,
    range: Range,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let pages = futures::stream::try_unfold(Some(None), move |next: Option<Option<String>>| {
        let (store, prefix, range) = (Arc::clone(&store), prefix.clone(), range.clone());
        async move {
            let Some(token) = next else { return Ok(None) };
            let page = page(&store, &prefix, range.after.clone(), token, None).await?;
            let mut objects = page.result.objects;
            let before = objects.len();
            objects.retain(|meta| {
                range
                    .until
                    .as_ref()
                    .is_none_or(|until| meta.location.as_ref() < until.as_str())
            });
            let has_more = objects.len() == before && page.page_token.is_some();
            Ok::<_, object_store::Error>(Some((
                futures::stream::iter(objects).map(Ok),
                has_more.then_some(page.page_token),
            )))
        }
    });
    pages.try_flatten().boxed()
}

async fn page<S: PaginatedListStore>(
    store: &Arc<S>,
    prefix: &str,
    offset: Option<String>,
    page_token: Option<String>,
    delimiter: Option<&'static str>,
) -> Result<PaginatedListResult> {
    let options = PaginatedListOptions {
        offset,
        page_token,
        delimiter: delimiter.map(Cow::Borrowed),
        ..PaginatedListOptions::default()
    };
    store.list_paginated(Some(prefix), options).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use object_store::ListResult;
    use object_store::path::Path;

    use super::*;

    /// Lists as S3 does, with ten keys per page.
    struct Keys(BTreeSet<String>, AtomicUsize);

    #[async_trait]
    impl PaginatedListStore for Keys {
        async fn list_paginated(
            &self,
            prefix: Option<&str>,
            options: PaginatedListOptions,
        ) -> Result<PaginatedListResult> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let prefix = prefix.unwrap_or_default();
            let after = options.page_token.or(options.offset).unwrap_or_default();
            let mut seen = BTreeSet::new();
            let (mut objects, mut common_prefixes, mut last) = (vec![], vec![], String::new());
            for key in self
                .0
                .iter()
                .filter(|key| key.starts_with(prefix) && **key > after)
            {
                let folder = key[prefix.len()..]
                    .split_once('/')
                    .filter(|_| options.delimiter.is_some())
                    .map(|(name, _)| format!("{prefix}{name}/"));
                let name = folder.clone().unwrap_or_else(|| key.clone());
                // After the last folder of a page its keys must not be listed again.
                if name <= after || !seen.insert(name.clone()) {
                    continue;
                }
                if seen.len() > 10 {
                    return Ok(PaginatedListResult {
                        result: ListResult {
                            objects,
                            common_prefixes,
                        },
                        page_token: Some(last),
                    });
                }
                last = name;
                match folder {
                    Some(folder) => common_prefixes.push(Path::from(folder)),
                    None => objects.push(ObjectMeta {
                        location: Path::from(key.as_str()),
                        last_modified: Default::default(),
                        size: 1,
                        e_tag: None,
                        version: None,
                    }),
                }
            }
            Ok(PaginatedListResult {
                result: ListResult {
                    objects,
                    common_prefixes,
                },
                page_token: None,
            })
        }
    }

    async fn check(keys: impl Iterator<Item = String>) -> usize {
        let store = Arc::new(Keys(keys.collect(), AtomicUsize::new(0)));
        let listed: Vec<String> = list_in_ranges(Arc::clone(&store), "t/".to_owned())
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .unwrap();
        let expected: Vec<&String> = store.0.iter().filter(|key| key.starts_with("t/")).collect();
        let set: BTreeSet<&String> = listed.iter().collect();
        assert_eq!(set.len(), listed.len(), "a key is listed twice");
        assert_eq!(set.into_iter().collect::<Vec<_>>(), expected);
        store.1.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn every_key_is_listed_once_for_any_layout_of_folders() {
        assert_eq!(check((0..9).map(|n| format!("t/{n}"))).await, 1);
        check((0..95).map(|n| format!("t/{n:03}"))).await;
        check((0..300).map(|n| format!("t/k={:02}/{n}", n % 7))).await;
        check((0..300).map(|n| format!("t/k={n:03}/x"))).await;
        check(
            (0..300)
                .map(|n| format!("t/k={n:03}/x"))
                .chain((0..50).map(|n| format!("t/{n}")))
                .chain((0..50).map(|n| format!("t/z{n}"))),
        )
        .await;
        check((0..40).map(|n| format!("other/{n}"))).await;
        check((0..400).map(|n| format!("t/a={}/b={}/c={}/{n}", n % 3, n % 5, n % 7))).await;
    }
}
