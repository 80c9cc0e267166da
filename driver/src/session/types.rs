//! SQL types that have another meaning here than in DataFusion.

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::common::datatype::DataTypeExt;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// `TIMESTAMP` counts microseconds, as in Spark: nanoseconds end in the year 2262.
#[derive(Debug)]
pub(super) struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        Ok(match sql_type {
            SqlType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
                Some(data_type.into_nullable_field_ref())
            }
            _ => None,
        })
    }
}
