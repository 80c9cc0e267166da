//! Encodes [`KeyFilterExec`] and [`KeySetExec`], whose settings are sent as JSON.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::external_error;
use crate::nodes::{KeyFilterExec, KeySetExec, KeySetLayout};
use crate::physical::expect_children;

pub(super) fn encode_filter(filter: &KeyFilterExec, buf: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(buf, &(filter.key(), filter.layout(), filter.selectivity()))
        .map_err(external_error)
}

pub(super) fn decode_filter(
    buf: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (key, layout, selectivity): (usize, KeySetLayout, f64) =
        serde_json::from_slice(buf).map_err(external_error)?;
    let [keys, input] = expect_children("KeyFilterExec", inputs.to_vec())?;
    Ok(Arc::new(KeyFilterExec::new(
        keys,
        input,
        key,
        layout,
        selectivity,
    )))
}

pub(super) fn encode_set(set: &KeySetExec, buf: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(buf, &(set.key(), set.layout())).map_err(external_error)
}

pub(super) fn decode_set(
    buf: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (key, layout): (Option<usize>, KeySetLayout) =
        serde_json::from_slice(buf).map_err(external_error)?;
    let [input] = expect_children("KeySetExec", inputs.to_vec())?;
    Ok(Arc::new(KeySetExec::new(input, key, layout)))
}
