//! Collects key sets: one per partition of the input, then the union of these.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use futures::{TryFutureExt, TryStreamExt, stream};

use super::set::{KeySet, KeySetLayout};
use crate::physical;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![Field::new(
        "keys",
        DataType::Binary,
        false,
    )]))
});

/// Returns one row per partition: the encoded set of its keys.
#[derive(Debug, Clone)]
pub(crate) struct KeySetExec {
    input: Arc<dyn ExecutionPlan>,
    /// The column whose values are collected. With `None`, the input's rows are sets, which are
    /// united.
    key: Option<usize>,
    layout: KeySetLayout,
    properties: Arc<PlanProperties>,
}

impl KeySetExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        key: Option<usize>,
        layout: KeySetLayout,
    ) -> Self {
        let partitioning =
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let eq_properties = EquivalenceProperties::new(Arc::clone(&SCHEMA));
        let properties = PlanProperties::new(
            eq_properties,
            partitioning,
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            key,
            layout,
            properties: Arc::new(properties),
        }
    }

    pub(crate) fn key(&self) -> Option<usize> {
        self.key
    }

    pub(crate) fn layout(&self) -> KeySetLayout {
        self.layout
    }
}

impl DisplayAs for KeySetExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let schema = self.input.schema();
        match self.key {
            Some(key) => write!(
                f,
                "KeySetExec: {}@{key}, {:?}",
                schema.field(key).name(),
                self.layout
            ),
            None => write!(f, "KeySetExec: union"),
        }
    }
}

impl ExecutionPlan for KeySetExec {
    fn name(&self) -> &'static str {
        "KeySetExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = physical::expect_children(self.name(), children)?;
        Ok(Arc::new(Self::new(input, self.key, self.layout)))
    }

    crate::plan_node_methods!();

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (key, layout) = (self.key, self.layout);
        let reservation = MemoryConsumer::new("KeySetExec").register(context.memory_pool());
        reservation.try_grow(usize::try_from(layout.bytes()).unwrap_or(usize::MAX))?;
        let input = self.input.execute(partition, context)?;
        let set = input.try_fold(KeySet::new(layout), move |mut set, batch| {
            let inserted = match key {
                Some(key) => set.add(batch.column(key)),
                None => {
                    batch
                        .column(0)
                        .as_binary::<i32>()
                        .iter()
                        .flatten()
                        .for_each(|bytes| set.add_encoded(layout, bytes));
                    Ok(())
                }
            };
            futures::future::ready(inserted.map(|()| set))
        });
        let row = set.and_then(move |set| {
            drop(reservation);
            let bytes = BinaryArray::from_iter_values([set.encode()]);
            futures::future::ready(
                RecordBatch::try_new(Arc::clone(&SCHEMA), vec![Arc::new(bytes)])
                    .map_err(Into::into),
            )
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&SCHEMA),
            stream::once(row),
        )))
    }
}
