//! The sink: each task writes its own files, which no reader sees yet.
//!
//! ```text
//! batches ─► Partitioner ─► FileEncoder of each folder ─► OutputFolder ─► PendingFile
//!                                       │ local: a file in a staging folder
//!                                       └ object store: a multipart upload, not completed
//! ```
//!
//! The driver makes the files of one attempt of each task visible, and removes those of other
//! attempts.

mod encode;
mod folder;
mod partition;
mod statistics;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::protocol::{PendingFile, SinkSpec, TaskSpec};
use crate::storage::Stores;
use encode::FileEncoder;
use folder::OutputFolder;
use partition::Partitioner;
pub use statistics::{ColumnSummary, Sketches, Values};

/// Files open at once in one task. With more folders than this, the largest file is closed early.
const OPEN_FILES_MAX: usize = 64;

/// Writes the rows of one attempt. Dropping it leaves unfinished files, which no reader opens.
pub(crate) struct SinkWriter {
    spec: SinkSpec,
    folder: OutputFolder,
    prefix: String,
    partitioner: Partitioner,
    open: HashMap<String, FileEncoder>,
    files_started: u32,
    finished: Vec<PendingFile>,
    /// Column statistics, if the catalog wants them.
    sketches: Option<Sketches>,
    /// Reserves the bytes that the encoders hold.
    reservation: MemoryReservation,
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
        context: &TaskContext,
        stores: &Stores,
    ) -> Result<Self> {
        let folder = OutputFolder::new(&spec.folder, stores)?;
        let partitioner = Partitioner::new(schema, &spec.partition_by)?;
        // Attempts never share a name: a slow loser must not overwrite the winner's file.
        let prefix = format!(
            "part-{:05}-{}-a{}",
            task.task.index, spec.tag, task.attempt.0
        );
        let reservation = MemoryConsumer::new("sink").register(context.memory_pool());
        let sketches = if spec.statistics {
            Some(Sketches::new(schema)?)
        } else {
            None
        };
        Ok(Self {
            folder,
            prefix,
            partitioner,
            open: HashMap::new(),
            files_started: 0,
            finished: vec![],
            sketches,
            reservation,
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
        for (folder, rows) in self.partitioner.split(&batch)? {
            self.write_to(folder, &rows).await?;
        }
        let buffered_bytes = self.open.values().map(FileEncoder::memory_bytes).sum();
        self.reservation.try_resize(buffered_bytes)
    }

    async fn write_to(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() >= OPEN_FILES_MAX {
                self.close_largest().await?;
            }
            let encoder = self.start(&folder, rows).await?;
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

    async fn start(&mut self, folder: &str, rows: &RecordBatch) -> Result<FileEncoder> {
        let name = format!(
            "{}-{:03}.{}",
            self.prefix,
            self.files_started,
            encode::extension(self.spec.format, self.spec.compression)
        );
        self.files_started += 1;
        let subfolder = self
            .spec
            .subfolders
            .get(folder)
            .unwrap_or(&self.spec.subfolder);
        let parts = [folder, subfolder.as_str(), name.as_str()];
        let path = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        FileEncoder::new(&self.spec, &self.folder, path, rows.schema()).await
    }

    async fn close_largest(&mut self) -> Result<()> {
        let largest = self
            .open
            .iter()
            .max_by_key(|(_, encoder)| encoder.memory_bytes())
            .map(|(folder, _)| folder.clone());
        match largest {
            Some(folder) => self.close(&folder).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(encoder) = self.open.remove(folder) {
            self.finished.push(encoder.finish().await?);
        }
        Ok(())
    }

    /// Finishes every file; returns them and the encoded column statistics.
    ///
    /// A task without rows writes no file, unless `keep_schema` is given: then it writes an empty
    /// file, so that an empty table has columns.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn finish(
        mut self,
        keep_schema: Option<&SchemaRef>,
    ) -> Result<(Vec<PendingFile>, Option<Bytes>)> {
        if self.files_started == 0
            && self.spec.partition_by.is_empty()
            && let Some(schema) = keep_schema
        {
            let empty = RecordBatch::new_empty(Arc::clone(schema));
            let encoder = self.start("", &empty).await?;
            self.open.insert(String::new(), encoder);
        }
        let folders: Vec<String> = self.open.keys().cloned().collect();
        for folder in folders {
            self.close(&folder).await?;
        }
        self.finished.sort_by(|a, b| a.path.cmp(&b.path));
        let statistics = self.sketches.as_mut().map(Sketches::encode).transpose()?;
        Ok((self.finished, statistics))
    }
}
