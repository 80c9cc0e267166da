//! What an attempt held: requests times time, as a bill counts them.

use std::time::Duration;

use faisca_planner::manifest::JobSpec;
use faisca_planner::names::parse_bytes;

use crate::application::executors;
use crate::resource::ApplicationCost;

/// Cores and memory that were asked for, for so long. Executors count as if there from the start.
pub(super) fn cost(spec: &JobSpec, held: Duration) -> ApplicationCost {
    let executors = f64::from(executors(spec).map_or(0, |count| count.initial));
    let gib = |memory: &Option<String>| {
        memory.as_deref().and_then(parse_bytes).unwrap_or(0) as f64 / f64::from(1 << 30)
    };
    let cores = spec.driver.cores.unwrap_or(0.0) + executors * spec.executor.cores.unwrap_or(0.0);
    let memory = gib(&spec.driver.memory) + executors * gib(&spec.executor.memory);
    let seconds = held.as_secs_f64();
    ApplicationCost {
        vcpu_seconds: (cores * seconds).round() as u64,
        gib_seconds: (memory * seconds).round() as u64,
    }
}
