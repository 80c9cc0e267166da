//! Sorts the rows of a task by their folders, so that one file is open at a time.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// An external sort that is fed batch by batch. It spills where the memory pool is exhausted.
pub(super) struct FolderSort {
    rows: Sender<RecordBatch>,
    plan: Arc<SortExec>,
    /// Ends with the first sorted batch. Dropping it stops the sort.
    sorting: SpawnedTask<Result<SortedRows>>,
}

/// The sorted rows. The first batch has been awaited.
struct SortedRows {
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
}

impl FolderSort {
    /// Begins a sort of rows of `schema` by the columns at `keys`.
    ///
    /// # Errors
    /// If the sort cannot be planned.
    pub(super) fn start(
        schema: &SchemaRef,
        keys: &[usize],
        context: &Arc<TaskContext>,
    ) -> Result<Self> {
        // One batch waits while another is sorted in.
        let (rows, receiver) = channel(1);
        let fed = FedRows {
            schema: Arc::clone(schema),
            receiver: Mutex::new(Some(receiver)),
        };
        let input = StreamingTableExec::try_new(
            Arc::clone(schema),
            vec![Arc::new(fed)],
            None,
            [],
            false,
            None,
        )?;
        let keys = keys.iter().map(|index| {
            let column = Column::new(schema.field(*index).name(), *index);
            PhysicalSortExpr::new_default(Arc::new(column))
        });
        let ordering = LexOrdering::new(keys)
            .ok_or_else(|| internal_datafusion_err!("a sort by folders has no keys"))?;
        let plan = Arc::new(SortExec::new(ordering, Arc::new(input)));
        let mut rest = plan.execute(0, Arc::clone(context))?;
        let sorting = SpawnedTask::spawn(async move {
            let first = rest.next().await.transpose()?;
            Ok(SortedRows { first, rest })
        });
        Ok(Self {
            rows,
            plan,
            sorting,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// If the sort has failed. [`Self::finish`] returns the cause.
    pub(super) async fn push(&self, batch: RecordBatch) -> Result<(), SortFailed> {
        self.rows.send(batch).await.map_err(|_| SortFailed)
    }

    /// Returns the sorted rows, once all have been added.
    ///
    /// # Errors
    /// If the sort fails, for example because neither memory nor disk is left.
    pub(super) async fn finish(self) -> Result<SendableRecordBatchStream> {
        drop(self.rows);
        let sorted = self.sorting.join_unwind().await;
        let SortedRows { first, rest } =
            sorted.map_err(|e| DataFusionError::External(Box::new(e)))??;
        let schema = rest.schema();
        let all = stream::iter(first.map(Ok)).chain(rest);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    }

    /// Returns the plan, whose metrics count what the sort spills.
    pub(super) fn plan(&self) -> Arc<SortExec> {
        Arc::clone(&self.plan)
    }
}

/// The sort takes no more rows, because it has failed.
#[derive(Debug)]
pub(super) struct SortFailed;

/// The rows that are fed to the sort, as its only input.
struct FedRows {
    schema: SchemaRef,
    /// Taken by the only execution.
    receiver: Mutex<Option<Receiver<RecordBatch>>>,
}

impl fmt::Debug for FedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FedRows")
    }
}

impl PartitionStream for FedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut receiver = self.receiver.lock().take();
        let rows = stream::poll_fn(move |context| match &mut receiver {
            Some(receiver) => receiver.poll_recv(context).map(|batch| batch.map(Ok)),
            None => std::task::Poll::Ready(None),
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}
