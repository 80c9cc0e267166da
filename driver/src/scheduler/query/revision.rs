//! When the waiting stages of a query are replanned, and what replaces them.
//!
//! ```text
//!            surprise           request              reply
//!   Settled ──────────► Due ──────────────► Requested ─────► Settled
//!              ▲                                │ surprise
//!              │               reply            ▼
//!              └────────────────────── RequestedAndDue
//! ```
//!
//! A *surprise* is a finished stage with a row count outside its expected range.

use faisca_planner::ids::TaskId;
use faisca_planner::stages::Fact;

use super::{QueryPhase, QueryState};
use crate::scheduler::StageInfo;
use crate::scheduler::stage::{StagePhase, StageState};
use crate::scheduler::task::RunningAttempt;

/// A query is replanned at most this many times. The first times gain the most.
const REVISIONS_MAX: usize = 10;

/// Progress of re-planning.
#[derive(Debug, Default)]
pub(super) struct Revision {
    phase: RevisionPhase,
    /// Number of requests so far.
    requests: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RevisionPhase {
    /// No surprise is pending.
    #[default]
    Settled,
    /// A surprise for which no request was sent yet.
    Due,
    /// A request was sent, and its reply is outstanding.
    Requested,
    /// As before, and another surprise came after the request.
    RequestedAndDue,
}

impl Revision {
    /// Returns whether a reply is outstanding. Until then, waiting stages may be replaced.
    pub(super) fn is_requested(&self) -> bool {
        match self.phase {
            RevisionPhase::Settled | RevisionPhase::Due => false,
            RevisionPhase::Requested | RevisionPhase::RequestedAndDue => true,
        }
    }

    pub(super) fn note_surprise(&mut self) {
        self.phase = match self.phase {
            RevisionPhase::Settled | RevisionPhase::Due => RevisionPhase::Due,
            RevisionPhase::Requested | RevisionPhase::RequestedAndDue => {
                RevisionPhase::RequestedAndDue
            }
        };
    }

    /// Returns whether a request is due. If so, it no longer is.
    fn take_due(&mut self) -> bool {
        let is_due = self.phase == RevisionPhase::Due;
        if is_due {
            self.phase = RevisionPhase::Settled;
        }
        is_due
    }

    /// Returns whether a reply was outstanding. If so, it no longer is.
    fn take_reply(&mut self) -> bool {
        let was_requested = self.is_requested();
        self.phase = match self.phase {
            RevisionPhase::Settled | RevisionPhase::Requested => RevisionPhase::Settled,
            RevisionPhase::Due | RevisionPhase::RequestedAndDue => RevisionPhase::Due,
        };
        was_requested
    }
}

impl QueryState {
    /// Returns the progress of each stage if the waiting stages should be replanned. From then
    /// on none of them starts, until [`QueryState::replace_waiting`].
    pub(in crate::scheduler) fn take_revision_request(&mut self) -> Option<Vec<Fact>> {
        if !self.revision.take_due()
            || self.phase != QueryPhase::Running
            || self.revision.requests == REVISIONS_MAX
        {
            return None;
        }
        let is_candidate =
            |stage: &StageState| stage.phase == StagePhase::Waiting && stage.info.is_replannable;
        if !self.stages.iter().any(is_candidate) {
            return None;
        }
        self.revision.phase = RevisionPhase::Requested;
        self.revision.requests += 1;
        Some(self.stages.iter().map(fact).collect())
    }

    /// Replaces the waiting stages by `new`, if a request is outstanding and `new` is not empty.
    /// Returns the running attempts whose output is no longer needed.
    pub(in crate::scheduler) fn replace_waiting(
        &mut self,
        new: Vec<StageInfo>,
    ) -> Vec<(TaskId, RunningAttempt)> {
        if !self.revision.take_reply() || new.is_empty() {
            return vec![];
        }
        let old = self.stage_ids();
        for stage in &mut self.stages {
            if stage.phase == StagePhase::Waiting {
                stage.drop_tasks();
            }
        }
        self.stages.extend(new.into_iter().map(StageState::new));
        let mut unneeded = vec![];
        // Consumers first: a producer is needed only as long as one of its consumers is.
        for id in old.rev() {
            let stage = &self.stages[id.index()];
            let is_read = stage.info.sink().is_some() || !self.consumers(id).is_empty();
            if !is_read && !stage.is_complete() {
                let running = self.stages[id.index()].drop_tasks();
                let attempts = running.into_iter();
                unneeded
                    .extend(attempts.map(|(index, attempt)| (self.task_id(id, index), attempt)));
            }
        }
        unneeded
    }
}

fn fact(stage: &StageState) -> Fact {
    match stage.phase {
        StagePhase::Waiting | StagePhase::Dropped => Fact::Waiting,
        StagePhase::Started => Fact::Started,
        StagePhase::Finished => Fact::Finished { rows: stage.rows },
    }
}
