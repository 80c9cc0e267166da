//! Mistakes in a manifest, with their position and a way to fix them.

use std::fmt::Write as _;

use super::positions::Position;

/// One mistake in a manifest.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Where it is in the file. `None` if the manifest is not from a file.
    pub position: Option<Position>,
    /// The field, like `spec.steps[1].sql`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it, if the message does not say so.
    pub help: Option<String>,
}

/// A manifest that cannot run until its file is changed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.render())]
pub struct ManifestError {
    /// The name of the file.
    pub file: String,
    /// The mistakes, in the order of the file.
    pub problems: Vec<Problem>,
}

impl ManifestError {
    fn render(&self) -> String {
        let mut text = String::new();
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            let _ = write!(text, "{newline}{}:", self.file);
            if let Some(Position { line, column }) = problem.position {
                let _ = write!(text, "{line}:{column}:");
            }
            text.push(' ');
            if !problem.path.is_empty() {
                let _ = write!(text, "{}: ", problem.path);
            }
            text.push_str(&problem.message);
            if let Some(help) = &problem.help {
                let _ = write!(text, "\n  help: {help}");
            }
        }
        text
    }
}
