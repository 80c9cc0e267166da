//! Lists of tokens, which the rewrites before the parser split and build.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::tokens::{is_space, keyword, space, word};

/// Splits at tokens outside of parentheses.
pub(super) fn split(
    tokens: &[TokenWithSpan],
    is_separator: impl Fn(&TokenWithSpan) -> bool,
) -> Vec<&[TokenWithSpan]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (position, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_separator(token) => {
                parts.push(&tokens[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// Returns the position of a keyword outside of parentheses.
pub(super) fn position_of(tokens: &[TokenWithSpan], expected: Keyword) -> Option<usize> {
    let first = split(tokens, |token| keyword(token) == expected)[0].len();
    (first < tokens.len()).then_some(first)
}

/// Removes spaces and comments at both ends.
pub(super) fn trim(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let is_word = |token: &TokenWithSpan| !is_space(token);
    match (
        tokens.iter().position(is_word),
        tokens.iter().rposition(is_word),
    ) {
        (Some(start), Some(end)) => &tokens[start..=end],
        _ => &[],
    }
}

/// Returns words and signs as tokens at a position, with spaces between them.
pub(super) fn tokens_at(span: Span, texts: &[&str]) -> Vec<TokenWithSpan> {
    let mut tokens = vec![space(span)];
    for text in texts {
        tokens.push(match *text {
            "*" => TokenWithSpan::new(Token::Mul, span),
            "," => TokenWithSpan::new(Token::Comma, span),
            text => word(text, span),
        });
        tokens.push(space(span));
    }
    tokens
}
