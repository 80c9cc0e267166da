//! The disk tier: Arrow IPC streams with LZ4 in one file per attempt, each with its checksum.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::SpillFile as TempFile;
use datafusion::execution::runtime_env::RuntimeEnv;

/// A finished spill file; deleted when dropped.
pub struct SpillFile {
    path: PathBuf,
    handle: File,
    /// Deletes the file when dropped.
    _temp: Arc<dyn TempFile>,
}

impl fmt::Debug for SpillFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A range of a [`SpillFile`].
#[derive(Debug, Clone, Copy)]
pub struct DiskSegment {
    offset: u64,
    bytes: u64,
    crc: u32,
}

impl DiskSegment {
    pub(super) fn read(self, file: Option<&SpillFile>) -> Result<Vec<RecordBatch>> {
        let file = file.ok_or_else(|| exec_datafusion_err!("a disk segment without its file"))?;
        let mut buffer = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        file.handle.read_exact_at(&mut buffer, self.offset)?;
        if crc32fast::hash(&buffer) != self.crc {
            return Err(exec_datafusion_err!("checksum of {} differs at byte {}", file.path.display(), self.offset));
        }
        let reader = StreamReader::try_new(buffer.as_slice(), None)?;
        Ok(reader.collect::<Result<Vec<_>, _>>()?)
    }
}

/// Appends segments to a file in the executor's spill folder.
pub(super) struct SpillWriter {
    temp: Arc<dyn TempFile>,
    path: PathBuf,
    out: BufWriter<File>,
    offset: u64,
    schema: SchemaRef,
}

impl SpillWriter {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>, schema: SchemaRef) -> Result<Self> {
        let temp = runtime.disk_manager.create_tmp_file("exchange")?;
        let path = temp.path().ok_or_else(|| exec_datafusion_err!("the spill folder is not on a local disk"))?.to_path_buf();
        let out = BufWriter::new(File::create(&path)?);
        Ok(Self { temp, path, out, offset: 0, schema })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    pub(super) fn append(&mut self, batches: &[RecordBatch]) -> Result<DiskSegment> {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &self.schema, options)?;
        for batch in batches {
            writer.write(batch)?;
        }
        let encoded = writer.into_inner()?;
        self.out.write_all(&encoded)?;
        let segment = DiskSegment { offset: self.offset, bytes: encoded.len() as u64, crc: crc32fast::hash(&encoded) };
        self.offset += segment.bytes;
        Ok(segment)
    }

    pub(super) fn finish(mut self) -> Result<SpillFile> {
        self.out.flush()?;
        let handle = File::open(&self.path)?;
        Ok(SpillFile { path: self.path, handle, _temp: self.temp })
    }
}
