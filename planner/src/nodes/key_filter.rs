//! Filters rows by the join keys of a finished stage.
//!
//! If the small side of a join has only a selection of the keys, the join drops most rows of its
//! large side. Such rows need not be shuffled: the keys of the small side, as a set of bits, are
//! read where the large side is scanned. The filter passes a few more rows than the join matches,
//! so the join stays as it is, and the filter may pass all rows where testing them does not pay
//! off.
//!
//! ```text
//!   HashJoinExec Partitioned                 HashJoinExec Partitioned
//!     small                          ──►       small
//!     RepartitionExec Hash                     RepartitionExec Hash
//!       large                                    KeyFilterExec
//!                                                  KeySetExec union ← KeySetExec per partition ← small
//!                                                  large
//! ```

mod collect;
mod set;

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::BatchCoalescer;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::cost::{KEY_FILTER_PASSED_FRACTION_MAX, KEY_FILTER_TRIAL_ROWS};
use crate::physical;
pub(crate) use collect::KeySetExec;
use set::KeySet;
pub(crate) use set::{KeySetLayout, is_range_type};

/// Returns the rows of `input` whose key may be in the set that `keys` returns.
#[derive(Debug, Clone)]
pub(crate) struct KeyFilterExec {
    keys: Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
    key: usize,
    layout: KeySetLayout,
    /// Fraction of rows that is expected to pass.
    selectivity: f64,
}

impl KeyFilterExec {
    /// Filters `input` by its column `key`. `keys` is a [`KeySetExec`] with one partition.
    pub(crate) fn new(
        keys: Arc<dyn ExecutionPlan>,
        input: Arc<dyn ExecutionPlan>,
        key: usize,
        layout: KeySetLayout,
        selectivity: f64,
    ) -> Self {
        Self {
            keys,
            input,
            key,
            layout,
            selectivity,
        }
    }

    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    pub(crate) fn key(&self) -> usize {
        self.key
    }

    pub(crate) fn layout(&self) -> KeySetLayout {
        self.layout
    }

    pub(crate) fn selectivity(&self) -> f64 {
        self.selectivity
    }
}

impl DisplayAs for KeyFilterExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let schema = self.input.schema();
        write!(
            f,
            "KeyFilterExec: {}@{}, about {:.1} % pass",
            schema.field(self.key).name(),
            self.key,
            self.selectivity * 100.0
        )
    }
}

impl ExecutionPlan for KeyFilterExec {
    fn name(&self) -> &'static str {
        "KeyFilterExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![
            Distribution::SinglePartition,
            Distribution::UnspecifiedDistribution,
        ]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.keys, &self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [keys, input] = physical::expect_children(self.name(), children)?;
        Ok(Arc::new(Self {
            keys,
            input,
            ..*self
        }))
    }

    crate::plan_node_methods!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (key, layout, input) = (self.key, self.layout, Arc::clone(&self.input));
        let schema = input.schema();
        let mut reservation = MemoryConsumer::new("KeyFilterExec").register(context.memory_pool());
        let has_memory = reservation
            .try_grow(usize::try_from(layout.bytes()).unwrap_or(usize::MAX))
            .is_ok();
        // Without memory for the set, the filter passes all rows.
        let initial = if has_memory {
            KeySet::new(layout)
        } else {
            KeySet::all()
        };
        let keys = self.keys.execute(0, Arc::clone(&context))?;
        let set = keys.try_fold(initial, move |mut set, batch| {
            if !set.has_all() {
                batch
                    .column(0)
                    .as_binary::<i32>()
                    .iter()
                    .flatten()
                    .for_each(|bytes| set.add_encoded(layout, bytes));
            }
            futures::future::ready(Ok(set))
        });
        let rows = stream::once(set).map(move |set| {
            let set = set?;
            // No key matches, so the input is not read at all.
            let input_rows = if set.is_empty() {
                stream::empty().boxed()
            } else {
                input.execute(partition, Arc::clone(&context))?.boxed()
            };
            Ok::<_, DataFusionError>(filter_stream(
                input_rows,
                Filter::new(
                    set,
                    key,
                    reservation.take(),
                    input.schema(),
                    context.session_config().batch_size(),
                ),
            ))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            rows.try_flatten(),
        )))
    }
}

/// Tests rows, and collects those that pass into batches of full size.
struct Filter {
    set: KeySet,
    key: usize,
    tested: usize,
    passed: usize,
    output: BatchCoalescer,
    _memory: MemoryReservation,
}

impl Filter {
    fn new(
        set: KeySet,
        key: usize,
        memory: MemoryReservation,
        schema: arrow::datatypes::SchemaRef,
        batch_rows: usize,
    ) -> Self {
        Self {
            set,
            key,
            tested: 0,
            passed: 0,
            output: BatchCoalescer::new(schema, batch_rows),
            _memory: memory,
        }
    }

    /// Whether enough rows are dropped. True until enough rows have been tested to decide.
    fn is_worthwhile(&self) -> bool {
        self.tested < KEY_FILTER_TRIAL_ROWS
            || (self.passed as f64) < self.tested as f64 * KEY_FILTER_PASSED_FRACTION_MAX
    }

    /// Processes a batch, or the end of the input. Returns the batches that are complete.
    fn step(&mut self, batch: Option<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let mut ready = vec![];
        match batch {
            Some(batch) if self.set.has_all() || !self.is_worthwhile() => {
                // Rows collected earlier come first, so that rows keep their order.
                self.output.finish_buffered_batch()?;
                ready.extend(std::iter::from_fn(|| self.output.next_completed_batch()));
                ready.push(batch);
            }
            Some(batch) => {
                let passes = self.set.may_have(batch.column(self.key))?;
                self.tested += batch.num_rows();
                self.passed += passes.true_count();
                self.output.push_batch_with_filter(batch, &passes)?;
            }
            None => self.output.finish_buffered_batch()?,
        }
        ready.extend(std::iter::from_fn(|| self.output.next_completed_batch()));
        Ok(ready)
    }
}

/// Applies the filter to a stream of batches.
fn filter_stream(
    rows: stream::BoxStream<'static, Result<RecordBatch>>,
    mut filter: Filter,
) -> impl stream::Stream<Item = Result<RecordBatch>> + Send {
    let end = stream::once(futures::future::ready(Ok(None)));
    rows.map_ok(Some).chain(end).flat_map(move |batch| {
        let ready = batch.and_then(|batch| filter.step(batch));
        stream::iter(match ready {
            Ok(ready) => ready.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    })
}
