//! Writes the records of a run into a file, and never blocks its caller.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::warn;

use super::record::{Line, Record};
use crate::error::{Result, cannot};

/// How long a record waits in memory before it is written.
const WRITE_INTERVAL: Duration = Duration::from_millis(500);
/// With this many bytes in memory, figures are dropped: the disk is too slow for them.
const FIGURES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// With this many bytes in memory, every record is dropped: the disk does not accept any.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The journal of a run, or none. Cheap to clone. The file is complete after [`Self::close`].
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    buffer: Arc<Buffer>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers fill and the writer empties.
#[derive(Debug)]
struct Buffer {
    /// Start of the run, from which records are timed.
    started: Instant,
    content: Mutex<Content>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    text: Vec<u8>,
    dropped: u64,
    is_closed: bool,
}

impl Journal {
    /// Creates the file, and starts the thread that writes it.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |e| cannot("write the journal", path, e);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::create(path).map_err(failed)?;
        let buffer = Arc::new(Buffer {
            started: Instant::now(),
            content: Mutex::default(),
            closed: Condvar::new(),
        });
        let thread = {
            let (buffer, path) = (Arc::clone(&buffer), path.to_owned());
            let thread = std::thread::Builder::new().name("journal".to_owned());
            thread.spawn(move || buffer.write_all(file, &path))
        };
        Ok(Self(Some(Arc::new(Recorder {
            buffer,
            writer: Mutex::new(Some(thread.map_err(failed)?)),
        }))))
    }

    /// Whether records are kept. A caller need not build an expensive record for no one.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a record. Never blocks: if the disk is too slow, figures are dropped and counted.
    pub fn record(&self, record: Record) {
        if let Some(recorder) = &self.0 {
            recorder.buffer.add(&recorder.buffer.line(record));
        }
    }

    /// Writes what is left, and ends the file. Blocks for as long as the disk needs.
    pub fn close(&self) {
        let Some(recorder) = &self.0 else { return };
        recorder.buffer.close();
        if let Some(writer) = recorder.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.buffer.close();
    }
}

impl Buffer {
    /// Returns a line of what happens now.
    fn line(&self, record: Record) -> Line {
        let elapsed = self.started.elapsed().as_millis();
        let at_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        Line { at_ms, record }
    }

    /// Accepts no further records, and lets the writer end.
    fn close(&self) {
        self.content.lock().is_closed = true;
        self.closed.notify_all();
    }

    fn add(&self, line: &Line) {
        let mut content = self.content.lock();
        let limit = if line.record.is_droppable() {
            FIGURES_BYTES_MAX
        } else {
            BUFFER_BYTES_MAX
        };
        if content.is_closed || content.text.len() >= limit {
            content.dropped += 1;
            return;
        }
        let before = content.text.len();
        match serde_json::to_writer(&mut content.text, line) {
            Ok(()) => content.text.push(b'\n'),
            Err(_) => {
                content.text.truncate(before);
                content.dropped += 1;
            }
        }
    }

    /// Writes the content at every interval, until the journal is closed.
    fn write_all(&self, mut file: File, path: &Path) {
        loop {
            let (text, dropped, is_closed) = {
                let mut content = self.content.lock();
                if !content.is_closed {
                    self.closed.wait_for(&mut content, WRITE_INTERVAL);
                }
                let text = std::mem::take(&mut content.text);
                (
                    text,
                    std::mem::take(&mut content.dropped),
                    content.is_closed,
                )
            };
            let mut written = file.write_all(&text);
            if dropped > 0 && written.is_ok() {
                let line = self.line(Record::RecordsDropped { count: dropped });
                let line = serde_json::to_string(&line).unwrap_or_default();
                written = writeln!(file, "{line}");
            }
            if let Err(error) = written {
                warn!("the journal {} ends here: {error}", path.display());
                self.content.lock().is_closed = true;
                return;
            }
            if is_closed {
                return;
            }
        }
    }
}
