//! Loads a manifest: parses it, fills in its parameters and checks it. A job runs only from the result.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{StepOrder, check};
use super::error::ManifestError;
use super::parameters::with_parameters;
use super::parse::parse;
use super::positions::{Position, Positions};
use super::{JobSpec, Manifest};

/// A manifest that passed every check, with the order of its steps.
#[derive(Debug, Clone)]
pub struct CheckedManifest {
    file: String,
    written: Manifest,
    manifest: Manifest,
    positions: Positions,
    order: StepOrder,
}

impl CheckedManifest {
    /// Reads the text of a manifest, fills in its parameters and checks it.
    ///
    /// `file` is its name in messages. `parameters` are values of `--set`; they take precedence
    /// over those of the manifest.
    ///
    /// # Errors
    /// Every mistake of the first of the three steps that finds one, with line and column.
    pub fn load(
        file: &str,
        text: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, ManifestError> {
        let (written, positions) = parse(file, text)?;
        let manifest = with_parameters(file, written.clone(), &positions, parameters)?;
        let order = check(file, &manifest, &positions)?;
        Ok(Self {
            file: file.to_owned(),
            written,
            manifest,
            positions,
            order,
        })
    }

    /// Reads a manifest that is a resource of a cluster. Its user never saw this text, so later
    /// messages name fields instead of lines.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_resource(name: &str, json: &str) -> Result<Self, ManifestError> {
        let loaded = Self::load(name, json, &BTreeMap::new())?;
        Ok(Self {
            positions: Positions::default(),
            ..loaded
        })
    }

    /// Returns what to do, with parameters filled in.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.manifest.spec
    }

    /// Returns the whole manifest, with parameters filled in.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the manifest as its user wrote it: its parameters are still names.
    #[must_use]
    pub fn into_written(self) -> Manifest {
        self.written
    }

    /// Returns the name of the file, for messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the indices of the steps that a step reads. It may start when all of them ended.
    #[must_use]
    pub fn reads(&self, step: usize) -> &BTreeSet<usize> {
        &self.order.reads[step]
    }

    /// Returns where a field is: `file:line:column`, or `name: field` of a resource.
    #[must_use]
    pub fn location(&self, field: &str) -> String {
        match self.positions.position_of(field) {
            Some(Position { line, column }) => format!("{}:{line}:{column}", self.file),
            None => format!("{}: {field}", self.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: two}
spec:
  parameters: {n: \"1\"}
  steps:
    - {name: a, sql: \"SELECT ${n} AS x\"}
    - {name: b, sql: \"SELECT x FROM a\"}
";

    #[test]
    fn parameters_are_filled_in_and_the_text_stays_as_written() {
        let set = BTreeMap::from([("n".to_owned(), "7".to_owned())]);
        let checked = CheckedManifest::load("two.yaml", TEXT, &set).unwrap();
        assert_eq!(checked.spec().steps[0].sql, "SELECT 7 AS x");
        assert_eq!(checked.reads(1), &BTreeSet::from([0]));
        assert_eq!(checked.into_written().spec.steps[0].sql, "SELECT ${n} AS x");
    }

    #[test]
    fn locations_are_lines_of_a_file_and_fields_of_a_resource() {
        let field = "spec.steps[1].sql";
        let file = CheckedManifest::load("two.yaml", TEXT, &BTreeMap::new()).unwrap();
        assert!(file.location(field).starts_with("two.yaml:8:"));
        let resource = CheckedManifest::load_resource("two", TEXT).unwrap();
        assert_eq!(resource.location(field), "two: spec.steps[1].sql");
    }
}
