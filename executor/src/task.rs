//! Runs one attempt of one task: decode the plan, run its partitions, seal the output.

use std::sync::Arc;
use std::time::Instant;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use datafusion::prelude::SessionConfig;
use faisca_planner::ExchangeHandle;
use faisca_planner::ids::BlockId;
use faisca_planner::stack::on_large_stack;
use faisca_spark::functions::TaskPartition;
use futures::StreamExt;

use crate::codec::decode_plan;
use crate::environment::Environment;
use crate::exchange::{BlockStore, ExchangeReader, ExchangeWriter, RowPartitioner};
use crate::memory::resident_peak_bytes;
use crate::operators::{JoinsByMerge, adapt_scans, key_density_min};
use crate::protocol::{
    Durability, EmptyOutput, OutputSpec, SinkSpec, StageSpec, TaskMetrics, TaskReport, TaskSpec,
};
use crate::sink::SinkWriter;
use crate::stall::PlanCell;

/// One attempt, with everything it needs.
pub(crate) struct TaskRun {
    pub(crate) stage: Arc<StageSpec>,
    pub(crate) spec: TaskSpec,
    pub(crate) reader: Arc<ExchangeReader>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) store: Arc<BlockStore>,
    /// Filled once the plan is decoded, for the watch that detects a stalled attempt.
    pub(crate) plan: Arc<PlanCell>,
}

impl TaskRun {
    /// Runs the attempt to its end. Dropping the future stops it and leaves no block in the store.
    pub(crate) async fn run(self) -> Result<TaskReport> {
        let started = Instant::now();
        let config = self.config()?;
        let decoding = self
            .environment
            .task_context(self.spec.task.to_string(), config.clone());
        let plan = on_large_stack(|| {
            let bytes = &self.stage.plan;
            let plan = decode_plan(bytes, &decoding)?;
            adapt_scans(self.fit_joins(plan)?)
        })?;
        // An attempt has one plan: the cell is empty.
        let _ = self.plan.set(Arc::clone(&plan));
        let context = self.context(config, &plan);
        let mut report = match &self.stage.output {
            OutputSpec::Shuffle => {
                let root = plan.downcast_ref::<RepartitionExec>().ok_or_else(|| {
                    internal_datafusion_err!("the root of a shuffled stage is not a repartitioning")
                })?;
                self.run_exchange(root.input(), Some(root.partitioning()), &context)
                    .await?
            }
            OutputSpec::Partitions => self.run_exchange(&plan, None, &context).await?,
            OutputSpec::Sink(sink) => self.run_sink(&plan, sink.clone(), &context).await?,
        };
        report.metrics.fetched_bytes = self.reader.fetched_bytes();
        report.metrics.spilled_bytes += spilled_bytes(&plan);
        report.metrics.resident_peak_bytes = resident_peak_bytes();
        report.metrics.requests = self.environment.stores().requests();
        report.metrics.elapsed_ms =
            u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    /// Replaces joins whose build side does not fit into the task's memory by joins that spill.
    fn fit_joins(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let partition_bytes = self.reader.partition_bytes();
        match (
            self.spec.reduces_memory,
            self.environment.task_memory_bytes(),
        ) {
            (true, _) => JoinsByMerge::All.apply(plan),
            (false, Some(task_memory_bytes)) => JoinsByMerge::TooLarge {
                partition_bytes,
                task_memory_bytes,
            }
            .apply(plan),
            (false, None) => Ok(plan),
        }
    }

    fn config(&self) -> Result<SessionConfig> {
        let mut config = SessionConfig::new();
        for (key, value) in &self.stage.settings {
            config.options_mut().set(key, value)?;
        }
        let index = self.spec.partitions.first().copied().unwrap_or_default();
        let partition = TaskPartition::new(index.into());
        config.options_mut().extensions.insert(partition);
        Ok(config.with_extension(Arc::new(ExchangeHandle(Arc::clone(&self.reader) as _))))
    }

    /// Returns the context that the plan runs with.
    fn context(
        &self,
        mut config: SessionConfig,
        plan: &Arc<dyn ExecutionPlan>,
    ) -> Arc<TaskContext> {
        if let Some(task_memory_bytes) = self.environment.task_memory_bytes() {
            let density_min = &mut config
                .options_mut()
                .execution
                .perfect_hash_join_min_key_density;
            *density_min = key_density_min(
                plan,
                self.reader.partition_bytes(),
                task_memory_bytes,
                *density_min,
            );
        }
        self.environment
            .task_context(self.spec.task.to_string(), config)
    }

    async fn run_exchange(
        &self,
        body: &Arc<dyn ExecutionPlan>,
        partitioning: Option<&Partitioning>,
        context: &Arc<TaskContext>,
    ) -> Result<TaskReport> {
        let batch_rows = context.session_config().batch_size();
        let partitions = body.output_partitioning().partition_count();
        let mut writer = ExchangeWriter::new(
            body.schema(),
            batch_rows,
            context.runtime_env(),
            Arc::clone(self.environment.block_memory()),
        );
        for partition in &self.spec.partitions {
            let index = *partition as usize;
            let mut partitioner = RowPartitioner::new(partitioning, index, partitions)?;
            let mut stream = body.execute(index, Arc::clone(context))?;
            while let Some(batch) = next_batch(&mut stream).await? {
                writer.write(&mut partitioner, *partition, batch)?;
            }
        }
        let sealed = writer.seal()?;
        let partitions = sealed.block.sizes().to_vec();
        let metrics = TaskMetrics {
            rows: partitions.iter().map(|size| size.rows).sum(),
            bytes: partitions.iter().map(|size| size.bytes).sum(),
            spilled_bytes: sealed.spilled_bytes,
            ..TaskMetrics::default()
        };
        let id = BlockId {
            task: self.spec.task,
            attempt: self.spec.attempt,
        };
        self.store.put(id, sealed.block);
        let has_durable_copy = match self
            .environment
            .durable()
            .filter(|_| self.stage.durability == Durability::Sync)
        {
            Some(tier) => tier.keep(&self.store, id).await,
            None => false,
        };
        Ok(TaskReport {
            task: id.task,
            attempt: id.attempt,
            partitions,
            has_durable_copy,
            files: vec![],
            statistics: None,
            metrics,
        })
    }

    async fn run_sink(
        &self,
        body: &Arc<dyn ExecutionPlan>,
        sink: SinkSpec,
        context: &Arc<TaskContext>,
    ) -> Result<TaskReport> {
        let empty = sink.empty;
        let mut writer = SinkWriter::new(
            sink,
            &self.spec,
            &body.schema(),
            context,
            self.environment.stores(),
        )?;
        for partition in &self.spec.partitions {
            let mut stream = body.execute(*partition as usize, Arc::clone(context))?;
            while let Some(batch) = next_batch(&mut stream).await? {
                writer.write(batch).await?;
            }
        }
        // One task of each stage writes a file even without rows, so that an empty table has
        // columns.
        let empty = match self.spec.task.index {
            0 => empty,
            _ => EmptyOutput::Nothing,
        };
        let written = writer.finish(empty).await?;
        let metrics = TaskMetrics {
            rows: written.files.iter().map(|f| f.rows).sum(),
            bytes: written.files.iter().map(|f| f.bytes).sum(),
            spilled_bytes: written.spilled_bytes,
            ..TaskMetrics::default()
        };
        Ok(TaskReport {
            task: self.spec.task,
            attempt: self.spec.attempt,
            partitions: vec![],
            has_durable_copy: false,
            files: written.files,
            statistics: written.statistics,
            metrics,
        })
    }
}

/// Sums the bytes that the operators of a plan have spilled.
fn spilled_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let node_bytes = plan
        .metrics()
        .and_then(|metrics| metrics.spilled_bytes())
        .unwrap_or_default() as u64;
    node_bytes + plan.children().into_iter().map(spilled_bytes).sum::<u64>()
}

/// Returns the next batch. Yields to other tasks from time to time, because a stream that is always
/// ready would never yield.
async fn next_batch(
    stream: &mut SendableRecordBatchStream,
) -> Result<Option<arrow::array::RecordBatch>> {
    tokio::task::consume_budget().await;
    stream.next().await.transpose().map_err(unwrap_shared)
}

/// Unwraps a `Shared` error that only this reader holds, so that messages stay short.
fn unwrap_shared(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Shared(inner) => {
            Arc::try_unwrap(inner).unwrap_or_else(DataFusionError::Shared)
        }
        other => other,
    }
}
