//! Encodes the planner's own nodes. The executor's codec, which also knows scans of text files, is
//! the one that DataFusion calls.
//!
//! DataFusion's protobuf messages contain its own operators. One of our nodes is sent as an
//! extension whose first byte is its kind ([`NodeTag`]). The rest is protobuf if the node has
//! expressions, which DataFusion encodes, and JSON or postcard if it has only plain settings, which
//! serde encodes.

mod exchange_read;
mod keys;
mod lambda_variables;
mod packed;
mod recursive_query;

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};

use crate::nodes::{ExchangeReadExec, KeyFilterExec, KeySetExec, PlainRowsExec};
use crate::physical::expect_children;

use packed::unpack_plan;
pub use packed::{PackingConverter, unpack_expr};

/// The kind of an encoded node: its first byte. One list for all crates, so that no byte is used
/// twice.
///
/// Driver and executors run the same build, so kinds may be renumbered at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeTag {
    /// An [`ExchangeReadExec`].
    ExchangeRead = 1,
    /// A scan of text files, encoded by the executor's codec.
    TextScan = 2,
    /// A `KeyFilterExec`.
    KeyFilter = 3,
    /// A `KeySetExec`.
    KeySet = 4,
    /// A `RecursiveQueryExec`.
    RecursiveQuery = 5,
    /// A `WorkTableExec`, which reads what a recursive query has found so far.
    WorkTable = 6,
    /// A plan or an expression deep inside another one, encoded separately.
    Packed = 7,
    /// A `PlainRowsExec`, which has no settings.
    PlainRows = 8,
}

impl NodeTag {
    const ALL: [Self; 8] = [
        Self::ExchangeRead,
        Self::TextScan,
        Self::KeyFilter,
        Self::KeySet,
        Self::RecursiveQuery,
        Self::WorkTable,
        Self::Packed,
        Self::PlainRows,
    ];

    /// Writes the byte with which an encoded node of this kind begins.
    pub fn write(self, buf: &mut Vec<u8>) {
        buf.push(self as u8);
    }

    /// Splits an encoded node into its kind and the rest; `None` if the kind is unknown.
    #[must_use]
    pub fn split(buf: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = buf.split_first()?;
        let tag = Self::ALL.into_iter().find(|tag| *tag as u8 == *first)?;
        Some((tag, rest))
    }
}

/// Decodes a node of the kind `tag` from the bytes behind its first one.
///
/// # Errors
/// If the bytes are no such node, or if the executor's codec has to decode it: both would be bugs.
pub fn decode_node(
    tag: NodeTag,
    bytes: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
    ctx: &PhysicalPlanDecodeContext<'_>,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Arc<dyn ExecutionPlan>> {
    match tag {
        NodeTag::KeyFilter => keys::decode_filter(bytes, inputs),
        NodeTag::KeySet => keys::decode_set(bytes, inputs),
        NodeTag::ExchangeRead => exchange_read::decode(bytes, ctx, converter),
        NodeTag::RecursiveQuery => recursive_query::decode_query(bytes, inputs),
        NodeTag::WorkTable => recursive_query::decode_table(bytes),
        NodeTag::Packed => unpack_plan(bytes, ctx, converter),
        NodeTag::PlainRows => {
            let [input] = expect_children("PlainRowsExec", inputs.to_vec())?;
            Ok(Arc::new(PlainRowsExec::new(input)))
        }
        NodeTag::TextScan => internal_err!("the planner cannot decode a scan of text files"),
    }
}

/// Encodes a node that the planner adds, with its kind as the first byte. `codec` encodes the parts
/// of the node's expressions that DataFusion cannot encode.
///
/// # Errors
/// If the node is none of the planner's, so that it cannot be sent to an executor.
pub fn encode_node(
    node: &Arc<dyn ExecutionPlan>,
    buf: &mut Vec<u8>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<()> {
    if let Some(filter) = node.downcast_ref::<KeyFilterExec>() {
        NodeTag::KeyFilter.write(buf);
        return keys::encode_filter(filter, buf);
    }
    if let Some(set) = node.downcast_ref::<KeySetExec>() {
        NodeTag::KeySet.write(buf);
        return keys::encode_set(set, buf);
    }
    if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
        NodeTag::RecursiveQuery.write(buf);
        return recursive_query::encode_query(query, buf);
    }
    if let Some(table) = node.downcast_ref::<WorkTableExec>() {
        NodeTag::WorkTable.write(buf);
        return recursive_query::encode_table(table, buf);
    }
    if node.is::<PlainRowsExec>() {
        NodeTag::PlainRows.write(buf);
        return Ok(());
    }
    let Some(read) = node.downcast_ref::<ExchangeReadExec>() else {
        return internal_err!("{} cannot be sent to an executor", node.name());
    };
    NodeTag::ExchangeRead.write(buf);
    exchange_read::encode(read, buf, codec, converter)
}

fn external_error<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
