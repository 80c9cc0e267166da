//! Runs a manifest: steps as soon as what they read is there, independent ones side by side, and those that read the same
//! text or view as one statement (`shared.rs`).

pub mod crawl;
pub mod plan;
mod script;
mod summary;

use std::collections::BTreeSet;
use std::time::Instant;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use faisca_planner::manifest::{Manifest, Positions, StepOrder, Write};
use faisca_planner::rules::switches;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::error::{Error, Result};
use crate::input::{Group, share_scans};
use crate::output::write::{PlannedWrite, WriteError, skipped, write_together};
use crate::session::DataFrame;
use crate::session::Session;

pub use script::{ScriptStatement, run_script, split};
pub use summary::StepSummary;

/// A checked manifest.
pub struct Job<'a> {
    /// Name of its file, for messages.
    pub file: &'a str,
    /// The job.
    pub manifest: &'a Manifest,
    /// Where its fields stand.
    pub positions: &'a Positions,
    /// Which steps read which.
    pub order: &'a StepOrder,
}

impl Job<'_> {
    /// Runs every step. `done` hears of each as it ends.
    ///
    /// # Errors
    /// Of the first step that fails; the others are stopped, and their outputs are as they were.
    pub async fn run(
        &self,
        session: &Session,
        mut done: impl FnMut(&StepSummary),
    ) -> Result<Vec<StepSummary>> {
        let spec = &self.manifest.spec;
        self.register_sources(session).await?;
        if let Some(script) = &spec.main_application_file {
            return run_script(session, script, done).await;
        }
        let mut progress = StepProgress::default();
        let mut running = FuturesUnordered::new();
        let mut summaries = vec![];
        while progress.ended.len() < spec.steps.len() {
            session
                .services
                .cluster
                .engine
                .progress
                .steps(progress.ended.len(), spec.steps.len());
            for summary in self.register_views(session, &mut progress).await? {
                done(&summary);
                summaries.push(summary);
            }
            let ready = progress.ready(self.order);
            progress.started.extend(&ready);
            running.extend(
                self.plan_steps(session, ready)
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
                progress.ended.insert(index);
            }
        }
        session
            .services
            .cluster
            .engine
            .progress
            .steps(progress.ended.len(), spec.steps.len());
        Ok(summaries)
    }

    /// Makes the sources known, side by side.
    ///
    /// # Errors
    /// Of the first that cannot be read, with its place in the file.
    pub async fn register_sources(&self, session: &Session) -> Result<()> {
        let all = self
            .manifest
            .spec
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| async move {
                let registered = session.register_source(source).await;
                registered.map_err(|e| e.at(self.place(&format!("spec.sources[{index}].path"))))
            });
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Plans every step without running it: views and outputs are known by their columns only. Answers names and stages of
    /// steps that run together.
    ///
    /// # Errors
    /// Of the first step that cannot be planned.
    pub async fn explain(&self, session: &Session) -> Result<Vec<(String, String)>> {
        self.register_sources(session).await?;
        let steps = &self.manifest.spec.steps;
        let mut drawn = vec![];
        let mut progress = StepProgress::default();
        while progress.ended.len() < steps.len() {
            for view in self.register_views(session, &mut progress).await? {
                drawn.push((view.name, "A view: its readers plan it.\n".to_owned()));
            }
            let ready = progress.ready(self.order);
            if ready.is_empty() {
                break;
            }
            let mut frames = vec![];
            for index in &ready {
                frames.push(
                    session
                        .sql(&steps[*index].sql)
                        .await
                        .map_err(|e| e.at(self.field(*index, "sql")))?,
                );
            }
            drawn.extend(self.draw(&ready, &frames).await?);
            for (index, frame) in ready.into_iter().zip(frames) {
                let step = &steps[index];
                if let Some(catalog) = step.write.as_ref().and_then(|write| write.catalog.as_ref())
                {
                    let table = catalog.table_of(&step.name);
                    session.catalogs().expect(
                        catalog.kind,
                        &catalog.database,
                        table,
                        frame.clone().into_inner().into_view(),
                    );
                }
                frame.create_or_replace_temp_view(&step.name)?;
                progress.ended.insert(index);
            }
        }
        Ok(drawn)
    }

    /// Steps that are ready at the same time, by the groups that they would run in.
    async fn draw(&self, ready: &[usize], frames: &[DataFrame]) -> Result<Vec<(String, String)>> {
        let Some((state, _)) = frames
            .first()
            .map(|frame| frame.clone().into_inner().into_parts())
        else {
            return Ok(vec![]);
        };
        let mut plans = vec![];
        for (index, frame) in ready.iter().zip(frames) {
            let (state, plan) = frame.clone().into_inner().into_parts();
            plans.push(
                state
                    .optimize(&plan)
                    .map_err(|e| Error::from(e).at(self.field(*index, "sql")))?,
            );
        }
        let (plans, groups) = groups(plans, &state)?;
        let mut drawn = vec![];
        for group in groups {
            let names: Vec<&str> = group
                .members
                .iter()
                .map(|member| self.manifest.spec.steps[ready[*member]].name.as_str())
                .collect();
            let drawing = match &group.members[..] {
                [alone] if group.tables.is_empty() => frames[*alone]
                    .clone()
                    .explain()
                    .await
                    .map_err(|e| e.at(self.field(ready[*alone], "sql")))?,
                members => {
                    let plans: Vec<_> = members
                        .iter()
                        .map(|member| plans[*member].clone())
                        .collect();
                    let tables = group
                        .tables
                        .iter()
                        .map(|table| format!("`{table}`"))
                        .collect::<Vec<_>>()
                        .join(", ");
                    let graph = crate::statement::stages_of_writes(&plans, &state).await?;
                    format!(
                        "{graph}\nRead once for all: {tables} (faisca.share_stages: false turns this off)\n"
                    )
                }
            };
            drawn.push((names.join(" + "), drawing));
        }
        Ok(drawn)
    }

    pub(crate) fn place(&self, path: &str) -> String {
        let position = self.positions.of(path);
        if position.line == 0 {
            // On a cluster nobody has seen the text.
            return format!("{}: {path}", self.file);
        }
        format!("{}:{}:{}", self.file, position.line, position.column)
    }

    fn field(&self, index: usize, field: &str) -> String {
        format!(
            "{}: step `{}`",
            self.place(&format!("spec.steps[{index}].{field}")),
            self.manifest.spec.steps[index].name
        )
    }

    /// A step's own mistake, with its place in the file.
    fn placed(&self, index: usize, error: Error) -> Error {
        let field = if matches!(error, Error::Write(_)) {
            "write"
        } else {
            "sql"
        };
        error.at(self.field(index, field))
    }

    /// Makes the views known whose steps are ready, and those that become ready by that.
    async fn register_views(
        &self,
        session: &Session,
        progress: &mut StepProgress,
    ) -> Result<Vec<StepSummary>> {
        let steps = &self.manifest.spec.steps;
        let mut registered = vec![];
        while let Some(index) = progress
            .ready(self.order)
            .into_iter()
            .find(|index| steps[*index].write.is_none())
        {
            let started = Instant::now();
            let readers = self
                .order
                .reads
                .iter()
                .filter(|reads| reads.contains(&index))
                .count();
            let frame = session
                .sql(&steps[index].sql)
                .await
                .map_err(|e| e.at(self.field(index, "sql")))?;
            frame
                .register_view(&steps[index].name, readers)
                .map_err(|e| e.at(self.field(index, "sql")))?;
            registered.push(StepSummary {
                name: steps[index].name.clone(),
                written: None,
                elapsed: started.elapsed(),
            });
            progress.ended.insert(index);
        }
        Ok(registered)
    }

    /// Plans steps that write, and finds those that read the same rows.
    async fn plan_steps(&self, session: &Session, ready: Vec<usize>) -> Result<Vec<StepGroup<'_>>> {
        let steps = &self.manifest.spec.steps;
        let (mut all, mut plans, mut alone) = (vec![], vec![], vec![]);
        for index in ready {
            let started = Instant::now();
            let Some(target) = &steps[index].write else {
                continue;
            };
            let frame = session
                .sql(&steps[index].sql)
                .await
                .map_err(|e| e.at(self.field(index, "sql")))?;
            let planned = PlannedWrite::plan(
                &session.services,
                frame.into_inner(),
                target,
                steps[index].name.clone(),
            )
            .await;
            let planned = planned.map_err(|e| self.placed(index, e))?;
            plans.extend(planned.as_ref().map(|planned| planned.plan.clone()));
            match planned {
                Some(planned) => all.push(Some((index, planned))),
                None => alone.push(StepGroup {
                    started,
                    steps: vec![(index, None)],
                    tables: BTreeSet::new(),
                }),
            }
        }
        let (plans, groups) = groups(plans, &session.context().state())?;
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
                .map(|(index, planned)| (index, Some(planned)))
                .collect();
            StepGroup {
                started,
                steps,
                tables: group.tables,
            }
        });
        Ok(together.chain(alone).collect())
    }

    async fn run_group(
        &self,
        session: &Session,
        group: StepGroup<'_>,
    ) -> Result<Vec<(usize, StepSummary)>> {
        let StepGroup {
            started,
            steps,
            tables,
        } = group;
        let (indices, planned): (Vec<usize>, Vec<_>) = steps.into_iter().unzip();
        let written =
            write_together(&session.services, planned.into_iter().flatten().collect()).await;
        let written = written.map_err(|WriteError { of, error }| match (of, &indices[..]) {
            (Some(member), _) => self.placed(indices[member], error),
            (None, [alone]) => self.placed(*alone, error),
            (None, _) => {
                let names: Vec<&str> = indices
                    .iter()
                    .map(|index| self.manifest.spec.steps[*index].name.as_str())
                    .collect();
                let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
                error.at(format!(
                    "{}: steps {}, which read {} together",
                    self.file,
                    names.join(", "),
                    tables.join(", ")
                ))
            }
        })?;
        let mut summaries = vec![];
        let mut written = written.into_iter();
        for index in indices {
            let step = &self.manifest.spec.steps[index];
            let Some(target) = &step.write else { continue };
            if self.order.reads.iter().any(|reads| reads.contains(&index)) {
                register_output(session, &step.name, target)
                    .await
                    .map_err(|e| e.at(self.field(index, "write")))?;
            }
            let written = Some(written.next().unwrap_or_else(|| skipped(target)));
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

/// Which steps of a job have begun, and which have ended.
#[derive(Debug, Default)]
struct StepProgress {
    started: BTreeSet<usize>,
    ended: BTreeSet<usize>,
}

impl StepProgress {
    /// Steps that have not begun, and may.
    fn ready(&self, order: &StepOrder) -> Vec<usize> {
        let may_begin =
            |index: &usize| !self.started.contains(index) && !self.ended.contains(index);
        (0..order.reads.len())
            .filter(may_begin)
            .filter(|index| order.reads[*index].is_subset(&self.ended))
            .collect()
    }
}

/// Steps that run as one statement; one that is skipped has no plan.
struct StepGroup<'a> {
    started: Instant,
    steps: Vec<(usize, Option<PlannedWrite<'a>>)>,
    /// What they read together.
    tables: BTreeSet<String>,
}

/// Which plans run together, unless that is turned off.
fn groups(plans: Vec<LogicalPlan>, state: &SessionState) -> Result<(Vec<LogicalPlan>, Vec<Group>)> {
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

/// Makes a step's output known to the steps that read it.
async fn register_output(session: &Session, name: &str, target: &Write) -> Result<()> {
    match &target.catalog {
        // The folder may hold more than the table.
        Some(catalog) => {
            let frame = session
                .sql(&format!("SELECT * FROM {}", catalog.full_name(name)))
                .await?;
            frame.create_or_replace_temp_view(name)
        }
        None => {
            session
                .services
                .register_output(name, &target.path, target.format)
                .await
        }
    }
}
