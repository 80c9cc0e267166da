//! Reads a journal while it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::read::{JournalError, RecordedRun};

/// A journal that another thread or process may still write, read as far as it is complete.
#[derive(Debug)]
pub struct JournalTail {
    path: PathBuf,
    /// Bytes of the file that were read.
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    run: Option<RecordedRun>,
}

impl JournalTail {
    /// Starts at the beginning of a file, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            partial: vec![],
            run: None,
        }
    }

    /// Reads what was added since the last call.
    ///
    /// # Errors
    /// If the file cannot be read, is not a journal, has a later format, or is damaged.
    pub fn update(&mut self) -> Result<(), JournalError> {
        let mut file = File::open(&self.path).map_err(JournalError::File)?;
        let length = file.metadata().map_err(JournalError::File)?.len();
        if length < self.offset {
            // Another run has replaced the file.
            self.forget();
        }
        let position = SeekFrom::Start(self.offset);
        file.seek(position).map_err(JournalError::File)?;
        let count = file.read_to_end(&mut self.partial);
        self.offset += count.map_err(JournalError::File)? as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        for row in String::from_utf8_lossy(&complete).lines() {
            match &mut self.run {
                None => self.run = Some(RecordedRun::begin(row)?),
                Some(run) => run.add_row(row)?,
            }
        }
        Ok(())
    }

    /// Returns the run so far; none before its first line is written.
    #[must_use]
    pub fn run(&self) -> Option<&RecordedRun> {
        self.run.as_ref()
    }

    /// Returns the file of the journal.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Frees the memory of what was read. The next update starts at the beginning.
    pub fn forget(&mut self) {
        *self = Self::new(std::mem::take(&mut self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::read;
    use super::*;

    #[test]
    fn a_journal_that_grows_by_parts_of_lines_is_read_as_the_whole_one() {
        let started = r#"{"at_ms":0,"record":"run_started","format":1,"application":"é","build":"1","started_unix_ms":1,"executors":0,"slots":1,"memory_bytes":null,"settings":{}}"#;
        let text = format!(
            "{started}\n{}\n{}\n{}\n",
            r#"{"at_ms":1,"record":"step_started","step":"maçã"}"#,
            r#"{"at_ms":2,"record":"of_a_later_version"}"#,
            r#"{"at_ms":3,"record":"run_finished"}"#
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let mut tail = JournalTail::new(path.clone());
        assert!(tail.update().is_err(), "the file does not exist");
        let mut file = File::create(&path).unwrap();
        for part in text.as_bytes().chunks(7) {
            file.write_all(part).unwrap();
            tail.update().unwrap();
        }
        assert_eq!(tail.run(), Some(&read(&text).unwrap()));
        tail.forget();
        assert_eq!(tail.run(), None);
        tail.update().unwrap();
        assert_eq!(tail.run().unwrap().lines.len(), 2);
    }
}
