//! Identities of writes that outlive the process that made them.
//!
//! A driver that is started again must not repeat a write that the one before it has committed. So
//! each write of a job has an identity, made of the run and of what the step means. The commit
//! stores it with the files, in one step: the identity is in the folder if and only if the rows
//! are.
//!
//! ```text
//!   run id ─┐
//!   step,   ├─ SHA-256 ─► WriteId ─► the commit record (object store), or a hidden file (local)
//!   inputs ─┘                              │ the next driver of the run
//!                                          ▼
//!                            already committed: the step is skipped
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use faisca_executor::protocol::PendingFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a folder remembers a write, in seconds. A run that was interrupted can be resumed for
/// that long.
const REMEMBERED_SECONDS: u64 = 7 * 24 * 3600;
/// Number of writes that a folder remembers.
const REMEMBERED_MAX: usize = 1000;

/// Identity of a run. All attempts of the run have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// Returns the identity with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the identity of a write of this run. `job` and `step` are names; `meaning` is
    /// everything that decides which rows are written, and where.
    pub(crate) fn write(&self, job: &str, step: &str, meaning: &str) -> WriteId {
        WriteId(digest(&[&self.0, job, step, meaning]))
    }
}

/// Returns the hexadecimal SHA-256 of several texts. Texts that differ in where one ends and the
/// next begins have different digests.
#[must_use]
pub fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let hash = hash.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Identity of a write: the same for all attempts of its run, and that of no other write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WriteId(String);

/// A write that a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommittedWrite {
    pub(crate) id: WriteId,
    /// When it was committed, in seconds since 1970, by the clock of its driver.
    pub(crate) at: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

impl CommittedWrite {
    /// Returns a write of these files that is committed now.
    pub(crate) fn now(id: WriteId, files: &[PendingFile]) -> Self {
        Self {
            id,
            at: now(),
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.len() as u64,
        }
    }
}

/// The latest writes that a folder holds, oldest first. Later writes may have replaced their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CommittedWrites(Vec<CommittedWrite>);

impl CommittedWrites {
    /// Returns the write with this identity.
    pub(crate) fn find(&self, id: &WriteId) -> Option<&CommittedWrite> {
        self.0.iter().find(|write| write.id == *id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the writes that are still remembered at `now`, in seconds since 1970, and `newest`.
    pub(crate) fn with(mut self, newest: Option<CommittedWrite>, now: u64) -> Self {
        self.0
            .retain(|write| write.at.saturating_add(REMEMBERED_SECONDS) > now);
        self.0.extend(newest);
        let excess = self.0.len().saturating_sub(REMEMBERED_MAX);
        self.0.drain(..excess);
        self
    }
}

/// Returns the seconds since 1970, by the clock of this machine.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(step: &str, at: u64) -> CommittedWrite {
        CommittedWrite {
            id: RunId::new("run").write("job", step, "SELECT 1"),
            at,
            rows: 1,
            bytes: 1,
            files: 1,
        }
    }

    #[test]
    fn an_identity_depends_on_run_job_step_and_meaning_and_on_nothing_else() {
        let id = |run: &str, job, step, meaning| RunId::new(run).write(job, step, meaning);
        let first = id("r", "j", "s", "SELECT 1");
        assert_eq!(first, id("r", "j", "s", "SELECT 1"));
        for other in [
            id("q", "j", "s", "SELECT 1"),
            id("r", "k", "s", "SELECT 1"),
            id("r", "j", "t", "SELECT 1"),
            id("r", "j", "s", "SELECT 2"),
            id("r", "js", "", "SELECT 1"),
        ] {
            assert_ne!(first, other);
        }
        // Published: a driver of a later version resumes the run of an earlier one.
        assert_eq!(
            digest(&["a", ""]),
            "49a1af1b982d48d444434b4fdd5a935bad437b5e211cfd8c9f18b975e2cc1e31"
        );
    }

    #[test]
    fn a_folder_forgets_what_is_old_and_what_is_too_much() {
        let writes = CommittedWrites::default().with(Some(write("a", 100)), 100);
        let writes = writes.with(Some(write("b", 200)), 200);
        assert!(writes.find(&write("a", 0).id).is_some());
        let later = 150 + REMEMBERED_SECONDS;
        let writes = writes.with(None, later);
        assert!(writes.find(&write("a", 0).id).is_none());
        assert!(writes.find(&write("b", 0).id).is_some());
        let many = (0..REMEMBERED_MAX).fold(writes, |writes, step| {
            writes.with(Some(write(&step.to_string(), later)), later)
        });
        assert!(many.find(&write("b", 0).id).is_none());
        assert!(many.find(&write("0", 0).id).is_some());
    }
}
