//! Checks partition projection, by which Athena computes the partitions of a table from its
//! parameters.
//!
//! Athena then does not read partitions from the catalog. A mistake in the parameters would appear
//! only when a query fails or silently returns no rows, so they are checked when the write is
//! planned. The rules are those of Athena's documentation, "Supported types for partition
//! projection".

use std::collections::BTreeMap;

use faisca_executor::storage::known_scheme;

use crate::catalog::definition::TableColumn;

/// Types of projection, and the parameters that each needs besides its type.
const TYPES: [(&str, &[&str]); 4] = [
    ("enum", &["values"]),
    ("integer", &["range"]),
    ("date", &["range", "format"]),
    ("injected", &[]),
];
/// Parameter that turns projection on for the table.
const ENABLED: &str = "projection.enabled";
/// Parameter with the URL of a partition's folder, with a `${column}` for each key.
const TEMPLATE: &str = "storage.location.template";

/// A mistake in the parameters of a projection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProjectionError {
    #[error(
        "`{TEMPLATE}: {template}` is not where the files are written; set it to {expected}, or \
         leave it out"
    )]
    OtherFolder { template: String, expected: String },
    #[error("`{0}` has no effect without `{ENABLED}: \"true\"`")]
    NotEnabled(String),
    #[error("`{ENABLED}` is set, but write.partitionBy names no column")]
    NoKeys,
    #[error("`{parameter}` is missing; one of {}", list_types())]
    NoType { parameter: String },
    #[error("`{parameter}: {kind}`: expected one of {}", list_types())]
    UnknownType { parameter: String, kind: String },
    #[error("`{missing}` is missing; the type {kind} needs it")]
    Incomplete { missing: String, kind: String },
    #[error("`{TEMPLATE}: {template}` does not contain ${{{key}}}")]
    KeyNotInTemplate { template: String, key: String },
    #[error("`{0}` names no column of write.partitionBy, in lower case")]
    UnknownColumn(String),
}

fn list_types() -> String {
    TYPES.map(|(kind, _)| kind).join(", ")
}

/// Whether the first of `parameters` that mentions projection turns it on.
pub(in crate::catalog) fn is_enabled<'a>(
    parameters: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> bool {
    let mut values = parameters.into_iter().filter_map(|p| p.get(ENABLED));
    values
        .next()
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Checks that a template of locations, if there is one, names the folders that a write creates:
/// `key=value` below `location`, which ends with a slash.
///
/// # Errors
/// If readers would look elsewhere. The text says what the template must be.
pub(crate) fn check_template(
    parameters: &BTreeMap<String, String>,
    location: &str,
    keys: &[TableColumn],
) -> Result<(), ProjectionError> {
    let Some(template) = parameters.get(TEMPLATE) else {
        return Ok(());
    };
    let folder = |key: &TableColumn| format!("{name}=${{{name}}}/", name = key.name);
    let expected = format!("{location}{}", keys.iter().map(folder).collect::<String>());
    if format!("{}/", known_scheme(template.trim_end_matches('/'))) == expected {
        return Ok(());
    }
    Err(ProjectionError::OtherFolder {
        template: template.clone(),
        expected,
    })
}

/// Checks the parameters of a table against its partition keys, whose names are in lower case.
///
/// Checks that the parameters exist and name known columns and types, not that their values are
/// valid.
///
/// # Errors
/// Returns the first mistake, with the parameter that fixes it.
pub(in crate::catalog) fn check(
    parameters: &BTreeMap<String, String>,
    keys: &[TableColumn],
) -> Result<(), ProjectionError> {
    let Some(enabled) = parameters.get(ENABLED) else {
        let stray = parameters
            .keys()
            .find(|name| name.starts_with("projection."));
        return match stray {
            Some(name) => Err(ProjectionError::NotEnabled(name.clone())),
            None => Ok(()),
        };
    };
    // Turned off on purpose: Athena ignores the other parameters.
    if !enabled.eq_ignore_ascii_case("true") {
        return Ok(());
    }
    if keys.is_empty() {
        return Err(ProjectionError::NoKeys);
    }
    for TableColumn { name, .. } in keys {
        let parameter = format!("projection.{name}.type");
        let kind = parameters
            .get(&parameter)
            .ok_or_else(|| ProjectionError::NoType {
                parameter: parameter.clone(),
            })?;
        let (_, needed) = TYPES
            .iter()
            .find(|(known, _)| kind.eq_ignore_ascii_case(known))
            .ok_or_else(|| ProjectionError::UnknownType {
                parameter,
                kind: kind.clone(),
            })?;
        if let Some(missing) = needed
            .iter()
            .map(|part| format!("projection.{name}.{part}"))
            .find(|p| !parameters.contains_key(p))
        {
            return Err(ProjectionError::Incomplete {
                missing,
                kind: kind.clone(),
            });
        }
        if let Some(template) = parameters
            .get(TEMPLATE)
            .filter(|template| !template.contains(&format!("${{{name}}}")))
        {
            return Err(ProjectionError::KeyNotInTemplate {
                template: template.clone(),
                key: name.clone(),
            });
        }
    }
    // A parameter of an unknown column is usually a spelling mistake.
    let stray = parameters.keys().find(|parameter| {
        let column = parameter
            .strip_prefix("projection.")
            .and_then(|rest| rest.split_once('.'))
            .map(|(column, _)| column);
        column.is_some_and(|column| !keys.iter().any(|key| key.name == column))
    });
    match stray {
        Some(name) => Err(ProjectionError::UnknownColumn(name.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_a_projection_are_reported_with_the_parameter_that_fixes_them() {
        let keys = [TableColumn {
            name: "k".to_owned(),
            hive_type: "bigint".to_owned(),
            comment: None,
        }];
        let checked = |settings: &[(&str, &str)], keys: &[TableColumn]| {
            let settings = settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let error = check(&settings, keys).err();
            error.map_or_else(String::new, |error| error.to_string())
        };
        let (on, kind, range) = (
            ("projection.enabled", "true"),
            ("projection.k.type", "integer"),
            ("projection.k.range", "0,9"),
        );
        assert_eq!(checked(&[], &keys), "");
        assert_eq!(checked(&[on, kind, range], &keys), "");
        assert_eq!(
            checked(
                &[
                    on,
                    ("projection.k.type", "injected"),
                    (TEMPLATE, "s3://lake/${k}/")
                ],
                &keys
            ),
            ""
        );
        assert_eq!(checked(&[("projection.enabled", "false"), kind], &keys), "");
        for (settings, keys, error) in [
            (&[kind][..], &keys[..], "has no effect without"),
            (&[on], &[], "partitionBy names no column"),
            (&[on], &keys, "`projection.k.type` is missing"),
            (
                &[on, ("projection.k.type", "int")],
                &keys,
                "expected one of enum, integer, date, injected",
            ),
            (&[on, kind], &keys, "`projection.k.range` is missing"),
            (
                &[on, kind, range, (TEMPLATE, "s3://lake/t/")],
                &keys,
                "does not contain ${k}",
            ),
            (
                &[on, kind, range, ("projection.K.digits", "2")],
                &keys,
                "names no column",
            ),
        ] {
            let message = checked(settings, keys);
            assert!(message.contains(error), "{settings:?}: {message}");
        }
    }

    #[test]
    fn a_template_must_name_the_folders_that_are_written() {
        let keys = ["uf", "ano"].map(|name| TableColumn {
            name: name.to_owned(),
            hive_type: "string".to_owned(),
            comment: None,
        });
        let checked = |template: &str| {
            let settings = BTreeMap::from([(TEMPLATE.to_owned(), template.to_owned())]);
            check_template(&settings, "s3://lake/t/", &keys)
        };
        assert_eq!(checked("s3://lake/t/uf=${uf}/ano=${ano}/"), Ok(()));
        assert_eq!(checked("s3a://lake/t/uf=${uf}/ano=${ano}"), Ok(()));
        for other in [
            "s3://lake/t/${uf}/${ano}/",
            "s3://lake/u/uf=${uf}/ano=${ano}/",
        ] {
            let error = checked(other).unwrap_err().to_string();
            assert!(
                error.contains("set it to s3://lake/t/uf=${uf}/ano=${ano}/"),
                "{error}"
            );
        }
        assert_eq!(
            check_template(&BTreeMap::new(), "s3://lake/t/", &keys),
            Ok(())
        );
    }

    #[test]
    fn the_parameters_of_a_write_decide_before_those_of_the_table() {
        let set = |value: &str| BTreeMap::from([(ENABLED.to_owned(), value.to_owned())]);
        let (on, off, none) = (set("TRUE"), set("false"), BTreeMap::new());
        assert!(is_enabled([&none, &on]));
        assert!(!is_enabled([&off, &on]));
        assert!(!is_enabled([&none, &none]));
    }
}
