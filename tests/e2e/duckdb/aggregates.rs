//! Aggregates: by groups, by grouping sets, and over all rows.

use super::data::Kind;
use super::expressions::{Column, filter, literal, pick};
use super::queries::{Generator, OutputNames};
use super::shrink::optional;

/// The types that sums and averages are taken of; floats are the last two.
pub const SUMMABLE: [Kind; 7] = [
    Kind::I8,
    Kind::I16,
    Kind::I32,
    Kind::U32,
    Kind::Decimal,
    Kind::F32,
    Kind::F64,
];

impl Generator {
    /// An aggregate over `scope`.
    fn aggregate(&mut self, scope: &[Column]) -> String {
        let kind = *pick(&mut self.rng, &Kind::ALL);
        let value = self.value(kind, scope, 1);
        let summable = *pick(&mut self.rng, &SUMMABLE);
        let number = self.value(summable, scope, 0);
        let aggregate = match self.rng.u8(..11) {
            0 => "count(*)".to_owned(),
            1 => format!("count({value})"),
            2 => format!("count(DISTINCT {value})"),
            3..=6 => self.extreme(scope, 1),
            7 => format!("sum({number})"),
            8 => format!("sum(DISTINCT {number})"),
            9 => format!("avg(CAST({number} AS DOUBLE))"),
            _ => {
                let condition = self.condition(scope, 0);
                let function = pick(&mut self.rng, &["bool_and", "bool_or"]);
                format!("{function}({condition})")
            }
        };
        if self.rng.u8(..4) == 0 {
            aggregate + &optional(format!(" FILTER (WHERE {})", self.condition(scope, 0)))
        } else {
            aggregate
        }
    }

    pub fn extreme(&mut self, scope: &[Column], depth: u8) -> String {
        let kind = *pick(&mut self.rng, &Kind::ALL);
        let value = self.value(kind, scope, depth);
        let function = pick(&mut self.rng, &["min", "max"]);
        format!("{function}({value})")
    }

    fn aggregates(
        &mut self,
        scope: &[Column],
        first: usize,
        names: &OutputNames,
    ) -> (String, usize) {
        let count = self.rng.usize(1..4);
        let items: Vec<_> = (first..first + count)
            .map(|index| {
                let aggregate = self.aggregate(scope);
                let named = format!("{aggregate} AS {}", names.name(index));
                if index == 0 {
                    named
                } else {
                    optional(format!(", {named}"))
                }
            })
            .collect();
        (items.concat(), first + count)
    }

    fn having(&mut self, scope: &[Column]) -> String {
        if self.rng.u8(..4) > 0 {
            return String::new();
        }
        let column = pick(&mut self.rng, scope).clone();
        optional(match self.rng.u8(..3) {
            0 => format!(" HAVING count(*) > {}", self.rng.u8(..4)),
            1 => format!(" HAVING count({}) <> count(*)", column.sql),
            _ => format!(
                " HAVING max({}) = {}",
                column.sql,
                literal(&mut self.rng, column.kind)
            ),
        })
    }

    pub fn grouped(&mut self, depth: u8) -> (String, usize) {
        let names = self.output_names();
        let from = self.from(depth);
        let keys: Vec<_> = (0..self.rng.usize(1..4))
            .map(|_| {
                let kind = *pick(&mut self.rng, &Kind::ALL);
                let deep = u8::from(self.rng.u8(..4) == 0);
                self.value(kind, &from.scope, deep)
            })
            .collect();
        let named: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(index, key)| format!("{key} AS {}", names.name(index)))
            .collect();
        let positions: Vec<_> = (1..=keys.len())
            .map(|position| position.to_string())
            .collect();
        let (aggregates, width) = self.aggregates(&from.scope, keys.len(), &names);
        let sql = format!(
            "SELECT {}{aggregates} FROM {}{} GROUP BY {}{}",
            named.join(", "),
            from.sql,
            filter(&from.conditions),
            positions.join(", "),
            self.having(&from.scope)
        );
        (sql, width)
    }

    pub fn grouping_sets(&mut self, depth: u8) -> (String, usize) {
        let names = self.output_names();
        let from = self.from(depth);
        let mut keys: Vec<String> = vec![];
        for _ in 0..3 {
            let column = pick(&mut self.rng, &from.scope).sql.clone();
            if !keys.contains(&column) {
                keys.push(column);
            }
        }
        let named: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(index, key)| format!("{key} AS {}", names.name(index)))
            .collect();
        let (aggregates, width) = self.aggregates(&from.scope, keys.len(), &names);
        let (list, first, rest) = (keys.join(", "), &keys[0], keys[1..].join(", "));
        let groups = match self.rng.u8(..4) {
            0 => format!("ROLLUP ({list})"),
            1 => format!("CUBE ({list})"),
            2 => format!("GROUPING SETS (({list}), ({first}))"),
            _ => format!("GROUPING SETS (({first}), ({rest}), ())"),
        };
        let grouping = optional(format!(", GROUPING({first}) AS {}", names.name(width)));
        let sql = format!(
            "SELECT {}{aggregates}{grouping} FROM {}{} GROUP BY {groups}{}",
            named.join(", "),
            from.sql,
            filter(&from.conditions),
            self.having(&from.scope)
        );
        (sql, width + 1)
    }

    pub fn totals(&mut self, depth: u8) -> (String, usize) {
        let names = self.output_names();
        let from = self.from(depth);
        let (aggregates, width) = self.aggregates(&from.scope, 0, &names);
        (
            format!(
                "SELECT {aggregates} FROM {}{}",
                from.sql,
                filter(&from.conditions)
            ),
            width,
        )
    }
}
