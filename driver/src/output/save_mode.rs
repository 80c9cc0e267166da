//! Save modes: what a write does if files or a table exist already.

use std::fmt::Display;

use faisca_planner::manifest::SaveMode;

use crate::error::{Error, Result};

/// Whether a write runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveDecision {
    /// The write runs.
    Write,
    /// The mode is `ignore` and something exists: nothing is written, without an error.
    Skip,
}

/// Decides whether a write runs. `existing` describes what exists, as the beginning of the error:
/// `/out already exists`.
///
/// # Errors
/// Returns an error if something exists and the mode is `errorIfExists`.
pub(super) fn decide(mode: SaveMode, exists: bool, existing: impl Display) -> Result<SaveDecision> {
    match (mode, exists) {
        (SaveMode::ErrorIfExists, true) => Err(Error::AlreadyExists {
            existing: existing.to_string(),
        }),
        (SaveMode::Ignore, true) => Ok(SaveDecision::Skip),
        (SaveMode::Overwrite | SaveMode::Append, _)
        | (SaveMode::ErrorIfExists | SaveMode::Ignore, false) => Ok(SaveDecision::Write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ignore_skips_and_only_error_if_exists_refuses() {
        let decided = |mode, exists| decide(mode, exists, "/out already exists").ok();
        for mode in [
            SaveMode::ErrorIfExists,
            SaveMode::Ignore,
            SaveMode::Overwrite,
            SaveMode::Append,
        ] {
            assert_eq!(decided(mode, false), Some(SaveDecision::Write));
        }
        assert_eq!(decided(SaveMode::Ignore, true), Some(SaveDecision::Skip));
        assert_eq!(
            decided(SaveMode::Overwrite, true),
            Some(SaveDecision::Write)
        );
        assert_eq!(decided(SaveMode::Append, true), Some(SaveDecision::Write));
        assert_eq!(decided(SaveMode::ErrorIfExists, true), None);
    }
}
