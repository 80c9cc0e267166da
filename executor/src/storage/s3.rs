//! A bucket of S3. It is opened when first used, because its region and credentials may need files
//! or the network.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::SdkConfig;
use bytes::Bytes;
use faisca_planner::manifest::StoreSettings;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::Request;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, resolve_bucket_region};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use object_store::limit::LimitStore;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientOptions, CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    RetryConfig,
};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::credentials::{Chain, resolve, sdk_config};
use super::list::list_in_ranges;
use super::requests::{CountingConnector, RequestCounts};
use super::uploads::{StaleUpload, Uploads};

/// Default of concurrent requests to one bucket.
const REQUESTS_MAX: usize = 64;
/// A request without a response for this long is aborted and retried.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests are retried for at most this long.
const RETRY_TIMEOUT: Duration = Duration::from_secs(150);
/// Attempts of a request to list uploads, which `object_store` does not retry.
const LIST_ATTEMPTS_MAX: u32 = 5;
/// Region for endpoints of other servers, which ignore it.
const REGION: &str = "us-east-1";

/// One bucket of S3, or of a server with its API.
pub(super) struct S3Bucket {
    shared: Arc<Shared>,
}

struct Shared {
    bucket: String,
    settings: StoreSettings,
    requests: Arc<RequestCounts>,
    open: OnceCell<OpenBucket>,
}

struct OpenBucket {
    s3: Arc<AmazonS3>,
    client: HttpClient,
    region: String,
    /// URL of the bucket, with a trailing slash.
    url: String,
}

impl S3Bucket {
    pub(super) fn new(bucket: &str, settings: StoreSettings, requests: Arc<RequestCounts>) -> Self {
        Self {
            shared: Arc::new(Shared {
                bucket: bucket.to_owned(),
                settings,
                requests,
                open: OnceCell::new(),
            }),
        }
    }

    /// Returns the bucket with a limit on concurrent requests.
    pub(super) fn with_request_limit(&self) -> Arc<dyn ObjectStore> {
        let requests_max = self
            .shared
            .settings
            .requests_max
            .unwrap_or(REQUESTS_MAX)
            .max(1);
        Arc::new(LimitStore::new(
            Self {
                shared: Arc::clone(&self.shared),
            },
            requests_max,
        ))
    }
}

impl Shared {
    async fn open(&self) -> Result<&OpenBucket> {
        self.open.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<OpenBucket> {
        let settings = &self.settings;
        // The default chain may use the network, so it is skipped if the settings are complete.
        let is_complete =
            settings.region.is_some() && (settings.anonymous || settings.credentials.is_some());
        let config = if is_complete {
            SdkConfig::builder().build()
        } else {
            sdk_config(settings.profile.as_deref()).await
        };
        let variable = || {
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let endpoint = settings
            .endpoint
            .clone()
            .or_else(variable)
            .or_else(|| config.endpoint_url().map(str::to_owned));
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(REQUEST_TIMEOUT);
        let region = match settings
            .region
            .clone()
            .or_else(|| config.region().map(ToString::to_string))
        {
            Some(region) => region,
            None if endpoint.is_some() => REGION.to_owned(),
            None => resolve_bucket_region(&self.bucket, &options).await?,
        };
        let path_style = settings.path_style.unwrap_or(endpoint.is_some());
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&region)
            .with_virtual_hosted_style_request(!path_style)
            .with_request_payer(settings.requester_pays)
            .with_skip_signature(settings.anonymous)
            .with_client_options(options.clone())
            .with_http_connector(CountingConnector(Arc::clone(&self.requests)))
            .with_retry(RetryConfig {
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            });
        let url = match &endpoint {
            Some(endpoint) => bucket_url(endpoint, &self.bucket, path_style)?,
            None => format!("https://{}.s3.{region}.amazonaws.com/", self.bucket),
        };
        if let Some(endpoint) = &endpoint {
            // The builder adds the bucket to the path, but not to the host.
            let endpoint = if path_style { endpoint } else { &url };
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(key) = &settings.kms_key_id {
            builder = builder.with_sse_kms_encryption(key);
        }
        if let Some(credentials) = &settings.credentials {
            builder = builder.with_credentials(resolve(credentials)?);
        } else if let (false, Some(provider)) = (settings.anonymous, config.credentials_provider())
        {
            builder = builder.with_credentials(Arc::new(Chain::new(provider)));
        }
        let client = CountingConnector(Arc::clone(&self.requests)).connect(&options)?;
        Ok(OpenBucket {
            s3: Arc::new(builder.build()?),
            client,
            region,
            url,
        })
    }
}

fn bucket_url(endpoint: &str, bucket: &str, path_style: bool) -> Result<String> {
    let invalid = |e: url::ParseError| object_store::Error::Generic {
        store: "S3",
        source: format!("endpoint `{endpoint}`: {e}").into(),
    };
    let mut url = Url::parse(endpoint).map_err(invalid)?;
    if path_style {
        url.set_path(&format!("{}/{bucket}/", url.path().trim_end_matches('/')));
    } else if let Some(host) = url.host_str().map(|host| format!("{bucket}.{host}")) {
        url.set_host(Some(&host)).map_err(invalid)?;
    }
    Ok(url.to_string())
}

impl fmt::Display for S3Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.shared.bucket)
    }
}

impl fmt::Debug for S3Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.shared.bucket)
    }
}

#[async_trait]
impl ObjectStore for S3Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.shared
            .open()
            .await?
            .s3
            .put_opts(location, payload, opts)
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.shared
            .open()
            .await?
            .s3
            .put_multipart_opts(location, opts)
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.shared
            .open()
            .await?
            .s3
            .get_opts(location, options)
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared
            .open()
            .await?
            .s3
            .get_ranges(location, ranges)
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        futures::stream::once(async move {
            shared
                .open()
                .await
                .map(|open| open.s3.delete_stream(locations))
        })
        .try_flatten()
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.cloned());
        // The path of the bucket's root is empty, and no key begins with a slash.
        let folder = prefix.filter(|prefix| !prefix.as_ref().is_empty());
        let folder = folder.map_or_else(String::new, |folder| format!("{folder}/"));
        let listed = async move {
            shared
                .open()
                .await
                .map(|open| list_in_ranges(Arc::clone(&open.s3), folder))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (shared, prefix, offset) = (Arc::clone(&self.shared), prefix.cloned(), offset.clone());
        let listed = async move {
            shared
                .open()
                .await
                .map(|open| open.s3.list_with_offset(prefix.as_ref(), &offset))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shared
            .open()
            .await?
            .s3
            .list_with_delimiter(prefix)
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared
            .open()
            .await?
            .s3
            .copy_opts(from, to, options)
            .await
    }
}

#[async_trait]
impl MultipartStore for S3Bucket {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.shared.open().await?.s3.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.shared
            .open()
            .await?
            .s3
            .put_part(path, id, part_idx, data)
            .await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.shared
            .open()
            .await?
            .s3
            .complete_multipart(path, id, parts)
            .await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.shared.open().await?.s3.abort_multipart(path, id).await
    }
}

/// The fields of a ListMultipartUploads response that are used here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadPage {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    uploads: Vec<ListedUpload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedUpload {
    key: String,
    upload_id: String,
    initiated: Option<String>,
}

#[async_trait]
impl Uploads for S3Bucket {
    async fn list_unfinished(&self, prefix: &Path) -> Result<Vec<StaleUpload>> {
        let mut uploads = vec![];
        let mut markers: Option<(String, String)> = None;
        loop {
            let page = self.page(prefix, markers.as_ref()).await?;
            for upload in page.uploads {
                let path = Path::parse(&upload.key)?;
                // A store that ignores the prefix must not expose the uploads of others.
                if path.prefix_match(prefix).is_none() {
                    continue;
                }
                let started = upload
                    .initiated
                    .and_then(|time| chrono::DateTime::parse_from_rfc3339(&time).ok())
                    .map(SystemTime::from);
                uploads.push(StaleUpload {
                    path,
                    id: upload.upload_id,
                    started,
                });
            }
            match (
                page.is_truncated,
                page.next_key_marker,
                page.next_upload_id_marker,
            ) {
                (true, Some(key), id) => markers = Some((key, id.unwrap_or_default())),
                _ => return Ok(uploads),
            }
        }
    }
}

impl S3Bucket {
    async fn page(&self, prefix: &Path, markers: Option<&(String, String)>) -> Result<UploadPage> {
        let open = self.shared.open().await?;
        let mut url = Url::parse(&open.url).map_err(generic_error)?;
        url.query_pairs_mut()
            // The slash at the end: `out` is a prefix of `out2`, too.
            .append_pair("prefix", &format!("{prefix}/"))
            .append_pair("uploads", "");
        if let Some((key, id)) = markers {
            url.query_pairs_mut()
                .append_pair("key-marker", key)
                .append_pair("upload-id-marker", id);
        }
        let mut wait = Duration::from_millis(100);
        for attempt in 1.. {
            let failure = match self.send(open, &url).await {
                Ok((status, body)) if status.is_success() => {
                    return quick_xml::de::from_reader(body.as_ref()).map_err(generic_error);
                }
                Ok((status, body)) => {
                    let error = generic_error(format!(
                        "listing open uploads: {status}: {}",
                        String::from_utf8_lossy(&body)
                    ));
                    if !status.is_server_error()
                        || status == http::StatusCode::NOT_IMPLEMENTED
                        || attempt >= LIST_ATTEMPTS_MAX
                    {
                        return Err(error);
                    }
                    error
                }
                Err(error) if attempt >= LIST_ATTEMPTS_MAX => return Err(error),
                Err(error) => error,
            };
            tracing::debug!("retrying: {failure}");
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(generic_error("listing open uploads: no tries"))
    }

    async fn send(&self, open: &OpenBucket, url: &Url) -> Result<(http::StatusCode, Bytes)> {
        let mut request = Request::get(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(generic_error)?;
        if !self.shared.settings.anonymous {
            let credential = open.s3.credentials().get_credential().await?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &open.region)
                .with_request_payer(self.shared.settings.requester_pays);
            authorizer.authorize(&mut request, None);
        }
        let response = open.client.execute(request).await.map_err(generic_error)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(generic_error)?;
        Ok((status, body))
    }
}

fn generic_error(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: source.into(),
    }
}
