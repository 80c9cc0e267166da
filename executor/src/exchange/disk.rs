//! The disk tier: one file per attempt, of Arrow IPC streams with LZ4, each with a checksum.

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

use crate::spill::{EXCHANGE, spill_error};

/// A finished spill file. Dropping it deletes the file.
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

/// A range of a [`SpillFile`]: one Arrow IPC stream.
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

    /// Returns the encoded bytes, after a check of the checksum.
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

/// Encodes batches as an Arrow IPC stream with LZ4.
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

/// Bytes after which written pages are flushed to disk and dropped from the page cache, because the
/// page cache counts against a container's memory limit.
const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Appends segments to a file in the executor's spill folder.
pub(super) struct SpillWriter {
    temp: Arc<dyn TempFile>,
    path: PathBuf,
    file: BufWriter<File>,
    offset: u64,
    /// Bytes that may still be in the page cache.
    cached: u64,
}

impl fmt::Debug for SpillWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillWriter")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl SpillWriter {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>) -> Result<Self> {
        let temp = runtime.disk_manager.create_tmp_file(EXCHANGE)?;
        let path = temp
            .path()
            .ok_or_else(|| exec_datafusion_err!("the spill folder is not on a local disk"))?
            .to_path_buf();
        let file = BufWriter::new(File::create(&path).map_err(|e| spill_error(&path, &e))?);
        Ok(Self {
            temp,
            path,
            file,
            offset: 0,
            cached: 0,
        })
    }

    /// Returns the number of bytes written.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Appends a stream encoded by [`encode`].
    pub(super) fn append(&mut self, encoded: &[u8]) -> Result<DiskSegment> {
        self.file
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
        self.file.flush().map_err(|e| spill_error(&self.path, &e))?;
        let file = self.file.get_ref();
        rustix::fs::fdatasync(file).map_err(|e| spill_error(&self.path, &e.into()))?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|e| spill_error(&self.path, &e.into()))?;
        self.cached = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<SpillFile> {
        self.file.flush().map_err(|e| spill_error(&self.path, &e))?;
        let handle = File::open(&self.path).map_err(|e| spill_error(&self.path, &e))?;
        Ok(SpillFile {
            path: self.path,
            handle,
            _temp: self.temp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    fn batch(values: [i64; 3]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn a_segment_reads_back_its_own_rows() {
        let mut writer = SpillWriter::new(&Arc::new(RuntimeEnv::default())).unwrap();
        let batches = [batch([1, 2, 3]), batch([4, 5, 6])];
        let segments = batches.clone().map(|batch| {
            let encoded = encode(&batch.schema(), &[batch]).unwrap();
            writer.append(&encoded).unwrap()
        });
        let file = writer.finish().unwrap();
        for (segment, batch) in segments.into_iter().zip(batches) {
            assert_eq!(segment.read(Some(&file)).unwrap(), [batch]);
        }
    }

    #[test]
    fn a_damaged_segment_is_an_error_that_names_the_file() {
        let mut writer = SpillWriter::new(&Arc::new(RuntimeEnv::default())).unwrap();
        let batch = batch([1, 2, 3]);
        let segment = writer
            .append(&encode(&batch.schema(), &[batch]).unwrap())
            .unwrap();
        let file = writer.finish().unwrap();
        let mut bytes = std::fs::read(&file.path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&file.path, bytes).unwrap();
        let error = segment.read(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("checksum of "), "{error}");
    }
}
