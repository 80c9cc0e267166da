//! Rewrites pipes, such as `FROM t |> WHERE a > 1 |> SELECT a`, as a query. It is nested where a
//! query cannot hold the next operator.
//!
//! ```text
//! TABLE t |> WHERE a > 1 |> AGGREGATE sum(b) AS s GROUP BY a
//!   ──▶ SELECT a, sum(b) AS s FROM t WHERE (a > 1) GROUP BY a
//! ```
//!
//! The same pass writes `TABLE t`, and a query that begins with `FROM` and has no `SELECT`, as
//! `SELECT * FROM t`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, TokenizerError};

use super::token_lists::{position_of, split, tokens_at, trim};
use super::tokens::{is_space, keyword, space};

/// Rewrites pipes and short queries at every depth of parentheses.
///
/// Tokens of groups that need no rewrite stay where they are, so that time and memory grow with the
/// text, however deep it nests.
///
/// # Errors
/// If an operator after `|>` is unknown.
pub(super) fn expand(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    if !tokens.iter().any(begins_or_continues_query) {
        return Ok(tokens);
    }
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut open = vec![];
    let mut group = Group {
        start: 0,
        can_be_query: true,
        needs_rewrite: false,
    };
    for token in tokens {
        match token.token {
            Token::LParen => {
                // The arguments of `trim(FROM x)` and other calls are not queries.
                let can_be_query = !result.last().is_some_and(may_name_function);
                result.push(token);
                open.push(group);
                group = Group {
                    start: result.len(),
                    can_be_query,
                    needs_rewrite: false,
                };
            }
            Token::RParen => {
                if let Some(outer) = open.pop() {
                    group.close(&mut result)?;
                    group = outer;
                }
                result.push(token);
            }
            _ => {
                group.needs_rewrite |= begins_or_continues_query(&token);
                result.push(token);
            }
        }
    }
    group.close(&mut result)?;
    // Groups whose parentheses are not closed end with the text.
    while let Some(outer) = open.pop() {
        outer.close(&mut result)?;
    }
    Ok(result)
}

fn begins_or_continues_query(token: &TokenWithSpan) -> bool {
    token.token == Token::VerticalBarRightAngleBracket
        || matches!(keyword(token), Keyword::TABLE | Keyword::FROM)
}

/// The tokens between a pair of parentheses, or those of a statement.
struct Group {
    /// Position of its first token in the result.
    start: usize,
    can_be_query: bool,
    /// Whether a token of its own, and not of a group in it, may be rewritten.
    needs_rewrite: bool,
}

impl Group {
    /// Rewrites the group, whose tokens are the last of `result`.
    fn close(&self, result: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
        if self.can_be_query && self.needs_rewrite {
            let tokens = result.split_off(self.start);
            result.extend(rewrite_query(&tokens)?);
        }
        Ok(())
    }
}

/// Rewrites a query, in which the groups in parentheses have been rewritten.
fn rewrite_query(inner: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let (prefix, query) = inner.split_at(start_of_query(inner));
    let mut result = prefix.to_vec();
    let (query, end) = query.split_at(end_of_query(query));
    let segments = split(query, |token| {
        token.token == Token::VerticalBarRightAngleBracket
    });
    match segments.as_slice() {
        [head, operators @ ..] if !operators.is_empty() => {
            let mut stage = Stage::new(head);
            for operator in operators {
                stage.apply(operator)?;
            }
            result.extend(stage.into_query());
        }
        _ => result.extend(expand_short_queries(query)),
    }
    result.extend_from_slice(end);
    Ok(result)
}

/// A query that is being built.
struct Stage {
    span: Span,
    from: Vec<TokenWithSpan>,
    conditions: Vec<Vec<TokenWithSpan>>,
    projection: Option<Vec<TokenWithSpan>>,
    group_by: Option<Vec<TokenWithSpan>>,
    windows: Vec<TokenWithSpan>,
    /// `ORDER BY`, `LIMIT` and the clauses after them.
    tail: Vec<TokenWithSpan>,
}

impl Stage {
    fn new(head: &[TokenWithSpan]) -> Self {
        let head = trim(head);
        let span = head.first().map_or_else(Span::empty, |token| token.span);
        let from = match head.first().map(keyword) {
            Some(Keyword::FROM) if !contains_keyword(head, Keyword::SELECT) => head[1..].to_vec(),
            Some(Keyword::TABLE | Keyword::VALUES) => {
                let skipped = usize::from(keyword(&head[0]) == Keyword::TABLE);
                head[skipped..].to_vec()
            }
            _ => parenthesize(head.to_vec(), span),
        };
        Self::with_from(from, span)
    }

    fn with_from(from: Vec<TokenWithSpan>, span: Span) -> Self {
        Self {
            span,
            from,
            conditions: Vec::new(),
            projection: None,
            group_by: None,
            windows: Vec::new(),
            tail: Vec::new(),
        }
    }

    fn apply(&mut self, operator: &[TokenWithSpan]) -> Result<(), TokenizerError> {
        let operator = trim(operator);
        let Some(first) = operator.first() else {
            return Err(unknown_operator("nothing", self.span));
        };
        let rest = trim(&operator[1..]).to_vec();
        match (
            keyword(first),
            first.token.to_string().to_uppercase().as_str(),
        ) {
            (Keyword::WHERE, _) => {
                self.nest_if(self.projection.is_some() || !self.tail.is_empty());
                self.conditions.push(parenthesize(rest, self.span));
            }
            (Keyword::SELECT, _) => self.select(&rest),
            (_, "EXTEND") => {
                let wildcard = self.tokens(&["*", ","]);
                self.select(&[wildcard, rest].concat());
            }
            (Keyword::SET, _) => self.set(&rest),
            (Keyword::DROP, _) => {
                let except = self.tokens(&["*", "EXCEPT"]);
                self.select(&[except, parenthesize(rest, self.span)].concat());
            }
            (Keyword::AS, _) => {
                self.nest();
                self.from.extend(self.tokens(&["AS"]));
                self.from.extend(rest);
            }
            (Keyword::AGGREGATE, _) => self.aggregate(&rest),
            (Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS, _) => {
                self.combine(operator);
            }
            (Keyword::ORDER | Keyword::SORT | Keyword::DISTRIBUTE | Keyword::CLUSTER, _) => {
                self.nest_if(!self.tail.is_empty());
                self.tail = operator.to_vec();
            }
            (Keyword::LIMIT | Keyword::OFFSET, _) => {
                // ORDER BY and LIMIT stay in one query: the order of a nested query does not hold
                // outside it.
                let is_limited = [Keyword::LIMIT, Keyword::OFFSET]
                    .into_iter()
                    .any(|word| contains_keyword(&self.tail, word));
                self.nest_if(is_limited);
                self.tail.push(space(self.span));
                self.tail.extend_from_slice(operator);
            }
            (Keyword::PIVOT | Keyword::UNPIVOT | Keyword::TABLESAMPLE, _) => {
                let is_pivot = |word| contains_keyword(&rest, word);
                if is_pivot(Keyword::PIVOT) || is_pivot(Keyword::UNPIVOT) {
                    return Err(TokenizerError {
                        message: "an operator has one PIVOT or UNPIVOT; write |> before the next"
                            .to_owned(),
                        location: first.span.start,
                    });
                }
                self.nest();
                self.from.extend_from_slice(operator);
            }
            _ if contains_keyword(operator, Keyword::JOIN) => {
                let holds_more = self.projection.is_some()
                    || !self.conditions.is_empty()
                    || !self.tail.is_empty();
                self.nest_if(holds_more);
                self.from.push(space(self.span));
                self.from.extend_from_slice(operator);
            }
            (_, name) => return Err(unknown_operator(name, first.span)),
        }
        Ok(())
    }

    fn select(&mut self, items: &[TokenWithSpan]) {
        self.nest_if(self.projection.is_some() || !self.tail.is_empty());
        let start = position_of(items, Keyword::WINDOW).unwrap_or(items.len());
        let (items, windows) = items.split_at(start);
        self.projection = Some(items.to_vec());
        self.windows = windows.to_vec();
    }

    /// Applies `SET a = 1, b = a + 1`: each assignment sees the values of those before it.
    fn set(&mut self, assignments: &[TokenWithSpan]) {
        for assignment in split(assignments, |token| token.token == Token::Comma) {
            let Some(equals) = assignment.iter().position(|token| token.token == Token::Eq) else {
                continue;
            };
            let mut value = assignment[equals + 1..].to_vec();
            value.extend(self.tokens(&["AS"]));
            value.extend_from_slice(trim(&assignment[..equals]));
            let replace = self.tokens(&["*", "REPLACE"]);
            self.select(&[replace, parenthesize(value, self.span)].concat());
        }
    }

    /// Applies `AGGREGATE sum(b) GROUP BY a AS k`, which returns the keys before the aggregates.
    fn aggregate(&mut self, rest: &[TokenWithSpan]) {
        let names = self.projection.as_deref().map(item_names);
        self.nest_if(self.projection.is_some() || !self.tail.is_empty());
        let names = names.unwrap_or_else(|| item_names(&self.from));
        let by = position_of(rest, Keyword::GROUP);
        let (aggregates, keys) = rest.split_at(by.unwrap_or(rest.len()));
        let keys = match position_of(keys, Keyword::BY) {
            Some(by) => split(&keys[by + 1..], |token| token.token == Token::Comma),
            None => Vec::new(),
        };
        let mut projection: Vec<Vec<TokenWithSpan>> = Vec::new();
        let mut group_by: Vec<Vec<TokenWithSpan>> = Vec::new();
        for key in keys {
            let key = by_position(trim(key), &names).unwrap_or_else(|| trim(key).to_vec());
            let expr = without_alias(&key);
            if !group_by.contains(&expr) {
                group_by.push(expr);
            }
            projection.push(key);
        }
        if !trim(aggregates).is_empty() {
            projection.push(aggregates.to_vec());
        }
        self.projection = Some(self.join_items(projection));
        self.group_by = (!group_by.is_empty()).then(|| self.join_items(group_by));
    }

    fn join_items(&self, items: Vec<Vec<TokenWithSpan>>) -> Vec<TokenWithSpan> {
        let mut result = Vec::new();
        for item in items {
            if !result.is_empty() {
                result.push(TokenWithSpan::new(Token::Comma, self.span));
            }
            result.extend(item);
        }
        result
    }

    /// Applies a set operation, such as `UNION ALL TABLE u`.
    fn combine(&mut self, operator: &[TokenWithSpan]) {
        let is_quantifier = |token: &&TokenWithSpan| {
            is_space(token) || matches!(keyword(token), Keyword::ALL | Keyword::DISTINCT)
        };
        let words = 1 + operator[1..].iter().take_while(is_quantifier).count();
        let (words, query) = operator.split_at(words);
        self.nest();
        let query = trim(query);
        let mut operation = std::mem::take(&mut self.from);
        operation.push(space(self.span));
        operation.extend_from_slice(words);
        operation.push(space(self.span));
        match query.first() {
            Some(token) if token.token == Token::LParen => operation.extend_from_slice(query),
            _ => operation.extend(parenthesize(expand_short_queries(query), self.span)),
        }
        self.from = parenthesize(operation, self.span);
    }

    fn nest_if(&mut self, is_needed: bool) {
        if is_needed {
            self.nest();
        }
    }

    fn nest(&mut self) {
        let span = self.span;
        let inner = std::mem::replace(self, Self::with_from(Vec::new(), span));
        self.from = parenthesize(inner.into_query(), span);
    }

    fn into_query(mut self) -> Vec<TokenWithSpan> {
        let mut query = self.tokens(&["SELECT"]);
        query.extend(match self.projection.take() {
            Some(projection) => projection,
            None => self.tokens(&["*"]),
        });
        query.extend(self.tokens(&["FROM"]));
        query.append(&mut self.from);
        for (n, condition) in std::mem::take(&mut self.conditions).into_iter().enumerate() {
            query.extend(self.tokens(&[if n == 0 { "WHERE" } else { "AND" }]));
            query.extend(condition);
        }
        if let Some(keys) = self.group_by.take() {
            query.extend(self.tokens(&["GROUP", "BY"]));
            query.extend(keys);
        }
        for part in [self.windows.clone(), self.tail.clone()] {
            query.push(space(self.span));
            query.extend(part);
        }
        query
    }

    fn tokens(&self, texts: &[&str]) -> Vec<TokenWithSpan> {
        tokens_at(self.span, texts)
    }
}

/// Rewrites `TABLE t` and `FROM t` as queries with `SELECT *`.
fn expand_short_queries(query: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(query.len() + 8);
    let mut starts_query = true;
    for (position, token) in query.iter().enumerate() {
        let is_table = keyword(token) == Keyword::TABLE && names_table(&query[position + 1..]);
        if starts_query && is_table {
            result.extend(tokens_at(token.span, &["SELECT", "*", "FROM"]));
            starts_query = false;
            continue;
        }
        if starts_query
            && keyword(token) == Keyword::FROM
            && !contains_keyword(query, Keyword::SELECT)
        {
            result.extend(tokens_at(token.span, &["SELECT", "*"]));
        }
        if !is_space(token) {
            starts_query = match keyword(token) {
                Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::MINUS
                | Keyword::EXPLAIN => true,
                // A query follows UNION ALL, but not the DISTINCT of `a IS DISTINCT FROM b`.
                Keyword::ALL | Keyword::DISTINCT => starts_query,
                _ => false,
            };
        }
        result.push(token.clone());
    }
    result
}

/// Does a name follow, rather than a call's parenthesis or nothing?
fn names_table(rest: &[TokenWithSpan]) -> bool {
    trim(rest)
        .first()
        .is_some_and(|token| matches!(token.token, Token::Word(_)))
}

/// Returns the names of the columns of a select list, or of `(SELECT …)`; `None` for an item
/// without a name.
fn item_names(tokens: &[TokenWithSpan]) -> Vec<Option<Vec<TokenWithSpan>>> {
    let tokens = trim(tokens);
    let inner = match tokens {
        [open, inner @ .., close]
            if open.token == Token::LParen && close.token == Token::RParen =>
        {
            inner
        }
        other => other,
    };
    let inner = trim(inner);
    if let Some(names) = alias_columns(inner) {
        return names;
    }
    let start = usize::from(
        inner
            .first()
            .is_some_and(|token| keyword(token) == Keyword::SELECT),
    );
    let end = position_of(inner, Keyword::FROM).unwrap_or(inner.len());
    split(&inner[start..end.max(start)], |token| {
        token.token == Token::Comma
    })
    .into_iter()
    .map(|item| {
        let last = trim(item).last()?;
        matches!(last.token, Token::Word(_)).then(|| vec![last.clone()])
    })
    .collect()
}

/// Returns the columns of `VALUES … AS t(a, b)`.
fn alias_columns(tokens: &[TokenWithSpan]) -> Option<Vec<Option<Vec<TokenWithSpan>>>> {
    if tokens.first().map(keyword) != Some(Keyword::VALUES) {
        return None;
    }
    let start = tokens
        .iter()
        .rposition(|token| token.token == Token::LParen)?;
    let columns = tokens.get(start + 1..tokens.len() - 1)?;
    let columns = split(columns, |token| token.token == Token::Comma);
    Some(
        columns
            .into_iter()
            .map(|name| Some(trim(name).to_vec()))
            .collect(),
    )
}

/// Returns the name of the column that a number as key stands for.
fn by_position(
    key: &[TokenWithSpan],
    names: &[Option<Vec<TokenWithSpan>>],
) -> Option<Vec<TokenWithSpan>> {
    let [
        TokenWithSpan {
            token: Token::Number(number, _),
            ..
        },
    ] = key
    else {
        return None;
    };
    let position: usize = number.parse().ok()?;
    names.get(position.checked_sub(1)?)?.clone()
}

/// Returns a key without `AS name`.
fn without_alias(key: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let end = position_of(key, Keyword::AS).unwrap_or(key.len());
    trim(&key[..end]).to_vec()
}

/// Returns the position at which the query of a statement starts, after its `WITH …`.
fn start_of_query(tokens: &[TokenWithSpan]) -> usize {
    let Some(first) = tokens.iter().position(|token| !is_space(token)) else {
        return 0;
    };
    if keyword(&tokens[first]) != Keyword::WITH {
        return first;
    }
    // Each common table expression ends with a parenthesis; a comma begins the next one.
    let (mut depth, mut previous) = (0_usize, None);
    for (position, token) in tokens.iter().enumerate().skip(first + 1) {
        match token.token {
            _ if is_space(token) => continue,
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_body = matches!(
            keyword(token),
            Keyword::SELECT | Keyword::FROM | Keyword::TABLE | Keyword::VALUES
        );
        if depth == 0 && is_body && previous == Some(Token::RParen) {
            return position;
        }
        previous = Some(token.token.clone());
    }
    first
}

/// Returns the position of the first semicolon, or of the end.
fn end_of_query(tokens: &[TokenWithSpan]) -> usize {
    let is_end = |token: &TokenWithSpan| matches!(token.token, Token::SemiColon | Token::EOF);
    tokens.iter().position(is_end).unwrap_or(tokens.len())
}

fn contains_keyword(tokens: &[TokenWithSpan], expected: Keyword) -> bool {
    position_of(tokens, expected).is_some()
}

/// Is a parenthesis after this token that of a call?
fn may_name_function(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == Keyword::NoKeyword || word.keyword == Keyword::TRIM)
}

fn parenthesize(tokens: Vec<TokenWithSpan>, span: Span) -> Vec<TokenWithSpan> {
    let mut result = vec![TokenWithSpan::new(Token::LParen, span)];
    result.extend(tokens);
    result.push(TokenWithSpan::new(Token::RParen, span));
    result
}

fn unknown_operator(name: &str, span: Span) -> TokenizerError {
    TokenizerError {
        message: format!(
            "{name} is not an operator after |>; those are SELECT, EXTEND, SET, DROP, AS, WHERE, LIMIT, ORDER BY, \
             AGGREGATE, UNION, INTERSECT, EXCEPT, PIVOT, UNPIVOT, TABLESAMPLE and joins"
        ),
        location: span.start,
    }
}
