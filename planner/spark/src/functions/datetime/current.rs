//! Functions of the start of the query, which the planner replaces by one value for the whole
//! query.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};

use crate::functions::convert::{DAY_MICROS, Zone};
use crate::functions::scalar::{Call, Function, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let local = Returns::Type(DataType::Timestamp(TimeUnit::Microsecond, None));
    vec![
        Function::new("now", &[], Returns::Instant, fail_unplanned)
            .aliases(&["current_timestamp"])
            .stable()
            .simplify(|args, context| {
                simplify_to_query_start(args, context, |instant, _| {
                    ScalarValue::TimestampMicrosecond(Some(instant), Some("UTC".into()))
                })
            }),
        Function::new(
            "current_date",
            &[],
            Returns::Type(DataType::Date32),
            fail_unplanned,
        )
        .aliases(&["curdate", "today"])
        .stable()
        .simplify(|args, context| {
            simplify_to_query_start(args, context, |instant, zone| {
                let days = zone.wall_of(instant).div_euclid(DAY_MICROS);
                ScalarValue::Date32(i32::try_from(days).ok())
            })
        }),
        Function::new("localtimestamp", &[], local, fail_unplanned)
            .stable()
            .simplify(|args, context| {
                simplify_to_query_start(args, context, |instant, zone| {
                    ScalarValue::TimestampMicrosecond(Some(zone.wall_of(instant)), None)
                })
            }),
        Function::new(
            "current_timezone",
            &[],
            Returns::Type(DataType::Utf8),
            |call| {
                Ok(Arc::new(StringArray::from(vec![
                    call.zone.name();
                    call.rows
                ])))
            },
        ),
    ]
}

/// Replaces a call by a value that is computed from the start of the query.
pub(super) fn simplify_to_query_start(
    args: Vec<Expr>,
    context: &SimplifyContext,
    value: impl Fn(i64, Zone) -> ScalarValue,
) -> Result<ExprSimplifyResult> {
    let Some(start) = context.query_execution_start_time() else {
        return Ok(ExprSimplifyResult::Original(args));
    };
    let zone = Zone::of_session(context.config_options())?;
    let literal = Expr::Literal(value(start.timestamp_micros(), zone), None);
    Ok(ExprSimplifyResult::Simplified(literal))
}

pub(super) fn fail_unplanned(call: &Call) -> Result<ArrayRef> {
    call.fail("the planner must replace this function by the moment of the query")
}
