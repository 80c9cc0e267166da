//! Filters rows by the keys of a finished stage.
//!
//! A join drops most rows of its large side if its small side is a choice of all keys. They need not be moved to it: the
//! keys of the small side, as bits, are read where the large side is scanned. What passes is a little more than what will
//! be joined, so the join is as it was, and the filter may let everything pass where it does not pay.
//!
//! ```text
//!   HashJoinExec Partitioned                 HashJoinExec Partitioned
//!     small                          ──►       small
//!     RepartitionExec Hash                     RepartitionExec Hash
//!       large                                    KeyFilterExec
//!                                                  KeySetExec sum ← KeySetExec each ← small
//!                                                  large
//! ```

mod collect;
mod set;

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::BatchCoalescer;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::cost::{KEY_FILTER_PASSED_FRACTION_MAX, KEY_FILTER_TRIAL_ROWS};
use crate::physical;
pub(crate) use collect::KeySetExec;
use set::KeySet;
pub(crate) use set::{Shape, has_places};

/// Rows of `input` whose key is in the sets that `keys` yields, or seems to be.
#[derive(Debug, Clone)]
pub(crate) struct KeyFilterExec {
    keys: Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
    key: usize,
    shape: Shape,
    /// Fraction of rows that is expected to pass.
    selectivity: f64,
}

impl KeyFilterExec {
    /// `keys` is a [`KeySetExec`] of one partition; `key` a column of `input`.
    pub(crate) fn new(
        keys: Arc<dyn ExecutionPlan>,
        input: Arc<dyn ExecutionPlan>,
        key: usize,
        shape: Shape,
        selectivity: f64,
    ) -> Self {
        Self {
            keys,
            input,
            key,
            shape,
            selectivity,
        }
    }

    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    pub(crate) fn key(&self) -> usize {
        self.key
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
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

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [keys, input] = physical::children(self.name(), children)?;
        Ok(Arc::new(Self {
            keys,
            input,
            ..*self
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (key, shape, input) = (self.key, self.shape, Arc::clone(&self.input));
        let schema = input.schema();
        let mut reservation = MemoryConsumer::new("KeyFilterExec").register(context.memory_pool());
        let fits = reservation
            .try_grow(usize::try_from(shape.bytes()).unwrap_or(usize::MAX))
            .is_ok();
        let first = if fits {
            KeySet::new(shape)
        } else {
            KeySet::all()
        };
        let keys = self.keys.execute(0, Arc::clone(&context))?;
        let set = keys.try_fold(first, move |mut set, batch| {
            if !set.has_all() {
                batch
                    .column(0)
                    .as_binary::<i32>()
                    .iter()
                    .flatten()
                    .for_each(|bytes| set.add_encoded(shape, bytes));
            }
            futures::future::ready(Ok(set))
        });
        let filtered = stream::once(set).map(move |set| {
            let set = set?;
            // No key, no row: the scan need not begin.
            let rows = if set.is_empty() {
                stream::empty().boxed()
            } else {
                input.execute(partition, Arc::clone(&context))?.boxed()
            };
            Ok::<_, DataFusionError>(filtered(
                rows,
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
            filtered.try_flatten(),
        )))
    }
}

/// Tests rows, and gathers those that pass into batches of full size.
struct Filter {
    set: KeySet,
    key: usize,
    seen: usize,
    passed: usize,
    gathered: BatchCoalescer,
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
            seen: 0,
            passed: 0,
            gathered: BatchCoalescer::new(schema, batch_rows),
            _memory: memory,
        }
    }

    fn pays(&self) -> bool {
        self.seen < KEY_FILTER_TRIAL_ROWS
            || (self.passed as f64) < self.seen as f64 * KEY_FILTER_PASSED_FRACTION_MAX
    }

    /// Takes a batch in, or the end; answers batches that are ready.
    fn step(&mut self, batch: Option<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let mut ready = vec![];
        match batch {
            Some(batch) if self.set.has_all() || !self.pays() => {
                // What was gathered comes first: rows stay in their order.
                self.gathered.finish_buffered_batch()?;
                ready.extend(std::iter::from_fn(|| self.gathered.next_completed_batch()));
                ready.push(batch);
            }
            Some(batch) => {
                let passes = self.set.may_have(batch.column(self.key))?;
                self.seen += batch.num_rows();
                self.passed += passes.true_count();
                self.gathered.push_batch_with_filter(batch, &passes)?;
            }
            None => self.gathered.finish_buffered_batch()?,
        }
        ready.extend(std::iter::from_fn(|| self.gathered.next_completed_batch()));
        Ok(ready)
    }
}

fn filtered(
    rows: stream::BoxStream<'static, Result<RecordBatch>>,
    mut filter: Filter,
) -> impl stream::Stream<Item = Result<RecordBatch>> + Send {
    let ended = stream::once(futures::future::ready(Ok(None)));
    rows.map_ok(Some).chain(ended).flat_map(move |batch| {
        let ready = batch.and_then(|batch| filter.step(batch));
        stream::iter(match ready {
            Ok(ready) => ready.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    })
}
