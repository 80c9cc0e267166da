//! JSON: paths, `from_json`, `to_json`.

mod path;
mod read;
mod value;
mod write;

use super::scalar::Function;

pub(crate) use read::{ddl, option, schema};

/// Returns the functions of JSON.
pub(crate) fn functions() -> Vec<Function> {
    [path::functions(), read::functions(), write::functions()].concat()
}
