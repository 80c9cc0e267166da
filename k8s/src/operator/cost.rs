//! Cost of an attempt: requested resources multiplied by time, as a cloud bills them.

use std::time::Duration;

use faisca_planner::manifest::JobSpec;
use faisca_planner::names::parse_bytes;

use crate::application::executor_count;
use crate::resource::ApplicationCost;

/// Returns the cores and memory reserved for this long.
///
/// The initial number of executors counts for the whole time; scaling is not considered.
pub(super) fn cost(spec: &JobSpec, duration: Duration) -> ApplicationCost {
    let executors = f64::from(executor_count(spec).map_or(0, |count| count.initial));
    let gib = |memory: &Option<String>| {
        memory.as_deref().and_then(parse_bytes).unwrap_or(0) as f64 / f64::from(1 << 30)
    };
    let cores = spec.driver.cores.unwrap_or(0.0) + executors * spec.executor.cores.unwrap_or(0.0);
    let memory = gib(&spec.driver.memory) + executors * gib(&spec.executor.memory);
    let seconds = duration.as_secs_f64();
    ApplicationCost {
        vcpu_seconds: (cores * seconds).round() as u64,
        gib_seconds: (memory * seconds).round() as u64,
    }
}
