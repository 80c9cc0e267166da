//! Splits a `.sql` script into statements and runs them.

use std::time::Instant;

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::TokenizerError;
use object_store::ObjectStoreExt;

use super::records::{JobRecorder, step_finished, step_started};
use super::summary::StepSummary;
use crate::engine::progress::WriteSummary;
use crate::error::{Error, Result};
use crate::session::{Outcome, Session};

/// Runs a `.sql` script, one statement after another. Prints the first rows of each query. Calls
/// `done` with each summary when the statement ends.
///
/// `path` is a local path or a URL of an object store.
///
/// # Errors
/// Returns an error if the script cannot be read or split, or the error of the first statement that
/// fails, with its line. Effects of earlier statements stay.
pub async fn run_script(
    session: &Session,
    path: &str,
    done: impl FnMut(&StepSummary),
) -> Result<Vec<StepSummary>> {
    let recorder = JobRecorder::new(&session.services.journal);
    let ended = run_statements(session, path, done).await;
    recorder.end(&ended);
    ended
}

/// Does what [`run_script`] does, and records no failure.
pub(super) async fn run_statements(
    session: &Session,
    path: &str,
    mut done: impl FnMut(&StepSummary),
) -> Result<Vec<StepSummary>> {
    let journal = &session.services.journal;
    let text = read_script(session, path).await?;
    let mut summaries = vec![];
    for statement in split(&text).map_err(Error::input(path))? {
        let started = Instant::now();
        let name = statement.name();
        journal.record(step_started(&name));
        let written = run_statement(session, &statement)
            .await
            .map_err(|e| e.at(format!("{path}:{}", statement.line)))?;
        let summary = StepSummary {
            name,
            written,
            elapsed: started.elapsed(),
        };
        journal.record(step_finished(&summary));
        done(&summary);
        summaries.push(summary);
    }
    Ok(summaries)
}

/// Runs a statement, and prints the first rows of a query. Returns what it wrote, if anything.
async fn run_statement(
    session: &Session,
    statement: &ScriptStatement,
) -> Result<Option<WriteSummary>> {
    match session.statement(&statement.sql).await? {
        Outcome::Done(written) => Ok(written),
        Outcome::Rows(frame) => frame.show().await.map(|()| None),
    }
}

/// Reads a script from this machine or from an object store.
///
/// # Errors
/// Returns an error if the file cannot be read, or is not UTF-8.
pub async fn read_script(session: &Session, path: &str) -> Result<String> {
    let bytes = match url::Url::parse(path) {
        Ok(url) if path.contains("://") => {
            let store = session.object_stores().get(&url)?;
            let object_path =
                object_store::path::Path::from_url_path(url.path()).map_err(Error::input(path))?;
            let object = store
                .objects
                .get(&object_path)
                .await
                .map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))).at(path))?;
            object
                .bytes()
                .await
                .map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))).at(path))?
                .to_vec()
        }
        _ => std::fs::read(path).map_err(Error::input(path))?,
    };
    String::from_utf8(bytes).map_err(|_| Error::input(path)("not UTF-8 text"))
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement {
    /// SQL text without the semicolon. Comments are replaced by spaces.
    pub sql: String,
    /// Line on which the statement begins, counted from 1.
    pub line: usize,
}

impl ScriptStatement {
    /// Returns the line and the first words, which name the statement in summaries.
    fn name(&self) -> String {
        let words: Vec<&str> = self.sql.split_whitespace().take(4).collect();
        format!("line {}: {}", self.line, words.join(" "))
    }
}

/// Splits a script into statements at its semicolons. Semicolons in strings, quoted names and
/// comments do not count.
///
/// # Errors
/// Returns an error if a string or comment is not closed.
pub fn split(text: &str) -> Result<Vec<ScriptStatement>, TokenizerError> {
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Whitespace};
    use faisca_spark::dialect::SparkDialect;
    // Escapes stay as written, because the tokens are joined to SQL text again.
    let tokens = Tokenizer::new(&SparkDialect, text)
        .with_unescape(false)
        .tokenize_with_location()?;
    let mut statements = vec![];
    let mut sql = String::new();
    let mut line = None;
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                statements.extend(line.take().map(|line| ScriptStatement {
                    sql: std::mem::take(&mut sql).trim().to_owned(),
                    line,
                }));
                sql.clear();
            }
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
            ) => sql.push(' '),
            other => {
                if line.is_none() && !matches!(other, Token::Whitespace(_)) {
                    line = usize::try_from(token.span.start.line).ok();
                }
                sql.push_str(&other.to_string());
            }
        }
    }
    statements.extend(line.map(|line| ScriptStatement {
        sql: sql.trim().to_owned(),
        line,
    }));
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_at_semicolons_outside_strings_and_comments() {
        let text = "-- a; b\nSELECT ';' AS x;\n\n/* ; */ INSERT INTO t\nSELECT 1;\n";
        let object: Vec<_> = split(text)
            .unwrap()
            .into_iter()
            .map(|s| (s.line, s.sql))
            .collect();
        assert_eq!(
            object,
            [
                (2, "SELECT ';' AS x".to_owned()),
                (4, "INSERT INTO t\nSELECT 1".to_owned())
            ]
        );
    }
}
