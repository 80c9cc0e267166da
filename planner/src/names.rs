//! Case-insensitive table and column names that keep the spelling of the data, as in Spark.
//!
//! SQL is planned in lower case: a table whose columns have capitals is read through a view that
//! renames them, and every identifier of a statement is converted to lower case
//! ([`faisca_spark::dialect::lower_names`]). The result's columns get their spelling back at the
//! end ([`aliases`] and the tables' own names). This costs nothing at run time, since DataFusion
//! pushes all operators through renames.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Query, SelectItem, SetExpr, TableAlias, TableFactor, Visit, Visitor,
};
use faisca_spark::dialect::{generated_name, parse_as_written, pivot_names};

/// Returns the aliases that a statement gives to columns: from lower case to the spelling as
/// written.
///
/// An outer query's spelling wins over an inner one's.
#[must_use]
pub fn aliases(sql: &str) -> HashMap<String, String> {
    #[derive(Default)]
    struct Aliases(HashMap<String, String>);
    impl Visitor for Aliases {
        type Break = ();
        fn post_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table {
                alias: Some(alias), ..
            }
            | TableFactor::Derived {
                alias: Some(alias), ..
            }
            | TableFactor::Pivot {
                alias: Some(alias), ..
            }
            | TableFactor::Unpivot {
                alias: Some(alias), ..
            } = table
            {
                self.add_columns(alias);
            }
            let names = pivot_names(table).into_iter();
            self.0.extend(names.map(|name| (name.to_lowercase(), name)));
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            query
                .with
                .iter()
                .flat_map(|with| &with.cte_tables)
                .for_each(|cte| self.add_columns(&cte.alias));
            self.add(&query.body);
            ControlFlow::Continue(())
        }
    }
    impl Aliases {
        fn add_columns(&mut self, alias: &TableAlias) {
            self.0.extend(
                alias
                    .columns
                    .iter()
                    .map(|c| (c.name.value.to_lowercase(), c.name.value.clone())),
            );
        }

        fn add(&mut self, body: &SetExpr) {
            match body {
                SetExpr::Select(select) => {
                    for item in &select.projection {
                        let name = match item {
                            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
                            SelectItem::UnnamedExpr(expr) => generated_name(expr),
                            _ => None,
                        };
                        self.0.extend(name.map(|name| (name.to_lowercase(), name)));
                    }
                }
                SetExpr::SetOperation { left, right, .. } => {
                    self.add(right);
                    self.add(left);
                }
                _ => {}
            }
        }
    }
    let mut aliases = Aliases::default();
    if let Ok(statements) = parse_as_written(sql) {
        let _ = statements.visit(&mut aliases);
    }
    aliases.0
}

/// Returns two of `names` that differ only by case, if there are any.
#[must_use]
pub fn clash<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    names.into_iter().find_map(|name| {
        seen.insert(name.to_lowercase(), name)
            .map(|first| (first, name))
    })
}

/// Parses a number of bytes, written as a Kubernetes quantity (`512Mi`, `2G`) or as in Spark (`2g`,
/// `512m`, both binary).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let scale: u64 = match unit.trim() {
        "" => 1,
        "k" | "kb" | "Ki" | "KiB" => 1 << 10,
        "m" | "mb" | "Mi" | "MiB" => 1 << 20,
        "g" | "gb" | "Gi" | "GiB" => 1 << 30,
        "t" | "tb" | "Ti" | "TiB" => 1 << 40,
        "K" | "KB" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return None,
    };
    let bytes = number * scale as f64;
    (bytes.is_finite() && bytes >= 1.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_spelling_of_an_alias_wins() {
        let spellings =
            aliases("SELECT a AS Media FROM (SELECT b AS MEDIA, c AS \"Outra\" FROM t)");
        assert_eq!(spellings["media"], "Media");
        assert_eq!(spellings["outra"], "Outra");
        assert_eq!(
            aliases("SELECT * FROM (VALUES (1)) AS v(Chave)")["chave"],
            "Chave"
        );
    }

    #[test]
    fn a_clash_names_both_spellings() {
        assert_eq!(clash(["a", "B", "A"]), Some(("a", "A")));
        assert_eq!(clash(["a", "b"]), None);
    }

    #[test]
    fn sizes_are_read_as_kubernetes_and_spark_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("2g", 2 << 30),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("3M", 3_000_000),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_bytes("2x"), None);
        assert_eq!(parse_bytes("g"), None);
    }
}
