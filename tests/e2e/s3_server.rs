//! An S3 server for the tests: s3s over a folder, with faults on demand.
//!
//! The protocol is the library's, not ours. What it lacks is added here: a list of open uploads,
//! atomic writes (so that create-if-absent has one winner), folders that are not objects, and
//! suffix ranges of short objects.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// What to do with a request.
pub enum Act {
    /// Answer it.
    Pass,
    /// Refuse it with this status and code: 503 `SlowDown`, say.
    Refuse(u16, &'static str),
    /// Answer it, but not soon.
    Delay,
    /// Answer it, but hang up in the middle of the body.
    CutShort,
    /// Hang up without an answer.
    Break,
    /// Do it, but hang up without an answer.
    DoAndBreak,
}

/// How long a delayed answer takes.
const DELAY: std::time::Duration = std::time::Duration::from_millis(50);

/// Headers that [`S3Server::said`] remembers.
const RECORDED_HEADERS: [&str; 4] = [
    "x-amz-request-payer",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-security-token",
];

/// Decides by method and path with query.
type Hook = Box<dyn FnMut(&str, &str) -> Act + Send>;

/// A running server; ends with its runtime.
pub struct S3Server {
    pub url: String,
    pub root: tempfile::TempDir,
    hook: Arc<Mutex<Option<Hook>>>,
    pub requests: Arc<AtomicUsize>,
    seen_headers: Arc<Mutex<Vec<String>>>,
    uploads: Arc<Mutex<Vec<(String, String)>>>,
}

impl S3Server {
    /// A server with one bucket, `lake`.
    pub async fn start() -> Self {
        Self::start_with(Some(SimpleAuth::from_single("test", "secret"))).await
    }

    /// The same, open to everybody: what Google's XML interface is to a client without a key.
    pub async fn start_open() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(auth: Option<SimpleAuth>) -> Self {
        let root = crate::support::scratch("s3");
        std::fs::create_dir(root.path().join("lake")).unwrap();
        let uploads = Arc::new(Mutex::new(vec![]));
        let store = Listed {
            files: FileSystem::new(root.path()).unwrap(),
            root: root.path().to_owned(),
            change: Default::default(),
            uploads: Arc::clone(&uploads),
        };
        let mut builder = S3ServiceBuilder::new(store);
        if let Some(auth) = auth {
            builder.set_auth(auth);
        }
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hook, requests, seen_headers) = (
            Arc::new(Mutex::new(None)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Mutex::new(vec![])),
        );
        let server = Self {
            url,
            root,
            hook: Arc::clone(&hook),
            requests: Arc::clone(&requests),
            seen_headers: Arc::clone(&seen_headers),
            uploads,
        };
        tokio::task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                stream.set_nodelay(true).unwrap();
                let (service, hook, requests, seen_headers) = (
                    service.clone(),
                    Arc::clone(&hook),
                    Arc::clone(&requests),
                    Arc::clone(&seen_headers),
                );
                let answer = service_fn(move |request| {
                    seen_headers
                        .lock()
                        .unwrap()
                        .extend(recorded_headers(&request));
                    answer(
                        service.clone(),
                        Arc::clone(&hook),
                        Arc::clone(&requests),
                        request,
                    )
                });
                tokio::task::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        server
    }

    /// Sets what happens to requests from now on.
    pub fn on_request(&self, hook: impl FnMut(&str, &str) -> Act + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Counts requests that change something, from now on.
    pub fn count_writes(&self) -> Arc<AtomicUsize> {
        let writes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&writes);
        self.on_request(move |method, _| {
            let is_write = !matches!(method, "GET" | "HEAD");
            counter.fetch_add(usize::from(is_write), Ordering::Relaxed);
            Act::Pass
        });
        writes
    }

    /// What requests said since this was asked last, as `METHOD header: value`, for headers that
    /// cost or protect something.
    pub fn take_seen_headers(&self) -> Vec<String> {
        std::mem::take(&mut self.seen_headers.lock().unwrap())
    }

    pub fn pass_all(&self) {
        *self.hook.lock().unwrap() = None;
    }

    /// Keys of uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.uploads
            .lock()
            .unwrap()
            .iter()
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Keys that a reader sees below a prefix.
    pub fn visible(&self, prefix: &str) -> Vec<String> {
        let folder = self.root.path().join("lake").join(prefix);
        let hidden = |name: &str| {
            name.split('/')
                .any(|part| part.starts_with(['.', '_']) && !part.contains('='))
        };
        crate::support::files_below(&folder)
            .into_iter()
            .filter(|name| !hidden(name))
            .collect()
    }

    /// Settings for a session or a command.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL_S3", self.url.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

fn recorded_headers(request: &hyper::Request<hyper::body::Incoming>) -> Vec<String> {
    let value = |name| {
        request
            .headers()
            .get(name)
            .map(|value| format!("{} {name}: {}", request.method(), value.to_str().unwrap()))
    };
    RECORDED_HEADERS.into_iter().filter_map(value).collect()
}

type Answer = hyper::Response<s3s::Body>;

async fn answer(
    service: S3Service,
    hook: Arc<Mutex<Option<Hook>>>,
    requests: Arc<AtomicUsize>,
    mut request: hyper::Request<hyper::body::Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    requests.fetch_add(1, Ordering::Relaxed);
    // Google's way to sign, which is not for the library to understand.
    if request
        .headers()
        .get("authorization")
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer"))
    {
        request.headers_mut().remove("authorization");
    }
    let uri = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let act = hook
        .lock()
        .unwrap()
        .as_mut()
        .map_or(Act::Pass, |hook| hook(request.method().as_str(), &uri));
    match act {
        Act::Break => return Err("hung up".into()),
        Act::Refuse(status, code) => {
            let mut refused = Answer::new(s3s::Body::from(format!(
                "<Error><Code>{code}</Code><Message>injected</Message></Error>"
            )));
            *refused.status_mut() = hyper::StatusCode::from_u16(status)?;
            return Ok(refused);
        }
        Act::Delay => tokio::time::sleep(DELAY).await,
        Act::Pass | Act::DoAndBreak | Act::CutShort => {}
    }
    // In a task of its own: what a client began is done, whether or not it waits for the answer.
    let response =
        tokio::task::spawn(async move { service.call(request.map(s3s::Body::from)).await }).await?;
    match act {
        Act::DoAndBreak => Err("hung up".into()),
        Act::CutShort => {
            let (mut head, body) = response.map_err(|e| format!("{e:?}"))?.into_parts();
            let body_bytes = body
                .collect()
                .await
                .map_err(|e| format!("{e:?}"))?
                .to_bytes();
            head.headers
                .insert("content-length", body_bytes.len().into());
            let half = [
                Ok(Frame::data(body_bytes.slice(..body_bytes.len() / 2))),
                Err(std::io::Error::other("cut short")),
            ];
            Ok(Answer::from_parts(
                head,
                s3s::Body::http_body_unsync(StreamBody::new(futures::stream::iter(half))),
            ))
        }
        _ => response.map_err(|e| format!("{e:?}").into()),
    }
}

/// A file system that remembers its open uploads.
struct Listed {
    files: FileSystem,
    root: std::path::PathBuf,
    /// Held while an object appears or goes.
    change: tokio::sync::Mutex<()>,
    uploads: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listed {
    fn remove_upload(&self, id: &str) {
        self.uploads.lock().unwrap().retain(|(_, open)| open != id);
    }
}

/// Returns a page of keys. The library's own listing takes seconds if there are thousands of
/// folders.
fn page(bucket: &Path, input: &ListObjectsV2Input) -> ListObjectsV2Output {
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input
        .continuation_token
        .clone()
        .or_else(|| input.start_after.clone())
        .unwrap_or_default();
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let keys = crate::support::files_below(&bucket.join(folder)).into_iter();
    let mut keys: Vec<String> = keys
        .map(|name| {
            if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            }
        })
        .collect();
    keys.retain(|key| key.starts_with(&prefix));
    keys.sort();
    let (mut contents, mut folders, mut last) = (vec![], vec![], String::new());
    for key in keys {
        let cut = key[prefix.len()..]
            .split_once('/')
            .filter(|_| input.delimiter.is_some());
        let name = cut.map_or_else(|| key.clone(), |(folder, _)| format!("{prefix}{folder}/"));
        if name <= after || name == last {
            continue;
        }
        if contents.len() + folders.len() == 1000 {
            let token = Some(last);
            return ListObjectsV2Output {
                contents: Some(contents),
                common_prefixes: Some(folders),
                is_truncated: Some(true),
                next_continuation_token: token,
                ..Default::default()
            };
        }
        if name.ends_with('/') {
            folders.push(CommonPrefix {
                prefix: Some(name.clone()),
            });
        } else if let Ok(meta) = std::fs::metadata(bucket.join(&key)) {
            let modified = meta.modified().map(Timestamp::from).ok();
            contents.push(Object {
                key: Some(key),
                size: i64::try_from(meta.len()).ok(),
                last_modified: modified,
                ..Default::default()
            });
        }
        last = name;
    }
    ListObjectsV2Output {
        contents: Some(contents),
        common_prefixes: Some(folders),
        is_truncated: Some(false),
        ..Default::default()
    }
}

macro_rules! delegate {
    ($($name:ident: $input:ty => $output:ty),* $(,)?) => {
        #[async_trait::async_trait]
        impl S3 for Listed {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.files.$name(request).await
            })*

            async fn create_multipart_upload(&self, request: S3Request<CreateMultipartUploadInput>) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
                let key = request.input.key.clone();
                let answer = self.files.create_multipart_upload(request).await?;
                self.uploads.lock().unwrap().push((key, answer.output.upload_id.clone().unwrap()));
                Ok(answer)
            }

            async fn complete_multipart_upload(&self, request: S3Request<CompleteMultipartUploadInput>) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                let id = request.input.upload_id.clone();
                let _one_at_a_time = self.change.lock().await;
                if !self.uploads.lock().unwrap().iter().any(|(_, open)| *open == id) {
                    return Err(s3_error!(NoSuchUpload));
                }
                let answer = self.files.complete_multipart_upload(request).await?;
                self.remove_upload(&id);
                Ok(answer)
            }

            async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
                let bucket = self.root.join(&request.input.bucket);
                if !bucket.is_dir() {
                    return Err(s3_error!(NoSuchBucket));
                }
                let page = tokio::task::spawn_blocking(move || page(&bucket, &request.input)).await;
                Ok(S3Response::new(page.map_err(|_| s3_error!(InternalError))?))
            }

            async fn get_object(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                // The end of an object that is shorter than that is all of it.
                if let Some(Range::Suffix { length }) = request.input.range {
                    let path = self.root.join(&request.input.bucket).join(&request.input.key);
                    if let Ok(file) = std::fs::metadata(path).as_ref().map(std::fs::Metadata::len)
                        && file < length
                    {
                        request.input.range = Some(Range::Int { first: 0, last: file.checked_sub(1) });
                    }
                }
                self.files.get_object(request).await
            }

            async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
                if self.root.join(&request.input.bucket).join(&request.input.key).is_dir() {
                    return Err(s3_error!(NoSuchKey));
                }
                self.files.head_object(request).await
            }

            async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                let _one_at_a_time = self.change.lock().await;
                self.files.put_object(request).await
            }

            async fn abort_multipart_upload(&self, request: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                let id = request.input.upload_id.clone();
                let answer = self.files.abort_multipart_upload(request).await?;
                self.remove_upload(&id);
                Ok(answer)
            }

            async fn list_multipart_uploads(&self, request: S3Request<ListMultipartUploadsInput>) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
                let prefix = request.input.prefix.unwrap_or_default();
                let open = self.uploads.lock().unwrap();
                let uploads = open.iter().filter(|(key, _)| key.starts_with(&prefix));
                let uploads = uploads.map(|(key, id)| MultipartUpload { key: Some(key.clone()), upload_id: Some(id.clone()), ..Default::default() });
                Ok(S3Response::new(ListMultipartUploadsOutput { uploads: Some(uploads.collect()), is_truncated: Some(false), ..Default::default() }))
            }
        }
    };
}

delegate! {
    copy_object: CopyObjectInput => CopyObjectOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    upload_part: UploadPartInput => UploadPartOutput,
}
