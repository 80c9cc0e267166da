//! Plans as bytes.
//!
//! DataFusion's protobuf carries its own operators; a node of ours travels as an extension whose
//! first byte tells which one it is. One file per node.

mod exchange_read;

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};

use crate::exchange::ExchangeReadExec;

/// First byte of an encoded [`ExchangeReadExec`].
pub const EXCHANGE_READ_TAG: u8 = 1;

/// Encodes the nodes that the planner adds. The executor's codec wraps it for file sources.
#[derive(Debug, Default)]
pub struct ExchangeCodec;

impl PhysicalExtensionCodec for ExchangeCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&EXCHANGE_READ_TAG, rest)) => exchange_read::decode(rest, &PhysicalPlanDecodeContext::new(ctx, self), converter),
            _ => internal_err!("a plan node of an unknown kind: driver and executor are of different builds"),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let Some(read) = node.downcast_ref::<ExchangeReadExec>() else {
            return internal_err!("{} cannot travel to an executor", node.name());
        };
        buf.push(EXCHANGE_READ_TAG);
        exchange_read::encode(read, buf, self, converter)
    }
}
