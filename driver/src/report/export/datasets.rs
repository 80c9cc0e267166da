//! Datasets of OpenLineage: names, columns and figures of what a job reads and writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::run::{Run, Step};
use super::facet::facet;
use crate::journal::record::{ColumnRecord, ScanRecord};

/// Returns the namespace and the name of a folder or file, by the naming rules of OpenLineage:
/// `s3://bucket` and `gold/sales` of `s3://bucket/gold/sales/`.
fn dataset_name(path: &str) -> (String, String) {
    let path = path.trim_end_matches('/');
    match path.split_once("://") {
        Some(("file", name)) => ("file".to_owned(), name.to_owned()),
        Some((scheme, rest)) => {
            let scheme = if scheme == "s3a" { "s3" } else { scheme };
            let (bucket, name) = rest.split_once('/').unwrap_or((rest, "/"));
            (format!("{scheme}://{bucket}"), name.to_owned())
        }
        None => ("file".to_owned(), path.to_owned()),
    }
}

fn columns_facet(columns: &[ColumnRecord]) -> Value {
    let fields: Vec<Value> = columns
        .iter()
        .map(|column| json!({"name": column.name, "type": column.data_type}))
        .collect();
    facet("1-2-0", "SchemaDatasetFacet", json!({"fields": fields}))
}

/// Returns what the queries of some steps read, each path once. All queries, if `step` is `None`.
/// Outputs of other steps are among them if they are read as files.
pub(super) fn inputs(run: &Run<'_>, step: Option<&str>) -> Vec<Value> {
    let is_of_step = |label: &str| step.is_none_or(|step| label.split(" + ").any(|l| l == step));
    let mut scans: BTreeMap<(String, String), &ScanRecord> = BTreeMap::new();
    let queries = run.queries.values().filter(|query| is_of_step(query.label));
    let stages = queries.flat_map(|query| query.stages.values());
    for scan in stages.flat_map(|stage| &stage.record.scans) {
        scans.entry(dataset_name(&scan.path)).or_insert(scan);
    }
    let written: Vec<_> = match step {
        Some(_) => vec![],
        // The job as a whole reads what it did not write itself.
        None => (run.steps.iter().filter_map(|step| step.output))
            .map(|output| dataset_name(&output.path))
            .collect(),
    };
    let is_own = |(namespace, name): &(String, String)| {
        let mut outputs = written.iter();
        outputs.any(|(n, folder)| n == namespace && is_in(name, folder))
    };
    let scans = scans.into_iter().filter(|(dataset, _)| !is_own(dataset));
    scans
        .map(|((namespace, name), scan)| {
            let mut facets = json!({});
            if !scan.columns.is_empty() {
                facets["schema"] = columns_facet(&scan.columns);
            }
            let statistics = json!({"size": scan.bytes, "fileCount": scan.files});
            json!({
                "namespace": namespace, "name": name, "facets": facets,
                "inputFacets": {
                    "inputStatistics":
                        facet("1-0-0", "InputStatisticsInputDatasetFacet", statistics),
                },
            })
        })
        .collect()
}

/// Whether a file or folder is a folder, or in it.
fn is_in(name: &str, folder: &str) -> bool {
    let rest = name.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns what a step has written.
pub(super) fn output(step: &Step<'_>) -> Option<Value> {
    let output = step.output?;
    let (namespace, name) = dataset_name(&output.path);
    let mut facets = json!({});
    if !output.columns.is_empty() {
        facets["schema"] = columns_facet(&output.columns);
    }
    let statistics = json!({
        "rowCount": output.rows, "size": output.bytes, "fileCount": output.files,
    });
    Some(json!({
        "namespace": namespace, "name": name, "facets": facets,
        "outputFacets": {
            "outputStatistics": facet("1-0-2", "OutputStatisticsOutputDatasetFacet", statistics),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_are_named_as_other_tools_name_them() {
        let name = |path| {
            let (namespace, name) = dataset_name(path);
            format!("{namespace} {name}")
        };
        assert_eq!(name("s3a://lake/gold/t/"), "s3://lake gold/t");
        assert_eq!(name("gs://lake/gold"), "gs://lake gold");
        assert_eq!(name("/data/out/"), "file /data/out");
        assert_eq!(name("file:///data/out"), "file /data/out");
        assert!(is_in("gold/t/a=1", "gold/t") && !is_in("gold/t2", "gold/t"));
    }
}
