//! Several INSERTs that read one relation: `FROM s INSERT INTO a SELECT x INSERT INTO b SELECT y`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::text;

/// Returns the statements that such a statement stands for; `None` if it is another one.
///
/// ```text
/// WITH s AS (…) FROM s INSERT INTO a SELECT x INSERT INTO b SELECT y
///   ──▶ WITH s AS (…) INSERT INTO a FROM s SELECT x
///   ──▶ WITH s AS (…) INSERT INTO b FROM s SELECT y
/// ```
pub(super) fn split(tokens: &[Token]) -> Option<Vec<String>> {
    let outside = positions_outside_of_parentheses(tokens);
    let find = |word: &'static str| {
        outside.iter().copied().filter(move |position| {
            matches!(&tokens[*position], Token::Word(found)
                if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        })
    };
    let first = outside
        .iter()
        .find(|position| !matches!(tokens[**position], Token::Whitespace(_)))?;
    let inserts: Vec<usize> = find("INSERT").collect();
    let from = find("FROM").next()?;
    let begins = [find("FROM").next(), find("WITH").next()].contains(&Some(*first));
    let is_before = inserts.first().is_some_and(|insert| from < *insert);
    if !begins || !is_before {
        return None;
    }
    let (with, relation) = (text(&tokens[..from]), text(&tokens[from..inserts[0]]));
    let mut statements = Vec::with_capacity(inserts.len());
    for (n, insert) in inserts.iter().enumerate() {
        let end = inserts.get(n + 1).copied().unwrap_or(tokens.len());
        let select = find("SELECT").find(|select| (*insert..end).contains(select))?;
        let target = text(&tokens[*insert..select]);
        let query = text(&tokens[select..end]);
        let query = query.trim().trim_end_matches(';');
        statements.push(format!("{with} {target} {relation} {query}"));
    }
    Some(statements)
}

fn positions_outside_of_parentheses(tokens: &[Token]) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut outside = Vec::new();
    for (position, token) in tokens.iter().enumerate() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(position),
            _ => {}
        }
    }
    outside
}
