//! JSON: paths, `from_json`, `to_json`, and variants.

mod path;
mod read;
mod value;
mod variant;
mod write;

use super::scalar::Function;

pub(crate) use read::{ddl, option, schema};
pub(crate) use variant::aggregates;

/// Returns the functions of JSON.
pub(crate) fn functions() -> Vec<Function> {
    [
        path::functions(),
        read::functions(),
        variant::functions(),
        write::functions(),
    ]
    .concat()
}
