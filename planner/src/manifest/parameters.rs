//! Replaces `${name}` in statements and paths.

use std::collections::BTreeMap;

use super::error::{ManifestError, Problem};
use super::positions::Positions;
use super::{JobSpec, Manifest, did_you_mean};

/// Replaces parameters by their values. `overrides` come from `--set name=value` and take precedence
/// over the manifest's own values.
///
/// # Errors
/// For each `${name}` or override that the manifest does not declare.
pub(super) fn with_parameters(
    file: &str,
    mut manifest: Manifest,
    positions: &Positions,
    overrides: &BTreeMap<String, String>,
) -> Result<Manifest, ManifestError> {
    let mut problems = vec![];
    let mut values = manifest.spec.parameters.clone();
    for (name, value) in overrides {
        if values.insert(name.clone(), value.clone()).is_none() {
            let message = format!("--set {name}: the manifest has no such parameter");
            problems.push(Problem {
                position: positions.position_of("spec.parameters"),
                path: "spec.parameters".into(),
                message,
                help: Some(help(name, &values)),
            });
        }
    }
    for (path, text) in parameterized_texts(&mut manifest.spec) {
        match substitute(text, &values) {
            Ok(new) => *text = new,
            Err(unknown) => {
                let message = unknown.to_string();
                problems.push(Problem {
                    position: positions.position_of(&path),
                    path,
                    message,
                    help: Some(help(&unknown.0, &values)),
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(manifest)
    } else {
        Err(ManifestError {
            file: file.to_owned(),
            problems,
        })
    }
}

fn help(name: &str, values: &BTreeMap<String, String>) -> String {
    let other_names = values.keys().map(String::as_str).filter(|k| *k != name);
    did_you_mean(name, other_names, || {
        format!("add `{name}: …` under spec.parameters")
    })
}

/// Returns the texts in which parameters are replaced, each with the path of its field.
fn parameterized_texts(spec: &mut JobSpec) -> Vec<(String, &mut String)> {
    let mut texts = vec![];
    for (index, source) in spec.sources.iter_mut().enumerate() {
        texts.push((format!("spec.sources[{index}].path"), &mut source.path));
    }
    for (index, step) in spec.steps.iter_mut().enumerate() {
        texts.push((format!("spec.steps[{index}].sql"), &mut step.sql));
        if let Some(write) = &mut step.write {
            texts.push((format!("spec.steps[{index}].write.path"), &mut write.path));
            if let Some(catalog) = &mut write.catalog {
                texts.push((
                    format!("spec.steps[{index}].write.catalog.database"),
                    &mut catalog.database,
                ));
            }
        }
    }
    if let Some(script) = &mut spec.main_application_file {
        texts.push(("spec.mainApplicationFile".into(), script));
    }
    for (index, argument) in spec.arguments.iter_mut().enumerate() {
        texts.push((format!("spec.arguments[{index}]"), argument));
    }
    texts
}

/// A name that has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no parameter `{0}`")]
struct UnknownParameter(String);

/// Replaces each `${name}`; `$${` stands for a literal `${`.
///
/// # Errors
/// The first name without a value.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> Result<String, UnknownParameter> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + length];
        out.push_str(&rest[..start]);
        out.push_str(
            values
                .get(name)
                .ok_or_else(|| UnknownParameter(name.to_owned()))?,
        );
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_unknown_ones_reported() {
        let values = BTreeMap::from([("zone".to_owned(), "s3://lake".to_owned())]);
        assert_eq!(
            substitute("${zone}/a/${zone}", &values).unwrap(),
            "s3://lake/a/s3://lake"
        );
        assert_eq!(
            substitute("cost $5 and $${zone}", &values).unwrap(),
            "cost $5 and ${zone}"
        );
        assert_eq!(
            substitute("${other}", &values),
            Err(UnknownParameter("other".to_owned()))
        );
    }
}
