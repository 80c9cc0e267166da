//! The tokens of a statement, read from the left, each with its text as written.

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::dialect::{SparkDialect, unescape};

/// A position in a statement.
pub(super) struct Cursor {
    tokens: Vec<Token>,
    position: usize,
}

impl Cursor {
    /// Starts before the first token.
    ///
    /// # Errors
    /// If a string or comment is not closed.
    pub(super) fn new(sql: &str) -> Result<Self> {
        // Escapes stay as written, because parts of the tokens become SQL text again.
        let tokens = Tokenizer::new(&SparkDialect, sql)
            .with_unescape(false)
            .tokenize()
            .map_err(|e| DataFusionError::SQL(Box::new(ParserError::from(e)), None))?;
        Ok(Self {
            tokens,
            position: 0,
        })
    }

    /// Returns all tokens of the statement.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Skips these words and returns true, or returns false and skips nothing.
    pub(super) fn take_words(&mut self, words: &[&str]) -> bool {
        let start = self.position;
        let all = words.iter().all(|expected| {
            let token = self.take();
            matches!(token, Some(Token::Word(word)) if word.value.eq_ignore_ascii_case(expected))
        });
        if !all {
            self.position = start;
        }
        all
    }

    /// Skips one of these words and returns true, or returns false and skips nothing.
    pub(super) fn take_one_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take_words(&[word]))
    }

    /// Returns true if this word is next.
    pub(super) fn is_word(&mut self, word: &str) -> bool {
        let start = self.position;
        let is_next = self.take_words(&[word]);
        self.position = start;
        is_next
    }

    /// Returns true if this token is next.
    pub(super) fn is_token(&mut self, expected: &Token) -> bool {
        let start = self.position;
        let is_next = self.take_token(expected);
        self.position = start;
        is_next
    }

    /// Goes back to the first token.
    pub(super) fn restart(&mut self) {
        self.position = 0;
    }

    /// Checks that nothing but a semicolon is left of a statement.
    ///
    /// # Errors
    /// If something is left.
    pub(super) fn expect_end(&mut self, statement: &str) -> Result<()> {
        match self.is_at_end() {
            true => Ok(()),
            false => plan_err!("{statement}: unexpected {}", self.next_shown()),
        }
    }

    /// Skips this token and returns true, or returns false and skips nothing.
    pub(super) fn take_token(&mut self, expected: &Token) -> bool {
        let start = self.position;
        let is_next = self.take().is_some_and(|token| token == *expected);
        if !is_next {
            self.position = start;
        }
        is_next
    }

    /// Reads a name of one or more parts, without its quotes.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn name(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.identifier()?];
        while self.take_token(&Token::Period) {
            parts.push(self.identifier()?);
        }
        Ok(parts)
    }

    fn identifier(&mut self) -> Result<String> {
        match self.take() {
            Some(Token::Word(word)) => Ok(word.value.replace("``", "`")),
            other => plan_err!("expected a name, not {}", describe_token(other.as_ref())),
        }
    }

    /// Reads names in parentheses, with commas between them.
    ///
    /// # Errors
    /// If something else is there.
    pub(super) fn names_in_parentheses(&mut self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut is_open = self.take_token(&Token::LParen);
        while is_open {
            names.push(self.identifier()?);
            is_open = self.take_token(&Token::Comma);
        }
        match self.take_token(&Token::RParen) {
            true => Ok(names),
            false => plan_err!("expected a list of names, not {}", self.next_shown()),
        }
    }

    /// Returns true if a query is next, which may be in parentheses.
    pub(super) fn begins_query(&mut self) -> bool {
        let start = self.position;
        while self.take_token(&Token::LParen) {}
        let begins = self.take_one_of(&["SELECT", "WITH", "FROM", "VALUES", "TABLE"]);
        self.position = start;
        begins
    }

    /// Reads a string or another single value.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn value(&mut self) -> Result<String> {
        if let Some(text) = self.text() {
            return Ok(text);
        }
        match self.take() {
            Some(token @ (Token::Word(_) | Token::Number(..))) => Ok(token.to_string()),
            other => plan_err!("expected a value, not {}", describe_token(other.as_ref())),
        }
    }

    /// Reads a string; `None` if something else is next.
    pub(super) fn text(&mut self) -> Option<String> {
        let start = self.position;
        match self.take() {
            Some(Token::SingleQuotedString(text)) => Some(unescape(&text, '\'')),
            Some(Token::DoubleQuotedString(text)) => Some(unescape(&text, '"')),
            _ => {
                self.position = start;
                None
            }
        }
    }

    /// Reads what is between a pair of parentheses; `None` if no parenthesis is next.
    ///
    /// # Errors
    /// If it is not closed.
    pub(super) fn take_parenthesized(&mut self) -> Result<Option<String>> {
        if !self.take_token(&Token::LParen) {
            return Ok(None);
        }
        let start = self.position;
        let mut depth = 1_usize;
        for (position, token) in self.tokens.iter().enumerate().skip(start) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.position = position + 1;
                return Ok(Some(text(&self.tokens[start..position])));
            }
        }
        plan_err!("a parenthesis is not closed")
    }

    /// Takes the text up to the first matching token outside of parentheses, or to the end.
    pub(super) fn take_until(&mut self, is_end: impl Fn(&Token) -> bool) -> String {
        let start = self.position;
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.position) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::SemiColon | Token::EOF if depth == 0 => break,
                token if depth == 0 && is_end(token) => break,
                _ => {}
            }
            self.position += 1;
        }
        text(&self.tokens[start..self.position]).trim().to_owned()
    }

    /// Skips what is left of an item of a list, and the comma after it.
    pub(super) fn skip_to_comma(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.take() {
            match token {
                Token::LParen | Token::Lt => depth += 1,
                Token::RParen | Token::Gt => depth = depth.saturating_sub(1),
                Token::ShiftRight => depth = depth.saturating_sub(2),
                Token::Comma if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// The text that is left, without a semicolon at its end.
    pub(super) fn rest(&mut self) -> String {
        let rest = text(&self.tokens[self.position..]);
        self.position = self.tokens.len();
        rest.trim().trim_end_matches(';').trim().to_owned()
    }

    /// Returns true if nothing but a semicolon is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        let start = self.position;
        let is_end = matches!(self.take(), None | Some(Token::SemiColon | Token::EOF));
        self.position = start;
        is_end
    }

    /// The next token as text, for an error.
    pub(super) fn next_shown(&mut self) -> String {
        let start = self.position;
        let next = describe_token(self.take().as_ref());
        self.position = start;
        next
    }

    fn take(&mut self) -> Option<Token> {
        while let Some(token) = self.tokens.get(self.position) {
            self.position += 1;
            if !matches!(token, Token::Whitespace(_)) {
                return Some(token.clone());
            }
        }
        None
    }
}

/// Returns the text of tokens, as it was written.
pub(super) fn text(tokens: &[Token]) -> String {
    tokens.iter().map(Token::to_string).collect()
}

fn describe_token(token: Option<&Token>) -> String {
    token.map_or_else(|| "the end".to_owned(), |token| format!("`{token}`"))
}
