//! The sink: each task writes its own files, which no reader sees yet.
//!
//! ```text
//! batches ─► Partitioner ─► FileEncoder of each folder ─► OutputFolder ─► PendingFile
//!                 │                     │ local: a file in a staging folder
//!                 │                     └ object store: a multipart upload, not completed
//!                 └ too many folders ─► FolderSort ─► one folder after another
//! ```
//!
//! The driver makes the files of one attempt of each task visible, and removes those of other
//! attempts.

mod encode;
mod folder;
mod folder_sort;
mod partition;
mod partition_value;
mod statistics;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use faisca_spark::text::Zone;
use futures::StreamExt;

use crate::protocol::{EmptyOutput, PendingFile, SinkSpec, TaskSpec};
use crate::storage::ObjectStores;
use encode::FileEncoder;
use folder::OutputFolder;
use folder_sort::{FolderSort, SortFailed};
use partition::Partitioner;
pub use partition_value::{NULL_PARTITION, partition_folders};
pub use statistics::{ColumnSummary, Sketches, Values};

/// Maximum number of files open at once in one task. With more folders, the rows are sorted by
/// folder.
const OPEN_FILES_MAX: usize = 64;

/// Writes the rows of one attempt. Dropping it leaves unfinished files, which no reader opens.
pub(crate) struct SinkWriter {
    spec: SinkSpec,
    folder: OutputFolder,
    prefix: String,
    schema: SchemaRef,
    partitioner: Partitioner,
    open: HashMap<String, FileEncoder>,
    /// Takes all rows, once there are too many folders.
    sort: Option<FolderSort>,
    context: Arc<TaskContext>,
    files_started: u32,
    finished: Vec<PendingFile>,
    /// Column statistics, if the catalog wants them.
    sketches: Option<Sketches>,
    /// Reserves the bytes that the encoders hold.
    reservation: MemoryReservation,
    spilled_bytes: u64,
}

/// The output of a task.
pub(crate) struct WrittenRows {
    pub(crate) files: Vec<PendingFile>,
    /// Encoded column statistics, if the catalog wants them.
    pub(crate) statistics: Option<Bytes>,
    /// Bytes that were spilled to sort rows by folder.
    pub(crate) spilled_bytes: u64,
}

impl SinkWriter {
    /// Creates a writer of rows of `schema`.
    ///
    /// # Errors
    /// If the folder's store cannot be written, or a partition column is missing.
    pub(crate) fn new(
        spec: SinkSpec,
        task: &TaskSpec,
        schema: &SchemaRef,
        context: &Arc<TaskContext>,
        stores: &ObjectStores,
    ) -> Result<Self> {
        let folder = OutputFolder::new(&spec.folder, stores)?;
        let zone = Zone::of_session(context.session_config().options())?;
        let partitioner = Partitioner::new(schema, &spec.partition_by, zone)?;
        // Attempts never share a name: a slow loser must not overwrite the winner's file.
        let prefix = format!(
            "part-{:05}-{}-a{}",
            task.task.index, spec.tag, task.attempt.0
        );
        let reservation = MemoryConsumer::new("sink").register(context.memory_pool());
        let sketches = if spec.computes_statistics {
            Some(Sketches::new(schema)?)
        } else {
            None
        };
        Ok(Self {
            folder,
            prefix,
            schema: Arc::clone(schema),
            partitioner,
            open: HashMap::new(),
            sort: None,
            context: Arc::clone(context),
            files_started: 0,
            finished: vec![],
            sketches,
            reservation,
            spilled_bytes: 0,
            spec,
        })
    }

    /// Writes one batch.
    ///
    /// # Errors
    /// If the store fails, or memory runs out.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(sketches) = &mut self.sketches {
            sketches.update(&batch)?;
        }
        if let Some(sort) = &self.sort {
            return match sort.push(batch).await {
                Ok(()) => Ok(()),
                Err(SortFailed) => self.write_sorted().await,
            };
        }
        let split = self.partitioner.split(&batch)?;
        let is_new = |folder: &&(String, _)| !self.open.contains_key(&folder.0);
        let folders = self.open.len() + split.ranges.iter().filter(is_new).count();
        if folders > OPEN_FILES_MAX {
            // Closing files to open others, and opening them again, would leave files with few
            // rows.
            self.close_all().await?;
            let keys = self.partitioner.key_positions();
            let sort = FolderSort::start(&self.schema, &keys, &self.context)?;
            let pushed = sort.push(batch).await;
            self.sort = Some(sort);
            if let Err(SortFailed) = pushed {
                return self.write_sorted().await;
            }
        } else {
            for (folder, range) in split.ranges {
                let rows = split.rows.slice(range.start, range.len());
                self.write_to(folder, &rows).await?;
            }
        }
        self.reserve()
    }

    /// Reserves the memory that the open files hold.
    fn reserve(&mut self) -> Result<()> {
        let held = self.open.values().map(FileEncoder::memory_bytes).sum();
        self.reservation.try_resize(held)
    }

    /// Ends the sort, if there is one, and writes its rows one folder after another.
    async fn write_sorted(&mut self) -> Result<()> {
        let Some(sort) = self.sort.take() else {
            return Ok(());
        };
        let plan = sort.plan();
        let mut sorted = sort.finish().await?;
        while let Some(batch) = sorted.next().await.transpose()? {
            tokio::task::consume_budget().await;
            let split = self.partitioner.split(&batch)?;
            for (folder, range) in split.ranges {
                if !self.open.contains_key(&folder) {
                    self.close_all().await?;
                }
                let rows = split.rows.slice(range.start, range.len());
                self.write_to(folder, &rows).await?;
            }
            self.reserve()?;
        }
        let spilled = plan.metrics().and_then(|metrics| metrics.spilled_bytes());
        self.spilled_bytes = spilled.unwrap_or_default() as u64;
        Ok(())
    }

    async fn write_to(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            let encoder = self.start_file(&folder, rows.schema()).await?;
            self.open.insert(folder.clone(), encoder);
        }
        let encoder = self
            .open
            .get_mut(&folder)
            .ok_or_else(|| exec_datafusion_err!("the file of {folder} is not open"))?;
        encoder.write(rows).await?;
        if encoder.bytes() >= self.spec.target_file_bytes {
            self.close(&folder).await?;
        }
        Ok(())
    }

    async fn start_file(&mut self, folder: &str, schema: SchemaRef) -> Result<FileEncoder> {
        let name = format!(
            "{}-{:03}.{}",
            self.prefix,
            self.files_started,
            encode::extension(self.spec.format, self.spec.compression)
        );
        self.files_started += 1;
        let parts = match self.spec.existing.get(folder) {
            Some(existing) => [existing.as_str(), "", name.as_str()],
            None => [folder, self.spec.subfolder.as_str(), name.as_str()],
        };
        let path = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        FileEncoder::new(&self.spec, &self.folder, path, schema).await
    }

    async fn close_all(&mut self) -> Result<()> {
        let folders: Vec<String> = self.open.keys().cloned().collect();
        for folder in folders {
            self.close(&folder).await?;
        }
        Ok(())
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(encoder) = self.open.remove(folder) {
            self.finished.push(encoder.finish().await?);
        }
        Ok(())
    }

    /// Finishes every file.
    ///
    /// `empty` states what a task without rows writes.
    ///
    /// # Errors
    /// If the store fails, or memory runs out.
    pub(crate) async fn finish(mut self, empty: EmptyOutput) -> Result<WrittenRows> {
        self.write_sorted().await?;
        if self.files_started == 0 && empty == EmptyOutput::SchemaFile {
            let schema = self.partitioner.file_schema(&self.schema)?;
            let folder = self.partitioner.null_folder();
            let encoder = self.start_file(&folder, schema).await?;
            self.open.insert(folder, encoder);
        }
        self.close_all().await?;
        self.folder.sync(&self.finished).await?;
        self.finished.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(WrittenRows {
            statistics: self.sketches.as_mut().map(Sketches::encode).transpose()?,
            files: self.finished,
            spilled_bytes: self.spilled_bytes,
        })
    }
}
