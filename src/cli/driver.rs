//! `faisca driver`: what runs in a driver's pod.

use std::time::Instant;

use faisca::{Error, Result, Session};
use faisca_driver::job::Job;
use faisca_k8s::application::executor_count;
use faisca_k8s::driver::application_from_env;
use faisca_planner::manifest::{Positions, check};

use super::show::{print, step_line, summary};

pub(super) async fn driver() -> Result<()> {
    let started = Instant::now();
    let outside = || {
        Error::Plan("`faisca driver` runs in a pod that the operator made; on other machines use `faisca run`".to_owned())
    };
    let application = application_from_env()?.ok_or_else(outside)?;
    let (name, manifest, positions) =
        (application.name, application.manifest, Positions::default());
    let order = check(&name, &manifest, &positions)?;
    let count = executor_count(&manifest.spec).map_err(|error| Error::Plan(error.to_string()))?;
    let executors = if count.min == count.max {
        count.max.to_string()
    } else {
        format!("{} to {}", count.min, count.max)
    };
    print(&format!(
        "faisca {}: driver of {name}, {executors} executors",
        env!("CARGO_PKG_VERSION")
    ));
    let session = Session::builder().app_name(&name).get_or_create().await?;
    let job = Job {
        file: &name,
        manifest: &manifest,
        positions: &positions,
        order: &order,
    };
    let ended = job.run(&session, |step| print(&step_line(step))).await;
    // Before the session's end, which keeps this log.
    let told = |steps: Vec<_>| {
        print(&summary(
            &steps,
            &session.progress(),
            &session.object_stores().requests(),
            started.elapsed(),
        ))
    };
    let ended = ended.map(told);
    session.stop().await;
    ended
}
