//! Errors of this crate, and the explanation of errors of the API server.

use std::net::SocketAddr;

use faisca_driver::BoxedError;

/// The spec of a resource is invalid. Final until the spec, or an object that it refers to,
/// changes.
///
/// The text names each field by its path and says how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSpec(pub String);

impl From<InvalidSpec> for faisca_driver::Error {
    fn from(error: InvalidSpec) -> Self {
        Self::Spec(Box::new(error))
    }
}

/// Failure of a driver to use the pod and the cluster that it runs in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    /// An environment variable that the operator sets is missing or invalid.
    #[error("environment variable {name}: {source}")]
    Variable {
        /// Name of the variable.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: BoxedError,
    },
    /// The pod's service account cannot be used.
    #[error("cannot connect to the cluster of this pod: {source}")]
    NoCluster {
        /// What the configuration lacks.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server rejected the pod of an executor, or cannot be reached.
    #[error("executor pod {pod}: {}", explain_api_error(source))]
    CreateExecutor {
        /// Name of the pod.
        pod: String,
        /// The response of the API server.
        #[source]
        source: Box<kube::Error>,
    },
}

impl From<PlatformError> for faisca_driver::Error {
    fn from(error: PlatformError) -> Self {
        Self::Platform(Box::new(error))
    }
}

/// Failure of a request that a user makes from outside the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a pod's service account can be used.
    #[error("cannot connect to a cluster: {source}; set KUBECONFIG, or run in a pod")]
    NoCluster {
        /// What the configuration lacks.
        #[source]
        source: BoxedError,
    },
    /// The API server rejected the request, or cannot be reached.
    #[error("{}", explain_api_error(.0))]
    Api(#[source] Box<kube::Error>),
    /// The manifest cannot be written as JSON.
    #[error("the manifest cannot be written as JSON: {0}")]
    Encode(#[source] serde_json::Error),
    /// An application of that name exists.
    #[error(
        "{namespace}/{name} already exists: `faisca kill {name}` removes it, `--name` gives this run another name"
    )]
    AlreadyExists {
        /// Namespace of the application.
        namespace: String,
        /// Name of the application.
        name: String,
    },
    /// No application of that name exists.
    #[error("there is no application {namespace}/{name}: {help}")]
    NotFound {
        /// Namespace in which it was looked up.
        namespace: String,
        /// The unknown name.
        name: String,
        /// The nearest name, or how to list all names.
        help: String,
    },
    /// The application was deleted while the client waited for its end.
    #[error("{namespace}/{name} was deleted")]
    Deleted {
        /// Namespace of the application.
        namespace: String,
        /// Name of the application.
        name: String,
    },
    /// The application ended without a driver whose log can be read.
    #[error("{name} has no log: {reason}")]
    NoLog {
        /// Name of the application.
        name: String,
        /// Why there is none.
        reason: String,
    },
    /// The connection broke while the log was read.
    #[error("log of {name}: {source}")]
    ReadLog {
        /// Name of the application.
        name: String,
        /// Failure of the connection.
        #[source]
        source: std::io::Error,
    },
}

impl From<kube::Error> for ClientError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Failure to convert a resource of Spark Operator.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The text is not valid YAML. Displays as one line, with line and column.
    #[error("{}", first_line(.0))]
    Parse(#[source] Box<serde_saphyr::Error>),
    /// The resource has another kind.
    #[error("expected a SparkApplication of sparkoperator.k8s.io, found {kind} of {api_version}")]
    OtherKind {
        /// Kind of the resource.
        kind: String,
        /// API version of the resource.
        api_version: String,
    },
    /// The manifest cannot be written as YAML, which would be a bug.
    #[error("the manifest cannot be written as YAML: {0}")]
    Write(#[source] Box<serde_saphyr::SerializeError>),
}

/// Returns the first line of a message: the others quote the text.
fn first_line(error: &dyn std::fmt::Display) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_owned()
}

/// Failure of the operator, or of one reconciliation.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The API server rejected a request, or cannot be reached. Retried.
    #[error("{}", explain_api_error(.0))]
    Api(#[source] Box<kube::Error>),
    /// The cluster does not accept what the spec asks for. The application fails with this text.
    #[error(transparent)]
    InvalidSpec(#[from] InvalidSpec),
    /// A quota of the namespace leaves no room for a pod. Retried.
    #[error("{}", explain_api_error(.0))]
    QuotaExceeded(#[source] Box<kube::Error>),
    /// The pod of the previous attempt still has the name of the next one. Retried.
    #[error("pod {pod} of the previous attempt is not deleted yet")]
    PodNotDeleted {
        /// Name of both pods.
        pod: String,
    },
    /// The address of metrics and health cannot be used.
    #[error("{address}: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Failure of the socket.
        #[source]
        source: std::io::Error,
    },
    /// The server of metrics and health ended.
    #[error("the server of metrics and health ended")]
    MetricsServer(#[source] Option<tokio::task::JoinError>),
    /// The system has no random numbers for a token or an identity.
    #[error("random numbers: {0}")]
    Random(#[source] faisca_driver::Error),
    /// A status cannot be written as JSON.
    #[error("the status cannot be written as JSON: {0}")]
    Encode(#[source] serde_json::Error),
    /// Another operator holds the lease.
    #[error("the lease was lost: another operator leads now")]
    LeaseLost,
}

impl From<kube::Error> for OperatorError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Describes an error of the API server and, where the cause is known, how to fix it: a missing
/// RBAC rule (403), a missing service account, or missing resource definitions.
pub(crate) fn explain_api_error(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return error.to_string();
    };
    let message = &status.message;
    if status.code == 403 && message.contains(" cannot ") {
        return format!(
            "{message} (a Role or ClusterRole must allow this; the Helm chart has the rules)"
        );
    }
    if message.contains("looking up service account") {
        return format!("{message} (create it, or name another one in spec.serviceAccount)");
    }
    if status.code == 404 && message.contains("could not find the requested resource") {
        return "the cluster does not know SparkApplication: install the definitions with \
                `faisca crd | kubectl apply -f -`, or with the Helm chart"
            .to_owned();
    }
    message.clone()
}

/// Returns true if a quota of the namespace refused an object. Unlike other refusals (403), it ends
/// when other objects are deleted. The API server has no code for it, only this text.
pub(crate) fn is_quota_exceeded(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 403 && status.message.contains("exceeded quota"))
}

/// Returns true if an object of that name exists already. Other conflicts have the same code.
pub(crate) fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}
