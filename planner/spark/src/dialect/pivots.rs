//! Prepares PIVOT and UNPIVOT for the parser, and names the columns that they return.
//!
//! ```text
//! t JOIN u ON t.k = u.k PIVOT (sum(a) + 1 AS s FOR b IN (1))
//!   ──▶ (SELECT * FROM t JOIN u ON t.k = u.k) AS __joined PIVOT (pivoted(sum(a) + 1) AS s FOR b IN (1))
//! t UNPIVOT (v FOR n IN (a, (b) AS B))   ──▶ t UNPIVOT (v FOR n IN (a AS 'a', (b) AS 'B'))
//! ```
//!
//! The parser reads only calls as aggregates of a PIVOT, attaches it to the last table of a join,
//! and changes the names of an UNPIVOT to lower case, which are values of the result.

use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, PivotValueSource,
    SetExpr, TableFactor, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::column_names::name_of;
use super::token_lists::{position_of, split, tokens_at, trim};
use super::tokens::{is_space, keyword, space};

/// Name of the call around an aggregate of a PIVOT.
const WRAPPER: &str = "pivoted";
/// Alias of the joined tables before a PIVOT.
const JOINED: &str = "__joined";
/// Length of a date such as `2024-03-01`, which is its own text.
const DATE_LENGTH: usize = 10;

/// Rewrites the tokens of PIVOT and UNPIVOT clauses.
pub(super) fn prepare(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_pivot =
        |token: &TokenWithSpan| matches!(keyword(token), Keyword::PIVOT | Keyword::UNPIVOT);
    if !tokens.iter().any(is_pivot) {
        return tokens;
    }
    let mut result = Vec::with_capacity(tokens.len() * 2);
    let mut position = 0;
    while let Some(token) = tokens.get(position) {
        position += 1;
        let content = clause_content(token, &tokens[position..]);
        let Some((start, end)) = content else {
            result.push(token.clone());
            continue;
        };
        wrap_join(&mut result, token.span);
        result.push(token.clone());
        let (start, end) = (position + start, position + end);
        result.extend_from_slice(&tokens[position..start]);
        result.extend(match keyword(token) {
            Keyword::PIVOT => wrap_aggregates(&tokens[start..end]),
            _ => name_columns(&tokens[start..end]),
        });
        position = end;
    }
    result
}

/// Returns where the content of the parentheses of a PIVOT or UNPIVOT begins and ends in `rest`;
/// `None` if the token is another word, or only a name.
fn clause_content(token: &TokenWithSpan, rest: &[TokenWithSpan]) -> Option<(usize, usize)> {
    if !matches!(keyword(token), Keyword::PIVOT | Keyword::UNPIVOT) {
        return None;
    }
    let opening = rest.iter().position(|token| {
        !is_space(token)
            && !matches!(
                keyword(token),
                Keyword::INCLUDE | Keyword::EXCLUDE | Keyword::NULLS
            )
    })?;
    if rest[opening].token != Token::LParen {
        return None;
    }
    let start = opening + 1;
    let mut depth = 1_usize;
    let length = rest[start..].iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    Some((start, start + length))
}

/// Encloses the joined tables or the VALUES at the end of `tokens`: the clause that follows has
/// their rows as input.
fn wrap_join(tokens: &mut Vec<TokenWithSpan>, span: Span) {
    let mut depth = 0_usize;
    let mut needs_query = false;
    let mut start = None;
    for (position, token) in tokens.iter().enumerate().rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth > 0 => depth -= 1,
            // The parenthesis encloses the clause, too.
            Token::LParen => break,
            _ if depth > 0 => {}
            Token::Comma if !is_in_values(&tokens[..position]) => {
                start = Some(position + 1);
                break;
            }
            _ => match keyword(token) {
                Keyword::FROM => {
                    start = Some(position + 1);
                    break;
                }
                Keyword::JOIN | Keyword::VALUES => needs_query = true,
                _ => {}
            },
        }
    }
    if let Some(start) = start
        && needs_query
    {
        let opening = [
            vec![space(span), TokenWithSpan::new(Token::LParen, span)],
            tokens_at(span, &["SELECT", "*", "FROM"]),
        ];
        tokens.splice(start..start, opening.concat());
        tokens.push(TokenWithSpan::new(Token::RParen, span));
        tokens.extend(tokens_at(span, &["AS", JOINED]));
    }
}

/// Does a list of values, which has no name yet, end here?
fn is_in_values(tokens: &[TokenWithSpan]) -> bool {
    let mut depth = 0_usize;
    for token in tokens.iter().rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            Token::Word(_) if depth == 0 => match keyword(token) {
                Keyword::NULL | Keyword::TRUE | Keyword::FALSE => {}
                other => return other == Keyword::VALUES,
            },
            _ => {}
        }
    }
    false
}

/// Writes each aggregate of a PIVOT as a call, whatever expression it is.
fn wrap_aggregates(content: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let Some(end) = position_of(content, Keyword::FOR) else {
        return content.to_vec();
    };
    let mut result = Vec::with_capacity(content.len() * 2);
    for (n, item) in split_items(&content[..end]).enumerate() {
        let Some(span) = item.first().map(|token| token.span) else {
            continue;
        };
        if n > 0 {
            result.push(TokenWithSpan::new(Token::Comma, span));
        }
        let (aggregate, alias) = split_alias(item);
        result.extend(tokens_at(span, &[WRAPPER]));
        result.push(TokenWithSpan::new(Token::LParen, span));
        result.extend_from_slice(aggregate);
        result.push(TokenWithSpan::new(Token::RParen, span));
        if let Some(alias) = alias {
            result.extend(tokens_at(span, &["AS"]));
            result.push(alias.clone());
        }
        result.push(space(span));
    }
    result.extend_from_slice(&content[end..]);
    result
}

/// Gives each column of an UNPIVOT a name, as text.
fn name_columns(content: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let list = position_of(content, Keyword::IN).and_then(|at| {
        let opening = content[at..]
            .iter()
            .position(|token| token.token == Token::LParen)?;
        let closing = content
            .iter()
            .rposition(|token| token.token == Token::RParen)?;
        Some((at + opening + 1, closing))
    });
    let Some((start, end)) = list.filter(|(start, end)| start <= end) else {
        return content.to_vec();
    };
    let mut result = content[..start].to_vec();
    for (n, item) in split_items(&content[start..end]).enumerate() {
        let Some(span) = item.first().map(|token| token.span) else {
            continue;
        };
        if n > 0 {
            result.push(TokenWithSpan::new(Token::Comma, span));
        }
        let (columns, alias) = split_alias(item);
        let name = match alias {
            Some(alias) => last_name(std::slice::from_ref(alias)),
            None => {
                let columns = columns.split(|token| token.token == Token::Comma);
                columns.map(last_name).collect::<Vec<_>>().join("_")
            }
        };
        result.extend_from_slice(columns);
        result.extend(tokens_at(span, &["AS"]));
        result.push(TokenWithSpan::new(Token::SingleQuotedString(name), span));
    }
    result.extend_from_slice(&content[end..]);
    result
}

/// Splits an item into its expression and its alias, with or without AS.
fn split_alias(item: &[TokenWithSpan]) -> (&[TokenWithSpan], Option<&TokenWithSpan>) {
    let Some((alias, before)) = item.split_last() else {
        return (item, None);
    };
    if let Some(at) = position_of(item, Keyword::AS) {
        return (&item[..at], Some(alias));
    }
    let is_name = matches!(&alias.token, Token::Word(word)
        if !matches!(word.keyword, Keyword::END | Keyword::NULL | Keyword::TRUE | Keyword::FALSE));
    let ends_expression = before.iter().rev().find(|token| !is_space(token));
    let ends_expression = ends_expression.is_some_and(|token| {
        matches!(
            token.token,
            Token::Word(_) | Token::RParen | Token::Number(..) | Token::RBracket
        )
    });
    match is_name && ends_expression {
        true => (before, Some(alias)),
        false => (item, None),
    }
}

/// Returns the last name of some tokens, as it is written.
fn last_name(tokens: &[TokenWithSpan]) -> String {
    let name = tokens.iter().rev().find_map(|token| match &token.token {
        Token::Word(word) => Some(word.value.clone()),
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

/// Splits a list at its commas, and removes spaces around its items.
fn split_items(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &[TokenWithSpan]> {
    let items = split(tokens, |token| token.token == Token::Comma);
    items.into_iter().map(trim)
}

/// Gives the aggregates and values of a PIVOT the names of Spark, and unwraps joined tables.
pub(super) fn complete(table: &mut TableFactor) {
    let TableFactor::Pivot {
        table: input,
        aggregate_functions,
        value_column,
        value_source,
        ..
    } = table
    else {
        if let TableFactor::Unpivot { table: input, .. } = table {
            unwrap_join(input);
        }
        return;
    };
    // See `generators`: such a node stands for a lateral view.
    if value_column.is_empty() {
        return;
    }
    unwrap_join(input);
    for aggregate in aggregate_functions {
        unwrap_aggregate(&mut aggregate.expr);
        name_item(aggregate, |expr| Some(name_of(expr)));
    }
    if let PivotValueSource::List(values) = value_source {
        values
            .iter_mut()
            .for_each(|value| name_item(value, value_text));
    }
}

fn name_item(item: &mut ExprWithAlias, generate: impl Fn(&Expr) -> Option<String>) {
    let name = match &item.alias {
        Some(alias) => Some(alias.value.clone()),
        None => generate(&item.expr),
    };
    item.alias = name.map(|name| Ident::with_quote('`', name.to_lowercase()));
}

fn unwrap_join(input: &mut TableFactor) {
    let TableFactor::Derived {
        subquery,
        alias: Some(alias),
        ..
    } = input
    else {
        return;
    };
    if alias.name.value == JOINED
        && let SetExpr::Select(select) = subquery.body.as_mut()
        && let Some(joined) = select.from.pop()
    {
        *input = match joined.joins.is_empty() {
            true => joined.relation,
            false => TableFactor::NestedJoin {
                table_with_joins: Box::new(joined),
                alias: None,
            },
        };
    }
}

fn unwrap_aggregate(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && function.name.to_string() == WRAPPER
        && let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(aggregate))) = list.args.pop()
    {
        *expr = aggregate;
    }
}

/// Returns the names of the columns that PIVOT and UNPIVOT add to a table, as they are written.
#[must_use]
pub fn pivot_names(table: &TableFactor) -> Vec<String> {
    match table {
        TableFactor::Pivot {
            aggregate_functions,
            value_source: PivotValueSource::List(values),
            ..
        } => {
            let name = |item: &ExprWithAlias, text: Option<String>| match &item.alias {
                Some(alias) => Some(alias.value.clone()),
                None => text,
            };
            let aggregates = aggregate_functions.iter().map(|item| {
                let mut expr = item.expr.clone();
                unwrap_aggregate(&mut expr);
                name(item, Some(name_of(&expr))).unwrap_or_default()
            });
            let aggregates: Vec<String> = aggregates.collect();
            let values = values
                .iter()
                .filter_map(|item| name(item, value_text(&item.expr)));
            match aggregates.len() {
                1 => values.collect(),
                _ => values
                    .flat_map(|value| aggregates.iter().map(move |name| format!("{value}_{name}")))
                    .collect(),
            }
        }
        TableFactor::Unpivot { value, name, .. } => {
            let values = match value {
                Expr::Tuple(values) => values.iter().map(name_of).collect(),
                value => vec![name_of(value)],
            };
            values.into_iter().chain([name.value.clone()]).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the text of a value that a PIVOT lists, which names its column; `None` if it must be
/// computed.
fn value_text(value: &Expr) -> Option<String> {
    let list = |values: &[Expr]| {
        let texts: Option<Vec<String>> = values.iter().map(value_text).collect();
        texts.map(|texts| texts.join(", "))
    };
    match value {
        Expr::Nested(value) => value_text(value),
        Expr::Tuple(values) => list(values).map(|list| format!("{{{list}}}")),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } if matches!(expr.as_ref(), Expr::Value(_)) => {
            value_text(expr).map(|text| format!("-{text}"))
        }
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if !digits.contains(['e', 'E']) => Some(digits.clone()),
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            Value::Null => Some("null".to_owned()),
            _ => None,
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text)
                if text.len() == DATE_LENGTH
                    && typed.data_type.to_string().eq_ignore_ascii_case("date") =>
            {
                Some(text.clone())
            }
            _ => None,
        },
        _ => None,
    }
}
