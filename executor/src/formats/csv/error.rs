//! What is wrong with a text, and on which line of it.

/// A defect of a CSV text. Its reader adds the file and the lines before the text.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct CsvError {
    /// From 1, counted from the start of the text that was read.
    pub(super) line: u64,
    pub(super) problem: String,
    /// What a user can do about it.
    pub(super) advice: &'static str,
}

const ADVICE: &str =
    "Check delimiter, quote and schema, or set onMalformedRow to `drop` or `nulls`";

impl CsvError {
    pub(super) fn new(line: u64, problem: String) -> Self {
        Self {
            line,
            problem,
            advice: ADVICE,
        }
    }

    /// `rest` begins with the bytes that are not UTF-8.
    pub(super) fn encoding(line: u64, rest: &[u8]) -> Self {
        let first = rest.first().copied().unwrap_or_default();
        Self {
            line,
            problem: format!("the byte 0x{first:02x} is not UTF-8"),
            advice: match first {
                0xfe | 0xff => "The file looks like UTF-16: convert it to UTF-8",
                _ => "Set encoding, say to `iso-8859-1` or `windows-1252`",
            },
        }
    }

    pub(super) fn unclosed(line: u64, multi_line: bool) -> Self {
        let (problem, advice) = if multi_line {
            ("a quote is never closed", ADVICE)
        } else {
            (
                "a quote is not closed on its line",
                "Set multiLine if values have line breaks, or quote if `\"` is an ordinary character here",
            )
        };
        Self {
            line,
            problem: problem.to_owned(),
            advice,
        }
    }

    pub(super) fn width(line: u64, expected: usize, actual: usize) -> Self {
        Self::new(
            line,
            format!("the number of values is {actual}, expected {expected}"),
        )
    }
}
