//! What an output folder of this machine remembers of its writes, in a hidden file.
//!
//! The file is part of a version of the folder, so it appears in the same exchange as the rows.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::exists_with_content;
use crate::catalog::Registration;
use crate::error::{BoxedError, Error, Result};
use crate::write_identity::{CommittedWrite, CommittedWrites, WriteId, now};

/// Name of the file. Readers skip names that begin with a dot.
pub(super) const FILE: &str = ".faisca.json";
/// Version of the format of the file.
const FORMAT: u32 = 1;

/// The content of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Remembered {
    format: u32,
    writes: CommittedWrites,
    /// The table of the newest write. Its driver may have died before it registered the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registration: Option<Registration>,
}

impl Remembered {
    /// Reads the file of a folder. Without one, the folder remembers nothing; nor does a folder
    /// that someone has emptied: its rows are wanted again.
    ///
    /// # Errors
    /// If the file cannot be read, or is not one that this version writes.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let refused = |source: BoxedError| Error::CommitRecord {
            url: folder.display().to_string(),
            key: FILE.to_owned(),
            source,
        };
        let nothing = Self {
            format: FORMAT,
            writes: CommittedWrites::default(),
            registration: None,
        };
        if !exists_with_content(folder)? {
            return Ok(nothing);
        }
        let json = match fs::read(folder.join(FILE)) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nothing),
            Err(error) => return Err(refused(error.into())),
        };
        let read: Self = serde_json::from_slice(&json).map_err(|e| refused(e.into()))?;
        if read.format == FORMAT {
            return Ok(read);
        }
        let format = read.format;
        Err(refused(
            format!("format {format} is not {FORMAT}: written by another version of faisca").into(),
        ))
    }

    /// Returns the write with this identity.
    pub(super) fn find(&self, id: &WriteId) -> Option<&CommittedWrite> {
        self.writes.find(id)
    }

    /// Returns the JSON of the file of the next version, to which `write` adds its rows. `None` if
    /// that version needs no file.
    ///
    /// # Errors
    /// Never, in practice: these values have a form in JSON.
    pub(super) fn next(
        self,
        write: Option<CommittedWrite>,
        registration: Option<Registration>,
    ) -> serde_json::Result<Option<Vec<u8>>> {
        let next = Self {
            format: FORMAT,
            // Without an identity, no one asks whether the table was registered.
            registration: registration.filter(|_| write.is_some()),
            writes: self.writes.with(write, now()),
        };
        if next.writes.is_empty() {
            return Ok(None);
        }
        serde_json::to_vec(&next).map(Some)
    }
}
