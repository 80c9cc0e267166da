//! Facets of OpenLineage: parts of an event, each with a schema of its own.

use serde_json::{Value, json};

/// Who made an event.
pub(super) const PRODUCER: &str = concat!("https://faisca.dev/v", env!("CARGO_PKG_VERSION"));
/// Returns a facet, with the schema of its version.
pub(super) fn facet(version: &str, name: &str, content: Value) -> Value {
    let mut facet = content;
    facet["_producer"] = json!(PRODUCER);
    facet["_schemaURL"] = json!(format!(
        "https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}"
    ));
    facet
}
