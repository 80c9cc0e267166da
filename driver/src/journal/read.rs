//! Reads a journal back.

use super::record::{FORMAT_VERSION, Line, Record, RunStarted};

/// A journal, read.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    /// The settings of the run.
    pub started: RunStarted,
    /// The lines after the first, in the order in which they were recorded.
    pub lines: Vec<Line>,
    /// Number of lines with a record that this version does not know.
    pub unknown: usize,
}

/// Why a text is not a journal that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file begins with something else.
    #[error("not a journal: the first line is not a `run_started` record")]
    NotAJournal,
    /// A later version wrote it, in a format that this one would misread.
    #[error(
        "the journal has format {format}, this version reads up to {FORMAT_VERSION}: read it with the version that wrote it ({build})"
    )]
    Newer {
        /// The format of the journal.
        format: u32,
        /// The version of the engine that wrote it.
        build: String,
    },
    /// A line in the middle is damaged.
    #[error("line {line} of the journal is not valid")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be read.
    #[error("the journal cannot be read")]
    File(#[source] std::io::Error),
}

/// Reads a journal. A last line that is cut short, as after a kill, is left out; so are records of
/// later versions that this one does not know.
///
/// # Errors
/// If the text is not a journal, was written in a later format, or is damaged before its last line.
pub fn read(text: &str) -> Result<RecordedRun, JournalError> {
    let mut rows = text.lines();
    let mut run = RecordedRun::begin(rows.next().unwrap_or_default())?;
    let mut rows = rows.peekable();
    while let Some(row) = rows.next() {
        match run.add_row(row) {
            Err(_) if rows.peek().is_none() => {}
            added => added?,
        }
    }
    Ok(run)
}

impl RecordedRun {
    /// Reads the first line of a journal.
    pub(super) fn begin(row: &str) -> Result<Self, JournalError> {
        let first: Line = serde_json::from_str(row).map_err(|_| JournalError::NotAJournal)?;
        let Record::RunStarted(started) = first.record else {
            return Err(JournalError::NotAJournal);
        };
        if started.format > FORMAT_VERSION {
            let (format, build) = (started.format, started.build);
            return Err(JournalError::Newer { format, build });
        }
        Ok(Self {
            started,
            lines: vec![],
            unknown: 0,
        })
    }

    /// Reads the next line. Fails if it is damaged.
    pub(super) fn add_row(&mut self, row: &str) -> Result<(), JournalError> {
        match serde_json::from_str::<Line>(row) {
            Ok(line) => self.lines.push(line),
            Err(source) => {
                if serde_json::from_str::<Unknown>(row).is_err() {
                    let line = self.lines.len() + self.unknown + 2;
                    return Err(JournalError::Line { line, source });
                }
                self.unknown += 1;
            }
        }
        Ok(())
    }
}

/// What every line has, also one of a later version.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "only the presence of the fields matters")]
struct Unknown {
    at_ms: u64,
    record: String,
}
