//! The codec of stage plans: DataFusion's nodes, the planner's, and the CSV source.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use datafusion::common::{Result, internal_err, plan_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use faisca_planner::stack::on_large_stack;
use faisca_planner::{NodeTag, PackingConverter, decode_node, encode_node, unpack_expr};
use faisca_spark::functions::function_of_task;

use crate::formats::codec as text;

/// DataFusion's own scalar functions by name.
///
/// Plans are decoded with a registry in which Spark's functions replace some of these. A DataFrame
/// may contain DataFusion's own function, which must still be that one after decoding.
static DATAFUSION_FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let nested = datafusion::functions_nested::all_default_nested_functions();
    let functions = datafusion::functions::all_default_functions()
        .into_iter()
        .chain(nested);
    functions.map(|udf| (udf.name().to_owned(), udf)).collect()
});

/// DataFusion's own window functions by name, for the same reason.
static DATAFUSION_WINDOWS: LazyLock<HashMap<String, Arc<WindowUDF>>> = LazyLock::new(|| {
    let functions = datafusion::functions_window::all_default_window_functions().into_iter();
    functions
        .map(|udwf| (udwf.name().to_owned(), udwf))
        .collect()
});

/// The encoded definition that marks a function as DataFusion's own.
const DATAFUSION_FUNCTION: &[u8] = &[1];
/// The encoded definition of a function that has its own state in each task.
const TASK_FUNCTION: &[u8] = &[2];

/// Encodes a plan of any depth.
///
/// # Errors
/// If one of its operators cannot be sent.
pub fn encode_plan(plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    let (plan, converter) = (Arc::clone(plan), PackingConverter::default());
    on_large_stack(|| physical_plan_to_bytes_with_proto_converter(plan, &PlanCodec, &converter))
}

/// Decodes a plan that [`encode_plan`] encoded.
///
/// # Errors
/// If the driver and this executor run different builds.
pub(crate) fn decode_plan(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    let converter = PackingConverter::default();
    physical_plan_from_bytes_with_proto_converter(bytes, context, &PlanCodec, &converter)
}

/// Encodes and decodes every node that a stage plan may contain.
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
        let ctx = PhysicalPlanDecodeContext::new(ctx, self);
        match NodeTag::split(buf) {
            Some((NodeTag::TextScan, bytes)) => text::decode(bytes, &ctx, converter),
            Some((tag, bytes)) => decode_node(tag, bytes, inputs, &ctx, converter),
            None => internal_err!(
                "unknown kind of plan node: driver and executor are of different builds"
            ),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if text::encode(&node, buf, self, converter)? {
            Ok(())
        } else {
            encode_node(&node, buf, self, converter)
        }
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        _inputs: &[Arc<dyn PhysicalExpr>],
        ctx: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        unpack_expr(buf, ctx)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        if DATAFUSION_FUNCTIONS
            .get(node.name())
            .is_some_and(|original| original.as_ref() == node)
        {
            buf.extend_from_slice(DATAFUSION_FUNCTION);
        } else if function_of_task(node.name()).is_some() {
            buf.extend_from_slice(TASK_FUNCTION);
        }
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        let function = match buf {
            TASK_FUNCTION => function_of_task(name).map(Arc::new),
            _ => DATAFUSION_FUNCTIONS.get(name).cloned(),
        };
        function.ok_or_else(|| plan_datafusion_err!("no function `{name}` in this build"))
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        if DATAFUSION_WINDOWS
            .get(node.name())
            .is_some_and(|original| original.as_ref() == node)
        {
            buf.extend_from_slice(DATAFUSION_FUNCTION);
        }
        Ok(())
    }

    fn try_decode_udwf(&self, name: &str, _buf: &[u8]) -> Result<Arc<WindowUDF>> {
        let function = DATAFUSION_WINDOWS.get(name).cloned();
        function.ok_or_else(|| plan_datafusion_err!("no window function `{name}` in this build"))
    }
}
