//! [`KeyFilterExec`] and [`KeySetExec`] as bytes.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::external;
use crate::nodes::{KeyFilterExec, KeySetExec, Shape};
use crate::physical::children;

pub(super) fn encode_filter(filter: &KeyFilterExec, buf: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(buf, &(filter.key(), filter.shape(), filter.selectivity()))
        .map_err(external)
}

pub(super) fn decode_filter(
    buf: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (key, shape, part): (usize, Shape, f64) = serde_json::from_slice(buf).map_err(external)?;
    let [keys, input] = children("KeyFilterExec", inputs.to_vec())?;
    Ok(Arc::new(KeyFilterExec::new(keys, input, key, shape, part)))
}

pub(super) fn encode_set(set: &KeySetExec, buf: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(buf, &(set.key(), set.shape())).map_err(external)
}

pub(super) fn decode_set(
    buf: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (key, shape): (Option<usize>, Shape) = serde_json::from_slice(buf).map_err(external)?;
    let [input] = children("KeySetExec", inputs.to_vec())?;
    Ok(Arc::new(KeySetExec::new(input, key, shape)))
}
