//! Compares the columns of a table with those that a write or a crawl gives it.

use faisca_planner::manifest::OnSchemaChange;

use super::definition::{TableColumn, TableDefinition};
use crate::error::{Error, Result};

/// What happens to the files of a table that a write or a crawl changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldFiles {
    /// Some stay in the table.
    Stay,
    /// All are replaced.
    Replaced,
}

/// Checks whether the table `present` may be replaced by `next`.
///
/// The columns of files that stay in the table cannot change type, whatever the rule.
///
/// # Errors
/// If the partition keys differ, or the columns differ in a way that `rule` does not allow.
pub(crate) fn check_compatible(
    database: &str,
    present: &TableDefinition,
    next: &TableDefinition,
    rule: OnSchemaChange,
    old_files: OldFiles,
) -> Result<()> {
    let name = format!("{database}.{}", present.name);
    check_key_names(&name, present, next)?;
    let mut difference = Difference::between(&present.columns, &next.columns);
    // Catalogs store the values of partitions as text, which readers parse as the type of the key.
    difference
        .changed
        .extend(Difference::between(&present.partition_keys, &next.partition_keys).changed);
    let refused = match rule {
        OnSchemaChange::Fail => !difference.is_empty(),
        OnSchemaChange::AddColumns => !difference.changed.is_empty(),
        OnSchemaChange::Replace => old_files == OldFiles::Stay && !difference.changed.is_empty(),
    };
    if !refused {
        return Ok(());
    }
    let help = match rule {
        OnSchemaChange::Fail if difference.changed.is_empty() && difference.removed.is_empty() => {
            "set catalog.onSchemaChange to addColumns"
        }
        OnSchemaChange::Fail => "cast the columns, or set catalog.onSchemaChange to replace",
        OnSchemaChange::AddColumns => {
            "cast the columns, or set catalog.onSchemaChange to replace and write.mode to overwrite"
        }
        OnSchemaChange::Replace => {
            "old files hold the old type: cast the columns, or overwrite the whole table"
        }
    };
    Err(Error::IncompatibleTable {
        problem: format!("the result does not fit the table {name}: {difference}"),
        help,
    })
}

/// Checks that two definitions have the same partition keys in the same order, whatever their
/// types.
///
/// # Errors
/// If they differ. No rule allows this: the folders of the old files are named after the old keys.
fn check_key_names(name: &str, present: &TableDefinition, next: &TableDefinition) -> Result<()> {
    let names = |keys: &[TableColumn]| {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        names.join(", ")
    };
    let (present, next) = (names(&present.partition_keys), names(&next.partition_keys));
    if present == next {
        return Ok(());
    }
    Err(Error::IncompatibleTable {
        problem: format!("the table {name} is partitioned by [{present}], the result by [{next}]"),
        help: "drop the table first, or set partitionBy to the same",
    })
}

/// How one list of columns differs from another. Each entry is a text for users.
#[derive(Debug, Default)]
pub(super) struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    /// Compares by name. The order of the columns and their comments do not count.
    pub(super) fn between(present: &[TableColumn], next: &[TableColumn]) -> Self {
        let mut difference = Self::default();
        for column in next {
            match present.iter().find(|c| c.name == column.name) {
                None => difference
                    .added
                    .push(format!("{} {}", column.name, column.hive_type)),
                Some(old) if old.hive_type != column.hive_type => {
                    difference.changed.push(format!(
                        "{} {} instead of {}",
                        column.name, column.hive_type, old.hive_type
                    ));
                }
                Some(_) => {}
            }
        }
        let removed = present
            .iter()
            .filter(|c| !next.iter().any(|n| n.name == c.name));
        difference.removed = removed
            .map(|c| format!("{} {}", c.name, c.hive_type))
            .collect();
        difference
    }

    /// Returns true if the columns do not differ.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("new", &self.added),
            ("missing", &self.removed),
            ("of another type", &self.changed),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, c)| !c.is_empty())
            .map(|(change, c)| format!("{change}: {}", c.join(", ")))
            .collect();
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::tests::table;
    use super::*;

    #[test]
    fn the_rule_decides_whether_a_difference_is_refused() {
        let present = table(&[("a", "int"), ("b", "string")]);
        let cases = [
            (table(&[("a", "int"), ("b", "string")]), [true, true, true]),
            (
                table(&[("a", "int"), ("b", "string"), ("c", "date")]),
                [false, true, true],
            ),
            (table(&[("a", "int")]), [false, true, true]),
            (
                table(&[("a", "bigint"), ("b", "string")]),
                [false, false, true],
            ),
        ];
        let rules = [
            OnSchemaChange::Fail,
            OnSchemaChange::AddColumns,
            OnSchemaChange::Replace,
        ];
        for (next, expected) in cases {
            let allowed = rules.map(|rule| {
                check_compatible("d", &present, &next, rule, OldFiles::Replaced).is_ok()
            });
            assert_eq!(allowed, expected, "{next:?}");
        }
        let error = check_compatible(
            "d",
            &present,
            &table(&[("a", "bigint"), ("c", "int")]),
            OnSchemaChange::Fail,
            OldFiles::Replaced,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains(
                "new: c int; missing: b string; of another type: a bigint instead of int"
            ),
            "{error}"
        );
        assert!(
            check_compatible(
                "d",
                &present,
                &table(&[("a", "bigint")]),
                OnSchemaChange::Replace,
                OldFiles::Stay
            )
            .is_err()
        );
    }

    #[test]
    fn another_type_of_a_partition_key_is_refused_unless_everything_is_replaced() {
        let keyed = |hive_type: &str| {
            let mut definition = table(&[("n", "int")]);
            definition.partition_keys = table(&[("k", hive_type)]).columns;
            definition
        };
        let (text, number) = (keyed("string"), keyed("int"));
        let checked = |present, next, rule, old_files| {
            check_compatible("d", present, next, rule, old_files).map_err(|e| e.to_string())
        };
        for (present, next) in [(&text, &number), (&number, &text)] {
            let error = checked(present, next, OnSchemaChange::Fail, OldFiles::Stay).unwrap_err();
            assert!(error.contains("of another type: k"), "{error}");
            assert!(checked(present, next, OnSchemaChange::AddColumns, OldFiles::Stay).is_err());
            assert!(checked(present, next, OnSchemaChange::Replace, OldFiles::Stay).is_err());
            // No partition with the old type remains.
            assert!(checked(present, next, OnSchemaChange::Replace, OldFiles::Replaced).is_ok());
            assert!(checked(present, present, OnSchemaChange::Fail, OldFiles::Stay).is_ok());
        }
    }
}
