//! Conditions and values over the columns in scope, with subqueries in every position.

use fastrand::Rng;

use super::data::Kind;
use super::queries::Generator;
use super::shrink::optional;

/// A column that an expression may use.
#[derive(Debug, Clone)]
pub struct Column {
    pub sql: String,
    pub kind: Kind,
}

pub fn pick<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(..choices.len())]
}

/// A typed constant from the values of the tables.
pub fn literal(rng: &mut Rng, kind: Kind) -> String {
    let value = *pick(rng, &kind.values());
    match kind {
        Kind::Bool => value.to_owned(),
        Kind::Binary => format!("X'{value}'"),
        Kind::Text => format!("'{value}'"),
        // Bare integers have another type in each engine, and mix types in comparisons.
        kind if kind.is_integer() && !value.starts_with('-') && rng.bool() => value.to_owned(),
        kind => format!("CAST('{value}' AS {})", kind.sql()),
    }
}

/// Returns true if both engines compare these kinds without an explicit cast.
fn are_comparable(left: Kind, right: Kind) -> bool {
    left == right || left.is_number() && right.is_number()
}

/// A column that `column` can be compared with: mostly of the same kind.
pub fn comparable<'a>(rng: &mut Rng, column: &Column, scope: &'a [Column]) -> Option<&'a Column> {
    let mixes_kinds = rng.u8(..4) == 0;
    let is_comparable = |other: &&Column| {
        let is_same_kind = other.kind == column.kind;
        other.sql != column.sql
            && (is_same_kind || mixes_kinds && are_comparable(other.kind, column.kind))
    };
    let candidates: Vec<_> = scope.iter().filter(is_comparable).collect();
    (!candidates.is_empty()).then(|| *pick(rng, &candidates))
}

impl Generator {
    /// A condition on `scope`; with `depth` also compositions and subqueries.
    pub fn condition(&mut self, scope: &[Column], depth: u8) -> String {
        let column = pick(&mut self.rng, scope).clone();
        let choices = if depth == 0 { 11 } else { 21 };
        match self.rng.u8(..choices) {
            0..=4 => self.comparison(&column, scope),
            5 => format!("{} IS NULL", column.sql),
            6 => format!("{} IS NOT NULL", column.sql),
            7 => self.distinct_from(&column, scope),
            8 => self.in_list(&column),
            9 => self.range(&column),
            10 => self.pattern(scope),
            11 | 12 => {
                let left = self.condition(scope, depth - 1);
                let right = self.condition(scope, depth - 1);
                let operator = pick(&mut self.rng, &["OR", "AND"]);
                format!("({left} {operator} {right})")
            }
            13 => format!("NOT ({})", self.condition(scope, depth - 1)),
            14 => {
                let condition = self.condition(scope, depth - 1);
                let result = self.condition(scope, 0);
                format!(
                    "CASE WHEN {condition} THEN {result} ELSE {} END",
                    column.sql.clone() + " IS NULL"
                )
            }
            15..=17 => self.exists(scope, depth - 1),
            18 | 19 => self.in_subquery(&column, scope, depth - 1),
            _ => {
                let subquery = self.scalar_subquery(column.kind, scope, depth - 1);
                let operator = pick(&mut self.rng, &["=", "<>", "<", ">="]);
                format!("{} {operator} {subquery}", column.sql)
            }
        }
    }

    fn comparison(&mut self, column: &Column, scope: &[Column]) -> String {
        let operator = *pick(&mut self.rng, &["=", "=", "<>", "<", "<=", ">", ">="]);
        let other = match comparable(&mut self.rng, column, scope) {
            Some(other) if self.rng.u8(..3) == 0 => other.sql.clone(),
            _ => literal(&mut self.rng, column.kind),
        };
        format!("{} {operator} {other}", column.sql)
    }

    fn distinct_from(&mut self, column: &Column, scope: &[Column]) -> String {
        let other = match comparable(&mut self.rng, column, scope) {
            Some(other) if self.rng.bool() => other.sql.clone(),
            _ => literal(&mut self.rng, column.kind),
        };
        let negation = pick(&mut self.rng, &["", "NOT "]);
        format!("{} IS {negation}DISTINCT FROM {other}", column.sql)
    }

    fn in_list(&mut self, column: &Column) -> String {
        let mut values: Vec<_> = (0..1 + self.rng.u8(..4))
            .map(|_| literal(&mut self.rng, column.kind))
            .collect();
        if self.rng.u8(..5) == 0 {
            values.push("NULL".to_owned());
        }
        let negation = pick(&mut self.rng, &["", "", "NOT "]);
        format!("{} {negation}IN ({})", column.sql, values.join(", "))
    }

    fn range(&mut self, column: &Column) -> String {
        let low = literal(&mut self.rng, column.kind);
        let high = literal(&mut self.rng, column.kind);
        let negation = pick(&mut self.rng, &["", "", "NOT "]);
        format!("{} {negation}BETWEEN {low} AND {high}", column.sql)
    }

    fn pattern(&mut self, scope: &[Column]) -> String {
        let text = self.value(Kind::Text, scope, 0);
        let pattern = pick(
            &mut self.rng,
            &["%", "a%", "%b%", "_", "", "é", "%本", "a_"],
        );
        let negation = pick(&mut self.rng, &["", "NOT "]);
        format!("{text} {negation}LIKE '{pattern}'")
    }

    /// The FROM and WHERE of a subquery, mostly correlated with `outer`, and its own columns.
    fn subquery(&mut self, outer: &[Column], depth: u8) -> (String, Vec<Column>) {
        let alias = self.alias();
        let relation = self.relation(depth.min(1));
        let scope = relation.scope(&alias);
        let mut conditions = vec![];
        if self.rng.u8(..4) > 0 {
            let column = pick(&mut self.rng, &scope).clone();
            if let Some(other) = comparable(&mut self.rng, &column, outer).cloned() {
                let operator = pick(&mut self.rng, &["=", "=", "=", "=", "<>", "<"]);
                conditions.push(format!("{} {operator} {}", column.sql, other.sql));
            }
        }
        if self.rng.u8(..3) == 0 {
            conditions.push(self.condition(&scope, depth));
        }
        (
            format!("{} {alias}{}", relation.sql, filter(&conditions)),
            scope,
        )
    }

    fn exists(&mut self, outer: &[Column], depth: u8) -> String {
        let (from, scope) = self.subquery(outer, depth);
        let negation = pick(&mut self.rng, &["", "NOT "]);
        let selected = if self.rng.u8(..6) == 0 {
            "count(*)"
        } else {
            &pick(&mut self.rng, &scope).sql
        };
        format!("{negation}EXISTS (SELECT {selected} FROM {from})")
    }

    fn in_subquery(&mut self, column: &Column, outer: &[Column], depth: u8) -> String {
        let negation = *pick(&mut self.rng, &["", "NOT "]);
        let (from, scope) = self.subquery(outer, depth);
        let selected = comparable(&mut self.rng, column, &scope).map_or_else(
            || literal(&mut self.rng, column.kind),
            |other| other.sql.clone(),
        );
        let tested = if self.rng.u8(..6) == 0 {
            literal(&mut self.rng, column.kind)
        } else {
            column.sql.clone()
        };
        format!("{tested} {negation}IN (SELECT {selected} FROM {from})")
    }

    /// A subquery of one row: an aggregate.
    fn scalar_subquery(&mut self, kind: Kind, outer: &[Column], depth: u8) -> String {
        let (from, scope) = self.subquery(outer, depth);
        let value = self.value(kind, &scope, 0);
        let function = pick(&mut self.rng, &["min", "max"]);
        format!("(SELECT {function}({value}) FROM {from})")
    }

    /// An expression of type `kind`.
    pub fn value(&mut self, kind: Kind, scope: &[Column], depth: u8) -> String {
        let columns: Vec<_> = scope.iter().filter(|column| column.kind == kind).collect();
        if depth == 0 || self.rng.u8(..3) > 0 {
            return match self.rng.u8(..12) {
                0 => literal(&mut self.rng, kind),
                1 => format!("CAST(NULL AS {})", kind.sql()),
                _ if columns.is_empty() => self.conversion(kind, scope),
                _ => pick(&mut self.rng, &columns).sql.clone(),
            };
        }
        let depth = depth - 1;
        match self.rng.u8(..9) {
            0 | 1 => {
                let condition = self.condition(scope, depth);
                let (result, other) = (self.value(kind, scope, depth), self.value(kind, scope, 0));
                let else_clause = optional(format!(" ELSE {other}"));
                format!("CASE WHEN {condition} THEN {result}{else_clause} END")
            }
            2 => {
                let (first, second) = (self.value(kind, scope, depth), self.value(kind, scope, 0));
                format!("coalesce({first}, {second})")
            }
            3 => {
                let (first, second) =
                    (self.value(kind, scope, depth), literal(&mut self.rng, kind));
                format!("nullif({first}, {second})")
            }
            4 => self.scalar_subquery(kind, scope, depth),
            5 if kind == Kind::Bool => self.condition(scope, depth),
            _ => self.computed(kind, scope),
        }
    }

    /// A value of another kind made into `kind`, where one is in scope.
    fn conversion(&mut self, kind: Kind, scope: &[Column]) -> String {
        let column = pick(&mut self.rng, scope).clone();
        match kind {
            Kind::I64 | Kind::F64 if column.kind.is_integer() => {
                format!("CAST({} AS {})", column.sql, kind.sql())
            }
            Kind::Text if column.kind.is_integer() => format!("CAST({} AS VARCHAR)", column.sql),
            Kind::Bool => format!("{} IS NULL", column.sql),
            Kind::Date if column.kind == Kind::Timestamp => format!("CAST({} AS DATE)", column.sql),
            _ => literal(&mut self.rng, kind),
        }
    }

    /// Arithmetic and functions that both engines define alike. Integers are widened first, because
    /// their literals differ.
    fn computed(&mut self, kind: Kind, scope: &[Column]) -> String {
        let value = self.value(kind, scope, 0);
        let number = self.rng.u8(1..4);
        match kind {
            Kind::I64 => {
                let integer_type = *pick(&mut self.rng, &Kind::INTEGERS[..3]);
                let small = self.value(integer_type, scope, 0);
                let operator = pick(&mut self.rng, &["+", "-", "*", "%"]);
                format!("(CAST({small} AS BIGINT) {operator} {number})")
            }
            Kind::I32 => {
                if self.rng.bool() {
                    let date = self.value(Kind::Date, scope, 0);
                    let part = pick(&mut self.rng, &["year", "month", "day", "quarter"]);
                    return format!("CAST({part}({date}) AS INT)");
                }
                let text = self.value(Kind::Text, scope, 0);
                format!("CAST(length({text}) AS INT)")
            }
            // `5e-1` is a double for both; `0.5` is a decimal for one.
            Kind::F64 => {
                let operator = pick(&mut self.rng, &["*", "+", "-", "/"]);
                format!("({value} {operator} 5e-1)")
            }
            Kind::Decimal => {
                let literal = literal(&mut self.rng, Kind::Decimal);
                let operator = pick(&mut self.rng, &["+", "-", "*"]);
                format!(
                    "CAST(CAST({value} AS DECIMAL(20, 2)) {operator} {literal} AS DECIMAL(20, 2))"
                )
            }
            Kind::Text => match self.rng.u8(..6) {
                0 => format!("upper({value})"),
                1 => format!("lower({value})"),
                2 => format!("substr({value}, {number}, 2)"),
                3 => format!("trim({value})"),
                4 => format!("replace({value}, 'a', 'é')"),
                _ => format!("({value} || '{number}')"),
            },
            Kind::Timestamp => {
                let unit = pick(&mut self.rng, &["month", "day", "hour", "year"]);
                format!("date_trunc('{unit}', {value})")
            }
            Kind::Date if self.rng.bool() => {
                let unit = pick(&mut self.rng, &["DAY", "MONTH", "YEAR"]);
                let operator = pick(&mut self.rng, &["+", "-"]);
                // DuckDB writes dates before the year 1 and after 9999 in another way.
                format!(
                    "CASE WHEN {value} BETWEEN CAST('1000-01-01' AS DATE) AND CAST('9000-01-01' AS DATE) \
                     THEN CAST({value} {operator} INTERVAL '{number}' {unit} AS DATE) END"
                )
            }
            Kind::Date => {
                let time = self.value(Kind::Timestamp, scope, 0);
                format!("CAST({time} AS DATE)")
            }
            _ => value,
        }
    }
}

/// A WHERE that can lose each of its conditions.
pub fn filter(conditions: &[String]) -> String {
    match conditions {
        [] => String::new(),
        [only] => optional(format!(" WHERE {only}")),
        // `true` stays when conditions are dropped.
        _ => " WHERE true".to_owned() + &all(conditions),
    }
}

/// Further conditions; each can be dropped.
pub fn all(conditions: &[String]) -> String {
    conditions
        .iter()
        .map(|condition| optional(format!(" AND {condition}")))
        .collect()
}
