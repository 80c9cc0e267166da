//! Rewrites lists of values: `VALUES 1, 2` has rows of one column, and an alias after a list makes
//! it a table.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::{is_space, keyword, space, word};

/// Puts parentheses around the rows of a `VALUES` list that have none, and `SELECT * FROM` before a
/// list that has an alias where the parser expects a query.
pub(super) fn parenthesize(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| keyword(token) == Keyword::VALUES) {
        return tokens;
    }
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    let mut position = 0;
    while position < tokens.len() {
        if keyword(&tokens[position]) != Keyword::VALUES || is_part_of_name(&result) {
            result.push(tokens[position].clone());
            position += 1;
            continue;
        }
        let (rows, end) = split_rows(&tokens, position + 1);
        let span = tokens[position].span;
        if starts_query(&result) && has_alias(&tokens[end..]) {
            for text in ["SELECT", "*", "FROM"] {
                result.push(match text {
                    "*" => TokenWithSpan::new(Token::Mul, span),
                    text => word(text, span),
                });
                result.push(space(span));
            }
        }
        result.push(tokens[position].clone());
        result.push(space(span));
        for (n, row) in rows.into_iter().enumerate() {
            if n > 0 {
                result.push(TokenWithSpan::new(Token::Comma, span));
            }
            let needs_parentheses = !is_parenthesized(row);
            result.extend(needs_parentheses.then(|| TokenWithSpan::new(Token::LParen, span)));
            result.extend_from_slice(row);
            result.extend(needs_parentheses.then(|| TokenWithSpan::new(Token::RParen, span)));
        }
        result.push(space(span));
        position = end;
    }
    result
}

/// Is a `VALUES` after these tokens a part of a name, such as `t.values`?
fn is_part_of_name(before: &[TokenWithSpan]) -> bool {
    last_token(before).is_some_and(|token| matches!(token.token, Token::Period))
}

/// Is a `VALUES` after these tokens a query of its own, rather than a table or the rows of an
/// INSERT?
fn starts_query(before: &[TokenWithSpan]) -> bool {
    match last_token(before) {
        None => true,
        Some(token) => match &token.token {
            Token::LParen => before
                .iter()
                .rev()
                .filter(|token| !is_space(token))
                .nth(1)
                .is_none_or(|token| keyword(token) != Keyword::FROM),
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::AS
                    | Keyword::UNION
                    | Keyword::ALL
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
                    | Keyword::DISTINCT
                    | Keyword::EXPLAIN
            ),
            _ => false,
        },
    }
}

/// Returns the rows of a list that starts at `start`, and the position after it.
fn split_rows(tokens: &[TokenWithSpan], start: usize) -> (Vec<&[TokenWithSpan]>, usize) {
    let (mut rows, mut row_start, mut depth) = (Vec::new(), start, 0_usize);
    let mut end = tokens.len();
    for (position, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace if depth > 0 => depth -= 1,
            Token::RParen | Token::SemiColon | Token::EOF => {
                end = position;
                break;
            }
            Token::Comma if depth == 0 => {
                rows.push(&tokens[row_start..position]);
                row_start = position + 1;
            }
            Token::Word(_) if depth == 0 && ends_list(tokens, row_start, position) => {
                end = position;
                break;
            }
            _ => {}
        }
    }
    rows.push(&tokens[row_start..end]);
    (rows, end)
}

/// Does the word at `position` end a list, rather than belong to its last row?
fn ends_list(tokens: &[TokenWithSpan], row_start: usize, position: usize) -> bool {
    let row = &tokens[row_start..position];
    // After a row in parentheses only an alias or another clause can follow.
    if is_parenthesized(row) {
        return true;
    }
    matches!(
        keyword(&tokens[position]),
        Keyword::AS
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::MINUS
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::WINDOW
            | Keyword::QUALIFY
            | Keyword::JOIN
            | Keyword::CROSS
            | Keyword::INNER
            | Keyword::LATERAL
            | Keyword::NATURAL
    ) && !row.iter().all(is_space)
}

/// Is the row one pair of parentheses from its start to its end?
fn is_parenthesized(row: &[TokenWithSpan]) -> bool {
    let mut tokens = row.iter().filter(|token| !is_space(token)).peekable();
    if !matches!(tokens.peek().map(|token| &token.token), Some(Token::LParen)) {
        return false;
    }
    let mut depth = 0_usize;
    while let Some(token) = tokens.next() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return tokens.peek().is_none();
        }
    }
    false
}

fn last_token(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    tokens.iter().rev().find(|token| !is_space(token))
}

/// Does `AS t`, or a name, follow a list?
fn has_alias(rest: &[TokenWithSpan]) -> bool {
    rest.iter()
        .find(|token| !is_space(token))
        .is_some_and(|token| match &token.token {
            Token::Word(word) => matches!(word.keyword, Keyword::AS | Keyword::NoKeyword),
            _ => false,
        })
}
