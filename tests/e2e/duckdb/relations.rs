//! What queries read: tables, queries in their place, and joins of both.

use super::data::{Kind, TABLES};
use super::expressions::{Column, all, comparable, literal, pick};
use super::queries::Generator;
use super::shrink::optional;

/// What can stand in a FROM, without its alias.
pub struct Relation {
    pub sql: String,
    columns: Vec<(String, Kind)>,
    /// Columns that order its rows, up to equal rows.
    order: Vec<(String, Kind)>,
}

impl Relation {
    fn table(name: &str) -> Self {
        let columns = Kind::ALL.map(|kind| (kind.column().to_owned(), kind));
        Self {
            sql: name.to_owned(),
            columns: columns.to_vec(),
            order: vec![("id".to_owned(), Kind::I64)],
        }
    }

    fn derived(sql: String, kinds: &[Kind]) -> Self {
        let name = |(index, kind): (usize, &Kind)| (format!("c{index}"), *kind);
        let columns: Vec<_> = kinds.iter().enumerate().map(name).collect();
        let order = columns.clone();
        Self {
            sql,
            columns,
            order,
        }
    }

    /// Its columns under an alias.
    pub fn scope(&self, alias: &str) -> Vec<Column> {
        qualified_columns(alias, &self.columns)
    }
}

fn qualified_columns(alias: &str, columns: &[(String, Kind)]) -> Vec<Column> {
    let column = |(name, kind): &(String, Kind)| Column {
        sql: format!("{alias}.{name}"),
        kind: *kind,
    };
    columns.iter().map(column).collect()
}

/// Relations joined.
pub struct From {
    pub sql: String,
    pub conditions: Vec<String>,
    pub scope: Vec<Column>,
    pub order: Vec<Column>,
}

impl Generator {
    /// A table, or a query in its place.
    pub fn relation(&mut self, depth: u8) -> Relation {
        let choice = if depth == 0 { 0 } else { self.rng.u8(..16) };
        let kinds = self.kinds();
        match choice {
            1 => {
                let rows = self.rows(&kinds, depth - 1);
                Relation::derived(format!("({rows})"), &kinds)
            }
            2 => {
                let rows = self.set_operation(&kinds, depth - 1);
                Relation::derived(format!("({rows})"), &kinds)
            }
            3 => self.values(&kinds),
            4 => {
                let (table, key) = (self.table(), *pick(&mut self.rng, &Kind::ALL));
                let value = *pick(&mut self.rng, &Kind::ALL);
                let function = pick(&mut self.rng, &["min", "max"]);
                let sql = format!(
                    "(SELECT {} AS c0, {function}({}) AS c1, count(*) AS c2 FROM {table} GROUP BY {})",
                    key.column(),
                    value.column(),
                    key.column()
                );
                Relation::derived(sql, &[key, value, Kind::I64])
            }
            7 => {
                let rows = self.rows(&kinds, depth - 1);
                let names = self.output_names();
                let order = self.order_and_limit(kinds.len(), &names);
                Relation::derived(format!("({rows}{order})"), &kinds)
            }
            5 | 6 if !self.shared.is_empty() => {
                let (name, kinds) = self.shared[0].clone();
                Relation::derived(name, &kinds)
            }
            _ => Relation::table(self.table()),
        }
    }

    pub fn table(&mut self) -> &'static str {
        // Large tables are rare: their joins multiply.
        TABLES[*pick(&mut self.rng, &[0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 4])]
    }

    fn values(&mut self, kinds: &[Kind]) -> Relation {
        let row = |generator: &mut Self, first: bool| {
            let cells: Vec<_> = kinds
                .iter()
                .map(|kind| match generator.rng.u8(..6) {
                    0 => format!("CAST(NULL AS {})", kind.sql()),
                    _ if first && kind.is_number() => {
                        format!(
                            "CAST({} AS {})",
                            literal(&mut generator.rng, *kind),
                            kind.sql()
                        )
                    }
                    _ => literal(&mut generator.rng, *kind),
                })
                .collect();
            format!("({})", cells.join(", "))
        };
        let rows: Vec<_> = (0..self.rng.u8(1..5))
            .map(|index| row(self, index == 0))
            .collect();
        let names: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| format!("CAST(v{index} AS {}) AS c{index}", kind.sql()))
            .collect();
        let aliases: Vec<_> = (0..kinds.len()).map(|index| format!("v{index}")).collect();
        let sql = format!(
            "(SELECT {} FROM (VALUES {}) v({}))",
            names.join(", "),
            rows.join(", "),
            aliases.join(", ")
        );
        Relation::derived(sql, kinds)
    }

    pub fn from(&mut self, depth: u8) -> From {
        let alias = self.alias();
        let relation = self.relation(depth);
        let mut from = From {
            sql: format!("{} {alias}", relation.sql),
            conditions: vec![],
            scope: relation.scope(&alias),
            order: qualified_columns(&alias, &relation.order),
        };
        let joins = if depth == 0 {
            self.rng.u8(..2)
        } else {
            *pick(&mut self.rng, &[0, 0, 1, 1, 1, 2, 2])
        };
        for _ in 0..joins {
            self.join(&mut from, depth);
        }
        for _ in 0..*pick(&mut self.rng, &[0, 0, 1, 1, 2]) {
            let condition = self.condition(&from.scope, depth.min(1));
            from.conditions.push(condition);
        }
        from
    }

    fn join(&mut self, from: &mut From, depth: u8) {
        let alias = self.alias();
        let relation = self.relation(depth);
        let scope = relation.scope(&alias);
        let kinds = [
            "JOIN",
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "LEFT SEMI JOIN",
            "LEFT ANTI JOIN",
            "CROSS JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
        ];
        let kind = *pick(&mut self.rng, &kinds);
        if kind == "CROSS JOIN" {
            from.sql += &optional(format!(" CROSS JOIN {} {alias}", relation.sql));
        } else {
            let mut keys = vec![];
            for _ in 0..*pick(&mut self.rng, &[1, 1, 1, 2]) {
                let left = pick(&mut self.rng, &from.scope).clone();
                if let Some(right) = comparable(&mut self.rng, &left, &scope) {
                    let null_safe = self.rng.u8(..6) == 0;
                    let operator = if null_safe {
                        "IS NOT DISTINCT FROM"
                    } else {
                        "="
                    };
                    keys.push(format!("({} {operator} {})", left.sql, right.sql));
                }
            }
            if keys.is_empty() {
                keys.push(format!("{}.{} IS NOT NULL", alias, relation.columns[0].0));
            }
            let (first, mut rest) = (keys.remove(0), keys);
            if depth > 0 && self.rng.u8(..5) == 0 {
                let join_scope: Vec<_> = from.scope.iter().chain(&scope).cloned().collect();
                rest.push(self.condition(&join_scope, 0));
            }
            from.sql += &optional(format!(
                " {kind} {} {alias} ON {first}{}",
                relation.sql,
                all(&rest)
            ));
        }
        if !matches!(kind, "LEFT SEMI JOIN" | "LEFT ANTI JOIN") {
            from.scope.extend(scope);
            from.order
                .extend(qualified_columns(&alias, &relation.order));
        }
    }
}
