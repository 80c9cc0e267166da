//! Cuts SQL into tokens while it is typed: for the end of a statement, colours, and completion.
//!
//! The text may be incomplete. Only the parser decides what a statement means.

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A name in backticks.
    QuotedName,
    Number,
    /// A string.
    Text,
    Semicolon,
    Symbol,
}

/// A part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Position of its first byte.
    pub(super) start: usize,
    /// Whether the quote or comment ends within the text.
    pub(super) is_closed: bool,
}

/// Whether a backslash escapes the character after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Backslash,
    None,
}

impl Token<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// Cuts a text into tokens, which cover it without gaps.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = vec![];
    let mut start = 0;
    while let Some((kind, length, is_closed)) = next_token(&text[start..]) {
        tokens.push(Token {
            kind,
            text: &text[start..start + length],
            start,
            is_closed,
        });
        start += length;
    }
    tokens
}

/// Returns the kind and length of the first token, and whether it is closed; `None` at the end.
fn next_token(rest: &str) -> Option<(Kind, usize, bool)> {
    let mut chars = rest.chars();
    let first = chars.next()?;
    let second = chars.next();
    let run = |accepts: fn(char) -> bool| rest.find(|c| !accepts(c)).unwrap_or(rest.len());
    Some(match (first, second) {
        (c, _) if c.is_whitespace() => (Kind::Space, run(char::is_whitespace), true),
        ('-', Some('-')) => (Kind::Comment, rest.find('\n').unwrap_or(rest.len()), true),
        ('/', Some('*')) => {
            let (length, is_closed) = comment_length(rest);
            (Kind::Comment, length, is_closed)
        }
        ('r' | 'R', Some(quote @ ('\'' | '"'))) => {
            let (length, is_closed) = quoted_length(&rest[1..], quote, Escapes::None);
            (Kind::Text, length + 1, is_closed)
        }
        ('\'' | '"', _) => {
            let (length, is_closed) = quoted_length(rest, first, Escapes::Backslash);
            (Kind::Text, length, is_closed)
        }
        ('`', _) => {
            let (length, is_closed) = quoted_length(rest, '`', Escapes::None);
            (Kind::QuotedName, length, is_closed)
        }
        (c, _) if c.is_ascii_digit() => {
            let length = run(|c| c.is_alphanumeric() || c == '.' || c == '_');
            (Kind::Number, length, true)
        }
        (c, _) if c.is_alphabetic() || c == '_' => {
            (Kind::Word, run(|c| c.is_alphanumeric() || c == '_'), true)
        }
        (';', _) => (Kind::Semicolon, 1, true),
        (c, _) => (Kind::Symbol, c.len_utf8(), true),
    })
}

/// Returns the length of a quoted text, and whether it is closed. A doubled quote needs no rule: it
/// closes one text and opens the next.
fn quoted_length(rest: &str, quote: char, escapes: Escapes) -> (usize, bool) {
    let mut is_escaped = false;
    for (position, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if escapes == Escapes::Backslash => is_escaped = true,
            c if c == quote => return (position + 1, true),
            _ => {}
        }
    }
    (rest.len(), false)
}

/// Returns the length of a comment, which may contain others, and whether it is closed.
fn comment_length(rest: &str) -> (usize, bool) {
    let bytes = rest.as_bytes();
    let (mut depth, mut position) = (0_usize, 0);
    while position + 1 < bytes.len() {
        match &bytes[position..position + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                position += 1;
                continue;
            }
        }
        position += 2;
        if depth == 0 {
            return (position, true);
        }
    }
    (rest.len(), false)
}

/// Returns the tokens without spaces and comments.
pub(super) fn significant(text: &str) -> impl Iterator<Item = Token<'_>> {
    let is_significant = |token: &Token<'_>| !matches!(token.kind, Kind::Space | Kind::Comment);
    tokens(text).into_iter().filter(is_significant)
}

/// Returns true if the text ends with the semicolon of a statement.
pub(super) fn is_complete(text: &str) -> bool {
    // The text after an open comment belongs to the comment.
    tokens(text).last().is_some_and(|token| token.is_closed)
        && significant(text)
            .last()
            .is_some_and(|token| token.kind == Kind::Semicolon)
}

/// Returns true if the text contains only spaces and closed comments.
pub(super) fn is_blank(text: &str) -> bool {
    let tokens = tokens(text);
    let is_space = |token: &Token<'_>| matches!(token.kind, Kind::Space | Kind::Comment);
    tokens
        .iter()
        .all(|token| is_space(token) && token.is_closed)
}

/// Returns true if the statement is an EXPLAIN.
pub(super) fn is_explain(statement: &str) -> bool {
    significant(statement)
        .next()
        .is_some_and(|token| token.is_word("explain"))
}

#[cfg(test)]
mod tests {
    use faisca_driver::job::split;

    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_outside_of_quotes_and_comments() {
        for complete in [
            "SELECT 1;",
            "SELECT 1; -- the end",
            "SELECT 1 /* a /* nested */ one */;\n",
            "SELECT ';', \"it's\", 'it''s', 'it\\'s', `a;b`;",
            "SELECT r'\\';",
            "SELECT 1;;",
        ] {
            assert!(is_complete(complete), "{complete}");
        }
        for incomplete in [
            "",
            "SELECT 1",
            "SELECT ';",
            "SELECT 'a\\';",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "SELECT 1; /* more",
            "SELECT 1; SELECT 2",
            "SELECT `a;",
        ] {
            assert!(!is_complete(incomplete), "{incomplete}");
        }
    }

    #[test]
    fn statements_end_where_scripts_are_split() {
        for text in [
            "SELECT 'a;b'; SELECT 2;",
            "SELECT /* ; */ 1 -- ;\n;",
            "SELECT r'\\'; SELECT 2;",
        ] {
            let semicolons = tokens(text)
                .into_iter()
                .filter(|t| t.kind == Kind::Semicolon);
            assert_eq!(semicolons.count(), split(text).unwrap().len(), "{text}");
        }
    }

    #[test]
    fn tokens_cover_the_text() {
        let text = "sélect 1.5e3, `ä`'x' /* é */ <= ;";
        let joined: String = tokens(text).iter().map(|token| token.text).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn comments_may_precede_an_explain() {
        assert!(is_explain("-- plan\nexplain SELECT 1"));
        assert!(!is_explain("SELECT 1 AS explain"));
        assert!(is_blank(" -- nothing\n/* here */") && is_blank(""));
        assert!(!is_blank("1") && !is_blank("/* open"));
    }
}
