//! Plans as bytes.
//!
//! DataFusion's protobuf carries its own operators; a node of ours travels as an extension whose
//! first byte tells which one it is. One file per node.

mod exchange_read;
mod key_filter;

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};

use crate::exchange::ExchangeReadExec;
use crate::key_filter::{KeyFilterExec, KeySetExec};

/// First byte of an encoded [`ExchangeReadExec`].
pub const EXCHANGE_READ_TAG: u8 = 1;

const KEY_FILTER_TAG: u8 = 3;
const KEY_SET_TAG: u8 = 4;

/// Encodes the nodes that the planner adds. The executor's codec wraps it for file sources.
#[derive(Debug, Default)]
pub struct ExchangeCodec;

impl PhysicalExtensionCodec for ExchangeCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf.split_first() {
            Some((&KEY_FILTER_TAG, rest)) => key_filter::decode_filter(rest, inputs),
            Some((&KEY_SET_TAG, rest)) => key_filter::decode_set(rest, inputs),
            Some((&EXCHANGE_READ_TAG, rest)) => {
                exchange_read::decode(rest, &PhysicalPlanDecodeContext::new(ctx, self), converter)
            }
            _ => internal_err!(
                "a plan node of an unknown kind: driver and executor are of different builds"
            ),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(filter) = node.downcast_ref::<KeyFilterExec>() {
            buf.push(KEY_FILTER_TAG);
            return key_filter::encode_filter(filter, buf);
        }
        if let Some(set) = node.downcast_ref::<KeySetExec>() {
            buf.push(KEY_SET_TAG);
            return key_filter::encode_set(set, buf);
        }
        let Some(read) = node.downcast_ref::<ExchangeReadExec>() else {
            return internal_err!("{} cannot travel to an executor", node.name());
        };
        buf.push(EXCHANGE_READ_TAG);
        exchange_read::encode(read, buf, self, converter)
    }
}

fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
