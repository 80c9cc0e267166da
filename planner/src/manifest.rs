//! The job manifest: one YAML for `faisca run`, for `faisca submit` and for `kubectl apply`.
//!
//! A mistake in it must cost seconds, not a cluster: every error names file, line and column, what
//! was expected, and the nearest valid name.

mod catalog;
mod check;
mod checked;
mod cluster;
mod error;
mod job;
mod parameters;
mod parse;
mod positions;
mod stores;
mod unknown_fields;

pub use catalog::{CatalogKind, CatalogTable, OnSchemaChange};
pub use checked::CheckedManifest;
pub use cluster::{
    AirflowSpec, DriverSpec, DynamicAllocation, ExecutorScale, ExecutorSpec, PodSpecParts,
    RestartPolicy, RestartPolicyType,
};
pub use error::{ManifestError, Problem};
pub use job::{
    ApiVersion, Compression, Decimal, FileFormat, JobSpec, Kind, Manifest, Metadata,
    OnMalformedRow, PartitionOverwrite, SaveMode, Source, Step, TextCompression, TextEncoding,
    Write,
};
pub use positions::Position;
pub use stores::{SecretRef, StoreCredentials, StoreSettings, Stores, known_scheme, settings_for};

/// Returns the JSON Schema of the manifest, for editors and for `faisca schema`.
#[must_use]
pub fn json_schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Manifest>()
}

/// Returns the valid name nearest to `wrong`, if it is near enough to be a typing mistake.
fn nearest<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.75;
    let score = |name: &str| strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase());
    let best = valid
        .into_iter()
        .map(|name| (score(name), name))
        // Equally near names: the first by the alphabet, whatever the order of `valid`.
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))?;
    (best.0 >= SIMILARITY_MIN).then_some(best.1)
}

/// Returns help for an unknown name: the nearest of `valid`, or `fallback` if none is near.
#[must_use]
pub fn did_you_mean<'a>(
    wrong: &str,
    valid: impl IntoIterator<Item = &'a str>,
    fallback: impl FnOnce() -> String,
) -> String {
    match nearest(wrong, valid) {
        Some(near) => format!("did you mean `{near}`?"),
        None => fallback(),
    }
}
