//! Functions that convert between text and dates: `to_date`, `to_timestamp`, `date_format`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::simplify::ExprSimplifyResult;

use super::TIME;
use super::current::{fail_unplanned, simplify_to_query_start};
use super::pattern::Pattern;
use crate::functions::convert::{
    self, DAY_MICROS, Zone, parse_date, parse_time, parse_timestamp, parse_wall,
};
use crate::functions::scalar::{Call, Function, OnInvalid, Param, Returns};

/// The default pattern of functions that write text.
const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let local = Returns::Type(DataType::Timestamp(TimeUnit::Microsecond, None));
    let text = Returns::Type(DataType::Utf8);
    let date = Returns::Type(DataType::Date32);
    vec![
        with_pattern("to_date", date.clone(), |call| {
            to_date(call, OnInvalid::Fail)
        }),
        with_pattern("try_to_date", date, |call| to_date(call, OnInvalid::Null)),
        with_pattern("to_timestamp", Returns::Instant, |call| {
            to_instant(call, OnInvalid::Fail)
        })
        .aliases(&["to_timestamp_ltz"]),
        with_pattern("try_to_timestamp", Returns::Instant, |call| {
            to_instant(call, OnInvalid::Null)
        }),
        with_pattern("to_timestamp_ntz", local, to_local),
        with_pattern("to_time", Returns::Type(TIME), |call| {
            to_time(call, OnInvalid::Fail)
        }),
        with_pattern("try_to_time", Returns::Type(TIME), |call| {
            to_time(call, OnInvalid::Null)
        }),
        with_pattern(
            "to_unix_timestamp",
            Returns::Type(DataType::Int64),
            to_seconds,
        ),
        unix_timestamp(),
        Function::new(
            "date_format",
            &[Param::Instant, Param::Text],
            text.clone(),
            date_format,
        ),
        Function::new(
            "from_unixtime",
            &[Param::Long, Param::Text],
            text,
            from_unixtime,
        )
        .optional(1),
    ]
}

/// Compiles the patterns of a column. Equal patterns in consecutive rows are compiled once.
struct Patterns<'a> {
    texts: &'a StringArray,
    compile: fn(&str) -> Result<Pattern>,
    last: Option<(usize, Pattern)>,
}

impl<'a> Patterns<'a> {
    fn for_writing(texts: &'a StringArray) -> Self {
        Self {
            texts,
            compile: Pattern::compile,
            last: None,
        }
    }

    fn for_reading(texts: &'a StringArray) -> Self {
        Self {
            compile: Pattern::compile_for_reading,
            ..Self::for_writing(texts)
        }
    }

    fn get(&mut self, row: usize) -> Result<&Pattern> {
        let text = self.texts.value(row);
        let pattern = match self.last.take() {
            Some((last, pattern)) if self.texts.value(last) == text => pattern,
            _ => (self.compile)(text)?,
        };
        Ok(&self.last.insert((row, pattern)).1)
    }
}

/// Parses text with a pattern, or with `default` if there is none. `take` converts a wall clock and
/// its zone to the result.
fn parse_texts<T>(
    call: &Call,
    on_invalid: OnInvalid,
    default: impl Fn(&str) -> Option<T>,
    take: impl Fn(i64, Option<Zone>) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let texts = convert::to_text(&call.arrays[0], &call.zone)?;
    let texts: &StringArray = datafusion::arrow::array::AsArray::as_string(&texts);
    let mut patterns = call
        .has_argument(1)
        .then(|| Patterns::for_reading(call.text(1)));
    let nulls = call.validity();
    let is_null =
        |row| texts.is_null(row) || nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut values = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if is_null(row) {
            values.push(None);
            continue;
        }
        let text = texts.value(row);
        let value = match &mut patterns {
            None => default(text),
            Some(patterns) => patterns
                .get(row)?
                .parse(text)
                .and_then(|(wall, zone)| take(wall, zone)),
        };
        if value.is_none() && on_invalid == OnInvalid::Fail {
            return exec_err!(
                "{}: [CANNOT_PARSE_TIMESTAMP] '{text}' does not match the pattern; the function with the prefix try_ returns NULL for it",
                call.name
            );
        }
        values.push(value);
    }
    Ok(values)
}

/// A function of a value and an optional pattern.
fn with_pattern(
    name: &'static str,
    returns: Returns,
    body: fn(&Call) -> Result<ArrayRef>,
) -> Function {
    Function::new(name, &[Param::Any, Param::Text], returns, body).optional(1)
}

/// `unix_timestamp(value, pattern)`. Without an argument, the result is the start of the query.
fn unix_timestamp() -> Function {
    with_pattern(
        "unix_timestamp",
        Returns::Type(DataType::Int64),
        |call| match call.arrays.is_empty() {
            true => fail_unplanned(call),
            false => to_seconds(call),
        },
    )
    .optional(2)
    .stable()
    .simplify(|args, context| match args.is_empty() {
        true => simplify_to_query_start(args, context, |instant, _| {
            ScalarValue::Int64(Some(instant.div_euclid(1_000_000)))
        }),
        false => Ok(ExprSimplifyResult::Original(args)),
    })
}

fn is_text(call: &Call) -> bool {
    convert::is_text(call.arrays[0].data_type())
}

fn day_of(wall: i64) -> Option<i32> {
    i32::try_from(wall.div_euclid(DAY_MICROS)).ok()
}

fn to_date(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    if !is_text(call) {
        return convert::convert(&call.arrays[0], Param::Date, &call.zone);
    }
    let in_session = |wall, zone: Option<Zone>| {
        day_of(zone.map_or(wall, |zone| call.zone.wall_of(zone.instant_of(wall))))
    };
    let days = parse_texts(call, on_invalid, parse_date, in_session)?;
    Ok(Arc::new(Date32Array::from(days)))
}

fn to_instant(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    if !is_text(call) {
        return instants_of(call);
    }
    let default = |text: &str| parse_timestamp(text, &call.zone);
    let take = |wall, zone: Option<Zone>| Some(zone.unwrap_or(call.zone).instant_of(wall));
    let micros = parse_texts(call, on_invalid, default, take)?;
    Ok(Arc::new(TimestampMicrosecondArray::from(micros)))
}

/// Converts values to instants. Numbers are seconds since 1970.
pub(crate) fn instants_of(call: &Call) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    if !array.data_type().is_numeric() {
        return convert::convert(array, Param::Instant, &call.zone);
    }
    super::epoch::from_seconds(array)
}

/// As [`instants_of`], with null for text that is not a timestamp.
pub(crate) fn try_instants_of(call: &Call) -> Result<ArrayRef> {
    to_instant(call, OnInvalid::Null)
}

fn to_local(call: &Call) -> Result<ArrayRef> {
    if !is_text(call) {
        return convert::convert(&call.arrays[0], Param::Wall, &call.zone);
    }
    // The zone of a text is ignored: only its wall clock counts.
    let default = |text: &str| parse_wall(text).map(|(wall, _)| wall);
    let micros = parse_texts(call, OnInvalid::Fail, default, |wall, _| Some(wall))?;
    Ok(Arc::new(TimestampMicrosecondArray::from(micros)))
}

fn to_time(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let take = |wall: i64, _| Some(wall.rem_euclid(DAY_MICROS));
    let micros = parse_texts(call, on_invalid, parse_time, take)?;
    Ok(Arc::new(Time64MicrosecondArray::from(micros)))
}

fn to_seconds(call: &Call) -> Result<ArrayRef> {
    let instants = match (is_text(call), call.has_argument(1)) {
        (true, true) => to_instant(call, OnInvalid::Fail)?,
        (true, false) => {
            let pattern = Pattern::compile(DEFAULT_PATTERN)?;
            let default = |text: &str| {
                pattern
                    .parse(text)
                    .map(|(wall, _)| call.zone.instant_of(wall))
            };
            let micros = parse_texts(call, OnInvalid::Fail, default, |wall, _| Some(wall))?;
            Arc::new(TimestampMicrosecondArray::from(micros))
        }
        (false, _) => convert::convert(&call.arrays[0], Param::Instant, &call.zone)?,
    };
    let instants: &TimestampMicrosecondArray =
        datafusion::arrow::array::AsArray::as_primitive(&instants);
    let seconds = instants
        .iter()
        .map(|micros| micros.map(|micros| micros.div_euclid(1_000_000)));
    Ok(Arc::new(Int64Array::from_iter(seconds)))
}

fn date_format(call: &Call) -> Result<ArrayRef> {
    let instants = call.micros(0);
    let mut patterns = Patterns::for_writing(call.text(1));
    call.texts(|row| {
        let pattern = patterns.get(row)?;
        Ok(Some(format(pattern, instants.value(row), call.zone)))
    })
}

fn from_unixtime(call: &Call) -> Result<ArrayRef> {
    let seconds = call.long(0);
    let default = StringArray::from(vec![DEFAULT_PATTERN; call.rows]);
    let mut patterns = Patterns::for_writing(if call.has_argument(1) {
        call.text(1)
    } else {
        &default
    });
    call.texts(|row| {
        let pattern = patterns.get(row)?;
        let instant = seconds.value(row).saturating_mul(1_000_000);
        Ok(Some(format(pattern, instant, call.zone)))
    })
}

/// Writes an instant in a zone.
pub(crate) fn format(pattern: &Pattern, instant: i64, zone: Zone) -> String {
    let offset = zone.offset_seconds(instant.div_euclid(1_000_000));
    pattern.format(zone.wall_of(instant), offset, zone)
}
