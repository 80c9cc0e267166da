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
    /// Names of columns for the next select list, in place of `c0`, `c1`, …: those of the tables,
    /// but of other columns.
    names: Vec<&'static str>,
}

/// The names that a select list gives to its columns.
pub struct OutputNames(Vec<&'static str>);

impl OutputNames {
    pub fn name(&self, index: usize) -> String {
        let name = self.0.get(index);
        name.map_or_else(|| format!("c{index}"), |name| (*name).to_owned())
    }
}

/// The query of a number, with marks of what can be dropped.
pub fn query(number: u64) -> String {
    let mut generator = Generator {
        rng: Rng::with_seed(number),
        aliases: 0,
        shared: vec![],
        names: vec![],
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

    /// Takes the names for a select list; those of the queries within it are `c0`, `c1`, ….
    pub fn output_names(&mut self) -> OutputNames {
        OutputNames(std::mem::take(&mut self.names))
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
        if self.rng.u8(..3) == 0 {
            self.names = Kind::ALL.map(Kind::column).to_vec();
            self.rng.shuffle(&mut self.names);
        }
        let names = OutputNames(self.names.clone());
        let (body, width) = match self.rng.u8(..12) {
            0..=2 => (self.rows(&kinds, 2), kinds.len()),
            3 | 4 => (self.set_operation(&kinds, 2), kinds.len()),
            5..=7 => self.grouped(2),
            8 => self.grouping_sets(1),
            9 => self.totals(2),
            _ => self.windows(),
        };
        let order = if self.rng.u8(..4) == 0 {
            self.order_and_limit(width, &names)
        } else {
            String::new()
        };
        format!("{ctes}{body}{order}")
    }

    /// An order by every column: rows that it does not order are equal.
    pub fn order_and_limit(&mut self, width: usize, names: &OutputNames) -> String {
        let by_name = self.rng.bool();
        let columns: Vec<_> = (0..width)
            .map(|index| {
                let column = match by_name {
                    true => names.name(index),
                    false => (index + 1).to_string(),
                };
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
        let names = self.output_names();
        let from = self.from(depth);
        let items: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let value = self.value(*kind, &from.scope, depth);
                item(index, &value, kind.sql(), &names.name(index))
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

    /// A set operation of two queries, or of one and another set operation.
    pub fn set_operation(&mut self, kinds: &[Kind], depth: u8) -> String {
        let left = match self.rng.u8(..4) {
            0 if depth > 0 => format!("({})", self.set_operation(kinds, depth - 1)),
            _ => self.rows(kinds, depth),
        };
        let right = self.rows(kinds, depth);
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
fn item(index: usize, value: &str, kind: &str, name: &str) -> String {
    let value = if value.starts_with("CAST") {
        value.to_owned()
    } else {
        format!("CAST({value} AS {kind})")
    };
    let named = format!("{value} AS {name}");
    if index == 0 {
        named
    } else {
        optional(format!(", {named}"))
    }
}
