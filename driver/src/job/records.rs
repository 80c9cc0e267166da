//! From steps to the records of the journal.

use super::summary::StepSummary;
use crate::engine::column_records;
use crate::engine::progress::SkipReason;
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::journal::record::{Record, StepOutput, StepSkip};

pub(super) fn step_started(step: &str) -> Record {
    Record::StepStarted {
        step: step.to_owned(),
    }
}

pub(super) fn step_finished(summary: &StepSummary) -> Record {
    let output = summary.written.as_ref().map(|written| StepOutput {
        path: written.path.clone(),
        rows: written.rows,
        bytes: written.bytes,
        files: written.files as u64,
        columns: written
            .columns
            .as_ref()
            .map_or_else(Vec::new, |schema| column_records(schema)),
    });
    let skipped = summary.written.as_ref().and_then(|written| written.skipped);
    Record::StepFinished {
        step: summary.name.clone(),
        output,
        skipped: skipped.map(|reason| match reason {
            SkipReason::OutputExists => StepSkip::OutputExists,
            SkipReason::CommittedBefore => StepSkip::CommittedBefore,
        }),
    }
}

/// Records why a job failed: its error, or that it was cancelled if this is dropped before.
pub(super) struct JobRecorder<'a> {
    journal: &'a Journal,
    has_ended: bool,
}

impl<'a> JobRecorder<'a> {
    pub(super) fn new(journal: &'a Journal) -> Self {
        Self {
            journal,
            has_ended: false,
        }
    }

    pub(super) fn end<T>(mut self, ended: &Result<T>) {
        self.has_ended = true;
        if let Err(error) = ended {
            self.journal.record(job_failed(error));
        }
    }
}

impl Drop for JobRecorder<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.journal.record(job_failed(&Error::Cancelled));
        }
    }
}

fn job_failed(error: &Error) -> Record {
    Record::JobFailed {
        message: error.to_string(),
    }
}
