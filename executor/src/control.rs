//! Control between processes: [`crate::wire`] over one Flight `DoExchange`.
//!
//! The executor dials the driver, so only the driver needs an address that is known beforehand, and
//! a broken connection tells each side at once that the other is gone. Each message is the
//! `app_metadata` of a `FlightData`. ADR 0003 tells why this is no service of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::flight_service_client::FlightServiceClient;
use faisca_planner::ids::ExecutorId;
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::info;

use crate::environment::{Environment, Limits, UserFunctions};
use crate::exchange::{BlockStore, PeerClients};
use crate::executor::{Executor, QUEUE_LENGTH};
use crate::flight::{self, BlockService, MESSAGE_BYTES_MAX};
use crate::wire::{FromExecutor, Registration, ToExecutor};

/// An executor says that it lives this often.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Kubernetes sends SIGKILL 30 s after SIGTERM, unless told otherwise.
const GRACE_DEFAULT: Duration = Duration::from_secs(25);
/// Version that driver and executors must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A message as a frame of the stream.
///
/// # Errors
/// Only if a value cannot be serialized, which would be a bug.
pub fn frame<T: Serialize>(message: &T) -> Result<FlightData, Status> {
    let bytes =
        postcard::to_stdvec(message).map_err(|e| Status::internal(format!("encoding: {e}")))?;
    Ok(FlightData {
        app_metadata: bytes.into(),
        ..FlightData::default()
    })
}

/// The message in a frame.
///
/// # Errors
/// If it is of another build's format.
pub fn unframe<T: DeserializeOwned>(frame: &FlightData) -> Result<T, Status> {
    postcard::from_bytes(&frame.app_metadata).map_err(|e| {
        Status::invalid_argument(format!(
            "a message that this build (faisca {VERSION}) cannot read: {e}"
        ))
    })
}

/// What a process needs to know to serve as an executor. Travels in the environment.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Its name.
    pub executor: ExecutorId,
    /// URL of the driver.
    pub driver: String,
    /// The job's token.
    pub token: String,
    /// Tasks at once.
    pub slots: u32,
    /// Limits of memory and spilling.
    pub limits: Limits,
    /// Address that peers can reach.
    pub host: IpAddr,
    /// Time from SIGTERM to the end, whatever is left to do then.
    pub grace: Duration,
}

/// Names of the environment variables that make a process an executor.
pub mod env {
    /// URL of the driver; its presence makes the process an executor.
    pub const DRIVER: &str = "FAISCA_DRIVER";
    /// Number of the executor.
    pub const EXECUTOR: &str = "FAISCA_EXECUTOR_ID";
    /// The job's token.
    pub const TOKEN: &str = "FAISCA_TOKEN";
    /// Tasks at once.
    pub const SLOTS: &str = "FAISCA_SLOTS";
    /// Memory in bytes.
    pub const MEMORY: &str = "FAISCA_MEMORY_BYTES";
    /// Folder to spill to.
    pub const SPILL: &str = "FAISCA_SPILL_FOLDER";
    /// How buckets are reached: the manifest's `stores`, as JSON.
    pub const STORES: &str = "FAISCA_STORES";
    /// Where blocks outlive their executors, as JSON.
    pub const DURABLE: &str = "FAISCA_DURABLE_EXCHANGE";
    /// Address that peers can reach.
    pub const HOST: &str = "FAISCA_HOST";
    /// Seconds from SIGTERM to the end.
    pub const GRACE: &str = "FAISCA_GRACE_SECONDS";
}

impl ExecutorConfig {
    /// From the environment; `None` where this process is not meant to be an executor.
    ///
    /// # Errors
    /// A variable that is missing or no number, by name.
    pub fn from_env() -> Result<Option<Self>, String> {
        let Ok(driver) = std::env::var(env::DRIVER) else {
            return Ok(None);
        };
        let text = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let number = |name: &str| {
            text(name)?
                .parse::<u64>()
                .map_err(|e| format!("{name}: {e}"))
        };
        let narrow =
            |value: u64, name: &str| u32::try_from(value).map_err(|e| format!("{name}: {e}"));
        let memory_bytes = if std::env::var(env::MEMORY).is_ok() {
            Some(number(env::MEMORY)?)
        } else {
            None
        };
        let host = match std::env::var(env::HOST) {
            Ok(host) => host.parse().map_err(|e| format!("{}: {e}", env::HOST))?,
            Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let slots = narrow(number(env::SLOTS)?, env::SLOTS)?;
        let stores = match std::env::var(env::STORES) {
            Ok(json) => serde_json::from_str(&json).map_err(|e| format!("{}: {e}", env::STORES))?,
            Err(_) => Default::default(),
        };
        let durable = match std::env::var(env::DURABLE) {
            Ok(json) => {
                Some(serde_json::from_str(&json).map_err(|e| format!("{}: {e}", env::DURABLE))?)
            }
            Err(_) => None,
        };
        Ok(Some(Self {
            executor: ExecutorId(narrow(number(env::EXECUTOR)?, env::EXECUTOR)?),
            driver,
            token: text(env::TOKEN)?,
            slots,
            limits: Limits {
                memory_bytes,
                slots,
                spill_folder: std::env::var_os(env::SPILL).map(Into::into),
                stores,
                durable,
            },
            host,
            grace: if std::env::var(env::GRACE).is_ok() {
                Duration::from_secs(number(env::GRACE)?)
            } else {
                GRACE_DEFAULT
            },
        }))
    }
}

/// Why an executor ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another one of the same build and limits would end the same way: it is not worth starting.
    #[error("{0}")]
    Unusable(String),
    /// Something went wrong on the way.
    #[error("{0}")]
    Broken(String),
}

impl ServeError {
    /// The exit code of [`Self::Unusable`]: `EX_CONFIG` of BSD's sysexits.
    pub const UNUSABLE: i32 = 78;

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Unusable(_) => Self::UNUSABLE,
            Self::Broken(_) => 1,
        }
    }
}

impl From<String> for ServeError {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// Serves as an executor until the driver says stop or is gone.
///
/// # Errors
/// If the driver cannot be reached or refuses this executor, or if its folders cannot be used.
pub async fn run(
    config: ExecutorConfig,
    functions: &UserFunctions,
    compute: tokio::runtime::Handle,
) -> Result<(), ServeError> {
    let environment = Environment::new(&config.limits, functions)
        .map_err(|e| ServeError::Unusable(e.strip_backtrace()))?;
    let environment = Arc::new(environment);
    let store = Arc::new(BlockStore::default());
    let listener = TcpListener::bind(SocketAddr::new(config.host, 0))
        .await
        .map_err(|e| format!("no port on {}: {e}", config.host))?;
    let address = flight::url(listener.local_addr().map_err(|e| e.to_string())?);
    let blocks = BlockService::new(
        config.executor,
        Arc::clone(&store),
        Arc::clone(environment.runtime()),
        config.token.clone(),
    );
    let serving = flight::serve(listener, blocks);
    let peers = Arc::new(PeerClients::new(config.token.clone()));
    let executor = Executor::new(config.executor, environment, store, peers, compute);
    let controlled = controlled(config, address, executor);
    tokio::select! {
        ended = controlled => ended,
        ended = serving => ended.map_err(|e| ServeError::Broken(format!("Flight service: {e}"))),
    }
}

async fn controlled(
    config: ExecutorConfig,
    address: String,
    executor: Executor,
) -> Result<(), ServeError> {
    let channel = flight::connect(&config.driver)
        .await
        .map_err(|e| format!("driver at {} does not answer: {e}", config.driver))?;
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (out, outgoing) = mpsc::channel::<FlightData>(QUEUE_LENGTH);
    let (reports, mut pending) = mpsc::channel::<FromExecutor>(QUEUE_LENGTH);
    let (commands, received) = mpsc::channel::<ToExecutor>(QUEUE_LENGTH);
    let registration = Registration {
        executor: config.executor,
        slots: config.slots,
        address,
        version: VERSION.to_owned(),
        canary: crate::canary::canary().map_err(|e| e.strip_backtrace())?,
        pid: std::process::id(),
    };
    send(&out, &FromExecutor::Register(registration)).await?;
    let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
    flight::bearer(&mut request, &config.token).map_err(|s| s.message().to_owned())?;
    let mut incoming = match client.do_exchange(request).await {
        Ok(accepted) => accepted.into_inner(),
        Err(status) => return refused(&config, &status),
    };
    let memory = config
        .limits
        .memory_bytes
        .map_or_else(String::new, |bytes| format!(", {} MiB", bytes >> 20));
    info!(
        "{} of {}: {} slots{memory}",
        config.executor, config.driver, config.slots
    );
    let serve = executor.serve(received, reports);
    tokio::pin!(serve);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("SIGTERM: {e}"))?;
    let mut ends_at: Option<Instant> = None;
    let ended = loop {
        tokio::select! {
            () = &mut serve => return Ok(()),
            Some(report) = pending.recv() => send(&out, &report).await?,
            _ = heartbeat.tick() => send(&out, &FromExecutor::Heartbeat).await?,
            _ = terminate.recv(), if ends_at.is_none() => {
                info!("draining: told to end");
                ends_at = Some(Instant::now() + config.grace);
                send(&out, &FromExecutor::Draining).await?;
            }
            () = tokio::time::sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => {
                return Err(ServeError::Broken(format!("ended after {} s of grace, with work left", config.grace.as_secs())));
            }
            message = incoming.next() => match message {
                Some(Ok(frame)) => {
                    let command = unframe(&frame).map_err(|s| s.message().to_owned())?;
                    commands.send(command).await.map_err(|_| "the executor stopped".to_owned())?;
                }
                Some(Err(status)) => break refused(&config, &status),
                None => {
                    info!("the driver hung up");
                    break Ok(());
                }
            },
        }
    };
    // Without commands it stops what runs, and ends what it began to remove.
    drop(commands);
    serve.await;
    ended
}

fn refused(config: &ExecutorConfig, status: &Status) -> Result<(), ServeError> {
    match status.code() {
        tonic::Code::FailedPrecondition | tonic::Code::Unauthenticated => Err(
            ServeError::Unusable(format!("the driver refused: {}", status.message())),
        ),
        _ => {
            info!(executor = %config.executor, "the driver is gone: {}", status.message());
            Ok(())
        }
    }
}

async fn send(out: &mpsc::Sender<FlightData>, message: &FromExecutor) -> Result<(), String> {
    let frame = frame(message).map_err(|s| s.message().to_owned())?;
    out.send(frame)
        .await
        .map_err(|_| "the driver hung up".to_owned())
}
