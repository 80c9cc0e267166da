//! Object stores by URL: local files, S3, Google Cloud Storage, Azure, HTTP.
//!
//! Each process opens a store when it first sees a URL of it. No secret travels between driver and
//! executors, only a reference to where each process finds it.

mod advice;
mod credentials;
mod list;
mod local;
mod requests;
mod s3;
mod upload_writer;
mod uploads;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
pub use faisca_planner::manifest::known_scheme;
use faisca_planner::manifest::{Stores, settings_for};
use object_store::ObjectStore;
use parking_lot::RwLock;
use url::Url;

pub(crate) use advice::advice;
pub use advice::store_message;
pub use credentials::sdk_config;
use requests::RequestCounts;
pub(crate) use upload_writer::{UploadResult, UploadWriter};
pub use uploads::{StaleUpload, Uploads};

use crate::protocol::RequestSnapshot;
use local::LocalFiles;
use s3::S3Bucket;

/// One bucket, or the files of this machine.
#[derive(Clone)]
pub struct Store {
    /// Reads, lists and deletes objects.
    pub objects: Arc<dyn ObjectStore>,
    /// Multipart uploads that another process completes; `None` for stores without them.
    pub uploads: Option<Arc<dyn Uploads>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.objects)
    }
}

/// The stores of a process, opened on demand.
#[derive(Debug, Default)]
pub struct ObjectStores {
    settings: Stores,
    known: RwLock<HashMap<String, Store>>,
    requests: Arc<RequestCounts>,
}

impl ObjectStores {
    /// Creates the registry with settings keyed by `s3://bucket` or by scheme.
    #[must_use]
    pub fn new(settings: Stores) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Stores {
        &self.settings
    }

    /// Returns the counts of requests sent so far.
    #[must_use]
    pub fn requests(&self) -> RequestSnapshot {
        self.requests.snapshot()
    }

    /// Returns the store of a URL, and opens it if needed.
    ///
    /// # Errors
    /// If no store supports the scheme, or settings are incomplete.
    pub fn get(&self, url: &Url) -> Result<Store> {
        let key = key(url);
        if let Some(store) = self.known.read().get(&key) {
            return Ok(store.clone());
        }
        let store = self.open(url)?;
        let mut known = self.known.write();
        Ok(known.entry(key).or_insert(store).clone())
    }

    fn open(&self, url: &Url) -> Result<Store> {
        let bucket = url.host_str().unwrap_or_default();
        match url.scheme() {
            "file" => Ok(Store {
                objects: Arc::new(LocalFiles::default()),
                uploads: None,
            }),
            "s3" | "s3a" => {
                let settings = settings_for(&self.settings, "s3", bucket);
                let store = Arc::new(S3Bucket::new(bucket, settings, Arc::clone(&self.requests)));
                Ok(Store {
                    objects: store.with_request_limit(),
                    uploads: Some(store),
                })
            }
            "gs" => {
                let gcs = object_store::gcp::GoogleCloudStorageBuilder::from_env()
                    .with_url(url.as_str())
                    .build()
                    .map_err(store_error)?;
                let gcs = Arc::new(gcs);
                Ok(Store {
                    objects: Arc::clone(&gcs) as _,
                    uploads: Some(Arc::new(uploads::UnlistedUploads(gcs))),
                })
            }
            "az" | "abfs" | "abfss" | "adl" | "azure" => {
                let azure = object_store::azure::MicrosoftAzureBuilder::from_env()
                    .with_url(url.as_str())
                    .build()
                    .map_err(store_error)?;
                let azure = Arc::new(azure);
                Ok(Store {
                    objects: Arc::clone(&azure) as _,
                    uploads: Some(Arc::new(uploads::UnlistedUploads(azure))),
                })
            }
            "http" | "https" => {
                let host = url.origin().ascii_serialization();
                let options = object_store::ClientOptions::new().with_allow_http(true);
                let http = object_store::http::HttpBuilder::new()
                    .with_url(host)
                    .with_client_options(options)
                    .build()
                    .map_err(store_error)?;
                Ok(Store {
                    objects: Arc::new(http),
                    uploads: None,
                })
            }
            other => Err(exec_datafusion_err!(
                "{url}: no store for `{other}://`; supported are s3, s3a, gs, az, abfs, abfss, http, https and local paths"
            )),
        }
    }
}

fn store_error(error: object_store::Error) -> DataFusionError {
    DataFusionError::ObjectStore(Box::new(error))
}

/// Returns the scheme and host of a URL, which identify its store.
fn key(url: &Url) -> String {
    known_scheme(&format!(
        "{}://{}",
        url.scheme(),
        &url[url::Position::BeforeHost..url::Position::AfterPort]
    ))
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let entry = Store {
            objects: store,
            uploads: None,
        };
        self.known
            .write()
            .insert(key(url), entry)
            .map(|old| old.objects)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let removed = self.known.write().remove(&key(url));
        removed
            .map(|store| store.objects)
            .ok_or_else(|| exec_datafusion_err!("no store is registered for {url}"))
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.get(url).map(|store| store.objects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_store_serves_a_bucket_under_both_of_its_schemes() {
        let stores = ObjectStores::default();
        let get = |url: &str| stores.get(&Url::parse(url).unwrap());
        assert!(Arc::ptr_eq(
            &get("s3://lake/a").unwrap().objects,
            &get("s3a://lake/b").unwrap().objects
        ));
        assert!(!Arc::ptr_eq(
            &get("s3://lake/a").unwrap().objects,
            &get("s3://other/a").unwrap().objects
        ));
        let error = get("ftp://host/a").unwrap_err().to_string();
        assert!(error.contains("no store for `ftp://`"), "{error}");
    }
}
