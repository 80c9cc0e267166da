//! What a job would do, looked at before it does anything: `faisca plan`.
//!
//! Sources are listed and their schemas read, steps are planned, each output's store is asked for
//! what a write will ask it for, under a key of its own that is removed again, and tables are
//! compared with the catalog. Every problem is found, not only the first.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::streaming::PartitionStream;
use faisca_planner::leaves;
use faisca_planner::manifest::{SaveMode, Write};
use faisca_planner::stages::StageGraph;

use super::Job;
use super::walk::StepWalk;
use crate::catalog::{PlannedTable, TableOutlook};
use crate::engine::prepared::files_of_scan;
use crate::error::{Error, Result};
pub use crate::input::source::Files;
use crate::output::commit::OutputWrite;
use crate::session::Session;
use crate::statement::{stages, stages_of_writes};

/// One step as it would run.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// Its name.
    pub name: String,
    /// Stages it is cut into. Statistics of files that other steps have yet to write may change that.
    pub stages: usize,
    /// What it scans of sources and tables that are there, after pruning.
    pub scans: Files,
    /// Steps whose output it reads.
    pub reads: Vec<String>,
    /// What it writes; nothing for a view.
    pub output: Option<OutputPlan>,
}

/// One output as it would be written.
#[derive(Debug, Clone)]
pub struct OutputPlan {
    /// The folder.
    pub path: String,
    /// What happens to what is there.
    pub mode: SaveMode,
    /// What is there.
    pub present: Files,
    /// The table that is registered, by its full name, and what becomes of it.
    pub table: Option<(String, TableOutlook)>,
}

/// A job as it would run.
#[derive(Debug, Default)]
pub struct JobPlan {
    /// Files of each source, by its name.
    pub sources: Vec<(String, Files)>,
    /// Steps, in an order in which they could run.
    pub steps: Vec<StepPlan>,
    /// What is wrong, with its place in the manifest.
    pub problems: Vec<Error>,
}

impl Job<'_> {
    /// Checks everything that the job needs, and changes nothing.
    pub async fn plan(&self, session: &Session) -> JobPlan {
        let mut plan = JobPlan::default();
        for (index, source) in self.manifest.spec().sources.iter().enumerate() {
            let place = self.source_place(index);
            match session.register_source(source).await {
                Ok(()) => match crate::input::source::files(session.context(), source).await {
                    Ok(files) => plan.sources.push((source.name.clone(), files)),
                    Err(error) => plan.problems.push(error.at(place)),
                },
                Err(error) => plan.problems.push(error.at(place)),
            }
        }
        let mut walk = StepWalk::new(self.manifest);
        while let Some(index) = walk.begin_next() {
            match self.plan_step(session, index, &mut plan.problems).await {
                Ok(step) => {
                    plan.steps.push(step);
                    walk.end(index);
                }
                // The step does not end: its readers would only repeat its problem.
                Err(error) => plan.problems.push(error),
            }
        }
        plan
    }

    async fn plan_step(
        &self,
        session: &Session,
        index: usize,
        problems: &mut Vec<Error>,
    ) -> Result<StepPlan> {
        let step = &self.steps()[index];
        let place = |field: &str| self.field(index, field);
        let frame = session
            .sql(&step.sql)
            .await
            .map_err(|e| e.at(place("sql")))?;
        let schema = frame.schema();
        let (state, logical) = frame.clone().into_inner().into_parts();
        let planned = async {
            let logical = state.optimize(&logical)?;
            if step.write.is_some() {
                stages_of_writes(&[logical], &state).await
            } else {
                stages(&logical, &state).await
            }
        };
        let graph = planned.await.map_err(|e| Error::from(e).at(place("sql")))?;
        let written = match &step.write {
            None => {
                frame
                    .create_or_replace_temp_view(&step.name)
                    .map_err(|e| e.at(place("sql")))?;
                None
            }
            Some(write) => {
                let (output, mut found) = look_at_output(session, &step.name, write, &schema).await;
                problems.extend(found.drain(..).map(|e| e.at(place("write"))));
                let partition = Arc::new(Upcoming(Arc::clone(&schema)));
                let upcoming = StreamingTable::try_new(schema, vec![partition])
                    .map_err(|e| Error::from(e).at(place("sql")))?;
                let upcoming: Arc<dyn TableProvider> = Arc::new(upcoming);
                if let Some(catalog) = &write.catalog {
                    let table = catalog.table_of(&step.name);
                    session.catalogs().expect(
                        catalog.kind,
                        &catalog.database,
                        table,
                        Arc::clone(&upcoming),
                    );
                }
                session
                    .register_table(&step.name, upcoming)
                    .map_err(|e| e.at(place("sql")))?;
                Some(output)
            }
        };
        let reads = self.manifest.reads(index).iter();
        let reads = reads.map(|read| self.steps()[*read].name.clone()).collect();
        Ok(StepPlan {
            name: step.name.clone(),
            stages: graph.stages.len(),
            scans: scanned(&graph),
            reads,
            output: written,
        })
    }
}

/// Rows that a step has yet to write. Their number is unknown.
#[derive(Debug)]
struct Upcoming(SchemaRef);

impl PartitionStream for Upcoming {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.0)))
    }
}

fn scanned(graph: &StageGraph) -> Files {
    let files = graph
        .stages
        .iter()
        .flat_map(|stage| leaves(&stage.plan))
        .flat_map(|leaf| files_of_scan(&leaf));
    // One file may be cut into ranges of several partitions.
    let mut names = BTreeSet::new();
    let mut bytes = 0;
    for (name, size) in files {
        names.insert(name);
        bytes += size;
    }
    Files {
        count: names.len(),
        bytes,
    }
}

async fn look_at_output(
    session: &Session,
    step: &str,
    write: &Write,
    schema: &SchemaRef,
) -> (OutputPlan, Vec<Error>) {
    let inner = &session.services;
    let mut problems = vec![];
    if let Err(error) = OutputWrite::probe(write, &inner.object_stores, &inner.catalogs).await {
        problems.push(error);
    }
    let folder = crate::input::source::default_source(
        step,
        &format!("{}/", write.path.trim_end_matches('/')),
        write.format,
    );
    // A folder that is not there yet has no files; one that cannot be listed was a problem before.
    let present = crate::input::source::files(session.context(), &folder)
        .await
        .unwrap_or_default();
    let mut table = None;
    if let Some(asked) = &write.catalog {
        let name = asked.full_name(step);
        match PlannedTable::plan(&inner.catalogs, asked, step, schema, write).await {
            Ok(planned) => table = Some((name, planned.outlook())),
            Err(error) => problems.push(error),
        }
    }
    (
        OutputPlan {
            path: write.path.clone(),
            mode: write.mode,
            present,
            table,
        },
        problems,
    )
}
