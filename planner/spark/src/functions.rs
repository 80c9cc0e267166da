//! Spark's functions: one file per family, each with a list of its definitions.
//!
//! A scalar function is a `scalar::Function`: name, parameters, result type, and a Rust function
//! from columns to a column. `convert` casts the arguments as Spark's ANSI mode does, so that the
//! Rust functions see one Arrow type for each kind of parameter. `render`, `syntax` and `types`
//! serve several families.

mod aggregates;
mod arrays;
mod casts;
mod conditional;
pub(crate) mod convert;
mod csv;
mod datetime;
#[cfg(test)]
mod documented;
mod geometry;
mod hash;
mod json;
mod lambdas;
mod maps;
mod math;
mod misc;
mod ranks;
mod regexp;
pub(crate) mod render;
mod scalar;
mod sketches;
mod strings;
mod syntax;
pub(crate) mod types;
mod vectors;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;

use crate::operators;
pub(crate) use aggregates::names as aggregate_names;
pub(crate) use convert::{is_text, zone_name};
pub(crate) use datetime::{NORMALIZE_INTERVAL, normalize_interval};
pub(crate) use scalar::OnInvalid;
pub use scalar::TaskPartition;
use scalar::{Function, SparkFunction};
pub(crate) use syntax::FunctionSyntax;

/// Registers Spark's functions, which replace DataFusion's of the same name.
///
/// DataFusion's own aggregates stay, because the `avg` of `datafusion-spark` does not support
/// decimals. The driver and its executors must both call this: executors find a function by its
/// name.
///
/// # Errors
/// If a function cannot be registered.
pub fn register(state: &mut SessionState) -> Result<()> {
    let aggregates: Vec<_> = state.aggregate_functions().values().cloned().collect();
    datafusion_spark::register_all(state)?;
    // Not of Spark, and two large numbers would take all memory. `sequence` has a limit.
    for name in ["range", "generate_series"] {
        state.deregister_udf(name)?;
    }
    for aggregate in aggregates {
        state.register_udaf(aggregate)?;
    }
    for definition in definitions() {
        let function = SparkFunction::new(definition);
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(function)))?;
    }
    for (name, alias) in [("lower", "lcase"), ("upper", "ucase")] {
        let function = state.udf(name)?;
        let aliased = function.as_ref().clone().with_aliases([alias]);
        state.register_udf(Arc::new(aliased))?;
        state.register_udf(function)?;
    }
    for function in lambdas::functions() {
        state.register_higher_order_function(Arc::new(function))?;
    }
    for function in operators::functions() {
        state.register_udf(function)?;
    }
    for function in ranks::functions() {
        state.register_udwf(function)?;
    }
    aggregates::register(state)
}

/// Returns one of Spark's functions by its name.
pub(crate) fn scalar_function(name: &str) -> Option<ScalarUDF> {
    let definition = definitions_by_name().get(name)?;
    let function = SparkFunction::new(definition.clone());
    Some(ScalarUDF::new_from_impl(function))
}

/// Returns a function with its own state for one task; `None` if the function has no state.
///
/// Random numbers with a seed continue from batch to batch, so that a task must not share them with
/// another one.
#[must_use]
pub fn function_of_task(name: &str) -> Option<ScalarUDF> {
    let definition = definitions_by_name().get(name)?;
    definition.is_sequence().then(|| {
        let function = SparkFunction::new(definition.clone());
        ScalarUDF::new_from_impl(function.with_sequence())
    })
}

/// Returns the names of Spark's functions of one row.
pub(crate) fn scalar_names() -> impl Iterator<Item = &'static str> {
    definitions_by_name()
        .values()
        .flat_map(|definition| definition.names())
}

fn definitions_by_name() -> &'static HashMap<&'static str, Function> {
    static DEFINITIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
        definitions()
            .into_iter()
            .map(|definition| (definition.name(), definition))
            .collect()
    });
    &DEFINITIONS
}

fn definitions() -> Vec<Function> {
    [
        arrays::functions(),
        casts::functions(),
        conditional::functions(),
        csv::functions(),
        datetime::functions(),
        geometry::functions(),
        hash::functions(),
        json::functions(),
        maps::functions(),
        math::functions(),
        misc::functions(),
        regexp::functions(),
        sketches::functions(),
        strings::functions(),
        vectors::functions(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;

    /// Returns the names in backticks in one column of the tables of a section.
    fn documented(section: &str, column: usize) -> BTreeSet<String> {
        let document = include_str!("../../../docs/functions.md");
        let (_, rest) = document.split_once(&format!("## {section}\n")).unwrap();
        let section = rest.split("\n## ").next().unwrap();
        let cells = section
            .lines()
            .filter_map(|line| line.split('|').nth(column));
        let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        names.map(str::to_owned).collect()
    }

    fn registered() -> BTreeSet<String> {
        let mut state = SessionStateBuilder::new().with_default_features().build();
        register(&mut state).unwrap();
        let scalars = state.scalar_functions().keys();
        let aggregates = state.aggregate_functions().keys();
        let windows = state.window_functions().keys();
        let lambdas = state.higher_order_functions().keys();
        scalars
            .chain(aggregates)
            .chain(windows)
            .chain(lambdas)
            .cloned()
            .collect()
    }

    #[test]
    fn documented_functions_are_registered_and_missing_ones_are_not() {
        let registered = registered();
        let absent: Vec<_> = documented("Available", 2)
            .difference(&registered)
            .cloned()
            .collect();
        assert_eq!(
            absent, [""; 0],
            "docs/functions.md lists functions that do not exist"
        );
        let present: Vec<_> = documented("Missing", 1)
            .intersection(&registered)
            .cloned()
            .collect();
        assert_eq!(
            present, [""; 0],
            "docs/functions.md says that functions are missing that exist"
        );
    }

    #[test]
    fn every_function_of_ours_is_documented() {
        let documented = documented("Available", 2);
        // Names that DataFusion has and Spark lacks are kept for statements that use them; the
        // dialect calls `time_windows` for `window`, casts are calls of `to_wall_timestamp`,
        // `try_to_boolean` and their like, `ceil(x, scale)` is one of `ceil_to_scale`, `+` is one of
        // `instant_plus_interval`, and a cast to DECIMAL reads the text of `plain_number`.
        let extra = [
            "ceil_to_scale",
            "floor_to_scale",
            "instant_minus_interval",
            "instant_plus_interval",
            "list_append",
            "list_prepend",
            "normalize_interval",
            "plain_number",
            "today",
            "time_windows",
            "try_to_boolean",
            "try_to_double",
            "to_wall_timestamp",
            "try_to_wall_timestamp",
        ];
        let names = definitions()
            .into_iter()
            .flat_map(|function| function.names());
        let absent: Vec<_> = names
            .filter(|name| !documented.contains(*name) && !extra.contains(name))
            .collect();
        assert_eq!(absent, [""; 0]);
    }
}
