//! Splits text into tokens, with Spark's literals and lists of values in the syntax that the parser
//! reads.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Span, Token, TokenWithSpan, Tokenizer, TokenizerError,
};

use super::literals::DoubledQuote;
use super::syntax::SparkDialect;
use super::{literals, pipes, pivots, values};
use crate::legacy::Legacy;

/// Splits a statement into tokens that [`SparkDialect`]'s parser reads.
///
/// Every token keeps its position in `sql`, which the parser's errors report.
///
/// # Errors
/// If a quote is not closed, a number has an unknown suffix, or a pipe an unknown operator.
pub fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    tokenize_with(sql, &Legacy::default())
}

/// Splits a statement into tokens, with the meanings of earlier versions that a session asks for.
///
/// # Errors
/// As [`tokenize`].
pub fn tokenize_with(sql: &str, legacy: &Legacy) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    // The tokenizer does not know all of Spark's escapes.
    let mut tokens = Tokenizer::new(&SparkDialect, sql)
        .with_unescape(false)
        .tokenize_with_location()?;
    let doubled = match legacy.consecutive_string_literals {
        true => DoubledQuote::EndsText,
        false => DoubledQuote::IsQuote,
    };
    tokens.iter_mut().for_each(|token| unescape(token, doubled));
    rename_timestamp_types(&mut tokens);
    read_fields_as_names(&mut tokens);
    let tokens = literals::type_numbers(literals::join_hexadecimals(tokens))?;
    Ok(values::parenthesize(pivots::prepare(pipes::expand(
        tokens,
    )?)))
}

/// Changes quoted names, and names with letters beyond ASCII, to lower case. DataFusion does so for
/// all others.
pub fn lower_names(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        if let Token::Word(word) = &mut token.token
            && (word.quote_style.is_some() || !word.value.is_ascii())
        {
            word.value = word.value.to_lowercase();
        }
    }
}

fn unescape(token: &mut TokenWithSpan, doubled: DoubledQuote) {
    token.token = match std::mem::replace(&mut token.token, Token::EOF) {
        Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) => {
            Token::SingleQuotedString(literals::unescape_with(&text, '\'', doubled))
        }
        Token::DoubleQuotedString(text) => {
            Token::SingleQuotedString(literals::unescape_with(&text, '"', doubled))
        }
        Token::SingleQuotedRawStringLiteral(text) | Token::DoubleQuotedRawStringLiteral(text) => {
            Token::SingleQuotedString(text)
        }
        Token::Word(mut word) if word.quote_style.is_some() => {
            word.value = word.value.replace("``", "`");
            Token::Word(word)
        }
        other => other,
    };
}

/// Writes `timestamp_ltz'…'` as the literal that the parser knows.
fn rename_timestamp_types(tokens: &mut [TokenWithSpan]) {
    let mut next_is_text = false;
    for token in tokens.iter_mut().rev() {
        if let Token::Word(word) = &token.token
            && next_is_text
            && word.value.eq_ignore_ascii_case("timestamp_ltz")
        {
            token.token = Token::make_word("TIMESTAMP", None);
        }
        if !is_space(token) {
            next_is_text = matches!(token.token, Token::SingleQuotedString(_));
        }
    }
}

/// Makes words after a point names: in `s.user`, `user` is a field, not the function without
/// parentheses.
fn read_fields_as_names(tokens: &mut [TokenWithSpan]) {
    let mut is_after_point = false;
    for token in tokens {
        if let Token::Word(word) = &mut token.token
            && is_after_point
        {
            word.keyword = Keyword::NoKeyword;
        }
        is_after_point = token.token == Token::Period;
    }
}

pub(super) fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

pub(super) fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Returns a keyword or name that a rewrite inserts at the position of the token to which it
/// belongs.
pub(super) fn word(text: &str, span: Span) -> TokenWithSpan {
    TokenWithSpan::new(Token::make_word(text, None), span)
}

pub(super) fn space(span: Span) -> TokenWithSpan {
    use datafusion::sql::sqlparser::tokenizer::Whitespace;
    TokenWithSpan::new(Token::Whitespace(Whitespace::Space), span)
}
