//! Functions of dates and timestamps.
//!
//! `DATE` is `Date32`. `TIMESTAMP` is an instant: microseconds with the session's time zone.
//! `TIMESTAMP_NTZ` is a wall clock: microseconds without zone. A wall clock given where an instant
//! is expected is read in the session's zone, as in Spark.

mod arithmetic;
pub(crate) mod civil;
mod convert;
mod current;
mod epoch;
mod fields;
mod intervals;
mod make;
pub(crate) mod pattern;
mod pattern_parse;
mod truncate;
mod units;
mod windows;

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::scalar::Function;

pub(crate) use convert::{format, instants_of, try_instants_of};
pub(crate) use fields::date_part;
pub(crate) use intervals::{NORMALIZE_INTERVAL, normalize_interval};

/// The type of a time of day.
const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// Returns the functions of dates and timestamps.
pub(crate) fn functions() -> Vec<Function> {
    [
        arithmetic::functions(),
        convert::functions(),
        current::functions(),
        epoch::functions(),
        fields::functions(),
        intervals::functions(),
        make::functions(),
        truncate::functions(),
        units::functions(),
        windows::functions(),
    ]
    .concat()
}
