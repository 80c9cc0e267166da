//! Window functions with frames, over orders that leave no ties where a row's position counts.

use super::aggregates::SUMMABLE;
use super::data::Kind;
use super::expressions::{Column, filter, pick};
use super::queries::Generator;
use super::relations::From;
use super::shrink::optional;

impl Generator {
    pub fn windows(&mut self) -> (String, usize) {
        let names = self.output_names();
        let from = self.from(1);
        // Rows that are equal in every column have no order: two windows may number them
        // differently.
        let has_keys = from.order.iter().all(|column| column.sql.ends_with(".id"));
        let width = if has_keys { self.rng.usize(2..4) } else { 2 };
        let first = &pick(&mut self.rng, &from.scope).sql;
        let mut items = vec![format!("{first} AS {}", names.name(0))];
        let directions = ["ASC NULLS FIRST", "DESC NULLS LAST"];
        for index in 1..width {
            let direction = *pick(&mut self.rng, &directions);
            let window = self.window(&from, direction);
            items.push(optional(format!(", {window} AS {}", names.name(index))));
        }
        (
            format!(
                "SELECT {} FROM {}{}",
                items.concat(),
                from.sql,
                filter(&from.conditions)
            ),
            width,
        )
    }

    /// A window function: over a total order where the position of a row counts.
    fn window(&mut self, from: &From, direction: &str) -> String {
        let partition = if self.rng.u8(..4) == 0 {
            String::new()
        } else {
            optional(format!(
                "PARTITION BY {} ",
                pick(&mut self.rng, &from.scope).sql
            ))
        };
        let columns: Vec<_> = from
            .order
            .iter()
            .map(|column| format!("{} {direction}", column.sql))
            .collect();
        let total = format!("{partition}ORDER BY {}", columns.join(", "));
        let by_values = self.range_window(from, &partition, direction);
        let order_column = &pick(&mut self.rng, &from.scope).sql;
        let peers = format!("{partition}ORDER BY {order_column} {direction}");
        let kind = *pick(&mut self.rng, &Kind::ALL);
        let value = self.value(kind, &from.scope, 0);
        let number = self.rng.u8(1..4);
        let frame = optional(self.frame());
        let nulls = optional(*pick(&mut self.rng, &["", "", " IGNORE NULLS"]));
        match self.rng.u8(..13) {
            12 => match by_values {
                Some(window) => format!("{} OVER ({window})", self.window_aggregate(&from.scope)),
                None => format!("count(*) OVER ({peers})"),
            },
            0 => format!("row_number() OVER ({total})"),
            1 => format!("ntile({number}) OVER ({total})"),
            2 => format!("rank() OVER ({peers})"),
            3 => format!("dense_rank() OVER ({peers})"),
            4 => format!("percent_rank() OVER ({peers})"),
            5 => format!("cume_dist() OVER ({peers})"),
            6 => format!("lag({value}, {number}{nulls}) OVER ({total})"),
            7 => format!("lead({value}{nulls}) OVER ({total})"),
            8 => {
                let function = pick(&mut self.rng, &["first_value", "last_value"]);
                format!("{function}({value}{nulls}) OVER ({total}{frame})")
            }
            9 => format!("nth_value({value}, {number}{nulls}) OVER ({total}{frame})"),
            10 => format!("{} OVER ({peers})", self.window_aggregate(&from.scope)),
            _ => format!(
                "{} OVER ({total}{frame})",
                self.window_aggregate(&from.scope)
            ),
        }
    }

    /// A window over the rows whose values are near that of the row.
    fn range_window(&mut self, from: &From, partition: &str, direction: &str) -> Option<String> {
        // The values of other integers end where their types end.
        let columns = from.scope.iter().filter(|column| column.kind == Kind::I64);
        let columns: Vec<_> = columns.collect();
        let column = columns.get(self.rng.usize(..columns.len().max(1)))?;
        let (before, after) = (self.rng.u8(..4), self.rng.u8(..4));
        Some(format!(
            "{partition}ORDER BY {} {direction} RANGE BETWEEN {before} PRECEDING AND {after} FOLLOWING",
            column.sql
        ))
    }

    fn window_aggregate(&mut self, scope: &[Column]) -> String {
        let kind = *pick(&mut self.rng, &Kind::ALL);
        let value = self.value(kind, scope, 0);
        let summable = *pick(&mut self.rng, &SUMMABLE);
        let number = self.value(summable, scope, 0);
        let aggregate = match self.rng.u8(..6) {
            0 => "count(*)".to_owned(),
            1 => format!("count({value})"),
            2 | 3 => self.extreme(scope, 0),
            4 => format!("sum({number})"),
            _ => format!("avg(CAST({number} AS DOUBLE))"),
        };
        if self.rng.u8(..6) == 0 {
            aggregate + &optional(format!(" FILTER (WHERE {})", self.condition(scope, 0)))
        } else {
            aggregate
        }
    }

    fn frame(&mut self) -> String {
        let mut bound = |side: &str| match self.rng.u8(..3) {
            0 => "CURRENT ROW".to_owned(),
            1 => format!("UNBOUNDED {side}"),
            _ => format!("{} {side}", self.rng.u8(..4)),
        };
        let (start, end) = (bound("PRECEDING"), bound("FOLLOWING"));
        let unit = pick(&mut self.rng, &["ROWS", "ROWS", "GROUPS"]);
        format!(" {unit} BETWEEN {start} AND {end}")
    }
}
