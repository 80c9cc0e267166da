//! Ignores the number of rows in a footer that says a file with bytes has none.
//!
//! Some writers leave the number of rows in a Parquet footer at 0. The row groups have the correct
//! numbers, but DataFusion uses the footer's: it takes every column for a constant and reads
//! nothing. Here such a number counts as unknown.

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;

use super::plan_rule::PlanRule;
use super::scans::{replace_scans, with_statistics};

/// Runs before results are taken from statistics.
pub(super) const ROW_COUNTS: PlanRule = PlanRule {
    name: "row_counts",
    rewrite: |plan| {
        replace_scans(plan, |scan| {
            let mut files = scan.file_groups.iter().flat_map(|group| group.files());
            let is_contradicted =
                files.any(|file| file.statistics.as_deref().is_some_and(is_contradictory));
            is_contradicted.then(|| {
                with_statistics(scan, |statistics| {
                    // The sum over all files is wrong as soon as one of them is.
                    statistics.num_rows = Precision::Absent;
                    for column in &mut statistics.column_statistics {
                        column.null_count = Precision::Absent;
                    }
                })
            })
        })
    },
};

fn is_contradictory(statistics: &Statistics) -> bool {
    let has_bytes = statistics
        .total_byte_size
        .get_value()
        .is_some_and(|bytes| *bytes > 0);
    statistics.num_rows == Precision::Exact(0) && has_bytes
}
