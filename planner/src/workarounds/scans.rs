//! Replaces scans of files by scans with other statistics or filters.

use std::sync::Arc;

use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::physical::replace_nodes;

/// Replaces each scan of files for which `replacement` returns another one.
pub(super) fn replace_scans(
    plan: Arc<dyn ExecutionPlan>,
    replacement: impl Fn(&FileScanConfig) -> Option<FileScanConfig>,
) -> Result<Arc<dyn ExecutionPlan>> {
    replace_nodes(plan, |scan: &DataSourceExec| {
        let config = scan.data_source().downcast_ref::<FileScanConfig>();
        let replaced = config.and_then(&replacement);
        Ok(replaced.map(|config| DataSourceExec::from_data_source(config) as _))
    })
}

/// Returns a scan whose statistics are corrected: those of each file, of each group, and of all
/// files together.
pub(super) fn with_statistics(
    scan: &FileScanConfig,
    correct: impl Fn(&mut Statistics),
) -> FileScanConfig {
    let corrected = |statistics: &Statistics| {
        let mut statistics = statistics.clone();
        correct(&mut statistics);
        statistics
    };
    let groups = scan.file_groups.iter().map(|group| {
        let files = group.files().iter().cloned().map(|mut file| {
            file.statistics = file.statistics.as_deref().map(corrected).map(Arc::new);
            file
        });
        let copy = FileGroup::new(files.collect());
        match group.file_statistics(None) {
            Some(statistics) => copy.with_statistics(Arc::new(corrected(statistics))),
            None => copy,
        }
    });
    FileScanConfigBuilder::from(scan.clone())
        .with_file_groups(groups.collect())
        .with_statistics(corrected(&scan.statistics()))
        .build()
}
