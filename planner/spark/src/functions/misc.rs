//! Functions about the session and about the types of values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::scalar::{Call, Function, Param, Returns};
use super::types;

/// Returns the functions of this family.
pub(crate) fn functions() -> Vec<Function> {
    let fact = |name, body| Function::new(name, &[], Returns::Type(DataType::Utf8), body);
    vec![
        Function::new(
            "typeof",
            &[Param::Any],
            Returns::Type(DataType::Utf8),
            |call| constant(call, &types::name_of(call.arrays[0].data_type())),
        ),
        fact("version", |call| constant(call, env!("CARGO_PKG_VERSION"))),
        fact("current_database", |call| constant(call, "default")).aliases(&["current_schema"]),
        fact("current_catalog", |call| constant(call, "spark_catalog")),
        fact("current_path", |call| {
            constant(call, "system.builtin,system.session,spark_catalog.default")
        }),
        Function::new(
            "collation",
            &[Param::Text],
            Returns::Type(DataType::Utf8),
            |call| constant(call, "SYSTEM.BUILTIN.UTF8_BINARY"),
        ),
        fact("current_user", |call| constant(call, "faisca")).aliases(&["user", "session_user"]),
    ]
}

fn constant(call: &Call, text: &str) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from(vec![text; call.rows])))
}
