//! INSERTs that DataFusion's parser does not read: into partitions, by name, and several of them that
//! read one relation.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::alter::{Partition, partition};
use super::cursor::{Cursor, text};

/// `INSERT INTO t PARTITION (k = 'z', j) SELECT …`, or `INSERT INTO t BY NAME SELECT …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// Parts of the table's name.
    pub table: Vec<String>,
    /// Whether the rows replace those of the table or the partition.
    pub is_overwrite: bool,
    /// Partition columns, with the values that all rows get; the query has those without a value.
    pub partition: Partition,
    /// How columns of the query find those of the table.
    pub columns: InsertColumns,
    /// The query.
    pub query: String,
}

/// How the columns of a query find those of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertColumns {
    /// In the order of the table.
    ByPosition,
    /// In the order of these names.
    Listed(Vec<String>),
    /// `BY NAME`: by their own names.
    ByName,
}

/// Reads an INSERT with PARTITION or BY NAME; `None` if it is another statement.
///
/// # Errors
/// If the list of partition columns is not complete, or a clause is not supported.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Option<Insert>> {
    let insert = parse_insert(cursor)?;
    if insert.is_none() {
        cursor.restart();
    }
    Ok(insert)
}

fn parse_insert(cursor: &mut Cursor) -> Result<Option<Insert>> {
    if !cursor.take_words(&["INSERT"]) {
        return Ok(None);
    }
    let is_overwrite = cursor.take_words(&["OVERWRITE"]);
    if !is_overwrite && !cursor.take_words(&["INTO"]) {
        return Ok(None);
    }
    cursor.take_words(&["TABLE"]);
    // What is not a name is left to the parser, which reports it.
    let Ok(table) = cursor.name() else {
        return Ok(None);
    };
    let partition = match cursor.take_words(&["PARTITION"]) {
        true => partition(cursor)?,
        false => Partition::new(),
    };
    if cursor.take_words(&["IF", "NOT", "EXISTS"]) {
        return plan_err!(
            "INSERT … IF NOT EXISTS is not supported: SHOW PARTITIONS lists the partitions of a table"
        );
    }
    let columns = if cursor.take_words(&["BY", "NAME"]) {
        InsertColumns::ByName
    } else if partition.is_empty() {
        return Ok(None);
    } else if cursor.is_token(&Token::LParen) && !cursor.begins_query() {
        InsertColumns::Listed(cursor.names_in_parentheses()?)
    } else {
        InsertColumns::ByPosition
    };
    Ok(Some(Insert {
        table,
        is_overwrite,
        partition,
        columns,
        query: cursor.rest(),
    }))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_names_are_read_and_other_inserts_are_not() {
        let parsed = |sql: &str| parse(&mut Cursor::new(sql).unwrap()).unwrap();
        let insert =
            parsed("INSERT INTO d.t PARTITION (k = 'z', j) (a, `b c`) SELECT 1, 2;").unwrap();
        let text = |text: &str| text.to_owned();
        assert_eq!(insert.table, ["d", "t"]);
        assert_eq!(
            insert.partition,
            [(text("k"), Some(text("z"))), (text("j"), None)]
        );
        let names = vec![text("a"), text("b c")];
        assert_eq!(insert.columns, InsertColumns::Listed(names));
        assert_eq!(insert.query, "SELECT 1, 2");
        let insert = parsed("insert overwrite table t by name ( SELECT 1 AS a )").unwrap();
        assert!(insert.is_overwrite && insert.columns == InsertColumns::ByName);
        let insert = parsed("INSERT INTO t PARTITION (k = 1) ((SELECT 1))").unwrap();
        assert_eq!(insert.columns, InsertColumns::ByPosition);
        for other in [
            "INSERT INTO t SELECT 1",
            "INSERT INTO t (a) VALUES (1)",
            "SELECT 1",
        ] {
            assert_eq!(parsed(other), None);
        }
    }
}
