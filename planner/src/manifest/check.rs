//! Checks a well-formed manifest, and finds the order in which its steps run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, visit_relations};
use datafusion::sql::sqlparser::parser::ParserError;
use faisca_spark::dialect::parse_as_written;

use super::error::{ManifestError, Problem};
use super::positions::Positions;
use super::{JobSpec, Manifest, PartitionOverwrite, SaveMode, Step, did_you_mean, known_scheme};
use crate::statement::on_stack_for;

/// For each step, the indices of the steps it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StepOrder {
    /// By the index of the reading step, which may start when all of these have ended.
    pub(super) reads: Vec<BTreeSet<usize>>,
}

/// Checks names, tables, paths and cycles.
///
/// # Errors
/// Every problem, in the order of the file.
pub(super) fn check(
    file: &str,
    manifest: &Manifest,
    positions: &Positions,
) -> Result<StepOrder, ManifestError> {
    let mut checker = Checker {
        spec: &manifest.spec,
        positions,
        problems: vec![],
    };
    checker.check_workload();
    checker.check_job_name(&manifest.metadata.name);
    checker.check_table_names();
    let order = checker.find_order();
    checker.check_cycles(&order);
    checker.check_paths();
    checker.check_sizes();
    checker.check_stores();
    checker.check_catalogs();
    let mut problems = checker.problems;
    problems.sort_by_key(|p| p.position);
    if problems.is_empty() {
        Ok(order)
    } else {
        Err(ManifestError {
            file: file.to_owned(),
            problems,
        })
    }
}

/// Collects the problems of one manifest.
struct Checker<'a> {
    spec: &'a JobSpec,
    positions: &'a Positions,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn report(&mut self, path: &str, message: String, help: impl Into<String>) {
        self.add_problem(path, message, Some(help.into()));
    }

    fn add_problem(&mut self, path: &str, message: String, help: Option<String>) {
        self.problems.push(Problem {
            position: self.positions.position_of(path),
            path: path.to_owned(),
            message,
            help,
        });
    }

    fn check_workload(&mut self) {
        let workloads = [
            !self.spec.steps.is_empty(),
            self.spec.main_application_file.is_some(),
            !self.spec.command.is_empty(),
        ];
        match workloads.iter().filter(|x| **x).count() {
            1 => {}
            0 => self.report(
                "spec",
                "the job has no workload".into(),
                "give one of `steps`, `mainApplicationFile`, `command`",
            ),
            _ => self.report(
                "spec",
                "the job has more than one workload".into(),
                "keep one of `steps`, `mainApplicationFile`, `command`",
            ),
        }
    }

    fn check_job_name(&mut self, name: &str) {
        const LENGTH_MAX: usize = 63;
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let has_valid_ends =
            name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
        if name.len() > LENGTH_MAX || !name.chars().all(is_allowed) || !has_valid_ends {
            let message = format!("`{name}` is not a valid job name");
            self.report(
                "metadata.name",
                message,
                "lower case letters, digits and dashes, a letter first, 63 at most",
            );
        }
    }

    fn check_table_names(&mut self) {
        let mut names_seen: BTreeMap<String, String> = BTreeMap::new();
        let sources = self
            .spec
            .sources
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("spec.sources[{i}].name"), s.name.as_str()));
        let steps = self
            .spec
            .steps
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("spec.steps[{i}].name"), s.name.as_str()));
        for (path, name) in sources.chain(steps).collect::<Vec<_>>() {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || !name.chars().all(is_allowed)
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                self.report(
                    &path,
                    format!("`{name}` is not a valid table name"),
                    "letters, digits and _, not starting with a digit",
                );
            }
            if let Some(first) = names_seen.insert(name.to_lowercase(), path.clone()) {
                self.report(
                    &path,
                    format!("the name `{name}` is already used by {first}"),
                    "names are compared without regard to case",
                );
            }
        }
    }

    /// Finds the steps that each step reads. Reports unknown tables, and SQL that cannot be parsed.
    fn find_order(&mut self) -> StepOrder {
        let spec = self.spec;
        let names = TableNames::new(spec);
        let reads = spec
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| self.step_reads(index, step, &names))
            .collect();
        StepOrder { reads }
    }

    fn step_reads(&mut self, index: usize, step: &Step, names: &TableNames) -> BTreeSet<usize> {
        let path = format!("spec.steps[{index}].sql");
        let mut reads = BTreeSet::new();
        let tables = tables(&step.sql).unwrap_or_else(|error| {
            self.add_problem(&path, error.to_string(), None);
            BTreeSet::new()
        });
        for table in tables {
            if let Some(producer) = names.steps.get(&table) {
                reads.insert(*producer);
            } else if let Some(writer) = names.registered.get(&table) {
                // A step may read the previous version of the table that it writes.
                if *writer != index {
                    reads.insert(*writer);
                }
            } else if !names.is_external(&table) {
                let message = format!("no source or step is named `{table}`");
                self.report(&path, message, names.suggestion(&table));
            }
        }
        reads
    }

    fn check_cycles(&mut self, order: &StepOrder) {
        let mut finished = BTreeSet::new();
        loop {
            let ready: Vec<_> = (0..order.reads.len())
                .filter(|i| !finished.contains(i) && order.reads[*i].is_subset(&finished))
                .collect();
            if ready.is_empty() {
                break;
            }
            finished.extend(ready);
        }
        let waiting: Vec<_> = (0..order.reads.len())
            .filter(|i| !finished.contains(i))
            .collect();
        if let Some(first) = waiting.first() {
            let names: Vec<_> = waiting
                .iter()
                .map(|i| self.spec.steps[*i].name.as_str())
                .collect();
            let message = format!("these steps depend on each other: {}", names.join(", "));
            self.report(
                &format!("spec.steps[{first}].sql"),
                message,
                "break the cycle: a step may only read steps that do not read it",
            );
        }
    }

    fn check_paths(&mut self) {
        let outputs: Vec<(usize, String)> = self
            .spec
            .steps
            .iter()
            .enumerate()
            .filter_map(|(i, s)| s.write.as_ref().map(|w| (i, normalize_path(&w.path))))
            .collect();
        for (position, (index, output)) in outputs.iter().enumerate() {
            let path = format!("spec.steps[{index}].write.path");
            for (other, other_output) in &outputs[..position] {
                if is_within(output, other_output) || is_within(other_output, output) {
                    let message = format!(
                        "`{output}` is also written by step `{}` (`{other_output}`)",
                        self.spec.steps[*other].name
                    );
                    self.report(&path, message, "give each step a folder of its own");
                }
            }
            for source in &self.spec.sources {
                let input = normalize_path(
                    source
                        .path
                        .split(['*', '?', '['])
                        .next()
                        .unwrap_or_default(),
                );
                if is_within(output, &input) || is_within(&input, output) {
                    let message = format!(
                        "the output `{output}` and the input `{}` of source `{}` overlap",
                        source.path, source.name
                    );
                    self.report(&path, message, "a step reads another step's output by its name; write anything else outside the input's folder");
                }
            }
        }
    }

    fn check_stores(&mut self) {
        for url in self.spec.stores.keys() {
            let bucket = url
                .strip_prefix("s3://")
                .filter(|bucket| !bucket.contains('/'));
            if bucket.is_none() {
                let message = format!("`{url}` is neither `s3://` nor `s3://BUCKET`");
                self.report(
                    "spec.stores",
                    message,
                    "settings belong to one bucket, or to all buckets without settings of their own",
                );
            }
        }
    }

    fn check_catalogs(&mut self) {
        let mut names_seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, step) in self.spec.steps.iter().enumerate() {
            let Some(write) = &step.write else { continue };
            if write.partition_overwrite == PartitionOverwrite::Dynamic
                && (write.mode != SaveMode::Overwrite || write.partition_by.is_empty())
            {
                let path = format!("spec.steps[{index}].write.partitionOverwrite");
                self.report(
                    &path,
                    "`dynamic` needs partitions to overwrite".to_owned(),
                    "set mode to overwrite and partitionBy, or leave it out",
                );
            }
            let Some(name) = registered_name(step) else {
                continue;
            };
            if let Some(other) = names_seen.insert(name.clone(), index) {
                let message = format!(
                    "the table {name} is also written by step `{}`",
                    self.spec.steps[other].name
                );
                self.report(
                    &format!("spec.steps[{index}].write.catalog"),
                    message,
                    "give each step a table of its own",
                );
            }
        }
    }

    fn check_sizes(&mut self) {
        for (index, step) in self.spec.steps.iter().enumerate() {
            if let Some(size) = step
                .write
                .as_ref()
                .and_then(|w| w.target_file_size.as_deref())
                && crate::names::parse_bytes(size).is_none()
            {
                self.report(
                    &format!("spec.steps[{index}].write.targetFileSize"),
                    format!("`{size}` is not a size"),
                    "for example 128Mi or 1g",
                );
            }
        }
    }
}

/// The names that SQL of a step may read, in lower case.
struct TableNames {
    /// Index of the step of each name.
    steps: BTreeMap<String, usize>,
    /// Index of the step that registers each table of a catalog.
    registered: BTreeMap<String, usize>,
    sources: BTreeSet<String>,
}

impl TableNames {
    fn new(spec: &JobSpec) -> Self {
        let steps = spec.steps.iter().enumerate();
        Self {
            steps: (steps.clone().map(|(i, step)| (step.name.to_lowercase(), i))).collect(),
            registered: steps
                .filter_map(|(i, step)| registered_name(step).map(|name| (name, i)))
                .collect(),
            sources: (spec.sources.iter().map(|s| s.name.to_lowercase())).collect(),
        }
    }

    /// Whether no step writes this table: it is a source, or a table of a catalog.
    fn is_external(&self, table: &str) -> bool {
        self.sources.contains(table) || table.contains('.')
    }

    /// Returns help for an unknown name.
    fn suggestion(&self, table: &str) -> String {
        let known = self.steps.keys().chain(&self.sources).map(String::as_str);
        did_you_mean(table, known.clone(), || {
            format!("known tables: {}", known.collect::<Vec<_>>().join(", "))
        })
    }
}

/// Returns the three-part name of the table that a step registers.
fn registered_name(step: &Step) -> Option<String> {
    let catalog = step.write.as_ref()?.catalog.as_ref()?;
    Some(catalog.full_name(&step.name).to_lowercase())
}

/// Why the tables of a step's SQL are unknown.
#[derive(Debug, thiserror::Error)]
enum SqlError {
    #[error("{}", .0.to_string().trim_start_matches("sql parser error: "))]
    Syntax(#[from] ParserError),
    #[error("expected one statement, found {0}")]
    Count(usize),
}

/// Returns the tables that a query reads, in lower case, without its own CTEs.
fn tables(sql: &str) -> Result<BTreeSet<String>, SqlError> {
    on_stack_for(sql, || tables_read(sql))
}

fn tables_read(sql: &str) -> Result<BTreeSet<String>, SqlError> {
    let statements = parse_as_written(sql)?;
    let [statement] = statements.as_slice() else {
        return Err(SqlError::Count(statements.len()));
    };
    let mut names = BTreeSet::new();
    let _ = visit_relations(statement, |name: &ObjectName| {
        names.insert(name.to_string().replace(['"', '`'], "").to_lowercase());
        ControlFlow::<()>::Continue(())
    });
    for name in ctes_and_functions(sql) {
        names.remove(&name);
    }
    Ok(names)
}

/// Returns the names in FROM that are not tables: those of common table expressions, and of
/// functions like `generate_series`.
fn ctes_and_functions(sql: &str) -> Vec<String> {
    use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visit, Visitor};
    #[derive(Default)]
    struct Names(Vec<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0
                .extend(tables.map(|cte| cte.alias.name.value.to_lowercase()));
            ControlFlow::Continue(())
        }
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table {
                name,
                args: Some(_),
                ..
            } = factor
            {
                self.0.push(name.to_string().to_lowercase());
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names::default();
    if let Ok(statements) = parse_as_written(sql) {
        let _ = statements.visit(&mut names);
    }
    names.0
}

fn normalize_path(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_start_matches("file://");
    known_scheme(path.trim_end_matches('/'))
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner == outer
        || inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('/'))
}
