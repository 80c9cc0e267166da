//! Mistakes in a manifest, with their position and a way to fix them.

use std::fmt::Write as _;

use super::positions::Position;

/// One mistake in a manifest.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Where it is in the file.
    pub position: Position,
    /// The field, like `spec.steps[1].sql`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it; may be empty.
    pub help: String,
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
            let Position { line, column } = problem.position;
            let _ = write!(text, "{newline}{}:{line}:{column}: ", self.file);
            if !problem.path.is_empty() {
                let _ = write!(text, "{}: ", problem.path);
            }
            text.push_str(&problem.message);
            if !problem.help.is_empty() {
                let _ = write!(text, "\n  help: {}", problem.help);
            }
        }
        text
    }
}
