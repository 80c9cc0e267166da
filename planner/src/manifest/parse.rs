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
    // The library's message repeats the position, and quotes the source in further lines.
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    let message = match first.rfind(" at line ") {
        Some(end) => first[..end].to_owned(),
        None => first.trim_start_matches("error: ").to_owned(),
    };
    Problem {
        position,
        path: String::new(),
        message,
        help: String::new(),
    }
}
