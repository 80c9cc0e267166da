//! `faisca driver`: the job of a driver's pod.

use std::time::Instant;

use faisca::{Error, Result, Session};
use faisca_driver::job::Job;
use faisca_k8s::application::executor_count;
use faisca_k8s::driver::job_from_env;

use super::show::{print, step_line, summary};

pub(super) async fn driver() -> Result<()> {
    let started = Instant::now();
    let outside_of_a_pod = || {
        Error::Usage(
            "`faisca driver` runs in a pod that the operator created; on other machines use `faisca run`"
                .to_owned(),
        )
    };
    let manifest = job_from_env()?.ok_or_else(outside_of_a_pod)?;
    let name = manifest.file();
    let count = executor_count(manifest.spec())?;
    let executors = if count.min == count.max {
        count.max.to_string()
    } else {
        format!("{} to {}", count.min, count.max)
    };
    print(&format!(
        "faisca {}: driver of {name}, {executors} executors",
        env!("CARGO_PKG_VERSION")
    ));
    let session = Session::builder().app_name(name).get_or_create().await?;
    let outcome = Job::new(&manifest)
        .run(&session, |step| print(&step_line(step)))
        .await;
    // Printed before the session stops, because stopping it stores this log.
    let outcome = outcome.map(|steps| {
        print(&summary(
            &steps,
            &session.progress(),
            &session.object_stores().requests(),
            started.elapsed(),
        ));
    });
    session.stop().await;
    outcome
}
