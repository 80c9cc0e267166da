//! The driver's end of the control connections: executors connect, register and stay connected.
//!
//! ```text
//!   executor ── Register ──► check version and hashes ──► Message::Connected ──► engine
//!            ── reports ───► forward ───────────────────► Message::Report ─────►
//!            ── silence, end or error ──────────────────► Message::Lost ───────►
//!            ◄─ commands ──────────────── bounded queue ◄───────────────────────
//! ```
//!
//! The steps of the protocol are numbered in [`faisca_executor::protocol`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrow_flight::FlightData;
use faisca_executor::canary::canary;
use faisca_executor::exchange::BlockService;
use faisca_executor::protocol::flight::{Credentials, serve};
use faisca_executor::protocol::{
    BUILD, BoxedStream, FetchRequest, FromExecutor, PeerService, QUEUE_LENGTH, Registration,
    ToExecutor, VERSION, frame, unframe,
};
use faisca_planner::ids::ExecutorId;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::engine::{EngineHandle, Message};
use crate::error::{Error, Result};
use crate::scheduler::{LossCause, Placement};

/// An executor from which nothing arrives for this long is lost. It sends heartbeats more often.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Time for an executor to end by itself after its connection has ended, before its process is
/// killed. On a platform, an executor that ended by itself leaves the reason behind.
const END_GRACE: Duration = Duration::from_secs(5);

/// Time for the fleet to report why a process ended, before its executor is lost for an unknown
/// reason. The scheduler then runs its tasks elsewhere, though one of them may have been the cause.
const EXPLANATION_GRACE: Duration = Duration::from_millis(100);

/// Capacity of the channel of executors whose processes the fleet must end.
const DEAD_EXECUTORS_QUEUE: usize = 256;

/// The control service. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct ControlServer {
    /// URL to which executors connect.
    pub url: String,
    /// Announces executors that the engine considers lost. Their processes may still run: the fleet
    /// ends them.
    pub dead_executors: broadcast::Sender<ExecutorId>,
    task: JoinHandle<()>,
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ControlServer {
    /// Listens on a free port of `host`, and serves until dropped.
    ///
    /// # Errors
    /// If there is no free port, or `host` is not an address of this machine.
    pub async fn start(
        host: IpAddr,
        credentials: Credentials,
        engine: EngineHandle,
        blocks: BlockService,
    ) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(host, 0))
            .await
            .map_err(Error::of_fleet(format!("no port on {host}")))?;
        let address = listener
            .local_addr()
            .map_err(Error::of_fleet(format!("address of the port on {host}")))?;
        let canary = canary()?;
        let (dead_executors, _) = broadcast::channel(DEAD_EXECUTORS_QUEUE);
        let service = Control {
            engine,
            canary,
            blocks,
            dead_executors: dead_executors.clone(),
        };
        let url = credentials.url(address);
        let task = tokio::task::spawn(async move {
            if let Err(error) = serve(listener, service, credentials).await {
                tracing::error!("control service: {error}");
            }
        });
        Ok(Self {
            url,
            dead_executors,
            task,
        })
    }
}

struct Control {
    engine: EngineHandle,
    canary: u64,
    /// Serves the driver's own blocks, and receives those of draining executors.
    blocks: BlockService,
    dead_executors: broadcast::Sender<ExecutorId>,
}

impl Control {
    /// Step 3 of the protocol: refuses an executor of another version, or one that would assign
    /// equal keys to other partitions than this process does.
    fn check(&self, registration: &Registration) -> Result<(), Status> {
        let Registration {
            executor,
            version,
            build,
            canary,
            ..
        } = registration;
        if version != VERSION {
            return Err(Status::failed_precondition(format!(
                "{executor} is faisca {version}, the driver is faisca {VERSION}: use one image for both"
            )));
        }
        if build != BUILD {
            return Err(Status::failed_precondition(format!(
                "{executor} is another build of faisca {VERSION} ({build}, the driver is {BUILD}): use one image for both"
            )));
        }
        if *canary != self.canary {
            return Err(Status::failed_precondition(format!(
                "{executor} hashes differently from the driver: use one build for both"
            )));
        }
        Ok(())
    }
}

/// Forwards an executor's reports to the engine until its connection ends or it falls silent. Then
/// reports it as lost, and announces it to the fleet after a grace period.
async fn forward_reports(
    engine: EngineHandle,
    dead_executors: broadcast::Sender<ExecutorId>,
    executor: ExecutorId,
    mut incoming: Streaming<FlightData>,
) {
    let (cause, reason, grace) = loop {
        match tokio::time::timeout(SILENCE_MAX, incoming.next()).await {
            Err(_) => {
                let reason = format!("silent for {} s", SILENCE_MAX.as_secs());
                break (LossCause::Unreachable, reason, Duration::ZERO);
            }
            // Most likely the process is ending by itself. But a failed HTTP/2 keepalive looks the
            // same, so the process is killed after the grace period.
            Ok(None) => {
                let reason = "it closed its connection".to_owned();
                break (LossCause::Unknown, reason, END_GRACE);
            }
            Ok(Some(Err(status))) => {
                let reason = format!("connection broke: {}", status.message());
                break (LossCause::Unknown, reason, END_GRACE);
            }
            Ok(Some(Ok(data))) => match unframe::<FromExecutor>(&data) {
                Ok(report) => {
                    if engine
                        .send(Message::Report(executor, report))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Err(status) => {
                    let reason = status.message().to_owned();
                    break (LossCause::Unreachable, reason, Duration::ZERO);
                }
            },
        }
    };
    if cause == LossCause::Unknown {
        tokio::time::sleep(EXPLANATION_GRACE).await;
    }
    engine.report_executor_lost(executor, cause, reason).await;
    tokio::time::sleep(grace).await;
    // An error means that there is no receiver, and then there is no process to end.
    let _ = dead_executors.send(executor);
}

#[tonic::async_trait]
impl PeerService for Control {
    async fn control(
        &self,
        mut reports: Streaming<FlightData>,
    ) -> Result<BoxedStream<FlightData>, Status> {
        let first = tokio::time::timeout(SILENCE_MAX, reports.next())
            .await
            .map_err(|_| Status::deadline_exceeded("no registration"))?;
        let first = first.ok_or_else(|| Status::invalid_argument("no registration"))??;
        let FromExecutor::Register(registration) = unframe(&first)? else {
            return Err(Status::invalid_argument(
                "the first message must be a registration",
            ));
        };
        self.check(&registration)?;
        let executor = registration.executor;
        let (commands, outgoing) = mpsc::channel::<ToExecutor>(QUEUE_LENGTH);
        let connected = Message::Connected {
            registration,
            commands,
            placement: Placement::Fleet,
        };
        self.engine
            .send(connected)
            .await
            .map_err(|e| Status::unavailable(e.to_string()))?;
        tokio::task::spawn(forward_reports(
            self.engine.clone(),
            self.dead_executors.clone(),
            executor,
            reports,
        ));
        let frames = ReceiverStream::new(outgoing).map(|command| frame(&command));
        Ok(frames.boxed())
    }

    async fn fetch(&self, request: FetchRequest) -> Result<BoxedStream<FlightData>, Status> {
        self.blocks.fetch(request).await
    }

    async fn receive_block(&self, frames: Streaming<FlightData>) -> Result<(), Status> {
        self.blocks.receive_block(frames).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_flight::flight_service_client::FlightServiceClient;
    use faisca_executor::environment::{Environment, UserFunctions};
    use faisca_executor::exchange::BlockStore;
    use faisca_executor::protocol::Limits;
    use faisca_executor::protocol::flight::connect;

    use super::*;
    use crate::journal::Journal;
    use crate::scheduler::RetryLimits;

    async fn register(change: impl FnOnce(&mut Registration), token: &str) -> Result<(), Status> {
        let (engine, _loop) = EngineHandle::start(RetryLimits::default(), None, Journal::default());
        let environment = Environment::new(&Limits::default(), &UserFunctions::default()).unwrap();
        let blocks = BlockService::new(
            ExecutorId(0),
            Arc::new(BlockStore::default()),
            Arc::clone(environment.runtime()),
        );
        let server = ControlServer::start(
            [127, 0, 0, 1].into(),
            Credentials::unencrypted("secret"),
            engine.clone(),
            blocks,
        )
        .await
        .unwrap();
        let mut registration = Registration {
            executor: ExecutorId(7),
            slots: 1,
            address: Some("http://127.0.0.1:1".to_owned()),
            version: VERSION.into(),
            build: BUILD.into(),
            canary: canary().unwrap(),
            pid: 1,
        };
        change(&mut registration);
        let first = frame(&FromExecutor::Register(registration)).unwrap();
        let mut request =
            tonic::Request::new(futures::stream::iter([first]).chain(futures::stream::pending()));
        let credentials = Credentials::unencrypted(token);
        credentials.authorize(&mut request).unwrap();
        FlightServiceClient::new(connect(&server.url, &credentials).await.unwrap())
            .do_exchange(request)
            .await?;
        engine.first_executor().await;
        Ok(())
    }

    #[tokio::test]
    async fn an_executor_of_the_same_build_is_accepted() {
        register(|_| (), "secret").await.unwrap();
    }

    #[tokio::test]
    async fn an_executor_of_another_version_is_refused_by_name() {
        let status = register(|r| r.version = "0.0.1".into(), "secret")
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(
            status.message(),
            format!(
                "executor-7 is faisca 0.0.1, the driver is faisca {VERSION}: use one image for both"
            )
        );
    }

    #[tokio::test]
    async fn an_executor_of_another_build_of_the_same_version_is_refused() {
        let status = register(|r| r.build = "0123456789abcdef".into(), "secret")
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        let text = status.message();
        assert!(
            text.contains("executor-7 is another build of faisca"),
            "{text}"
        );
        assert!(
            text.contains("0123456789abcdef") && text.contains(BUILD),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_executor_that_hashes_keys_differently_is_refused() {
        let status = register(|r| r.canary ^= 1, "secret").await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert!(
            status.message().contains("hashes differently"),
            "{}",
            status.message()
        );
    }

    #[tokio::test]
    async fn a_process_without_the_token_is_refused() {
        let status = register(|_| (), "guess").await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }
}
