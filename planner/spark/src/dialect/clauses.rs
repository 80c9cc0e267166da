//! Checks for clauses that DataFusion's planner ignores. A clause without an effect must be an
//! error.

use std::collections::HashSet;
use std::sync::LazyLock;

use datafusion::common::{Result, plan_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArguments, Query, Select, TableFactor,
};

use crate::functions::scalar_names;

/// Refuses clauses of a query that Spark does not have.
///
/// # Errors
/// If the query has one.
pub(super) fn check_query(query: &Query) -> Result<()> {
    let clause = if let Some(lock) = query.locks.first() {
        lock.to_string()
    } else if let Some(clause) = &query.for_clause {
        clause.to_string()
    } else if query.settings.is_some() {
        "SETTINGS".to_owned()
    } else if query.format_clause.is_some() {
        "FORMAT".to_owned()
    } else {
        return Ok(());
    };
    plan_err!("{clause} is not a clause of Spark's SQL; leave it out")
}

/// Refuses clauses of a SELECT that Spark does not have.
///
/// # Errors
/// If the SELECT has one.
pub(super) fn check_select(select: &Select) -> Result<()> {
    let clause = if select.prewhere.is_some() {
        "PREWHERE"
    } else if !select.connect_by.is_empty() {
        "CONNECT BY"
    } else if select.value_table_mode.is_some() {
        "SELECT AS VALUE"
    } else if select
        .select_modifiers
        .as_ref()
        .is_some_and(|modifiers| !modifiers.to_string().is_empty())
    {
        "a modifier of SELECT"
    } else if select.exclude.is_some() {
        "EXCLUDE"
    } else {
        return Ok(());
    };
    plan_err!("{clause} is not a clause of Spark's SQL; leave it out")
}

/// Refuses clauses of a table that Spark does not have, and versions of a table.
///
/// # Errors
/// If the table has one.
pub(super) fn check_table(table: &TableFactor) -> Result<()> {
    let TableFactor::Table {
        name,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        index_hints,
        ..
    } = table
    else {
        return Ok(());
    };
    if version.is_some() {
        return plan_err!(
            "{name}: tables keep no earlier versions; leave VERSION and TIMESTAMP AS OF out"
        );
    }
    let is_plain = with_hints.is_empty()
        && !with_ordinality
        && partitions.is_empty()
        && json_path.is_none()
        && index_hints.is_empty();
    if is_plain {
        return Ok(());
    }
    plan_err!(
        "{name}: hints, partitions and ordinals of a table are not clauses of Spark's SQL; leave them out"
    )
}

/// Refuses DISTINCT, FILTER, IGNORE NULLS, WITHIN GROUP and OVER after a function of one row.
///
/// # Errors
/// If a function of one row has one of them.
pub(super) fn check_call(function: &Function) -> Result<()> {
    let is_distinct = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let clause = if is_distinct {
        "DISTINCT"
    } else if function.filter.is_some() {
        "FILTER"
    } else if function.null_treatment.is_some() {
        "IGNORE NULLS"
    } else if !function.within_group.is_empty() {
        "WITHIN GROUP"
    } else if function.over.is_some() {
        "OVER"
    } else {
        return Ok(());
    };
    let name = function.name.to_string().to_lowercase();
    if is_distinct && KEEPING_DUPLICATES.contains(&name.as_str()) {
        return plan_err!(
            "{name}(DISTINCT …) would count equal rows several times; aggregate over a subquery with SELECT DISTINCT"
        );
    }
    if !functions_of_one_row().contains(name.as_str()) {
        return Ok(());
    }
    plan_err!(
        "{name} is a function of one row, and takes no {clause}; only aggregates and window functions do"
    )
}

/// Aggregates of DataFusion that do not obey DISTINCT.
const KEEPING_DUPLICATES: [&str; 13] = [
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "try_sum",
];

fn functions_of_one_row() -> &'static HashSet<String> {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let mut names: HashSet<String> = SessionStateDefaults::default_scalar_functions()
            .iter()
            .chain(&datafusion_spark::all_default_scalar_functions())
            .flat_map(|function| {
                std::iter::once(function.name().to_owned())
                    .chain(function.aliases().iter().cloned())
            })
            .chain(scalar_names().map(str::to_owned))
            .collect();
        // A name of both kinds is taken for the aggregate.
        for aggregate in SessionStateDefaults::default_aggregate_functions()
            .iter()
            .chain(&datafusion_spark::all_default_aggregate_functions())
        {
            names.remove(aggregate.name());
            for alias in aggregate.aliases() {
                names.remove(alias);
            }
        }
        names
    });
    &NAMES
}
