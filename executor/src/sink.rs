//! The sink: a task writes its own files, where no reader sees them.
//!
//! On this machine that is a staging folder; on object stores, uploads that are not completed. The
//! driver makes one attempt of each task visible, and throws away what other attempts wrote.

mod encode;
mod partition;
mod place;
mod statistics;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::stores::Stores;
use crate::wire::{PendingFile, SinkSpec, TaskSpec};
use encode::FileEncoder;
use partition::Partitioner;
use place::Place;
pub use statistics::{ColumnSummary, Sketches, Values};

/// Files open at once in one task; with more folders than this, the fullest file is closed early.
const OPEN_FILES_MAX: usize = 64;

/// Writes one attempt's rows. Dropping it leaves unfinished files, which nobody looks at.
pub struct SinkWriter {
    spec: SinkSpec,
    place: Place,
    prefix: String,
    partitioner: Partitioner,
    open: HashMap<String, FileEncoder>,
    files_started: u32,
    done: Vec<PendingFile>,
    /// Where the table's columns are to be described.
    sketches: Option<Sketches>,
    /// Covers what the encoders hold.
    reservation: MemoryReservation,
}

impl SinkWriter {
    /// For rows of `schema`.
    ///
    /// # Errors
    /// If the folder is on no store that can be written, or a partition column is missing.
    pub fn new(
        spec: SinkSpec,
        task: &TaskSpec,
        schema: &SchemaRef,
        context: &TaskContext,
        stores: &Stores,
    ) -> Result<Self> {
        let place = Place::new(&spec.folder, stores)?;
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
            place,
            prefix,
            partitioner,
            open: HashMap::new(),
            files_started: 0,
            done: vec![],
            sketches,
            reservation,
            spec,
        })
    }

    /// Writes one batch.
    ///
    /// # Errors
    /// If the store fails, or memory runs out.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some(sketches) = &mut self.sketches {
            sketches.update(&batch)?;
        }
        for (folder, rows) in self.partitioner.split(&batch)? {
            self.write_to(folder, &rows).await?;
        }
        let held = self.open.values().map(FileEncoder::memory_bytes).sum();
        self.reservation.try_resize(held)
    }

    async fn write_to(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() >= OPEN_FILES_MAX {
                self.close_fullest().await?;
            }
            let encoder = self.start(&folder, rows).await?;
            self.open.insert(folder.clone(), encoder);
        }
        let encoder = self
            .open
            .get_mut(&folder)
            .ok_or_else(|| exec_datafusion_err!("file of {folder} vanished"))?;
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
        FileEncoder::new(&self.spec, &self.place, path, rows.schema()).await
    }

    async fn close_fullest(&mut self) -> Result<()> {
        let fullest = self
            .open
            .iter()
            .max_by_key(|(_, encoder)| encoder.memory_bytes())
            .map(|(folder, _)| folder.clone());
        match fullest {
            Some(folder) => self.close(&folder).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(encoder) = self.open.remove(folder) {
            self.done.push(encoder.finish().await?);
        }
        Ok(())
    }

    /// Finishes every file. A task without rows writes none, except where `keep_schema` asks for
    /// one empty file, so that an empty table still has columns.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finish(
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
        self.done.sort_by(|a, b| a.path.cmp(&b.path));
        let statistics = self.sketches.as_mut().map(Sketches::encode).transpose()?;
        Ok((self.done, statistics))
    }
}
