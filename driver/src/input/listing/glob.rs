//! Patterns in paths, as in Hadoop: `*` and `?` match within one name, `**` matches across names,
//! and `{a,b}` matches `a` or `b`.

use datafusion::common::DataFusionError;
use glob::{MatchOptions, Pattern};

/// Maximum number of patterns without braces that a pattern expands to.
const ALTERNATIVES_MAX: usize = 1000;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A pattern for names below a folder, expanded to alternatives: one of them must match.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<Pattern>);

impl Glob {
    /// Splits a path into the folder before its first name with a pattern, and the pattern. Returns
    /// `None` if the path has no pattern.
    ///
    /// # Errors
    /// Returns an error for a malformed pattern.
    pub(super) fn split(path: &str) -> Result<Option<(&str, Self)>, DataFusionError> {
        let Some(first) = path.find(['*', '?', '[', '{']) else {
            return Ok(None);
        };
        let cut = path[..first].rfind('/').map_or(0, |slash| slash + 1);
        let (folder, pattern) = path.split_at(cut);
        let invalid = |e: &dyn std::fmt::Display| {
            DataFusionError::Plan(format!("the pattern `{pattern}`: {e}"))
        };
        let mut patterns = vec![];
        let mut pending = vec![pattern.trim_end_matches('/').to_owned()];
        while let Some(text) = pending.pop() {
            match expand_braces(&text) {
                Some(texts) => pending.extend(texts),
                None => patterns.push(Pattern::new(&text).map_err(|e| invalid(&e))?),
            }
            if pending.len() + patterns.len() > ALTERNATIVES_MAX {
                return Err(invalid(&"it has too many alternatives"));
            }
        }
        Ok(Some((folder, Self(patterns))))
    }

    /// Returns true if a path relative to the folder matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.matches_with(path, OPTIONS))
    }
}

/// Expands the first innermost `{a,b}` of a pattern; `None` if there is none.
fn expand_braces(text: &str) -> Option<Vec<String>> {
    let end = text.find('}')?;
    let start = text[..end].rfind('{')?;
    let (before, after) = (&text[..start], &text[end + 1..]);
    let alternatives = text[start + 1..end].split(',');
    Some(
        alternatives
            .map(|alternative| format!("{before}{alternative}{after}"))
            .collect(),
    )
}
