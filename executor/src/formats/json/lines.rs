//! Text to lines, each with one object.

use datafusion::common::{DataFusionError, exec_datafusion_err};

/// Longest line in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A defect of a text, on a line that is counted from 1.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct LineError {
    pub(super) line: u64,
    pub(super) problem: String,
}

impl LineError {
    pub(super) fn with_location(
        &self,
        path: &object_store::path::Path,
        before: u64,
    ) -> DataFusionError {
        exec_datafusion_err!("/{path} line {}: {}", before + self.line, self.problem)
    }
}

/// Splits text into lines, and leaves out empty ones.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// First byte of the next line.
    start: usize,
    /// The buffer up to here has no line break after `start`.
    searched: usize,
    at_end: bool,
    /// Line before `start`, from 1.
    line: u64,
}

impl Lines {
    /// Adds text. To be called when [`Self::next`] has returned `None`.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), LineError> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        if self.searched > LINE_BYTES_MAX {
            return Err(LineError {
                line: self.line + 1,
                problem: format!("a line is longer than {} MiB", LINE_BYTES_MAX >> 20),
            });
        }
        Ok(())
    }

    /// No more text follows.
    pub(super) fn end(&mut self) {
        self.at_end = true;
    }

    /// The next line that is not empty, and its number; `None` if more text is needed, or none is
    /// left.
    pub(super) fn next(&mut self) -> Result<Option<(&str, u64)>, LineError> {
        let (range, line) = loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let (end, next) = match rest.iter().position(|b| *b == b'\n') {
                Some(length) => (self.searched + length, self.searched + length + 1),
                None if self.at_end && self.start < self.buffer.len() => {
                    (self.buffer.len(), self.buffer.len())
                }
                None => {
                    self.searched = self.buffer.len();
                    // An array may be one line of many gigabytes.
                    let beginning = &self.buffer[self.start..];
                    check_beginning(beginning, self.line + 1)?;
                    return Ok(None);
                }
            };
            let range = self.start..end;
            (self.start, self.searched) = (next, next);
            self.line += 1;
            if !self.buffer[range.clone()].trim_ascii().is_empty() {
                break (range, self.line);
            }
        };
        let bytes = &self.buffer[range];
        // Only the first line of a file can begin with a mark, and no object does.
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let text = std::str::from_utf8(bytes.trim_ascii()).map_err(|error| {
            let byte = bytes.trim_ascii().get(error.valid_up_to());
            LineError {
                line,
                problem: format!(
                    "the byte 0x{:02x} is not UTF-8; convert the file to UTF-8",
                    byte.copied().unwrap_or_default()
                ),
            }
        })?;
        check_beginning(bytes, line)?;
        Ok(Some((text, line)))
    }
}

/// Refuses a line that does not begin an object.
fn check_beginning(bytes: &[u8], line: u64) -> Result<(), LineError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let problem = match bytes.trim_ascii_start().first() {
        // An incomplete mark is not yet recognised.
        Some(b'{' | 0xef) | None => return Ok(()),
        Some(b'[') => {
            "this is an array, but each line must have one object; `jq -c '.[]'` writes them so"
        }
        Some(_) => "this is not a JSON object, and each line must have one",
    };
    Err(LineError {
        line,
        problem: problem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_the_chunks_they_come_in() {
        let text = "\u{feff}{\"a\":1}\r\n\n {\"b\":\"ção\"}\n{}";
        for size in [1, 2, 5, 100] {
            let mut lines = Lines::default();
            let mut actual = vec![];
            for chunk in text.as_bytes().chunks(size) {
                lines.push(chunk).unwrap();
                while let Some((text, line)) = lines.next().unwrap() {
                    actual.push(format!("{line}:{text}"));
                }
            }
            lines.end();
            while let Some((text, line)) = lines.next().unwrap() {
                actual.push(format!("{line}:{text}"));
            }
            assert_eq!(actual, ["1:{\"a\":1}", "3:{\"b\":\"ção\"}", "4:{}"]);
        }
    }

    #[test]
    fn lines_without_an_object_are_refused() {
        for (text, problem) in [("\n[{}]\n", "array"), ("\n1\n", "not a JSON object")] {
            let mut lines = Lines::default();
            lines.push(text.as_bytes()).unwrap();
            let error = lines.next().unwrap_err();
            assert!(
                error.line == 2 && error.problem.contains(problem),
                "{error}"
            );
        }
        let mut lines = Lines::default();
        lines.push(b"{\"a\":\"S\xe3o\"}\n").unwrap();
        assert!(lines.next().unwrap_err().problem.contains("0xe3"));
    }
}
