//! Encodes [`ExchangeReadExec`] with every property that operators above it were planned for:
//! orderings, equal columns and constants.
//!
//! Without one of them, an aggregation that was planned for sorted input would fall back to
//! hashing, and its output would lose the order that its consumers rely on.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::physical_expr::{AcrossPartitions, ConstExpr, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::{
    parse_physical_exprs, parse_physical_sort_exprs, parse_protobuf_partitioning,
};
use datafusion_proto::physical_plan::to_proto::{
    serialize_partitioning, serialize_physical_exprs, serialize_physical_sort_exprs,
};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{self, PhysicalExprNode, PhysicalSortExprNodeCollection};
use prost::Message;

use super::external_error;
use crate::ids::StageId;
use crate::nodes::{ExchangeReadExec, InputMode};

/// The message of an [`ExchangeReadExec`].
#[derive(Clone, PartialEq, Message)]
struct ReadNode {
    #[prost(uint32, tag = "1")]
    stage: u32,
    #[prost(uint32, tag = "2")]
    mode: u32,
    #[prost(message, optional, tag = "3")]
    schema: Option<protobuf::Schema>,
    #[prost(message, optional, tag = "4")]
    partitioning: Option<protobuf::Partitioning>,
    #[prost(message, repeated, tag = "5")]
    orderings: Vec<PhysicalSortExprNodeCollection>,
    #[prost(message, repeated, tag = "6")]
    equals: Vec<Exprs>,
    #[prost(message, optional, tag = "7")]
    uniform_constants: Option<Exprs>,
    #[prost(message, optional, tag = "8")]
    partition_constants: Option<Exprs>,
}

#[derive(Clone, PartialEq, Message)]
struct Exprs {
    #[prost(message, repeated, tag = "1")]
    exprs: Vec<PhysicalExprNode>,
}

/// The modes, each encoded as its index.
const MODES: [InputMode; 4] = [
    InputMode::Forward,
    InputMode::Merge,
    InputMode::Shuffle,
    InputMode::Broadcast,
];

pub(super) fn encode(
    read: &ExchangeReadExec,
    buf: &mut Vec<u8>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<()> {
    let properties = &read.properties().eq_properties;
    let exprs = |list: Vec<&Arc<dyn PhysicalExpr>>| -> Result<Exprs> {
        Ok(Exprs {
            exprs: serialize_physical_exprs(list, codec, converter)?,
        })
    };
    let orderings = properties.oeq_class().iter().map(|ordering| {
        let physical_sort_expr_nodes =
            serialize_physical_sort_exprs(ordering.iter().cloned(), codec, converter)?;
        Ok(PhysicalSortExprNodeCollection {
            physical_sort_expr_nodes,
        })
    });
    let classes = properties.eq_group().iter().filter(|class| class.len() > 1);
    let constants = properties.constants();
    let (uniform, partition): (Vec<_>, Vec<_>) = constants
        .iter()
        .partition(|c| matches!(c.across_partitions, AcrossPartitions::Uniform(_)));
    let node = ReadNode {
        stage: read.stage().0,
        mode: MODES
            .iter()
            .position(|m| *m == read.mode())
            .map_or(0, |p| p as u32),
        schema: Some(
            properties
                .schema()
                .as_ref()
                .try_into()
                .map_err(external_error)?,
        ),
        partitioning: Some(serialize_partitioning(
            &read.properties().partitioning,
            codec,
            converter,
        )?),
        orderings: orderings.collect::<Result<_>>()?,
        equals: classes
            .map(|class| exprs(class.iter().collect()))
            .collect::<Result<_>>()?,
        uniform_constants: Some(exprs(uniform.iter().map(|c| &c.expr).collect())?),
        partition_constants: Some(exprs(partition.iter().map(|c| &c.expr).collect())?),
    };
    node.encode(buf).map_err(external_error)
}

pub(super) fn decode(
    buf: &[u8],
    ctx: &PhysicalPlanDecodeContext<'_>,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Arc<dyn ExecutionPlan>> {
    let node = ReadNode::decode(buf).map_err(external_error)?;
    let schema: Schema = node
        .schema
        .as_ref()
        .ok_or_else(|| missing_field("schema"))?
        .try_into()
        .map_err(external_error)?;
    let schema: SchemaRef = Arc::new(schema);
    let mode = *MODES
        .get(node.mode as usize)
        .ok_or_else(|| missing_field("mode"))?;
    let partitioning =
        parse_protobuf_partitioning(node.partitioning.as_ref(), ctx, &schema, converter)?;
    let exprs = |list: &Exprs| parse_physical_exprs(&list.exprs, ctx, &schema, converter);
    let mut properties = EquivalenceProperties::new(Arc::clone(&schema));
    for class in &node.equals {
        let class = exprs(class)?;
        for pair in class.windows(2) {
            if let [left, right] = pair {
                properties.add_equal_conditions(Arc::clone(left), Arc::clone(right))?;
            }
        }
    }
    for (list, across) in [
        (&node.uniform_constants, AcrossPartitions::Uniform(None)),
        (&node.partition_constants, AcrossPartitions::Heterogeneous),
    ] {
        let list = exprs(list.as_ref().ok_or_else(|| missing_field("constants"))?)?;
        properties.add_constants(
            list.into_iter()
                .map(|expr| ConstExpr::new(expr, across.clone())),
        )?;
    }
    for ordering in &node.orderings {
        properties.add_ordering(parse_physical_sort_exprs(
            &ordering.physical_sort_expr_nodes,
            ctx,
            &schema,
            converter,
        )?);
    }
    let partitioning = partitioning.ok_or_else(|| missing_field("partitioning"))?;
    Ok(Arc::new(ExchangeReadExec::new(
        StageId(node.stage),
        mode,
        properties,
        partitioning,
    )))
}

fn missing_field(field: &str) -> DataFusionError {
    internal_datafusion_err!("encoded ExchangeReadExec lacks its {field}")
}
