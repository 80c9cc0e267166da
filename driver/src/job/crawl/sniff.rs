//! Infers the delimiter, encoding and quoting of a CSV file from its first bytes.

use faisca_planner::manifest::TextEncoding;

/// Candidates for the delimiter, most common first.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Lines of the sample that are compared.
const SAMPLE_LINES: usize = 20;

/// The delimiter, encoding and quoting of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SniffedText {
    pub(super) delimiter: char,
    pub(super) encoding: TextEncoding,
    /// True if the sample contains a double quote.
    pub(super) has_quotes: bool,
}

/// Infers the format of a CSV file. The delimiter is the candidate whose minimum count over the
/// first lines is highest, or a comma. Text that is not valid UTF-8 is read as ISO-8859-1.
pub(super) fn sniff(sample: &[u8]) -> SniffedText {
    let is_utf8 = match std::str::from_utf8(sample) {
        Ok(_) => true,
        // `None` means that the sample ends within a character, which is valid.
        Err(error) => error.error_len().is_none(),
    };
    let encoding = if is_utf8 {
        TextEncoding::Utf8
    } else {
        TextEncoding::Iso8859_1
    };
    // One character for each byte: this cannot fail, and the delimiters are ASCII.
    let text: String = sample.iter().map(|byte| char::from(*byte)).collect();
    let mut lines: Vec<&str> = text.lines().take(SAMPLE_LINES).collect();
    // The sample may end within the last line.
    if lines.len() > 1 {
        lines.pop();
    }
    let least = |delimiter: char| {
        lines
            .iter()
            .map(|line| count_outside_quotes(line, delimiter))
            .min()
            .unwrap_or_default()
    };
    let delimiter = DELIMITERS
        .into_iter()
        .max_by_key(|delimiter| (least(*delimiter), std::cmp::Reverse(*delimiter == '|')))
        .unwrap_or(',');
    let delimiter = if least(delimiter) == 0 {
        ','
    } else {
        delimiter
    };
    SniffedText {
        delimiter,
        encoding,
        has_quotes: text.contains('"'),
    }
}

/// Counts the delimiters of a line that are not in quotes.
fn count_outside_quotes(line: &str, delimiter: char) -> usize {
    let mut is_quoted = false;
    let mut count = 0;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c == delimiter && !is_quoted => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiter_encoding_and_quotes_are_seen() {
        let sniffed = sniff(b"NU;NOME;NOTA\n1;S\xe3o Paulo;3,5\n2;Rio;4,5\n");
        assert_eq!(
            sniffed,
            SniffedText {
                delimiter: ';',
                encoding: TextEncoding::Iso8859_1,
                has_quotes: false
            }
        );
        let sniffed = sniff("a,b\n\"x;y;z\",2\n\"ü\",3\n".as_bytes());
        assert_eq!(
            sniffed,
            SniffedText {
                delimiter: ',',
                encoding: TextEncoding::Utf8,
                has_quotes: true
            }
        );
        assert_eq!(sniff(b"a|b|c\n1|2|3\n").delimiter, '|');
        assert_eq!(sniff(b"a\tb\n1\t2\n").delimiter, '\t');
        assert_eq!(sniff(b"one\ntwo\n").delimiter, ',');
        assert_eq!(sniff(&"a,é\n".as_bytes()[..3]).encoding, TextEncoding::Utf8);
    }
}
