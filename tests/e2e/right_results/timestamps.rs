//! INT96, the timestamps of Spark before 3.0, beyond the years of nanoseconds.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::parquet::data_type::{Int96, Int96Type};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;
use datafusion::prelude::SessionConfig;

use super::{Rows, check, upstream};

/// Days since the beginning of the Julian calendar: 0001-01-01, 1970-01-01 and 9999-12-31.
const DAYS: [u32; 3] = [1_721_426, 2_440_588, 5_373_484];

fn write_days(file: &Path) {
    let schema = Arc::new(parse_message_type("message spark { required int96 t; }").unwrap());
    let properties = Arc::new(WriterProperties::default());
    let mut writer =
        SerializedFileWriter::new(File::create(file).unwrap(), schema, properties).unwrap();
    let days = DAYS.map(|day| {
        let mut days = Int96::new();
        days.set_data(0, 0, day);
        days
    });
    let mut rows = writer.next_row_group().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column
        .typed::<Int96Type>()
        .write_batch(&days, None, None)
        .unwrap();
    column.close().unwrap();
    rows.close().unwrap();
    writer.close().unwrap();
}

const TEXTS: &str = "SELECT CAST(CAST(t AS DATE) AS VARCHAR) FROM spark";
const EXPECTED: [&str; 3] = ["0001-01-01", "1970-01-01", "9999-12-31"];

#[tokio::test(flavor = "multi_thread")]
async fn int96_holds_the_years_1_to_9999() {
    let folder = crate::support::scratch("int96");
    let file = folder.path().join("spark.parquet");
    write_days(&file);
    let table = format!(
        "CREATE EXTERNAL TABLE spark STORED AS PARQUET LOCATION '{}'",
        file.display()
    );
    check(&[&table], &[(TEXTS, Rows(&EXPECTED))]).await;
}

#[tokio::test]
async fn upstream_still_wraps_int96() {
    let folder = crate::support::scratch("int96");
    let file = folder.path().join("spark.parquet");
    write_days(&file);
    let table = format!(
        "CREATE EXTERNAL TABLE spark STORED AS PARQUET LOCATION '{}'",
        file.display()
    );
    let actual = upstream(SessionConfig::new(), &[&table], TEXTS).await;
    assert_ne!(actual, Ok(EXPECTED.map(str::to_owned).to_vec()));
}
