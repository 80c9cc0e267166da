//! An executor process: its connection to the driver, and its end.
//!
//! The executor dials the driver, so only the driver needs an address that is known in advance, and
//! a broken connection shows each side at once that the other is dead. The messages and their order
//! are drawn in [`crate::protocol`]; ADR 3 explains why they travel by Flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::flight_service_client::FlightServiceClient;
use datafusion::common::DataFusionError;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tracing::info;

use crate::environment::{Environment, UserFunctions};
use crate::exchange::{BlockService, BlockStore, PeerClients};
use crate::executor::Executor;
use crate::protocol::flight::{self, Credentials, Encryption, MESSAGE_BYTES_MAX};
use crate::protocol::{
    BUILD, ExecutorConfig, FromExecutor, QUEUE_LENGTH, Registration, ToExecutor, VERSION, frame,
    unframe,
};
use crate::signals::Termination;

/// Interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why an executor process ended before the driver ended it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The executor's build or limits are unusable. A replacement would end in the same way, so the
    /// fleet starts none.
    #[error("{0}")]
    Unusable(String),
    /// The process could not serve, or lost its connection.
    #[error("{activity}: {source}")]
    Broken {
        /// What the executor was doing.
        activity: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The grace period after SIGTERM ended with work left.
    #[error("ended after {} s of grace, with work left", .0.as_secs())]
    GraceExceeded(Duration),
}

impl ServeError {
    /// Exit code of [`Self::Unusable`]: `EX_CONFIG` of BSD's sysexits.
    pub const UNUSABLE: i32 = 78;

    /// Exit code of an executor that lost its driver, or its time to shut down.
    pub const BROKEN: i32 = 1;

    /// Wraps the failure of an activity.
    pub fn broken(
        activity: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Broken {
            activity: activity.into(),
            source: source.into(),
        }
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Unusable(_) => Self::UNUSABLE,
            Self::Broken { .. } | Self::GraceExceeded(_) => Self::BROKEN,
        }
    }
}

/// Serves as an executor until the driver ends it or hangs up.
///
/// # Errors
/// If the driver cannot be reached or refuses this executor, or if the spill folder is not usable.
pub async fn run(
    config: ExecutorConfig,
    functions: &UserFunctions,
    compute: tokio::runtime::Handle,
) -> Result<(), ServeError> {
    let environment = Environment::new(&config.limits, functions)
        .map_err(|e| ServeError::Unusable(e.strip_backtrace()))?;
    // Dropped when the executor ends, even if tasks still run: the process exits right after.
    let _spilled = environment.spill_guard();
    let environment = Arc::new(environment);
    let store = Arc::new(BlockStore::default());
    let bind_error = |e| ServeError::broken(format!("listening on {}", config.host), e);
    let listener = TcpListener::bind(SocketAddr::new(config.host, 0))
        .await
        .map_err(bind_error)?;
    // The driver decides for the whole job.
    let encryption = Encryption::of_url(&config.driver);
    let credentials = Credentials::new(&config.token, encryption)
        .map_err(|e| ServeError::Unusable(e.to_string()))?;
    let address = credentials.url(listener.local_addr().map_err(bind_error)?);
    let blocks = BlockService::new(
        config.executor,
        Arc::clone(&store),
        Arc::clone(environment.runtime()),
    );
    let block_service = flight::serve(listener, blocks, credentials.clone());
    let peers = Arc::new(PeerClients::new(credentials.clone()));
    let executor = Executor::new(config.executor, environment, store, peers, compute);
    tokio::select! {
        result = serve_driver(config, &credentials, address, executor) => result,
        result = block_service => result.map_err(|e| ServeError::broken("serving blocks", e)),
    }
}

async fn serve_driver(
    config: ExecutorConfig,
    credentials: &Credentials,
    address: String,
    executor: Executor,
) -> Result<(), ServeError> {
    let (outgoing_sender, outgoing_messages) = mpsc::channel::<FlightData>(QUEUE_LENGTH);
    send(
        &outgoing_sender,
        &FromExecutor::Register(registration(&config, address)?),
    )
    .await?;
    let Some(incoming) = dial(&config, credentials, outgoing_messages).await? else {
        return Ok(());
    };
    let memory = config
        .limits
        .memory_bytes
        .map_or_else(String::new, |bytes| format!(", {} MiB", bytes >> 20));
    info!(
        "{} of {}: {} slots{memory}",
        config.executor, config.driver, config.limits.slots
    );
    let (reports, pending) = mpsc::channel::<FromExecutor>(QUEUE_LENGTH);
    let (commands, received) = mpsc::channel::<ToExecutor>(QUEUE_LENGTH);
    let serve = executor.serve(received, reports);
    tokio::pin!(serve);
    let hang_up = tokio::select! {
        () = &mut serve => return Ok(()),
        hang_up = forward(&config, &outgoing_sender, incoming, commands, pending) => hang_up?,
    };
    // `forward` has dropped `commands`: the executor aborts its attempts, and finishes the removals
    // that it began.
    serve.await;
    match hang_up {
        HangUp::Closed => Ok(()),
        HangUp::Failed(status) => refusal(&config, &status),
    }
}

fn registration(config: &ExecutorConfig, address: String) -> Result<Registration, ServeError> {
    let canary = crate::canary::canary()
        .map_err(|e: DataFusionError| ServeError::broken("hashing fixed keys", e))?;
    Ok(Registration {
        executor: config.executor,
        slots: config.limits.slots,
        address: Some(address),
        version: VERSION.to_owned(),
        build: BUILD.to_owned(),
        canary,
        pid: std::process::id(),
    })
}

/// Opens the stream of messages; `None` if the driver is dead already.
async fn dial(
    config: &ExecutorConfig,
    credentials: &Credentials,
    outgoing_messages: mpsc::Receiver<FlightData>,
) -> Result<Option<Streaming<FlightData>>, ServeError> {
    let channel = flight::connect(&config.driver, credentials)
        .await
        .map_err(|e| {
            ServeError::broken(format!("connecting to the driver at {}", config.driver), e)
        })?;
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut request = Request::new(ReceiverStream::new(outgoing_messages));
    credentials
        .authorize(&mut request)
        .map_err(|e| ServeError::broken("adding the job's token", e))?;
    match client.do_exchange(request).await {
        Ok(accepted) => Ok(Some(accepted.into_inner())),
        Err(status) => refusal(config, &status).map(|()| None),
    }
}

/// How the driver's end of the stream ended.
enum HangUp {
    Closed,
    Failed(Status),
}

/// Forwards commands to the executor and its reports to the driver until the driver hangs up.
///
/// # Errors
/// If a message cannot be sent or read, or when the grace period after SIGTERM is over.
async fn forward(
    config: &ExecutorConfig,
    outgoing_sender: &mpsc::Sender<FlightData>,
    mut incoming: Streaming<FlightData>,
    commands: mpsc::Sender<ToExecutor>,
    mut pending: mpsc::Receiver<FromExecutor>,
) -> Result<HangUp, ServeError> {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let mut termination = Termination::listen()
        .map_err(|e| ServeError::broken("listening for SIGTERM and SIGHUP", e))?;
    let mut ends_at: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(report) = pending.recv() => send(outgoing_sender, &report).await?,
            _ = heartbeat.tick() => send(outgoing_sender, &FromExecutor::Heartbeat).await?,
            _ = termination.wait_for_request(), if ends_at.is_none() => {
                info!("draining after a signal");
                ends_at = Some(Instant::now() + config.grace);
                send(outgoing_sender, &FromExecutor::Draining).await?;
            }
            () = tokio::time::sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => {
                return Err(ServeError::GraceExceeded(config.grace));
            }
            message = incoming.next() => match message {
                Some(Ok(frame)) => {
                    let command = unframe(&frame)
                        .map_err(|e| ServeError::broken("reading a command", e))?;
                    commands.send(command).await
                        .map_err(|e| ServeError::broken("passing a command on", e))?;
                }
                Some(Err(status)) => return Ok(HangUp::Failed(status)),
                None => {
                    info!("the driver hung up");
                    return Ok(HangUp::Closed);
                }
            },
        }
    }
}

/// Returns an error if the driver refused this executor (step 3). Any other status is the driver's
/// end, after which the executor ends without an error.
fn refusal(config: &ExecutorConfig, status: &Status) -> Result<(), ServeError> {
    match status.code() {
        tonic::Code::FailedPrecondition | tonic::Code::Unauthenticated => Err(
            ServeError::Unusable(format!("the driver refused: {}", status.message())),
        ),
        _ => {
            info!(executor = %config.executor, "the driver is dead: {}", status.message());
            Ok(())
        }
    }
}

async fn send(
    outgoing_sender: &mpsc::Sender<FlightData>,
    message: &FromExecutor,
) -> Result<(), ServeError> {
    let activity = "reporting to the driver";
    let frame = frame(message).map_err(|e| ServeError::broken(activity, e))?;
    outgoing_sender
        .send(frame)
        .await
        .map_err(|e| ServeError::broken(activity, e))
}
