//! The disk tier: Arrow IPC streams with LZ4 in one file per attempt, each with its checksum.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::execution::SpillFile as TempFile;
use datafusion::execution::runtime_env::RuntimeEnv;

/// A finished spill file; deleted when dropped.
pub(super) struct SpillFile {
    path: PathBuf,
    handle: File,
    /// Deletes the file when dropped.
    _temp: Arc<dyn TempFile>,
}

impl fmt::Debug for SpillFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A range of a [`SpillFile`].
#[derive(Debug, Clone, Copy)]
pub(super) struct DiskSegment {
    offset: u64,
    bytes: u64,
    crc: u32,
}

impl DiskSegment {
    pub(super) fn read(self, file: Option<&SpillFile>) -> Result<Vec<RecordBatch>> {
        decode(&self.read_encoded(file)?)
    }

    /// The bytes as they lie on disk, checked.
    pub(super) fn read_encoded(self, file: Option<&SpillFile>) -> Result<Vec<u8>> {
        let file = file.ok_or_else(|| exec_datafusion_err!("a disk segment without its file"))?;
        let mut buffer = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        file.handle.read_exact_at(&mut buffer, self.offset)?;
        if crc32fast::hash(&buffer) != self.crc {
            return Err(exec_datafusion_err!(
                "checksum of {} differs at byte {}",
                file.path.display(),
                self.offset
            ));
        }
        Ok(buffer)
    }
}

/// Batches as an Arrow IPC stream with LZ4.
pub(super) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let options =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(bytes, None)?;
    Ok(reader.collect::<Result<Vec<_>, _>>()?)
}

/// Bytes after which written pages are brought to disk and dropped from the page cache, which counts
/// against a container's memory.
const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Appends segments to a file in the executor's spill folder.
pub(super) struct SpillWriter {
    temp: Arc<dyn TempFile>,
    path: PathBuf,
    out: BufWriter<File>,
    offset: u64,
    /// Bytes that may still be in the page cache.
    cached: u64,
}

impl SpillWriter {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>) -> Result<Self> {
        let temp = runtime.disk_manager.create_tmp_file("exchange")?;
        let path = temp
            .path()
            .ok_or_else(|| exec_datafusion_err!("the spill folder is not on a local disk"))?
            .to_path_buf();
        let out = BufWriter::new(File::create(&path).map_err(|e| spill_error(&path, &e))?);
        Ok(Self {
            temp,
            path,
            out,
            offset: 0,
            cached: 0,
        })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Appends what [`encode`] made.
    pub(super) fn append(&mut self, encoded: &[u8]) -> Result<DiskSegment> {
        self.out
            .write_all(encoded)
            .map_err(|e| spill_error(&self.path, &e))?;
        let segment = DiskSegment {
            offset: self.offset,
            bytes: encoded.len() as u64,
            crc: crc32fast::hash(encoded),
        };
        self.offset += segment.bytes;
        self.cached += segment.bytes;
        if self.cached > CACHED_BYTES_MAX {
            self.drop_cached()?;
        }
        Ok(segment)
    }

    fn drop_cached(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| spill_error(&self.path, &e))?;
        let file = self.out.get_ref();
        rustix::fs::fdatasync(file).map_err(|e| spill_error(&self.path, &e.into()))?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|e| spill_error(&self.path, &e.into()))?;
        self.cached = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<SpillFile> {
        self.out.flush().map_err(|e| spill_error(&self.path, &e))?;
        let handle = File::open(&self.path).map_err(|e| spill_error(&self.path, &e))?;
        Ok(SpillFile {
            path: self.path,
            handle,
            _temp: self.temp,
        })
    }
}

/// Names the place, and keeps the kind: a full disk is not the statement's fault.
fn spill_error(path: &Path, error: &std::io::Error) -> DataFusionError {
    let text = format!(
        "spilling to {}: {error}; `--spill-folder` takes a folder with more room",
        path.display()
    );
    DataFusionError::IoError(std::io::Error::new(error.kind(), text))
}
