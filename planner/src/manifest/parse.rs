//! Parses YAML text into a [`Manifest`], or returns every mistake in it with its position.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::error::{ManifestError, Problem};
use super::positions::{Node, Position, Positions};
use super::unknown_fields::unknown_fields;
use super::{Manifest, json_schema};

/// Parses a manifest. `file` is its name in messages.
///
/// # Errors
/// All unknown fields at once, or the first syntax or type error.
pub(super) fn parse(file: &str, text: &str) -> Result<(Manifest, Positions), ManifestError> {
    let manifest_error = |problems| ManifestError {
        file: file.to_owned(),
        problems,
    };
    let node: Spanned<Node> =
        serde_saphyr::from_str(text).map_err(|e| manifest_error(vec![problem_of(&e)]))?;
    let positions = Positions::collect(&node);
    let schema = serde_json::to_value(json_schema()).unwrap_or(Value::Null);
    let mut unknown = unknown_fields(&node, &schema);
    if !unknown.is_empty() {
        unknown.sort_by_key(|p| p.position);
        return Err(manifest_error(unknown));
    }
    let manifest: Manifest = serde_saphyr::from_str(text)
        .map_err(|e| manifest_error(vec![with_field(&positions, problem_of(&e))]))?;
    Ok((manifest, positions))
}

/// Adds the field to a problem with a value.
fn with_field(positions: &Positions, problem: Problem) -> Problem {
    const VALUE_MESSAGES: [&str; 3] = ["expected one character", "invalid", "unknown variant"];
    // Other mistakes, such as a missing field, are not at the field that they concern.
    if !VALUE_MESSAGES
        .iter()
        .any(|kind| problem.message.starts_with(kind))
    {
        return problem;
    }
    Problem {
        path: problem
            .position
            .and_then(|position| positions.field_at(position))
            .unwrap_or_default()
            .to_owned(),
        ..problem
    }
}

fn problem_of(error: &serde_saphyr::Error) -> Problem {
    let position = error.location().map(|l| Position {
        line: l.line(),
        column: l.column(),
    });
    // The library's message repeats the position, and quotes the source in further lines.
    let text = error.to_string();
    let first_line = text.lines().next().unwrap_or_default();
    let first_line = first_line.trim_start_matches("error: ");
    let first_line = match position {
        Some(Position { line, column }) => {
            first_line.trim_start_matches(&format!("line {line} column {column}: "))
        }
        None => first_line,
    };
    let message = match first_line.rfind(" at line ") {
        Some(end) => &first_line[..end],
        None => first_line,
    };
    let message = match message.strip_prefix("invalid char: ") {
        Some(_) => "expected one character, in quotes".to_owned(),
        None => message.to_owned(),
    };
    Problem {
        position,
        path: String::new(),
        message,
        help: None,
    }
}
