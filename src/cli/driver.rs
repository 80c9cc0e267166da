//! `faisca driver`: what runs in a driver's pod.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use faisca::job::{Job, StepSummary};
use faisca::planner::manifest::{Positions, check, with_parameters};
use faisca::planner::names::parse_bytes;
use faisca::{Error, Result, Session};
use faisca_k8s::application::executors;
use faisca_k8s::driver::{DriverPod, progress_of};
use faisca_k8s::resource::ApplicationResult;

use super::show::{print, step_line, summary};

pub(super) async fn driver() -> Result<()> {
    let started = Instant::now();
    let outside = || Error::Plan("`faisca driver` runs in a pod that the operator made; on other machines use `faisca run`".to_owned());
    let pod = DriverPod::from_env().await?.ok_or_else(outside)?;
    let (name, positions) = (pod.application.name.clone(), Positions::default());
    let manifest = with_parameters(&name, pod.application.manifest.clone(), &positions, &Default::default())?;
    let order = check(&name, &manifest, &positions)?;
    let spec = &manifest.spec;
    let count = executors(spec).map_err(|error| Error::Plan(error.to_string()))?;
    let executors = if count.min == count.max { count.max.to_string() } else { format!("{} to {}", count.min, count.max) };
    print(&format!("faisca {}: driver of {name}, {executors} executors", env!("CARGO_PKG_VERSION")));
    let mut builder = Session::builder().app_name(&name).executors(count.max).stores(spec.stores.clone());
    builder = builder.launcher(std::sync::Arc::new(pod.launcher()));
    // Embedded tasks run on the driver's own cores and memory.
    let (cores, memory) = if count.max > 0 { (spec.executor.cores, &spec.executor.memory) } else { (spec.driver.cores, &spec.driver.memory) };
    if let Some(cores) = cores {
        builder = builder.executor_cores(cores.ceil() as u32);
    }
    if let Some(bytes) = memory.as_deref().and_then(parse_bytes) {
        builder = builder.memory_bytes(bytes);
    }
    for (key, value) in &spec.conf {
        builder = builder.config(key, value);
    }
    let session = builder.get_or_create().await?;
    let job = Job { file: &name, manifest: &manifest, positions: &positions, order: &order };
    let (done, steps) = (AtomicUsize::new(0), spec.steps.len());
    let look = || progress_of(&session.progress(), done.load(Ordering::Relaxed), steps);
    let running = job.run(&session, |step| {
        done.fetch_add(1, Ordering::Relaxed);
        print(&step_line(step));
    });
    let ended = tokio::select! {
        ended = running => ended,
        () = pod.tell_progress(look) => Err(Error::Cancelled),
    };
    let snapshot = session.progress();
    session.stop().await;
    let summaries = ended?;
    let told = progress_of(&snapshot, summaries.len(), summaries.len());
    pod.tell_result(&told, &result_of(&summaries)).await;
    print(&summary(&summaries, &snapshot, &session.object_stores().requests(), started.elapsed()));
    Ok(())
}

fn result_of(steps: &[StepSummary]) -> ApplicationResult {
    let written = || steps.iter().filter_map(|step| step.written.as_ref().map(|written| (&step.name, written)));
    ApplicationResult {
        tables: written().map(|(name, written)| (name.clone(), written.path.clone())).collect(),
        rows: written().map(|(_, written)| written.rows).sum(),
        bytes: written().map(|(_, written)| written.bytes).sum(),
    }
}
