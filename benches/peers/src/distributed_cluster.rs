//! datafusion-distributed: the coordinator in this process, each worker a process, one partition per task.

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::{
    DistributedExt, SessionStateBuilderExt, Worker as Service, WorkerResolver,
};
use url::Url;

use crate::number;
use crate::workers::{Worker, free_port};

/// Starts the workers, and returns a context that plans for them.
pub(crate) async fn start(processes: usize) -> Result<(SessionContext, Vec<Worker>)> {
    let mut workers = vec![];
    let mut urls = vec![];
    for _ in 0..processes {
        let port = free_port()?;
        workers
            .push(Worker::start(&["distributed-worker".to_owned(), port.to_string()], port).await?);
        urls.push(
            Url::parse(&format!("http://127.0.0.1:{port}"))
                .map_err(|e| DataFusionError::External(e.into()))?,
        );
    }
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(1))
        .with_default_features()
        .with_distributed_worker_resolver(Urls(urls))
        .with_distributed_planner()
        .build();
    Ok((SessionContext::new_with_state(state), workers))
}

/// Runs a worker.
pub(crate) async fn worker(port: &str) -> Result<()> {
    let address = ([127, 0, 0, 1], number(port)?).into();
    let serve = tonic::transport::Server::builder()
        .add_service(Service::default().into_worker_server())
        .serve(address);
    serve.await.map_err(|e| DataFusionError::External(e.into()))
}

/// The addresses of all workers.
struct Urls(Vec<Url>);

#[async_trait]
impl WorkerResolver for Urls {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.clone())
    }
}
