//! Components alone: exchange write and fetch, encoding of plans, a step of the scheduler.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use faisca_driver::scheduler::{Action, Event, Placement, RetryLimits, Scheduler, StageInfo};
use faisca_executor::codec::PlanCodec;
use faisca_executor::exchange::{
    BlockMemory, BlockService, BlockStore, ExchangeReader, ExchangeWriter, PeerClients,
    RowPartitioner, SealedBlock,
};
use faisca_executor::protocol::flight::{Credentials, serve};
use faisca_executor::protocol::{BlockLocation, StageBlocks, TaskMetrics, TaskReport};
use faisca_planner::ids::{Attempt, BlockHome, BlockId, ExecutorId, QueryId, StageId, TaskId};
use faisca_planner::{ExchangeReadExec, ExchangeSource, InputMode};
use futures::TryStreamExt;

const ROWS: i64 = 8192;
const BATCHES: i64 = 64;
const PARTITIONS: usize = 16;
const STAGE: StageId = StageId(0);
const BLOCK: BlockId = BlockId {
    task: TaskId {
        query: QueryId(1),
        stage: STAGE,
        index: 0,
    },
    attempt: Attempt(1),
};

fn batch(start: i64) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(
        start * ROWS..(start + 1) * ROWS,
    ));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| i % 97)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|i| format!("customer {}", i % 1000)),
    ));
    RecordBatch::try_from_iter([("key", keys), ("value", values), ("name", names)]).unwrap()
}

fn input() -> Vec<RecordBatch> {
    (0..BATCHES).map(batch).collect()
}

fn bytes(batches: &[RecordBatch]) -> u64 {
    batches
        .iter()
        .map(|b| b.get_array_memory_size() as u64)
        .sum()
}

fn by_key(schema: &SchemaRef) -> Partitioning {
    Partitioning::Hash(vec![col("key", schema).unwrap()], PARTITIONS)
}

fn write(batches: &[RecordBatch]) -> SealedBlock {
    let schema = batches[0].schema();
    let mut writer = ExchangeWriter::new(
        Arc::clone(&schema),
        8192,
        Arc::new(RuntimeEnv::default()),
        Arc::new(BlockMemory::new(None)),
    );
    let mut partitioner = RowPartitioner::new(Some(&by_key(&schema)), 0, 1).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(&mut partitioner, 0, batch.clone()).unwrap());
    writer.seal().unwrap().block
}

fn leaf(schema: &SchemaRef) -> ExchangeReadExec {
    ExchangeReadExec::new(
        STAGE,
        InputMode::Shuffle,
        EquivalenceProperties::new(Arc::clone(schema)),
        by_key(schema),
    )
}

/// Reads all partitions, as executor `reader`.
async fn fetch(
    reader: u32,
    address: &str,
    store: &Arc<BlockStore>,
    peers: &Arc<PeerClients>,
    leaf: &ExchangeReadExec,
) -> usize {
    let location = BlockLocation {
        block: BLOCK,
        home: BlockHome::Executor(ExecutorId(1)),
        address: Some(address.to_owned()),
        partitions: vec![],
    };
    let inputs = vec![StageBlocks {
        stage: STAGE,
        blocks: Arc::new(vec![location]),
        partition_bytes_max: 0,
    }];
    let reader = ExchangeReader::new(
        inputs,
        ExecutorId(reader),
        Arc::clone(store),
        Arc::clone(peers),
    );
    let mut rows = 0;
    for partition in 0..PARTITIONS {
        let batches: Vec<RecordBatch> = reader
            .open(leaf, partition, &Arc::new(TaskContext::default()))
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    rows
}

fn exchange(c: &mut Criterion) {
    let batches = input();
    let schema = batches[0].schema();
    let mut group = c.benchmark_group("exchange");
    group
        .throughput(Throughput::Bytes(bytes(&batches)))
        .sample_size(20);
    group.bench_function("write", |b| b.iter(|| black_box(write(&batches))));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = Arc::new(BlockStore::default());
    store.put(BLOCK, write(&batches));
    let credentials = Credentials::unencrypted("token");
    let peers = Arc::new(PeerClients::new(credentials.clone()));
    let address = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = credentials.url(listener.local_addr().unwrap());
        let blocks = BlockService::new(
            ExecutorId(1),
            Arc::clone(&store),
            Arc::new(RuntimeEnv::default()),
        );
        tokio::task::spawn(serve(listener, blocks, credentials));
        address
    });
    let leaf = leaf(&schema);
    let rows = usize::try_from(ROWS * BATCHES).unwrap();
    group.bench_function("fetch from the same process", |b| {
        b.iter(|| {
            assert_eq!(
                runtime.block_on(fetch(1, &address, &store, &peers, &leaf)),
                rows
            )
        });
    });
    group.bench_function("fetch over Flight", |b| {
        b.iter(|| {
            assert_eq!(
                runtime.block_on(fetch(2, &address, &store, &peers, &leaf)),
                rows
            )
        });
    });
    group.finish();
}

fn codec(c: &mut Criterion) {
    let schema = batch(0).schema();
    let read: Arc<dyn ExecutionPlan> = Arc::new(leaf(&schema));
    let plan: Arc<dyn ExecutionPlan> =
        Arc::new(RepartitionExec::try_new(read, by_key(&schema)).unwrap());
    let encoded =
        physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &PlanCodec).unwrap();
    let context = TaskContext::default();
    c.bench_function("codec/encode", |b| {
        b.iter(|| {
            black_box(
                physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &PlanCodec).unwrap(),
            )
        })
    });
    c.bench_function("codec/decode", |b| {
        b.iter(|| {
            black_box(
                physical_plan_from_bytes_with_extension_codec(&encoded, &context, &PlanCodec)
                    .unwrap(),
            )
        })
    });
}

/// Returns a scheduler in the middle of a stage with `tasks` tasks, and a report for it.
fn half_way(tasks: u32) -> (Scheduler, Event) {
    let mut scheduler = Scheduler::new(RetryLimits::default());
    let executor_up = |id| Event::ExecutorUp {
        id: ExecutorId(id),
        slots: 4,
        address: None,
        placement: Placement::Fleet,
    };
    (1..=1000).for_each(|id| drop(scheduler.step(Duration::ZERO, executor_up(id))));
    let stage = StageInfo {
        partitions: tasks,
        ..StageInfo::default()
    };
    let submit = Event::Submit {
        query: QueryId(1),
        stages: vec![stage],
        placement: Placement::Fleet,
        slots_expected: 4000,
    };
    let launched = scheduler.step(Duration::ZERO, submit);
    let Some(Action::Launch(executor, spec)) = launched
        .into_iter()
        .find(|a| matches!(a, Action::Launch(..)))
    else {
        unreachable!()
    };
    let report = TaskReport {
        task: spec.task,
        attempt: spec.attempt,
        partitions: vec![],
        has_durable_copy: false,
        files: vec![],
        statistics: None,
        metrics: TaskMetrics::default(),
    };
    (scheduler, Event::Finished(executor, report))
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    for tasks in [10_000, 1_000_000] {
        group.bench_function(
            format!("one report of {tasks} tasks on 1000 executors"),
            |b| {
                b.iter_batched_ref(
                    || half_way(tasks),
                    |(scheduler, event)| scheduler.step(Duration::ZERO, event.clone()),
                    BatchSize::PerIteration,
                );
            },
        );
    }
    group.finish();
}

criterion_group!(parts, exchange, codec, step);
criterion_main!(parts);
