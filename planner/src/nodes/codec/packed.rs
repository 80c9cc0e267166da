//! Encodes deep plans and expressions in layers.
//!
//! A protobuf decoder refuses messages nested deeper than 100, a limit that 50 joins reach. So
//! every few levels the rest is encoded separately, and the level above contains its bytes.
//!
//! ```text
//!   Join(Join(… Join(Extension[bytes])))        bytes: Join(Join(… Join(Extension[bytes])))
//! ```

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr_with_converter;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{
    PhysicalExprNode, PhysicalExtensionExprNode, PhysicalExtensionNode, PhysicalPlanNode,
};
use prost::Message;

use super::NodeTag;
use super::lambda_variables::move_behind_columns;

/// Operators or expressions in one layer. Each takes two or three levels of messages.
const LAYER_DEPTH: usize = 12;

/// DataFusion's conversion that starts a new layer every `LAYER_DEPTH` levels, and keeps variables
/// of lambdas apart from columns.
#[derive(Debug, Default)]
pub struct PackingConverter {
    depth: Cell<usize>,
}

impl PackingConverter {
    /// Runs `encode` one level deeper. Also returns whether its result is the last of a layer.
    fn encode_deeper<T>(&self, encode: impl FnOnce() -> Result<T>) -> Result<(T, bool)> {
        let depth = self.depth.get() + 1;
        self.depth.set(depth);
        let encoded = encode();
        self.depth.set(depth - 1);
        Ok((encoded?, depth.is_multiple_of(LAYER_DEPTH)))
    }
}

/// Encodes the last message of a layer, as the content of an extension of the layer above.
fn pack(message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![];
    NodeTag::Packed.write(&mut bytes);
    bytes.extend(message.encode_to_vec());
    bytes
}

impl PhysicalProtoConverterExtension for PackingConverter {
    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalPlanNode> {
        let (node, is_last) = self.encode_deeper(|| {
            PhysicalPlanNode::try_from_physical_plan_with_converter(Arc::clone(plan), codec, self)
        })?;
        if !is_last {
            return Ok(node);
        }
        let node = PhysicalExtensionNode {
            node: pack(&node),
            inputs: vec![],
        };
        Ok(PhysicalPlanNode {
            physical_plan_type: Some(PhysicalPlanType::Extension(node)),
        })
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalExprNode> {
        let (node, is_last) =
            self.encode_deeper(|| serialize_physical_expr_with_converter(expr, codec, self))?;
        if !is_last {
            return Ok(node);
        }
        let expr = PhysicalExtensionExprNode {
            expr: pack(&node),
            inputs: vec![],
        };
        Ok(PhysicalExprNode {
            expr_id: None,
            expr_type: Some(ExprType::Extension(expr)),
        })
    }

    fn proto_to_execution_plan(
        &self,
        proto: &PhysicalPlanNode,
        ctx: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.default_proto_to_execution_plan(proto, ctx)
    }

    fn proto_to_physical_expr(
        &self,
        proto: &PhysicalExprNode,
        input_schema: &Schema,
        ctx: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = parse_physical_expr_with_converter(proto, input_schema, ctx, self)?;
        move_behind_columns(expr)
    }
}

/// Decodes the plan of a layer.
///
/// # Errors
/// If the bytes are no plan, which would be a bug.
pub(super) fn unpack_plan(
    bytes: &[u8],
    ctx: &PhysicalPlanDecodeContext<'_>,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Arc<dyn ExecutionPlan>> {
    let node = PhysicalPlanNode::decode(bytes)
        .map_err(|e| internal_datafusion_err!("encoded layer of a plan: {e}"))?;
    converter.proto_to_execution_plan(&node, ctx)
}

/// Decodes the expression of a layer.
///
/// # Errors
/// If the bytes are no expression, which would be a bug.
pub fn unpack_expr(buf: &[u8], ctx: &PhysicalExprDecodeCtx<'_>) -> Result<Arc<dyn PhysicalExpr>> {
    let Some((NodeTag::Packed, bytes)) = NodeTag::split(buf) else {
        return Err(internal_datafusion_err!("unknown kind of expression"));
    };
    let node = PhysicalExprNode::decode(bytes)
        .map_err(|e| internal_datafusion_err!("encoded layer of an expression: {e}"))?;
    ctx.decode(&node)
}
