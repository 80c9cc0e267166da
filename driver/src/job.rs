//! Runs the steps of a manifest. Each step starts when the steps that it reads have ended.
//!
//! Independent steps run concurrently. Steps that read the same file or view run as one query,
//! which reads it once (`input/shared_scans.rs`).
//!
//! - `walk`: the order of the steps, for `run`, `explain` and `plan`
//! - `explain`, `plan`: show what a job would do
//! - `records`: what the journal keeps
//! - `resume`: which steps an earlier attempt of the run has finished
//! - `script`: runs the statements of a `.sql` file
//! - `journals`: reads the journals of runs from an object store
//! - `crawl`: finds tables in folders that other programs wrote

pub mod crawl;
mod explain;
mod journals;
pub mod plan;
mod records;
mod resume;
mod script;
mod summary;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use faisca_planner::manifest::{CheckedManifest, Step, Write};
use faisca_planner::rules::switches;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::input::{Group, Ownership, share_scans};
use crate::output::write::{
    PlannedWrite, WriteError, find_committed, skip_write, stored_columns, write_together,
};
use crate::session::{Session, register_output};

pub use journals::{JOURNAL_ENDING, JournalText, read_journals};
use records::{JobRecorder, step_finished, step_started};
use resume::WriteIds;
use script::run_statements;
pub use script::{ScriptStatement, read_script, run_script, split};
pub use summary::StepSummary;
use walk::StepWalk;

/// A job: a manifest that can be run, explained or planned in a session.
///
/// ```no_run
/// use std::collections::BTreeMap;
///
/// use faisca_driver::Session;
/// use faisca_driver::job::Job;
/// use faisca_planner::manifest::CheckedManifest;
///
/// # async fn example(session: &Session, text: &str) -> faisca_driver::Result<()> {
/// let parameters = BTreeMap::from([("date".to_owned(), "2026-11-27".to_owned())]);
/// let manifest = CheckedManifest::load("job.yaml", text, &parameters)?;
/// let steps = Job::new(&manifest).run(session, |step| println!("{} ended", step.name)).await?;
/// println!("{} steps", steps.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Job<'a> {
    manifest: &'a CheckedManifest,
}

impl<'a> Job<'a> {
    /// Returns the job that a manifest describes.
    #[must_use]
    pub fn new(manifest: &'a CheckedManifest) -> Self {
        Self { manifest }
    }

    /// Runs every step, and returns their summaries in the order in which the steps ended. Calls
    /// `done` with each summary when the step ends.
    ///
    /// If the session has a run (`faisca.run.id`), steps that an earlier attempt of that run has
    /// committed are skipped, and their summaries say so.
    ///
    /// If the manifest names a `.sql` script, it runs the statements of that script instead.
    ///
    /// # Errors
    /// Returns the error of the first step that fails, with its position in the manifest. Steps
    /// that still run are stopped, and their outputs stay unchanged; outputs of ended steps stay.
    pub async fn run(
        &self,
        session: &Session,
        done: impl FnMut(&StepSummary),
    ) -> Result<Vec<StepSummary>> {
        let recorder = JobRecorder::new(&session.services.journal);
        let sources = self.register_sources(session).await;
        let ended = match (sources, &self.manifest.spec().main_application_file) {
            (Ok(()), Some(script)) => run_statements(session, script, done).await,
            (Ok(()), None) => self.run_steps(session, done).await,
            (Err(error), _) => Err(error),
        };
        recorder.end(&ended);
        ended
    }

    async fn run_steps(
        &self,
        session: &Session,
        mut done: impl FnMut(&StepSummary),
    ) -> Result<Vec<StepSummary>> {
        let journal = &session.services.journal;
        let mut done = |summary: &StepSummary| {
            journal.record(step_finished(summary));
            done(summary);
        };
        let progress = &session.services.cluster.engine.progress;
        let ids = WriteIds::new(self.manifest, session.services.run.as_ref())?;
        let mut walk = StepWalk::new(self.manifest);
        let mut running = FuturesUnordered::new();
        let mut summaries = vec![];
        while !walk.is_complete() {
            let (ended, all) = walk.counts();
            progress.set_steps(ended, all);
            for summary in self.register_views(session, &mut walk).await? {
                done(&summary);
                summaries.push(summary);
            }
            let ready = walk.begin_ready();
            for index in &ready {
                journal.record(step_started(&self.steps()[*index].name));
            }
            running.extend(
                self.plan_steps(session, ready, &ids)
                    .await?
                    .into_iter()
                    .map(|group| self.run_group(session, group)),
            );
            let Some(group) = running.next().await else {
                break;
            };
            for (index, summary) in group? {
                done(&summary);
                summaries.push(summary);
                walk.end(index);
            }
        }
        let (ended, all) = walk.counts();
        progress.set_steps(ended, all);
        Ok(summaries)
    }

    /// Registers all sources as tables, concurrently.
    ///
    /// # Errors
    /// Returns the error of the first source that cannot be read, with its position in the
    /// manifest.
    async fn register_sources(&self, session: &Session) -> Result<()> {
        let sources = self.manifest.spec().sources.iter().enumerate();
        let all = sources.map(|(index, source)| async move {
            let registered = session.register_source(source).await;
            registered.map_err(|e| e.at(self.source_position(index)))
        });
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Returns whether another step reads the output of this one.
    fn is_read(&self, step: usize) -> bool {
        (0..self.steps().len()).any(|reader| self.manifest.reads(reader).contains(&step))
    }

    fn steps(&self) -> &'a [Step] {
        &self.manifest.spec().steps
    }

    /// Returns the position of a source's path in the manifest.
    fn source_position(&self, index: usize) -> String {
        self.manifest
            .location(&format!("spec.sources[{index}].path"))
    }

    /// Returns the position of a step's field in the manifest, and the name of the step.
    fn field(&self, index: usize, field: &str) -> String {
        let position = self
            .manifest
            .location(&format!("spec.steps[{index}].{field}"));
        format!("{position}: step `{}`", self.steps()[index].name)
    }

    /// Adds to an error of a step the position in the manifest of the field that caused it.
    fn with_step_position(&self, index: usize, error: Error) -> Error {
        let field = if error.concerns_output() {
            "write"
        } else {
            "sql"
        };
        error.at(self.field(index, field))
    }

    /// Registers the views whose steps are ready, and the views that then become ready.
    async fn register_views(
        &self,
        session: &Session,
        walk: &mut StepWalk<'_>,
    ) -> Result<Vec<StepSummary>> {
        let mut registered = vec![];
        while let Some(index) = walk.begin_view() {
            let started = Instant::now();
            let step = &self.steps()[index];
            session.services.journal.record(step_started(&step.name));
            // A view with a single reader is not worth keeping.
            let readers = (0..self.steps().len())
                .filter(|reader| self.manifest.reads(*reader).contains(&index))
                .count();
            let frame = session
                .sql(&step.sql)
                .await
                .map_err(|e| e.at(self.field(index, "sql")))?;
            frame
                .register_view(&step.name, readers)
                .map_err(|e| e.at(self.field(index, "sql")))?;
            registered.push(StepSummary {
                name: step.name.clone(),
                written: None,
                elapsed: started.elapsed(),
            });
            walk.end(index);
        }
        Ok(registered)
    }

    /// Plans the ready steps that write, and groups those that read the same rows.
    async fn plan_steps(
        &self,
        session: &Session,
        ready: Vec<usize>,
        ids: &WriteIds,
    ) -> Result<Vec<StepGroup<'a>>> {
        let steps = self.steps();
        let (mut all, mut plans, mut alone) = (vec![], vec![], vec![]);
        for index in ready {
            let started = Instant::now();
            let Some(target) = &steps[index].write else {
                continue;
            };
            let finished = self.find_finished(session, index, target, ids).await?;
            if finished.is_some() && !self.is_read(index) {
                let columns = Arc::new(Schema::empty());
                alone.extend(
                    finished.map(|summary| StepGroup::done(index, started, summary, columns)),
                );
                continue;
            }
            let frame = session
                .sql(&steps[index].sql)
                .await
                .map_err(|e| e.at(self.field(index, "sql")))?;
            if let Some(summary) = finished {
                // Later steps read the output with the types that the step gave it.
                let columns = stored_columns(frame.into_inner(), target)
                    .map_err(|e| self.with_step_position(index, e))?;
                alone.push(StepGroup::done(index, started, summary, columns));
                continue;
            }
            let planned = PlannedWrite::plan(
                &session.services,
                frame.into_inner(),
                target,
                steps[index].name.clone(),
            )
            .await;
            let planned = planned.map_err(|e| self.with_step_position(index, e))?;
            match planned {
                Some(mut planned) => {
                    planned.identity = ids.of_step(index).cloned();
                    plans.push(planned.plan.clone());
                    all.push(Some((index, planned)));
                }
                // The output exists and the save mode is `ignore`: there is nothing to run.
                None => {
                    let columns = Arc::new(Schema::empty());
                    alone.push(StepGroup::done(index, started, skip_write(target), columns));
                }
            }
        }
        let (plans, groups) = group_plans(plans, &session.context().state())?;
        for (step, plan) in all.iter_mut().zip(plans) {
            step.iter_mut()
                .for_each(|(_, planned)| planned.plan = plan.clone());
        }
        let started = Instant::now();
        let together = groups.into_iter().map(|group| {
            let steps = group
                .members
                .iter()
                .filter_map(|member| all[*member].take())
                .map(|(index, planned)| (index, StepWork::Write(Box::new(planned))))
                .collect();
            StepGroup {
                started,
                steps,
                tables: group.tables,
            }
        });
        Ok(together.chain(alone).collect())
    }

    /// Returns what a step wrote, if an earlier attempt of the run has finished it.
    async fn find_finished(
        &self,
        session: &Session,
        step: usize,
        target: &Write,
        ids: &WriteIds,
    ) -> Result<Option<WriteSummary>> {
        let Some(id) = ids.of_step(step) else {
            return Ok(None);
        };
        let name = &self.steps()[step].name;
        let summary = find_committed(&session.services, target, name, id).await;
        summary.map_err(|e| e.at(self.field(step, "write")))
    }

    /// Runs the steps of a group as one query, and registers the outputs that later steps read.
    async fn run_group(
        &self,
        session: &Session,
        group: StepGroup<'a>,
    ) -> Result<Vec<(usize, StepSummary)>> {
        let StepGroup {
            started,
            steps,
            tables,
        } = group;
        let (mut indices, mut columns, mut done, mut planned) = (vec![], vec![], vec![], vec![]);
        for (index, work) in steps {
            indices.push(index);
            match work {
                StepWork::Write(write) => {
                    columns.push(Arc::clone(write.plan.schema().inner()));
                    planned.push(*write);
                }
                StepWork::Done(summary, schema) => {
                    columns.push(schema);
                    done.push(summary);
                }
            }
        }
        let written = write_together(&session.services, planned).await;
        let written =
            written.map_err(|WriteError { write, error }| match (write, &indices[..]) {
                (Some(member), _) => self.with_step_position(indices[member], error),
                (None, [alone]) => self.with_step_position(*alone, error),
                // The error concerns the shared rows, so no single step caused it.
                (None, _) => {
                    let names: Vec<&str> = indices
                        .iter()
                        .map(|index| self.steps()[*index].name.as_str())
                        .collect();
                    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
                    error.at(format!(
                        "{}: steps {}, which read {} together",
                        self.manifest.file(),
                        names.join(", "),
                        tables.join(", ")
                    ))
                }
            })?;
        let mut summaries = vec![];
        // A group has either steps that run or one that is done.
        let mut written = written.into_iter().chain(done);
        for (index, columns) in indices.into_iter().zip(&columns) {
            let step = &self.steps()[index];
            // Views are registered before, so each step of a group writes.
            let Some(target) = &step.write else { continue };
            if self.is_read(index) {
                register_step_output(session, &step.name, target, columns)
                    .await
                    .map_err(|e| e.at(self.field(index, "write")))?;
            }
            let written = Some(written.next().unwrap_or_else(|| skip_write(target)));
            summaries.push((
                index,
                StepSummary {
                    name: step.name.clone(),
                    written,
                    elapsed: started.elapsed(),
                },
            ));
        }
        Ok(summaries)
    }
}

/// Steps that run as one query, or a single step that has nothing to run.
struct StepGroup<'a> {
    started: Instant,
    steps: Vec<(usize, StepWork<'a>)>,
    /// Names of the tables that the steps read together.
    tables: BTreeSet<String>,
}

/// What is left of a step that writes.
enum StepWork<'a> {
    Write(Box<PlannedWrite<'a>>),
    /// Nothing: its output is there, with these columns.
    Done(WriteSummary, SchemaRef),
}

impl StepGroup<'_> {
    fn done(step: usize, started: Instant, summary: WriteSummary, columns: SchemaRef) -> Self {
        Self {
            started,
            steps: vec![(step, StepWork::Done(summary, columns))],
            tables: BTreeSet::new(),
        }
    }
}

/// Groups the plans that share rows. If `faisca.share_stages` is off, each plan runs alone.
fn group_plans(
    plans: Vec<LogicalPlan>,
    state: &SessionState,
) -> Result<(Vec<LogicalPlan>, Vec<Group>)> {
    if switches(state.config_options()).share_stages {
        return Ok(share_scans(plans, state)?);
    }
    let alone = (0..plans.len())
        .map(|plan| Group {
            members: vec![plan],
            tables: BTreeSet::new(),
        })
        .collect();
    Ok((plans, alone))
}

/// Registers the output of a step as a table, for the steps that read it.
async fn register_step_output(
    session: &Session,
    name: &str,
    target: &Write,
    columns: &SchemaRef,
) -> Result<()> {
    match &target.catalog {
        // The folder may contain files that are not part of the table, so the catalog decides.
        Some(catalog) => {
            let frame = session
                .sql(&format!("SELECT * FROM {}", catalog.full_name(name)))
                .await?;
            frame.create_or_replace_temp_view(name)
        }
        None => {
            register_output(
                &session.services,
                name,
                target,
                columns,
                Ownership::External,
            )
            .await
        }
    }
}
