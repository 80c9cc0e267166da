//! Ballista: client and scheduler in this process, each executor a process of one core, one shuffle partition per core.

use std::sync::Arc;

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::number;
use crate::workers::{Worker, free_port};

/// Starts the scheduler and the executors, and returns a context that submits to them.
pub(crate) async fn start(processes: usize) -> Result<(SessionContext, Vec<Worker>)> {
    let scheduler = free_port()?;
    let config = SchedulerConfig {
        bind_port: scheduler,
        external_host: "127.0.0.1".to_owned(),
        ..Default::default()
    };
    let cluster = BallistaCluster::new_from_config(&config)
        .await
        .map_err(external)?;
    tokio::spawn(start_server(
        cluster,
        ([127, 0, 0, 1], scheduler).into(),
        Arc::new(config),
    ));
    while tokio::net::TcpStream::connect(("127.0.0.1", scheduler))
        .await
        .is_err()
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut workers = vec![];
    for _ in 0..processes {
        let (flight, grpc) = (free_port()?, free_port()?);
        let arguments = [
            "ballista-executor".to_owned(),
            scheduler.to_string(),
            flight.to_string(),
            grpc.to_string(),
        ];
        workers.push(Worker::start(&arguments, flight).await?);
    }
    let config = SessionConfig::new_with_ballista().with_target_partitions(processes);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .build();
    let context =
        SessionContext::remote_with_state(&format!("df://127.0.0.1:{scheduler}"), state).await?;
    Ok((context, workers))
}

/// Runs an executor. `ports` are the scheduler's, the one for blocks, and the one for tasks.
pub(crate) async fn executor(ports: &[&str]) -> Result<()> {
    let [scheduler, flight, grpc] = ports else {
        return Err(DataFusionError::Configuration(
            "an executor takes three ports".to_owned(),
        ));
    };
    let blocks = tempfile::tempdir()?;
    let config = ExecutorProcessConfig {
        scheduler_host: "127.0.0.1".to_owned(),
        scheduler_port: number(scheduler)?,
        scheduler_connect_timeout_seconds: 20,
        external_host: Some("127.0.0.1".to_owned()),
        port: number(flight)?,
        grpc_port: number(grpc)?,
        vcores: 1,
        work_dir: Some(blocks.path().display().to_string()),
        ..Default::default()
    };
    start_executor_process(Arc::new(config))
        .await
        .map_err(external)
}

/// Converts an error of Ballista.
fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
