//! Distances of RANGE frames: over a DATE, a number counts days.
//!
//! DataFusion reads the distance of `10 PRECEDING` over a date or a timestamp as an interval without
//! a unit, which counts months.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFrameBound, WindowFrameUnits};

use crate::functions::is_text;
use crate::functions::types::name_of;

/// Gives the distances of a window's frame the type that belongs to its sort key.
///
/// # Errors
/// If a number is the distance between timestamps or texts, or a fraction that between dates.
pub(super) fn resolve(
    mut window: Box<WindowFunction>,
    schema: &DFSchema,
) -> Result<Transformed<Expr>> {
    let params = &mut window.params;
    let key_type = match (params.window_frame.units, params.order_by.first()) {
        (WindowFrameUnits::Range, Some(key)) => key.expr.get_type(schema),
        _ => return Ok(Transformed::no(Expr::WindowFunction(window))),
    };
    let Ok(key_type) = key_type else {
        return Ok(Transformed::no(Expr::WindowFunction(window)));
    };
    let is_time = matches!(key_type, DataType::Date32 | DataType::Timestamp(..));
    if !is_time && !is_text(&key_type) {
        return Ok(Transformed::no(Expr::WindowFunction(window)));
    }
    let frame = &mut params.window_frame;
    let mut is_changed = false;
    for bound in [&mut frame.start_bound, &mut frame.end_bound] {
        if let WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) = bound
            && let Some(days) = days_of_distance(distance, &key_type)?
        {
            *distance = ScalarValue::new_interval_mdn(0, days, 0);
            is_changed = true;
        }
    }
    let window = Expr::WindowFunction(window);
    Ok(Transformed::new_transformed(window, is_changed))
}

/// Returns the days between two dates that a number stands for; `None` for an interval, and for an
/// unbounded frame.
fn days_of_distance(distance: &ScalarValue, key_type: &DataType) -> Result<Option<i32>> {
    // DataFusion's planner keeps a distance as the text of a number or of an interval.
    let Some(text) = distance.try_as_str().flatten() else {
        return Ok(None);
    };
    if text.trim().parse::<f64>().is_err() {
        return Ok(None);
    }
    match (key_type, text.trim().parse()) {
        (DataType::Date32, Ok(days)) => Ok(Some(days)),
        (DataType::Date32, Err(_)) => plan_err!(
            "[DATATYPE_MISMATCH.RANGE_FRAME_INVALID_TYPE] a RANGE frame over a DATE counts whole days, not {text}"
        ),
        _ => plan_err!(
            "[DATATYPE_MISMATCH.RANGE_FRAME_INVALID_TYPE] {text} is no distance between values of the type {}; order by \
             a number, or between timestamps write an interval, such as INTERVAL {text} DAYS",
            name_of(key_type)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::TimeUnit;

    #[test]
    fn a_number_counts_days_between_dates_only() {
        let days = |text: &str, key_type| days_of_distance(&ScalarValue::from(text), key_type);
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(days("10", &DataType::Date32).unwrap(), Some(10));
        assert_eq!(days("10 DAY", &DataType::Date32).unwrap(), None);
        assert_eq!(days("10 DAY", &timestamp).unwrap(), None);
        assert!(days("1.5", &DataType::Date32).is_err());
        assert!(days("10", &timestamp).is_err());
        assert!(days("10", &DataType::Utf8).is_err());
        let unbounded = ScalarValue::Utf8(None);
        assert_eq!(days_of_distance(&unbounded, &timestamp).unwrap(), None);
    }
}
