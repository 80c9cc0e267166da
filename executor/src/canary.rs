//! A fingerprint of the exchange's partitioner.
//!
//! Two builds that hash differently would send equal keys to different partitions, and joins would
//! silently lose rows. The driver compares this number when an executor registers: step 3 of
//! `protocol`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::common::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;

/// A prime, so that every bit of a hash matters.
const PARTITIONS: usize = 1021;

/// Hashes which partition fixed keys of the common types go to.
///
/// # Errors
/// Only if hashing fails inside DataFusion.
pub fn canary() -> Result<u64> {
    let ints: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..64).map(|i| (i % 7 != 0).then_some(i * 7919)),
    ));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (0..64).map(|i| (i % 5 != 0).then(|| format!("chave-{i}"))),
    ));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..64).map(|i| f64::from(i) / 3.0),
    ));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("i", ints, true),
        ("t", texts, true),
        ("f", floats, true),
    ])?;
    let mut fingerprint = 0u64;
    for keys in [vec![0], vec![1], vec![2], vec![0, 1, 2]] {
        let exprs = keys
            .iter()
            .map(|k| Arc::new(Column::new(["i", "t", "f"][*k], *k)) as _)
            .collect();
        let mut partitioner =
            BatchPartitioner::new_hash_partitioner(exprs, PARTITIONS, Time::new())?;
        partitioner.partition(batch.clone(), |partition, rows| {
            fingerprint = fingerprint.rotate_left(5)
                ^ (partition as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ rows.num_rows() as u64;
            Ok(())
        })?;
    }
    Ok(fingerprint)
}
