//! Whole queries, drawn by number.

use fastrand::Rng;

use super::data::Kind;
use super::expressions::{filter, pick};
use super::shrink::optional;

/// Draws one query.
pub struct Generator {
    pub rng: Rng,
    aliases: usize,
    /// Names and types of common table expressions that relations may use.
    pub shared: Vec<(String, Vec<Kind>)>,
}

/// The query of a number, with marks of what can be dropped.
pub fn query(number: u64) -> String {
    let mut generator = Generator {
        rng: Rng::with_seed(number),
        aliases: 0,
        shared: vec![],
    };
    generator.query()
}

impl Generator {
    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    pub fn kinds(&mut self) -> Vec<Kind> {
        (0..self.rng.usize(1..=4))
            .map(|_| *pick(&mut self.rng, &Kind::ALL))
            .collect()
    }

    fn query(&mut self) -> String {
        let mut ctes = String::new();
        if self.rng.u8(..4) == 0 {
            let kinds = self.kinds();
            let body = self.rows(&kinds, 1);
            ctes = format!("WITH shared AS ({body}) ");
            self.shared.push(("shared".to_owned(), kinds));
        }
        let kinds = self.kinds();
        let (body, width) = match self.rng.u8(..12) {
            0..=2 => (self.rows(&kinds, 2), kinds.len()),
            3 | 4 => (self.set_operation(&kinds, 2), kinds.len()),
            5..=7 => self.grouped(2),
            8 => self.grouping_sets(1),
            9 => self.totals(2),
            _ => self.windows(),
        };
        let order = if self.rng.u8(..4) == 0 {
            self.order_and_limit(width)
        } else {
            String::new()
        };
        format!("{ctes}{body}{order}")
    }

    /// An order by every column: rows that it does not order are equal.
    fn order_and_limit(&mut self, width: usize) -> String {
        let columns: Vec<_> = (1..=width)
            .map(|column| {
                let direction = pick(&mut self.rng, &["ASC", "DESC"]);
                let nulls = pick(&mut self.rng, &["FIRST", "LAST"]);
                format!("{column} {direction} NULLS {nulls}")
            })
            .collect();
        let limit = self.rng.u8(..20);
        let offset = if self.rng.bool() {
            format!(" OFFSET {}", self.rng.u8(..8))
        } else {
            String::new()
        };
        optional(format!(
            " ORDER BY {} LIMIT {limit}{}",
            columns.join(", "),
            optional(offset)
        ))
    }

    /// Rows of the given types, as `c0`, `c1`, ….
    pub fn rows(&mut self, kinds: &[Kind], depth: u8) -> String {
        let from = self.from(depth);
        let items: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let value = self.value(*kind, &from.scope, depth);
                item(index, &value, kind.sql())
            })
            .collect();
        let distinct = if self.rng.u8(..5) == 0 {
            optional("DISTINCT ")
        } else {
            String::new()
        };
        format!(
            "SELECT {distinct}{} FROM {}{}",
            items.concat(),
            from.sql,
            filter(&from.conditions)
        )
    }

    pub fn set_operation(&mut self, kinds: &[Kind], depth: u8) -> String {
        let (left, right) = (self.rows(kinds, depth), self.rows(kinds, depth));
        let operators = [
            "UNION",
            "UNION ALL",
            "INTERSECT",
            "EXCEPT",
            "INTERSECT ALL",
            "EXCEPT ALL",
        ];
        let operator = *pick(&mut self.rng, &operators);
        [
            optional(left),
            optional(format!(" {operator} ")),
            optional(right),
        ]
        .concat()
    }
}

/// One of the selected values; all but the first can be dropped.
fn item(index: usize, value: &str, kind: &str) -> String {
    let value = if value.starts_with("CAST") {
        value.to_owned()
    } else {
        format!("CAST({value} AS {kind})")
    };
    let named = format!("{value} AS c{index}");
    if index == 0 {
        named
    } else {
        optional(format!(", {named}"))
    }
}
