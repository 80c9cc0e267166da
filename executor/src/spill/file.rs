//! A file with a checksum for each part, kept in memory.
//!
//! DataFusion reads its spill files without validation, so a flipped bit would become wrong rows,
//! or worse. **No byte is returned before the checksum of its part was compared.**

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SpillFile, SpillWriter};
use futures::Stream;
use parking_lot::{Mutex, MutexGuard};
use tempfile::NamedTempFile;

use super::folder::ProcessFolder;
use super::writing_error;
use crate::error::DamagedSpill;

/// Bytes of a part, which is read at once.
const PART_BYTES: usize = 128 * 1024;

/// A spill file. Dropping it deletes the file.
pub(super) struct CheckedFile {
    temp: NamedTempFile,
    contents: Arc<Contents>,
    /// Deletes the folder after its last file.
    _folder: Arc<ProcessFolder>,
}

/// What writer and readers share.
struct Contents {
    path: PathBuf,
    handle: File,
    /// Locked for single additions and copies.
    checksums: Mutex<Checksums>,
}

/// Checksums of what was written so far.
#[derive(Default)]
struct Checksums {
    /// Of the parts that are full.
    full: Vec<u32>,
    /// Of the last part.
    last: crc32fast::Hasher,
    last_bytes: usize,
}

impl Checksums {
    fn bytes(&self) -> u64 {
        (self.full.len() * PART_BYTES + self.last_bytes) as u64
    }

    fn add(&mut self, mut written: &[u8]) {
        while !written.is_empty() {
            let room = PART_BYTES - self.last_bytes;
            let (part, rest) = written.split_at(written.len().min(room));
            self.last.update(part);
            self.last_bytes += part.len();
            if self.last_bytes == PART_BYTES {
                self.full.push(std::mem::take(&mut self.last).finalize());
                self.last_bytes = 0;
            }
            written = rest;
        }
    }

    /// Returns the size and checksum of a part, as far as it is written.
    fn part(&self, index: usize) -> (usize, u32) {
        match self.full.get(index) {
            Some(crc) => (PART_BYTES, *crc),
            None if index == self.full.len() => (self.last_bytes, self.last.clone().finalize()),
            None => (0, 0),
        }
    }
}

impl Contents {
    fn checksums(&self) -> MutexGuard<'_, Checksums> {
        self.checksums.lock()
    }

    /// Returns the bytes from `position` to the end of its part; none at the end of the file.
    fn read_part(&self, position: u64) -> Result<Bytes, DamagedSpill> {
        let index = usize::try_from(position).unwrap_or(usize::MAX) / PART_BYTES;
        let start = (index * PART_BYTES) as u64;
        let skipped = usize::try_from(position - start).unwrap_or(PART_BYTES);
        let (bytes, crc) = self.checksums().part(index);
        if bytes <= skipped {
            return Ok(Bytes::new());
        }
        let damaged = |reason: String| DamagedSpill {
            path: self.path.clone(),
            offset: start,
            reason,
        };
        let mut part = vec![0; bytes];
        self.handle
            .read_exact_at(&mut part, start)
            .map_err(|e| damaged(e.to_string()))?;
        if crc32fast::hash(&part) != crc {
            return Err(damaged("its checksum differs".to_owned()));
        }
        Ok(Bytes::from(part).slice(skipped..))
    }
}

impl CheckedFile {
    pub(super) fn create(folder: Arc<ProcessFolder>, prefix: &str) -> io::Result<Self> {
        let temp = folder.create_file(prefix)?;
        let contents = Contents {
            path: temp.path().to_path_buf(),
            handle: temp.as_file().try_clone()?,
            checksums: Mutex::default(),
        };
        Ok(Self {
            temp,
            contents: Arc::new(contents),
            _folder: folder,
        })
    }
}

impl SpillFile for CheckedFile {
    fn path(&self) -> Option<&Path> {
        Some(self.temp.path())
    }

    fn size(&self) -> Option<u64> {
        Some(self.contents.checksums().bytes())
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let contents = Arc::clone(&self.contents);
        let parts = futures::stream::try_unfold(0, move |position| {
            let contents = Arc::clone(&contents);
            async move {
                let read = tokio::task::spawn_blocking(move || contents.read_part(position));
                let part = read
                    .await
                    .map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
                    .map_err(|e| DataFusionError::External(Box::new(e)))?;
                let next = position + part.len() as u64;
                Ok((!part.is_empty()).then_some((part, next)))
            }
        });
        Ok(Box::pin(parts))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let file = self.temp.as_file().try_clone()?;
        let contents = Arc::clone(&self.contents);
        Ok(Box::new(CheckedWriter { file, contents }))
    }
}

/// Appends to a [`CheckedFile`].
struct CheckedWriter {
    file: File,
    contents: Arc<Contents>,
}

impl Write for CheckedWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer);
        let written = written.map_err(|e| writing_error(&self.contents.path, &e))?;
        self.contents.checksums().add(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SpillWriter for CheckedWriter {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, CheckedFile) {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(ProcessFolder::create(root.path()).unwrap());
        let file = CheckedFile::create(folder, "operator-").unwrap();
        file.open_writer().unwrap().write_all(bytes).unwrap();
        (root, file)
    }

    async fn read(file: &CheckedFile) -> Result<Vec<u8>> {
        let parts: Vec<Bytes> = file.read_stream()?.try_collect().await?;
        Ok(parts.concat())
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_file_of_any_size_reads_back_as_it_was_written() {
        for bytes in [
            0,
            1,
            PART_BYTES - 1,
            PART_BYTES,
            PART_BYTES + 1,
            3 * PART_BYTES + 7,
        ] {
            let written = pattern(bytes);
            let (_root, file) = file_of(&written);
            assert_eq!(file.size(), Some(bytes as u64));
            assert!(read(&file).await.unwrap() == written, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn a_flipped_bit_and_a_cut_end_are_errors_that_name_the_file() {
        let written = pattern(3 * PART_BYTES);
        for damage in [
            |bytes: &mut Vec<u8>| bytes[200_000] ^= 1,
            |bytes: &mut Vec<u8>| bytes.truncate(200_000),
        ] {
            let (_root, file) = file_of(&written);
            let mut damaged = written.clone();
            damage(&mut damaged);
            std::fs::write(file.temp.path(), damaged).unwrap();
            let error = read(&file).await.unwrap_err();
            assert_eq!(
                crate::error::classify(&error).kind,
                crate::protocol::FailureKind::Transient
            );
            let text = error.to_string();
            assert!(
                text.contains("operator-") && text.contains("byte 131072"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_ahead_of_the_writer_sees_only_whole_writes() {
        let (_root, file) = file_of(&pattern(1000));
        assert_eq!(file.contents.read_part(0).unwrap().len(), 1000);
        assert!(file.contents.read_part(1000).unwrap().is_empty());
        file.open_writer().unwrap().write_all(&[9; 500]).unwrap();
        assert_eq!(file.contents.read_part(1000).unwrap(), [9; 500].as_slice());
    }
}
