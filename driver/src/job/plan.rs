//! Checks what a job would do without doing it, for `faisca plan`.
//!
//! The check lists the sources and reads their schemas, plans the steps, and compares tables with
//! the catalog. For each output it sends the store the same kinds of requests as a write would,
//! with a temporary key that it removes again. It reports every problem, not only the first.

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
use crate::input::source::{count_files, count_files_below, default_source};
use crate::output::commit::OutputWrite;
use crate::output::write::check;
use crate::session::{DataFrame, Session};
use crate::statement::{stages, stages_of_writes};

/// How one step would run.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// Name of the step.
    pub name: String,
    /// Number of stages. It may change once the statistics of files from earlier steps are known.
    pub stages: usize,
    /// Files that it scans after pruning. Outputs of other steps that do not exist yet are not
    /// included.
    pub scans: Files,
    /// Names of the steps whose output it reads.
    pub reads: Vec<String>,
    /// The output that it writes; `None` for a view.
    pub output: Option<OutputPlan>,
}

/// How one output would be written.
#[derive(Debug, Clone)]
pub struct OutputPlan {
    /// Path or URL of the folder.
    pub path: String,
    /// What happens to the existing files.
    pub mode: SaveMode,
    /// Files that exist in the folder.
    pub present: Files,
    /// Full name of the catalog table that is registered, and how it changes; `None` without a
    /// catalog.
    pub table: Option<(String, TableOutlook)>,
}

/// How a job would run, and the problems that would prevent it.
#[derive(Debug, Default)]
pub struct JobPlan {
    /// Name and files of each source.
    pub sources: Vec<(String, Files)>,
    /// Steps, in an order in which they could run. Steps with a problem, and those that read them,
    /// are not included.
    pub steps: Vec<StepPlan>,
    /// Problems, each with its position in the manifest.
    pub problems: Vec<Error>,
}

impl Job<'_> {
    /// Checks everything that the job needs, and leaves files and catalogs unchanged. Registers the
    /// sources and steps of the job as tables of the session. Problems are reported in
    /// [`JobPlan::problems`].
    pub async fn plan(&self, session: &Session) -> JobPlan {
        let mut plan = JobPlan::default();
        for (index, source) in self.manifest.spec().sources.iter().enumerate() {
            let position = self.source_position(index);
            match session.register_source(source).await {
                Ok(()) => match count_files(session.context(), source).await {
                    Ok(files) => plan.sources.push((source.name.clone(), files)),
                    Err(error) => plan.problems.push(error.at(position)),
                },
                Err(error) => plan.problems.push(error.at(position)),
            }
        }
        let mut walk = StepWalk::new(self.manifest);
        while let Some(index) = walk.begin_next() {
            match self.plan_step(session, index, &mut plan.problems).await {
                Ok(step) => {
                    plan.steps.push(step);
                    walk.end(index);
                }
                // The step is not ended, so its readers are not planned: they would only repeat
                // its problem.
                Err(error) => plan.problems.push(error),
            }
        }
        plan
    }

    /// Plans one step, and registers a stand-in for its output so that later steps can be planned.
    ///
    /// # Errors
    /// Returns an error if the step cannot be planned. Problems of the output go to `problems`.
    async fn plan_step(
        &self,
        session: &Session,
        index: usize,
        problems: &mut Vec<Error>,
    ) -> Result<StepPlan> {
        let step = &self.steps()[index];
        let position = |field: &str| self.field(index, field);
        let frame = session
            .sql(&step.sql)
            .await
            .map_err(|e| e.at(position("sql")))?;
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
        let graph = planned
            .await
            .map_err(|e| Error::from(e).at(position("sql")))?;
        let written = match &step.write {
            None => {
                frame
                    .create_or_replace_temp_view(&step.name)
                    .map_err(|e| e.at(position("sql")))?;
                None
            }
            Some(write) => {
                let (output, mut output_problems) =
                    check_output(session, &step.name, write, &frame).await;
                problems.extend(output_problems.drain(..).map(|e| e.at(position("write"))));
                let partition = Arc::new(UpcomingOutput(Arc::clone(&schema)));
                let upcoming = StreamingTable::try_new(schema, vec![partition])
                    .map_err(|e| Error::from(e).at(position("sql")))?;
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
                    .map_err(|e| e.at(position("sql")))?;
                Some(output)
            }
        };
        let reads = self.manifest.reads(index).iter();
        let reads = reads.map(|read| self.steps()[*read].name.clone()).collect();
        Ok(StepPlan {
            name: step.name.clone(),
            stages: graph.stages.len(),
            scans: scanned_files(&graph),
            reads,
            output: written,
        })
    }
}

/// The output of a step that has not run: a schema without rows. Its row count is unknown, so that
/// the optimizer does not treat it as empty.
#[derive(Debug)]
struct UpcomingOutput(SchemaRef);

impl PartitionStream for UpcomingOutput {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.0)))
    }
}

/// Returns the files that a query scans, each counted once.
fn scanned_files(graph: &StageGraph) -> Files {
    let files = graph
        .stages
        .iter()
        .flat_map(|stage| leaves(&stage.plan))
        .flat_map(|leaf| files_of_scan(&leaf));
    // Several partitions may scan ranges of the same file: it counts once, its ranges add up.
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

/// Checks one output: its store, its folder and its catalog table. Returns the problems found.
async fn check_output(
    session: &Session,
    step: &str,
    write: &Write,
    frame: &DataFrame,
) -> (OutputPlan, Vec<Error>) {
    let services = &session.services;
    let mut problems = vec![];
    if let Err(error) = check(services, frame.clone().into_inner(), write).await {
        problems.push(error);
    }
    if let Err(error) = OutputWrite::probe(write, &services.object_stores, &services.catalogs).await
    {
        problems.push(error);
    }
    let folder = default_source(
        step,
        &format!("{}/", write.path.trim_end_matches('/')),
        write.format,
    );
    // A missing folder has no files. A folder that cannot be listed has failed the probe above.
    let present = count_files_below(session.context(), &folder)
        .await
        .unwrap_or_default();
    let mut table = None;
    if let Some(table_spec) = &write.catalog {
        let name = table_spec.full_name(step);
        match PlannedTable::plan(&services.catalogs, table_spec, step, &frame.schema(), write).await
        {
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
