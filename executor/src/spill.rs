//! Spilled data on disk: a folder for each process, and files that are checked when they are read.
//!
//! ```text
//!   <spill folder>/faisca-spill-4711-x7Qb2k/     created with the process's first spill file
//!       lock                   locked while the process lives; the kernel frees it
//!       exchange-…, operator-… removed when they are dropped
//! ```
//!
//! **No spilled data outlives its process for long.** A process removes its folder when it ends;
//! the driver, and each process that starts, removes the folders whose lock is free.
//!
//! - `folder`: the folders and their locks
//! - `file`: files with a checksum for each part

mod file;
mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, resources_datafusion_err};
use datafusion::execution::{SpillFile, TempFileFactory};
use parking_lot::Mutex;

use self::file::CheckedFile;
use self::folder::ProcessFolder;

/// Description with which the exchange requests its files.
pub(crate) const EXCHANGE: &str = "exchange";

/// Creates the spill files of a process.
#[derive(Debug)]
pub(crate) struct SpillFiles {
    root: PathBuf,
    /// Locked to create a file.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nothing was spilled yet.
    Unused,
    Open(Arc<ProcessFolder>),
    /// The process ends.
    Closed,
}

/// Removes the spilled data of a process when it is dropped, even while tasks still hold files.
#[derive(Debug)]
pub struct SpillGuard(Arc<SpillFiles>);

impl Drop for SpillGuard {
    fn drop(&mut self) {
        self.0.close();
        // A driver that is cancelled has killed its executors, and no other process cleans up after
        // them until the next one starts.
        folder::remove_folders_of_children(&self.0.root);
    }
}

impl SpillFiles {
    /// Creates files below `root`, and removes what dead processes left there.
    pub(crate) fn new(root: PathBuf) -> Self {
        folder::remove_abandoned(&root);
        Self {
            root,
            state: Mutex::new(State::Unused),
        }
    }

    pub(crate) fn guard(self: &Arc<Self>) -> SpillGuard {
        SpillGuard(Arc::clone(self))
    }

    fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Closed);
        if let State::Open(folder) = state {
            folder.remove();
        }
    }

    fn folder(&self) -> Result<Arc<ProcessFolder>> {
        let mut state = self.state.lock();
        match &*state {
            State::Open(folder) => Ok(Arc::clone(folder)),
            State::Unused => {
                let folder = ProcessFolder::create(&self.root);
                let folder = Arc::new(folder.map_err(|e| spill_error(&self.root, &e))?);
                *state = State::Open(Arc::clone(&folder));
                Ok(folder)
            }
            State::Closed => Err(resources_datafusion_err!(
                "nothing can be spilled: the process is ending"
            )),
        }
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let folder = self.folder()?;
        let prefix = if description == EXCHANGE {
            "exchange-"
        } else {
            "operator-"
        };
        let file = CheckedFile::create(folder, prefix);
        Ok(Arc::new(file.map_err(|e| spill_error(&self.root, &e))?))
    }
}

/// Returns the folder below which a process spills.
pub(crate) fn root(spill_folder: Option<&Path>) -> PathBuf {
    spill_folder.map_or_else(std::env::temp_dir, Path::to_path_buf)
}

/// Removes what dead processes left below a spill folder; `None` is the system's folder for
/// temporary files. Blocks.
pub fn remove_abandoned(spill_folder: Option<&Path>) {
    folder::remove_abandoned(&root(spill_folder));
}

/// Adds the path to an error of writing. Keeps the kind, by which a full disk is a lack of
/// resources; but a file that was removed or cut is no mistake of the job.
pub(crate) fn spill_error(path: &Path, error: &std::io::Error) -> DataFusionError {
    DataFusionError::IoError(writing_error(path, error))
}

fn writing_error(path: &Path, error: &std::io::Error) -> std::io::Error {
    use std::io::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData => ErrorKind::Other,
        kind => kind,
    };
    let text = format!(
        "spilling to {}: {error}; `--spill-folder` takes a folder with more room",
        path.display()
    );
    std::io::Error::new(kind, text)
}
