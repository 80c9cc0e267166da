//! Converts statistics of columns to the types of Glue.

use std::time::SystemTime;

use aws_sdk_glue::primitives::DateTime;
use aws_sdk_glue::types::{
    BooleanColumnStatisticsData, ColumnStatistics as GlueStatistics, ColumnStatisticsData,
    ColumnStatisticsType, DateColumnStatisticsData, DoubleColumnStatisticsData,
    LongColumnStatisticsData, StringColumnStatisticsData,
};

use crate::catalog::definition::ColumnStatistics;
use crate::error::{Error, Result};
use faisca_executor::sink::Values as ColumnValues;

/// Seconds of a day, since Glue stores dates as timestamps.
const SECONDS_A_DAY: i64 = 24 * 3600;

/// Converts the statistics of one column.
///
/// Numeric bounds of a column without values become zero, since Glue requires them.
///
/// # Errors
/// If the AWS SDK rejects the statistics as incomplete.
pub(super) fn column_statistics(of: &ColumnStatistics) -> Result<GlueStatistics> {
    // Glue counts in signed integers.
    let narrow = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (nulls, distinct) = (narrow(of.nulls), narrow(of.distinct));
    let data = ColumnStatisticsData::builder();
    let data = match &of.values {
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
            let day = |day: i32| DateTime::from_secs(i64::from(day) * SECONDS_A_DAY);
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
                .maximum_length(narrow(*longest))
                .average_length(average);
            let text = text
                .number_of_nulls(nulls)
                .number_of_distinct_values(distinct);
            data.r#type(ColumnStatisticsType::String)
                .string_column_statistics_data(text.build())
        }
        ColumnValues::Boolean { trues, falses } => {
            let flags = BooleanColumnStatisticsData::builder()
                .number_of_trues(narrow(*trues))
                .number_of_falses(narrow(*falses));
            data.r#type(ColumnStatisticsType::Boolean)
                .boolean_column_statistics_data(flags.number_of_nulls(nulls).build())
        }
    };
    let invalid = |e: aws_sdk_glue::error::BuildError| Error::Write(format!("catalog: {e}"));
    let statistics = GlueStatistics::builder()
        .column_name(&of.column)
        .column_type(&of.hive_type);
    let statistics = statistics
        .analyzed_time(DateTime::from(SystemTime::now()))
        .statistics_data(data.build().map_err(invalid)?);
    statistics.build().map_err(invalid)
}
