//! Refuses arguments that Spark refuses before a query runs, where DataFusion would convert them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable};

/// What an argument must be.
#[derive(Clone, Copy)]
enum Kind {
    /// A whole number of at most 32 bits, or text, which is read as one.
    Int,
    /// A whole number.
    Whole,
    /// Text.
    Text,
    /// A time of day.
    Time,
    /// A value that does not depend on the rows.
    Constant,
}

/// Functions and the position of an argument, counted from 0, with what it must be.
const ARGUMENTS: [(&str, usize, Kind); 21] = [
    ("date_add", 1, Kind::Int),
    ("date_sub", 1, Kind::Int),
    ("json_array_length", 0, Kind::Text),
    ("json_object_keys", 0, Kind::Text),
    ("mask", 1, Kind::Constant),
    ("mask", 2, Kind::Constant),
    ("mask", 3, Kind::Constant),
    ("mask", 4, Kind::Constant),
    ("rand", 0, Kind::Whole),
    ("random", 0, Kind::Whole),
    ("randn", 0, Kind::Whole),
    ("randstr", 0, Kind::Constant),
    ("randstr", 1, Kind::Whole),
    ("randstr", 1, Kind::Constant),
    ("schema_of_csv", 0, Kind::Constant),
    ("schema_of_json", 0, Kind::Constant),
    ("schema_of_xml", 0, Kind::Constant),
    ("uniform", 0, Kind::Constant),
    ("uniform", 1, Kind::Constant),
    ("uniform", 2, Kind::Whole),
    ("uniform", 2, Kind::Constant),
];

/// Functions that take a date and a time of day, or six numbers, perhaps with a zone.
const TIMESTAMPS: [&str; 6] = [
    "make_timestamp",
    "make_timestamp_ltz",
    "make_timestamp_ntz",
    "try_make_timestamp",
    "try_make_timestamp_ltz",
    "try_make_timestamp_ntz",
];

/// Checks the arguments of a call.
///
/// # Errors
/// If one has another type than the function takes, or must not depend on the rows.
pub(super) fn check(call: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    let name = call.name();
    for (function, position, kind) in ARGUMENTS {
        if function == name
            && let Some(argument) = call.args.get(position)
        {
            check_argument(name, argument, kind, schema)?;
        }
    }
    if TIMESTAMPS.contains(&name)
        && call.args.len() <= 3
        && let Some(time) = call.args.get(1)
    {
        check_argument(name, time, Kind::Time, schema)?;
    }
    Ok(())
}

fn check_argument(name: &str, argument: &Expr, kind: Kind, schema: &DFSchema) -> Result<()> {
    if let Kind::Constant = kind {
        return match depends_on_rows(argument)? {
            true => plan_err!(
                "[DATATYPE_MISMATCH.NON_FOLDABLE_INPUT] {name}: {argument} must be a constant, because it is read once and \
                 not for each row"
            ),
            false => Ok(()),
        };
    }
    // A type that is not known yet is checked where it is.
    let Ok(data_type) = argument.get_type(schema) else {
        return Ok(());
    };
    let is_written_text = data_type.is_string() && matches!(argument, Expr::Literal(..));
    let (is_right, expected) = match kind {
        Kind::Int => {
            let is_int = matches!(
                data_type,
                DataType::Int8
                    | DataType::Int16
                    | DataType::Int32
                    | DataType::UInt8
                    | DataType::UInt16
            );
            (is_int || data_type.is_string(), "an INT")
        }
        Kind::Whole => (data_type.is_integer(), "an INT or a BIGINT"),
        Kind::Text => (data_type.is_string(), "text"),
        Kind::Time => {
            let is_time = matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
            (is_time || is_written_text, "a TIME")
        }
        Kind::Constant => (true, ""),
    };
    match is_right || data_type.is_null() {
        true => Ok(()),
        false => plan_err!(
            "[DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE] {name}: {argument} is of type {}, and must be {expected}; cast it",
            crate::functions::types::name_of(&data_type)
        ),
    }
}

fn depends_on_rows(expr: &Expr) -> Result<bool> {
    expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::LambdaVariable(_)
                | Expr::ScalarSubquery(_)
        ))
    })
}
