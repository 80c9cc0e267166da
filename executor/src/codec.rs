//! The codec of whole plans: the planner's nodes and our file sources.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use faisca_planner::codec::ExchangeCodec;

use crate::csv::codec as csv;

/// Encodes and decodes every node that a stage plan may hold.
#[derive(Debug, Default)]
pub struct PlanCodec;

impl PhysicalExtensionCodec for PlanCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&csv::TAG, rest)) => csv::decode(rest, &PhysicalPlanDecodeContext::new(ctx, self), converter),
            _ => ExchangeCodec.try_decode(buf, inputs, ctx, converter),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        if csv::encode(&node, buf, self, converter)? { Ok(()) } else { ExchangeCodec.try_encode(node, buf, converter) }
    }
}
