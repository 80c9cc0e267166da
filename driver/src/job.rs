//! Runs a manifest: steps as soon as what they read is there, independent ones side by side.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use datafusion::common::DataFusionError;
use faisca_planner::manifest::{Manifest, Positions, Step, StepOrder, Write};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::ObjectStoreExt;

use crate::error::{Error, Result};
use crate::session::Session;
use crate::sql::Outcome;
use crate::write::{WriteSummary, write};

/// What one step came to.
#[derive(Debug, Clone)]
pub struct StepSummary {
    /// The step, or the statement of a script.
    pub name: String,
    /// What it wrote; nothing for a view.
    pub written: Option<WriteSummary>,
    /// From its start to its end.
    pub elapsed: Duration,
}

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
    pub async fn run(&self, session: &Session, mut done: impl FnMut(&StepSummary)) -> Result<Vec<StepSummary>> {
        let spec = &self.manifest.spec;
        self.register_sources(session).await?;
        if let Some(script) = &spec.main_application_file {
            return run_script(session, script, done).await;
        }
        let mut ended = BTreeSet::new();
        let mut started = BTreeSet::new();
        let mut running = FuturesUnordered::new();
        let mut summaries = vec![];
        while ended.len() < spec.steps.len() {
            session.inner.cluster.engine.progress.steps(ended.len(), spec.steps.len());
            for (index, step) in spec.steps.iter().enumerate() {
                if !started.contains(&index) && self.order.reads[index].is_subset(&ended) {
                    started.insert(index);
                    running.push(async move { (index, self.run_step(session, index, step).await) });
                }
            }
            let Some((index, outcome)) = running.next().await else { break };
            let summary = outcome?;
            done(&summary);
            summaries.push(summary);
            ended.insert(index);
        }
        session.inner.cluster.engine.progress.steps(ended.len(), spec.steps.len());
        Ok(summaries)
    }

    /// Makes the sources known, side by side.
    ///
    /// # Errors
    /// Of the first that cannot be read, with its place in the file.
    pub async fn register_sources(&self, session: &Session) -> Result<()> {
        let all = self.manifest.spec.sources.iter().enumerate().map(|(index, source)| async move {
            let registered = session.register_source(source).await;
            registered.map_err(|e| e.at(self.place(&format!("spec.sources[{index}].path"))))
        });
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Plans every step without running it: views and outputs are known by their columns only.
    ///
    /// # Errors
    /// Of the first step that cannot be planned.
    pub async fn explain(&self, session: &Session) -> Result<Vec<(String, String)>> {
        self.register_sources(session).await?;
        let mut drawn = vec![];
        let mut ended = BTreeSet::new();
        while drawn.len() < self.manifest.spec.steps.len() {
            let before = drawn.len();
            for (index, step) in self.manifest.spec.steps.iter().enumerate() {
                if ended.contains(&index) || !self.order.reads[index].is_subset(&ended) {
                    continue;
                }
                let place = || self.place(&format!("spec.steps[{index}].sql"));
                let frame = session.sql(&step.sql).await.map_err(|e| e.at(place()))?;
                drawn.push((step.name.clone(), frame.clone().explain().await.map_err(|e| e.at(place()))?));
                if let Some(catalog) = step.write.as_ref().and_then(|write| write.catalog.as_ref()) {
                    let table = catalog.table_of(&step.name);
                    session.catalogs().expect(catalog.kind, &catalog.database, table, frame.clone().into_inner().into_view());
                }
                frame.create_or_replace_temp_view(&step.name)?;
                ended.insert(index);
            }
            if drawn.len() == before {
                break;
            }
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

    async fn run_step(&self, session: &Session, index: usize, step: &Step) -> Result<StepSummary> {
        let started = Instant::now();
        let place = |field: &str| format!("{}: step `{}`", self.place(&format!("spec.steps[{index}].{field}")), step.name);
        let frame = session.sql(&step.sql).await.map_err(|e| e.at(place("sql")))?;
        let written = match &step.write {
            None => {
                frame.create_or_replace_temp_view(&step.name).map_err(|e| e.at(place("sql")))?;
                None
            }
            Some(target) => {
                let summary = write(&session.inner, frame.into_inner(), target, step.name.clone()).await;
                let summary = summary.map_err(|e| {
                    let field = if matches!(e, Error::Write(_)) { "write" } else { "sql" };
                    e.at(place(field))
                })?;
                if self.order.reads.iter().any(|reads| reads.contains(&index)) {
                    register_output(session, &step.name, target).await.map_err(|e| e.at(place("write")))?;
                }
                Some(summary)
            }
        };
        Ok(StepSummary { name: step.name.clone(), written, elapsed: started.elapsed() })
    }
}

/// Makes a step's output known to the steps that read it.
async fn register_output(session: &Session, name: &str, target: &Write) -> Result<()> {
    match &target.catalog {
        // The folder may hold more than the table.
        Some(catalog) => {
            let frame = session.sql(&format!("SELECT * FROM {}", catalog.full_name(name))).await?;
            frame.create_or_replace_temp_view(name)
        }
        None => session.register_output(name, &target.path, target.format).await,
    }
}

/// Runs a `.sql` script, statement after statement; results of queries are printed.
///
/// # Errors
/// Of the first statement that fails, with its line.
pub async fn run_script(session: &Session, path: &str, mut done: impl FnMut(&StepSummary)) -> Result<Vec<StepSummary>> {
    let text = read_script(session, path).await?;
    let mut summaries = vec![];
    for statement in split(&text).map_err(|e| Error::Plan(format!("{path}: {e}")))? {
        let started = Instant::now();
        let place = format!("{path}:{}", statement.line);
        let written = match session.statement(&statement.sql).await.map_err(|e| e.at(place.clone()))? {
            Outcome::Done(written) => written,
            Outcome::Rows(frame) => {
                frame.show().await.map_err(|e| e.at(place.clone()))?;
                None
            }
        };
        let name = format!("line {}: {}", statement.line, statement.sql.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
        let summary = StepSummary { name, written, elapsed: started.elapsed() };
        done(&summary);
        summaries.push(summary);
    }
    Ok(summaries)
}

/// A script of this machine, or of an object store.
async fn read_script(session: &Session, path: &str) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| Error::Plan(format!("{path}: {error}"));
    let bytes = match url::Url::parse(path) {
        Ok(url) if path.contains("://") => {
            let store = session.object_stores().get(&url)?;
            let at = object_store::path::Path::from_url_path(url.path()).map_err(|e| failed(&e))?;
            let found = store.objects.get(&at).await.map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))).at(path))?;
            found.bytes().await.map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))).at(path))?.to_vec()
        }
        _ => std::fs::read(path).map_err(|e| failed(&e))?,
    };
    String::from_utf8(bytes).map_err(|_| failed(&"not UTF-8 text"))
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement {
    /// Its text, without the semicolon.
    pub sql: String,
    /// Line on which it begins, from 1.
    pub line: usize,
}

/// Cuts a script at its semicolons: those in strings, quotes and comments do not count.
///
/// # Errors
/// If a string or comment never ends.
pub fn split(text: &str) -> std::result::Result<Vec<ScriptStatement>, String> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Whitespace};
    let tokens = Tokenizer::new(&GenericDialect {}, text).with_unescape(false).tokenize_with_location().map_err(|e| e.to_string())?;
    let mut statements = vec![];
    let mut sql = String::new();
    let mut line = None;
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                statements.extend(line.take().map(|line| ScriptStatement { sql: std::mem::take(&mut sql).trim().to_owned(), line }));
                sql.clear();
            }
            Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => sql.push(' '),
            other => {
                if line.is_none() && !matches!(other, Token::Whitespace(_)) {
                    line = usize::try_from(token.span.start.line).ok();
                }
                sql.push_str(&other.to_string());
            }
        }
    }
    statements.extend(line.map(|line| ScriptStatement { sql: sql.trim().to_owned(), line }));
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_semicolons_outside_strings_and_comments() {
        let text = "-- a; b\nSELECT ';' AS x;\n\n/* ; */ INSERT INTO t\nSELECT 1;\n";
        let found: Vec<_> = split(text).unwrap().into_iter().map(|s| (s.line, s.sql)).collect();
        assert_eq!(found, [(2, "SELECT ';' AS x".to_owned()), (4, "INSERT INTO t\nSELECT 1".to_owned())]);
    }
}
