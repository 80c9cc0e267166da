//! Errors for unknown names in SQL, with the nearest known name.
//!
//! DataFusion has no typed errors for these cases, so its messages are parsed. Its own suggestion
//! for a function depends on the order of a hash map.

use std::sync::Arc;

use datafusion::execution::SessionState;
use faisca_planner::manifest::did_you_mean;

use super::existing::unknown_table;
use crate::error::{Error, NameKind};
use crate::services::Services;

/// Replaces DataFusion's error for an unknown table or function by one that suggests the nearest
/// name. Returns any other error unchanged.
pub(super) fn with_nearest_name(
    services: &Arc<Services>,
    state: &SessionState,
    error: Error,
) -> Error {
    let Error::Plan(text) = &error else {
        return error;
    };
    if let Some(name) = quoted_after(text, "table '").filter(|_| text.ends_with("' not found")) {
        return unknown_table(services, name.rsplit('.').next().unwrap_or(name));
    }
    match quoted_after(text, "Invalid function '") {
        Some(name) => unknown_function(state, name),
        None => error,
    }
}

/// Returns the text between `start` and the next quote.
fn quoted_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    Some(text.strip_prefix(start)?.split_once('\'')?.0)
}

/// Returns the error for an unknown function, which suggests the nearest name.
pub(super) fn unknown_function(state: &SessionState, name: &str) -> Error {
    let names = state
        .scalar_functions()
        .keys()
        .chain(state.higher_order_functions().keys())
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys());
    let help = did_you_mean(name, names.map(String::as_str), || {
        "docs/functions.md lists all".to_owned()
    });
    Error::UnknownName {
        kind: NameKind::Function,
        name: name.to_owned(),
        help,
    }
}
