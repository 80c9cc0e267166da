//! YAML text to a [`Manifest`], or every mistake in it with its place.

use std::fmt::Write as _;

use serde_json::Value;
use serde_saphyr::Spanned;

use super::positions::{Node, Position, Positions};
use super::shape::unknown_fields;
use super::{Manifest, json_schema};

/// One mistake in a manifest.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Where it is in the file.
    pub position: Position,
    /// The field, like `spec.steps[1].sql`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to fix it; may be empty.
    pub help: String,
}

/// A manifest that cannot be run. Final: only an edit of the file helps.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.render())]
pub struct ManifestError {
    /// Name of the file.
    pub file: String,
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

impl ManifestError {
    fn render(&self) -> String {
        let mut text = String::new();
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let Position { line, column } = problem.position;
            let _ = write!(text, "{newline}{}:{line}:{column}: ", self.file);
            if !problem.path.is_empty() {
                let _ = write!(text, "{}: ", problem.path);
            }
            text.push_str(&problem.what);
            if !problem.help.is_empty() {
                let _ = write!(text, "\n  help: {}", problem.help);
            }
        }
        text
    }
}

/// Reads a manifest. `file` is only for messages.
///
/// # Errors
/// All unknown fields at once, or the first syntax or type error.
pub(super) fn parse(file: &str, text: &str) -> Result<(Manifest, Positions), ManifestError> {
    let failed = |problems| ManifestError {
        file: file.to_owned(),
        problems,
    };
    let node: Spanned<Node> =
        serde_saphyr::from_str(text).map_err(|e| failed(vec![problem_of(&e)]))?;
    let positions = Positions::collect(&node);
    let schema = serde_json::to_value(json_schema()).unwrap_or(Value::Null);
    let mut unknown = unknown_fields(&node, &schema);
    if !unknown.is_empty() {
        unknown.sort_by_key(|p| (p.position.line, p.position.column));
        return Err(failed(unknown));
    }
    let manifest: Manifest =
        serde_saphyr::from_str(text).map_err(|e| failed(vec![problem_of(&e)]))?;
    Ok((manifest, positions))
}

fn problem_of(error: &serde_saphyr::Error) -> Problem {
    let position = error
        .location()
        .map(|l| Position {
            line: l.line(),
            column: l.column(),
        })
        .unwrap_or_default();
    // The library's message repeats the place and quotes the source in further lines.
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    let what = match first.rfind(" at line ") {
        Some(end) => first[..end].to_owned(),
        None => first.trim_start_matches("error: ").to_owned(),
    };
    Problem {
        position,
        path: String::new(),
        what,
        help: String::new(),
    }
}
