//! An S3 server for the tests: s3s over a folder, with faults on demand.
//!
//! The protocol is the library's, not ours. What it lacks, a list of open uploads and writes that
//! happen at one instant (as S3's do, so that create-if-absent has one winner), is added here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
    /// 503, as S3 says "slow down".
    Refuse,
    /// Hang up without an answer.
    Break,
    /// Do it, but hang up without an answer.
    DoAndBreak,
}

/// Decides by method and path with query.
type Hook = Box<dyn FnMut(&str, &str) -> Act + Send>;

/// A running server; ends with its runtime.
pub struct S3Server {
    pub url: String,
    pub root: tempfile::TempDir,
    hook: Arc<Mutex<Option<Hook>>>,
    pub requests: Arc<AtomicUsize>,
    uploads: Arc<Mutex<Vec<(String, String)>>>,
}

impl S3Server {
    /// A server with one bucket, `lake`.
    pub async fn start() -> Self {
        let root = crate::support::scratch("s3");
        std::fs::create_dir(root.path().join("lake")).unwrap();
        let uploads = Arc::new(Mutex::new(vec![]));
        let store = Listed { files: FileSystem::new(root.path()).unwrap(), change: Default::default(), uploads: Arc::clone(&uploads) };
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single("test", "secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hook, requests) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let server = Self { url, root, hook: Arc::clone(&hook), requests: Arc::clone(&requests), uploads };
        tokio::task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (service, hook, requests) = (service.clone(), Arc::clone(&hook), Arc::clone(&requests));
                let answer = service_fn(move |request| answer(service.clone(), Arc::clone(&hook), Arc::clone(&requests), request));
                tokio::task::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        server
    }

    /// Sets what happens to requests from now on.
    pub fn on_request(&self, hook: impl FnMut(&str, &str) -> Act + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn pass_all(&self) {
        *self.hook.lock().unwrap() = None;
    }

    /// Keys of uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.uploads.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }

    /// Keys that a reader sees below a prefix.
    pub fn visible(&self, prefix: &str) -> Vec<String> {
        let folder = self.root.path().join("lake").join(prefix);
        let hidden = |name: &str| name.split('/').any(|part| part.starts_with(['.', '_']) && !part.contains('='));
        crate::support::files_below(&folder).into_iter().filter(|name| !hidden(name)).collect()
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

type Answer = hyper::Response<s3s::Body>;

async fn answer(
    service: S3Service,
    hook: Arc<Mutex<Option<Hook>>>,
    requests: Arc<AtomicUsize>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    requests.fetch_add(1, Ordering::Relaxed);
    let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let act = hook.lock().unwrap().as_mut().map_or(Act::Pass, |hook| hook(request.method().as_str(), &uri));
    match act {
        Act::Break => return Err("hung up".into()),
        Act::Refuse => {
            let mut refused = Answer::new(s3s::Body::from("<Error><Code>SlowDown</Code></Error>".to_owned()));
            *refused.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            return Ok(refused);
        }
        Act::Pass | Act::DoAndBreak => {}
    }
    let answered = service.call(request.map(s3s::Body::from)).await;
    match act {
        Act::DoAndBreak => Err("hung up".into()),
        _ => answered.map_err(|e| format!("{e:?}").into()),
    }
}

/// A file system that remembers its open uploads.
struct Listed {
    files: FileSystem,
    /// Held while an object appears or goes.
    change: tokio::sync::Mutex<()>,
    uploads: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listed {
    fn ended(&self, id: &str) {
        self.uploads.lock().unwrap().retain(|(_, open)| open != id);
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
                self.ended(&id);
                Ok(answer)
            }

            async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                let _one_at_a_time = self.change.lock().await;
                self.files.put_object(request).await
            }

            async fn abort_multipart_upload(&self, request: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                let id = request.input.upload_id.clone();
                let answer = self.files.abort_multipart_upload(request).await?;
                self.ended(&id);
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
    get_object: GetObjectInput => GetObjectOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    upload_part: UploadPartInput => UploadPartOutput,
}
