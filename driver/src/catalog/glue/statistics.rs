//! Converts statistics of columns to the types of Glue.

use std::time::SystemTime;

use aws_sdk_glue::config::http::HttpRequest;
use aws_sdk_glue::primitives::DateTime;
use aws_sdk_glue::types::{
    BooleanColumnStatisticsData, ColumnStatistics as GlueStatistics, ColumnStatisticsData,
    ColumnStatisticsType, DateColumnStatisticsData, DoubleColumnStatisticsData,
    LongColumnStatisticsData, StringColumnStatisticsData,
};
use serde_json::Value;

use super::error::incomplete;
use crate::catalog::definition::ColumnStatistics;
use crate::error::Result;
use faisca_executor::sink::Values as ColumnValues;

/// Seconds of a day, since Glue stores dates as timestamps.
const SECONDS_PER_DAY: i64 = 24 * 3600;

/// Converts the statistics of one column.
///
/// Numeric bounds of a column without values become zero here, which the SDK does not send.
///
/// # Errors
/// If the AWS SDK rejects the statistics as incomplete.
pub(super) fn column_statistics(column: &ColumnStatistics) -> Result<GlueStatistics> {
    // Glue counts in signed integers.
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (nulls, distinct) = (signed(column.nulls), signed(column.distinct));
    let data = ColumnStatisticsData::builder();
    let data = match &column.values {
        ColumnValues::Long(bounds) => {
            let (least, greatest) = bounds.unwrap_or_default();
            let long = LongColumnStatisticsData::builder()
                .minimum_value(least)
                .maximum_value(greatest);
            let long = long
                .number_of_nulls(nulls)
                .number_of_distinct_values(distinct);
            data.r#type(ColumnStatisticsType::Long)
                .long_column_statistics_data(long.build())
        }
        ColumnValues::Double(bounds) => {
            let (least, greatest) = bounds.unwrap_or_default();
            let double = DoubleColumnStatisticsData::builder()
                .minimum_value(least)
                .maximum_value(greatest);
            let double = double
                .number_of_nulls(nulls)
                .number_of_distinct_values(distinct);
            data.r#type(ColumnStatisticsType::Double)
                .double_column_statistics_data(double.build())
        }
        ColumnValues::Date(bounds) => {
            let day = |day: i32| DateTime::from_secs(i64::from(day) * SECONDS_PER_DAY);
            let date = DateColumnStatisticsData::builder()
                .set_minimum_value(bounds.map(|(first, _)| day(first)));
            let date = date.set_maximum_value(bounds.map(|(_, last)| day(last)));
            let date = date
                .number_of_nulls(nulls)
                .number_of_distinct_values(distinct);
            data.r#type(ColumnStatisticsType::Date)
                .date_column_statistics_data(date.build())
        }
        ColumnValues::Text {
            longest,
            bytes,
            count,
        } => {
            // Avoids a division by zero for a column without values.
            let average = *bytes as f64 / (*count).max(1) as f64;
            let text = StringColumnStatisticsData::builder()
                .maximum_length(signed(*longest))
                .average_length(average);
            let text = text
                .number_of_nulls(nulls)
                .number_of_distinct_values(distinct);
            data.r#type(ColumnStatisticsType::String)
                .string_column_statistics_data(text.build())
        }
        ColumnValues::Boolean { trues, falses } => {
            let flags = BooleanColumnStatisticsData::builder()
                .number_of_trues(signed(*trues))
                .number_of_falses(signed(*falses));
            data.r#type(ColumnStatisticsType::Boolean)
                .boolean_column_statistics_data(flags.number_of_nulls(nulls).build())
        }
    };
    let statistics = GlueStatistics::builder()
        .column_name(&column.column)
        .column_type(&column.hive_type);
    let statistics = statistics
        .analyzed_time(DateTime::from(SystemTime::now()))
        .statistics_data(data.build().map_err(incomplete)?);
    statistics.build().map_err(incomplete)
}

/// Adds the bounds that are zero to a request to store statistics. The SDK leaves them out, and
/// Trino then plans without any statistics of the table.
///
/// `bounded` says which columns of the request have bounds.
pub(super) fn state_zeros(request: &mut HttpRequest, bounded: &[bool]) {
    // The SDK has built this body, so it is in memory, and is JSON. If not, it stays as it is.
    let json = request.body().bytes().map(serde_json::from_slice::<Value>);
    let Some(Ok(mut body)) = json else {
        return;
    };
    add_zeros(&mut body, bounded);
    let text = body.to_string();
    request
        .headers_mut()
        .insert("content-length", text.len().to_string());
    *request.body_mut() = text.into();
}

/// Adds `MinimumValue` and `MaximumValue` where they are missing, for the numbers of `bounded`
/// columns.
fn add_zeros(body: &mut Value, bounded: &[bool]) {
    let columns = body
        .get_mut("ColumnStatisticsList")
        .and_then(Value::as_array_mut);
    for (column, _) in columns
        .into_iter()
        .flatten()
        .zip(bounded)
        .filter(|(_, is_bounded)| **is_bounded)
    {
        for kind in ["LongColumnStatisticsData", "DoubleColumnStatisticsData"] {
            let data = column
                .get_mut("StatisticsData")
                .and_then(|d| d.get_mut(kind));
            let Some(Value::Object(data)) = data else {
                continue;
            };
            for bound in ["MinimumValue", "MaximumValue"] {
                data.entry(bound).or_insert_with(|| 0.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_of_zero_are_stated_and_missing_ones_are_not() {
        let column = |kind: &str, data: Value| json!({"StatisticsData": {kind: data}});
        let long = "LongColumnStatisticsData";
        let mut body = json!({"ColumnStatisticsList": [
            column(long, json!({"MaximumValue": 2999})),
            column(long, json!({"NumberOfNulls": 3})),
            column("DoubleColumnStatisticsData", json!({"MinimumValue": -1.5})),
            column("StringColumnStatisticsData", json!({"MaximumLength": 2})),
        ]});
        add_zeros(&mut body, &[true, false, true, true]);
        let expected = json!({"ColumnStatisticsList": [
            column(long, json!({"MinimumValue": 0, "MaximumValue": 2999})),
            column(long, json!({"NumberOfNulls": 3})),
            column("DoubleColumnStatisticsData", json!({"MinimumValue": -1.5, "MaximumValue": 0})),
            column("StringColumnStatisticsData", json!({"MaximumLength": 2})),
        ]});
        assert_eq!(body, expected);
    }
}
