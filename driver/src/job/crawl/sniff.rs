//! Infers the delimiter, encoding and quoting of a CSV file from its first bytes.

use faisca_planner::manifest::TextEncoding;

/// Candidates for the delimiter, most common first.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The delimiter, encoding and quoting of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextLook {
    pub(super) delimiter: char,
    pub(super) encoding: TextEncoding,
    /// True if the sample contains a double quote.
    pub(super) quoted: bool,
}

/// Infers the format of a CSV file. The delimiter is the candidate whose minimum count over the
/// first lines is highest, or a comma. Text that is not valid UTF-8 is read as ISO-8859-1.
pub(super) fn look(sample: &[u8]) -> TextLook {
    let valid = match std::str::from_utf8(sample) {
        Ok(_) => true,
        // `None` means that the sample ends within a character, which is valid.
        Err(error) => error.error_len().is_none(),
    };
    let encoding = if valid {
        TextEncoding::Utf8
    } else {
        TextEncoding::Iso8859_1
    };
    // One character for each byte: this cannot fail, and the delimiters are ASCII.
    let text: String = sample.iter().map(|byte| char::from(*byte)).collect();
    let mut lines: Vec<&str> = text.lines().take(20).collect();
    // The sample may end within the last line.
    if lines.len() > 1 {
        lines.pop();
    }
    let least = |delimiter: char| {
        lines
            .iter()
            .map(|line| outside_quotes(line, delimiter))
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
    TextLook {
        delimiter,
        encoding,
        quoted: text.contains('"'),
    }
}

/// Counts the delimiters of a line that are not in quotes.
fn outside_quotes(line: &str, delimiter: char) -> usize {
    let mut quoted = false;
    let mut count = 0;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c == delimiter && !quoted => count += 1,
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
        let summary = look(b"NU;NOME;NOTA\n1;S\xe3o Paulo;3,5\n2;Rio;4,5\n");
        assert_eq!(
            summary,
            TextLook {
                delimiter: ';',
                encoding: TextEncoding::Iso8859_1,
                quoted: false
            }
        );
        let summary = look("a,b\n\"x;y;z\",2\n\"ü\",3\n".as_bytes());
        assert_eq!(
            summary,
            TextLook {
                delimiter: ',',
                encoding: TextEncoding::Utf8,
                quoted: true
            }
        );
        assert_eq!(look(b"a|b|c\n1|2|3\n").delimiter, '|');
        assert_eq!(look(b"a\tb\n1\t2\n").delimiter, '\t');
        assert_eq!(look(b"one\ntwo\n").delimiter, ',');
        assert_eq!(look(&"a,é\n".as_bytes()[..3]).encoding, TextEncoding::Utf8);
    }
}
