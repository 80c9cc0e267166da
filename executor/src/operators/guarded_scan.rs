//! A scan of Parquet whose errors name its files, and that reports a panic of a decoder as an
//! error.
//!
//! Decoders do not check everything that they read, so a damaged file can make one panic. This is
//! not a defect of the engine, and the task must not be tried again, so the error is one of the
//! input.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

use crate::error::{catch_panic, classify, is_beyond_end};
use crate::protocol::FailureKind;

/// Maximum number of files that an error names.
const NAMED_FILES_MAX: usize = 5;

/// Wraps a scan. It changes neither rows nor partitions.
#[derive(Debug)]
pub(crate) struct GuardedScan {
    scan: Arc<dyn ExecutionPlan>,
    /// The files of each partition, as an error names them.
    files: Vec<String>,
}

impl GuardedScan {
    pub(crate) fn new(scan: Arc<dyn ExecutionPlan>, config: &FileScanConfig) -> Self {
        let root = config.object_store_url.as_str();
        let root = root.strip_prefix("file://").unwrap_or(root);
        let names = config.file_groups.iter().map(|group| {
            let mut names: Vec<String> = group
                .iter()
                .map(|file| format!("{root}{}", file.object_meta.location))
                .collect();
            names.dedup();
            let more = names.len().saturating_sub(NAMED_FILES_MAX);
            names.truncate(NAMED_FILES_MAX);
            match (names.as_slice(), more) {
                ([only], _) => only.clone(),
                (names, 0) => format!("one of {}", names.join(", ")),
                (names, more) => format!("one of {} and {more} more", names.join(", ")),
            }
        });
        Self {
            files: names.collect(),
            scan,
        }
    }
}

impl DisplayAs for GuardedScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedScan")
    }
}

impl ExecutionPlan for GuardedScan {
    fn name(&self) -> &'static str {
        "GuardedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.scan]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            scan: children.pop().unwrap_or_else(|| Arc::clone(&self.scan)),
            files: self.files.clone(),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let files = self.files.get(partition).cloned().unwrap_or_default();
        let rows = self.scan.execute(partition, context)?;
        Ok(Box::pin(GuardedStream { rows, files }))
    }
}

struct GuardedStream {
    rows: SendableRecordBatchStream,
    files: String,
}

impl Stream for GuardedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // After a panic the stream is never polled again.
        match catch_panic(|| self.rows.poll_next_unpin(cx)) {
            Ok(polled) => {
                polled.map(|item| item.map(|item| item.map_err(|e| with_files(e, &self.files))))
            }
            Err(panic) => Poll::Ready(Some(Err(exec_datafusion_err!(
                "{}: the file is damaged, or is of a kind that cannot be read: {panic}",
                self.files
            )))),
        }
    }
}

impl RecordBatchStream for GuardedStream {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// Adds the names of the files to errors of decoders, and of columns that cannot be found. Errors
/// of stores name their file already, except for a file that is shorter than its footer says.
fn with_files(error: DataFusionError, files: &str) -> DataFusionError {
    if is_beyond_end(&error) {
        return exec_datafusion_err!(
            "{files}: the file is damaged: it ends before the bytes that its footer refers to; rewrite it"
        );
    }
    let is_decoder_error = matches!(
        error.find_root(),
        DataFusionError::ParquetError(_)
            | DataFusionError::ArrowError(_, _)
            | DataFusionError::Plan(_)
    );
    if is_decoder_error && classify(&error).kind == FailureKind::User {
        error.context(files.to_owned())
    } else {
        error
    }
}
