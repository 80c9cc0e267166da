//! Completions for the Tab key.

use std::collections::BTreeSet;

use super::lexer::{Kind, Token, tokens};
use super::meta::format_names;

/// Names that statements can use.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) tables: Vec<Table>,
    pub(super) functions: Vec<String>,
}

/// A table or view.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// Candidates for the text from `start` to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) start: usize,
    pub(super) candidates: Candidates,
}

/// Texts that can be inserted at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Words(Vec<String>),
    /// Files whose path begins with this text.
    Paths(String),
}

/// Words that are followed by a table.
const BEFORE_TABLES: [&str; 8] = [
    "from", "join", "into", "table", "describe", "desc", "update", "view",
];

const META_COMMANDS: [&str; 8] = [
    "\\d", "\\dt", "\\format", "\\help", "\\i", "\\o", "\\rows", "\\timing",
];

/// Returns the candidates at the end of `text`, the part of the input before the cursor.
pub(super) fn complete(text: &str, names: &Names) -> Completion {
    if text.starts_with('\\') {
        return complete_meta(text, names);
    }
    let tokens = tokens(text);
    let (before, prefix, start) = match tokens.last() {
        Some(last) if last.kind == Kind::Text && !last.is_closed => {
            let path = last.text[1..].to_owned();
            return Completion {
                start: last.start + 1,
                candidates: Candidates::Paths(path),
            };
        }
        Some(last) if last.kind == Kind::Word => {
            (&tokens[..tokens.len() - 1], last.text, last.start)
        }
        _ => (&tokens[..], "", text.len()),
    };
    let before: Vec<&Token<'_>> = before
        .iter()
        .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
        .collect();
    Completion {
        start,
        candidates: Candidates::Words(words(&before, prefix, names)),
    }
}

fn complete_meta(text: &str, names: &Names) -> Completion {
    let Some((command, argument)) = text.split_once(' ') else {
        let commands = META_COMMANDS.map(str::to_owned);
        return Completion {
            start: 0,
            candidates: Candidates::Words(matching(text, commands)),
        };
    };
    let start = text.len() - argument.len();
    let candidates = match command {
        "\\d" => Candidates::Words(matching(argument, table_names(names))),
        "\\format" => Candidates::Words(matching(argument, format_names())),
        "\\rows" => Candidates::Words(matching(argument, ["all".to_owned()])),
        "\\timing" => Candidates::Words(matching(argument, ["on", "off"].map(str::to_owned))),
        "\\o" | "\\i" => Candidates::Paths(argument.to_owned()),
        _ => Candidates::Words(vec![]),
    };
    Completion { start, candidates }
}

/// Returns the words that may follow the tokens `before` the cursor and begin with `prefix`.
fn words(before: &[&Token<'_>], prefix: &str, names: &Names) -> Vec<String> {
    // Only the tokens of the current statement count.
    let first = before
        .iter()
        .rposition(|token| token.kind == Kind::Semicolon);
    let before = &before[first.map_or(0, |position| position + 1)..];
    if let [.., relation, dot] = before
        && dot.text == "."
    {
        let table = find_table(before, relation.text, names);
        return matching(
            prefix,
            table.into_iter().flat_map(|table| table.columns.clone()),
        );
    }
    let last = before
        .last()
        .map_or("", |token| token.text)
        .to_ascii_lowercase();
    if BEFORE_TABLES.contains(&last.as_str()) {
        return matching(prefix, table_names(names));
    }
    if prefix.is_empty() {
        return matching(prefix, columns(before, names));
    }
    let is_lower = prefix.chars().all(|c| !c.is_uppercase());
    let keywords = KEYWORDS.split_whitespace().map(|keyword| match is_lower {
        true => keyword.to_ascii_lowercase(),
        false => keyword.to_owned(),
    });
    let functions = names.functions.iter().map(|name| format!("{name}("));
    let first_words = columns(before, names).into_iter().chain(table_names(names));
    let mut words = matching(prefix, first_words);
    words.extend(matching(prefix, keywords));
    words.extend(matching(prefix, functions));
    words
}

/// Returns the columns of the tables that the statement names, or of all tables if it names none.
fn columns(tokens: &[&Token<'_>], names: &Names) -> BTreeSet<String> {
    let is_named = |table: &&Table| {
        tokens
            .iter()
            .any(|t| t.text.eq_ignore_ascii_case(&table.name))
    };
    let mut tables: Vec<&Table> = names.tables.iter().filter(is_named).collect();
    if tables.is_empty() {
        tables = names.tables.iter().collect();
    }
    tables
        .into_iter()
        .flat_map(|table| table.columns.clone())
        .collect()
}

/// Returns the table of a name or of an alias: `FROM people p`, `FROM people AS p`.
fn find_table<'a>(tokens: &[&Token<'_>], name: &str, names: &'a Names) -> Option<&'a Table> {
    let name = name.trim_matches('`');
    let find = |name: &str| {
        names
            .tables
            .iter()
            .find(|t| t.name.eq_ignore_ascii_case(name))
    };
    find(name).or_else(|| {
        let is_alias = |position: &usize| tokens[*position].text.eq_ignore_ascii_case(name);
        (1..tokens.len()).filter(is_alias).find_map(|position| {
            let previous = tokens[position - 1];
            match previous.is_word("as") && position > 1 {
                true => find(tokens[position - 2].text),
                false => find(previous.text),
            }
        })
    })
}

fn table_names(names: &Names) -> Vec<String> {
    names
        .tables
        .iter()
        .map(|table| table.name.clone())
        .collect()
}

/// Keeps the words that begin with a prefix, in any case.
fn matching(prefix: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let begins = |word: &String| {
        word.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let mut words: Vec<String> = words.into_iter().filter(begins).collect();
    words.sort();
    words.dedup();
    words
}

/// Returns true if a word is a keyword, in any case.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .split_whitespace()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}

const KEYWORDS: &str = "
    ALL ALTER ANALYZE AND ANTI ARRAY AS ASC BETWEEN BIGINT BINARY BOOLEAN BY CASE CAST COLUMN COLUMNS COPY CREATE CROSS
    CUBE CURRENT DATE DECIMAL DELIMITER DESC DESCRIBE DISTINCT DIV DOUBLE DROP ELSE END ESCAPE EXCEPT EXISTS EXPLAIN
    EXTERNAL FALSE FILTER FIRST FLOAT FOLLOWING FOR FROM FULL FUNCTIONS GROUP GROUPING HAVING ILIKE IF IN INNER INSERT
    INT INTERSECT INTERVAL INTO IS JOIN LAST LATERAL LEFT LIKE LIMIT LOCATION MAP MINUS NATURAL NOT NULL NULLS OFFSET ON
    OPTIONS OR ORDER OUTER OVER OVERWRITE PARTITION PARTITIONED PARQUET PIVOT PRECEDING QUALIFY RANGE RECURSIVE REPLACE
    RIGHT RLIKE ROLLUP ROW ROWS SELECT SEMI SET SETS SHOW SMALLINT STORED STRING STRUCT TABLE TABLES TABLESAMPLE TEMPORARY
    THEN TIMESTAMP TINYINT TO TRUE TRUNCATE UNBOUNDED UNION UNPIVOT USING VALUES VIEW WHEN WHERE WINDOW WITH";

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |name: &str, columns: &[&str]| Table {
            name: name.to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        };
        Names {
            tables: vec![
                table("people", &["name", "age"]),
                table("cities", &["city", "name"]),
            ],
            functions: vec!["count".to_owned(), "concat".to_owned()],
        }
    }

    fn offered(text: &str) -> (usize, Vec<String>) {
        let completion = complete(text, &names());
        match completion.candidates {
            Candidates::Words(words) => (completion.start, words),
            Candidates::Paths(path) => (completion.start, vec![format!("path {path}")]),
        }
    }

    #[test]
    fn tables_follow_from_and_columns_follow_their_table() {
        assert_eq!(offered("SELECT * FROM p"), (14, vec!["people".to_owned()]));
        assert_eq!(offered("SELECT * FROM ").1, ["cities", "people"]);
        assert_eq!(offered("SELECT * FROM people WHERE a").1[0], "age");
        assert_eq!(offered("SELECT people.").1, ["age", "name"]);
        assert_eq!(
            offered("SELECT * FROM cities AS c, people p WHERE c.n").1,
            ["name"]
        );
        assert_eq!(
            offered("SELECT * FROM people p WHERE p.").1,
            ["age", "name"]
        );
        assert!(
            offered("SELECT 1 FROM people; SELECT unknown.")
                .1
                .is_empty()
        );
    }

    #[test]
    fn keywords_keep_the_case_that_was_typed() {
        assert_eq!(offered("sel").1, ["select"]);
        assert_eq!(offered("SEL").1, ["SELECT"]);
        assert_eq!(offered("SELECT cou").1, ["count("]);
    }

    #[test]
    fn open_quotes_complete_paths() {
        assert_eq!(
            offered("COPY t TO 'out/da"),
            (11, vec!["path out/da".to_owned()])
        );
        assert_eq!(offered("\\o res"), (3, vec!["path res".to_owned()]));
    }

    #[test]
    fn commands_of_the_shell_and_their_arguments_are_completed() {
        assert_eq!(offered("\\ti"), (0, vec!["\\timing".to_owned()]));
        assert_eq!(offered("\\format n").1, ["ndjson"]);
        assert_eq!(offered("\\d c").1, ["cities"]);
    }
}
