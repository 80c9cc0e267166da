//! Translates messages to the scheduler's events. Each handler also updates the state that only the
//! engine has.

use faisca_executor::protocol::{Failure, FailureKind, FromExecutor, Registration, ToExecutor};
use faisca_planner::ids::{ExecutorId, QueryId};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::progress::Departure;
use super::query_plan::QueryStages;
use super::records::{query_record, revision_record};
use super::{Engine, Message, QueryEntry, QuerySubmission};
use crate::journal::record::Record;
use crate::scheduler::{Event, LossCause, Placement};

impl Engine {
    /// Handles a message. Returns the event for the scheduler, if there is one.
    pub(super) fn receive(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Connected {
                registration,
                commands,
                placement,
            } => Some(self.executor_connected(registration, commands, placement)),
            Message::Report(executor, report) => self.executor_reported(executor, report),
            Message::Lost {
                executor,
                cause,
                reason,
            } => self.executor_lost(executor, cause, &reason),
            Message::Submit(submission) => Some(self.query_submitted(submission)),
            Message::Revised(query, stages) => self.query_revised(query, stages),
            Message::OutputLost(block, home) => Some(Event::OutputLost(block, home)),
            Message::FleetLost(reason) => {
                self.fleet_lost(reason);
                None
            }
            Message::Release(query) => {
                self.progress.end_query(query);
                self.queries.remove(&query);
                self.sent_stages.retain(|(_, id, _)| *id != query);
                Some(Event::Release(query))
            }
            // The loop ends with this message.
            Message::Shutdown => None,
        }
    }

    fn executor_connected(
        &mut self,
        registration: Registration,
        commands: mpsc::Sender<ToExecutor>,
        placement: Placement,
    ) -> Event {
        let Registration {
            executor,
            slots,
            address,
            pid,
            ..
        } = registration;
        info!(%executor, slots, pid, "executor is ready");
        self.progress.connect_executor(executor, pid);
        self.journal.record(Record::ExecutorUp {
            executor,
            slots,
            pid,
        });
        self.commands.insert(executor, commands);
        Event::ExecutorUp {
            id: executor,
            slots,
            address,
            placement,
        }
    }

    fn executor_reported(&mut self, executor: ExecutorId, report: FromExecutor) -> Option<Event> {
        match report {
            FromExecutor::Finished(report) => Some(Event::Finished(executor, report)),
            FromExecutor::Failed {
                task,
                attempt,
                failure,
            } => Some(Event::Failed(executor, task, attempt, failure)),
            FromExecutor::Draining => {
                info!(%executor, "executor is shutting down");
                self.draining.insert(executor);
                Some(Event::Draining(executor))
            }
            FromExecutor::HandedOver { block, to } => Some(Event::HandedOver {
                block,
                from: executor,
                to,
            }),
            FromExecutor::Durable(block) => Some(Event::Durable(block, executor)),
            // The connection handles both: it reports silence as `Lost`, and the registration as
            // `Connected`.
            FromExecutor::Heartbeat | FromExecutor::Register(_) => None,
        }
    }

    pub(super) fn executor_lost(
        &mut self,
        executor: ExecutorId,
        cause: LossCause,
        reason: &str,
    ) -> Option<Event> {
        if self.commands.remove(&executor).is_none() {
            if cause.is_blamed_on_tasks() {
                warn!(%executor, "why the executor was lost: it {cause}: {reason}");
            }
            if cause != LossCause::Unknown {
                self.journal.record(Record::ExecutorLossExplained {
                    executor,
                    reason: reason.to_owned(),
                });
            }
            return Some(Event::LossExplained(executor, cause));
        }
        let departure = if self.draining.remove(&executor) {
            info!(%executor, "executor has shut down: {reason}");
            Departure::Drained
        } else {
            warn!(%executor, "executor is lost: {reason}");
            Departure::Lost
        };
        self.progress.disconnect_executor(executor, departure);
        self.journal.record(Record::ExecutorDown {
            executor,
            reason: reason.to_owned(),
            drained: departure == Departure::Drained,
        });
        self.sent_stages.retain(|(id, _, _)| *id != executor);
        // A crash while the executor drained still counts as a crash.
        let cause = match cause {
            LossCause::Unknown if departure == Departure::Drained => LossCause::Drained,
            known => known,
        };
        Some(Event::ExecutorDown(executor, cause))
    }

    fn query_submitted(&mut self, submission: QuerySubmission) -> Event {
        let QuerySubmission {
            query,
            label,
            plan,
            placement,
            slots_expected,
            outcome,
        } = submission;
        let QueryStages { infos, specs } = plan.stages();
        if let (Placement::Fleet, Some(failure)) = (placement, &self.fleet_failure) {
            let _ = outcome.try_send(Err(failure.clone()));
        }
        if self.journal.is_kept() {
            let (graph, _) = plan.current();
            self.journal.record(query_record(query, &label, &graph));
        }
        self.progress.start_query(query, label, infos.len());
        let entry = QueryEntry {
            plan,
            specs,
            outcome,
        };
        self.queries.insert(query, entry);
        Event::Submit {
            query,
            stages: infos,
            placement,
            slots_expected,
        }
    }

    fn query_revised(&mut self, id: QueryId, stages: QueryStages) -> Option<Event> {
        let query = self.queries.get_mut(&id)?;
        let QueryStages { infos, specs } = stages;
        if !specs.is_empty() {
            let (graph, changes) = query.plan.current();
            if self.journal.is_kept() {
                let change = changes.last().map_or("", String::as_str);
                self.journal
                    .record(revision_record(id, change, &graph, specs.len()));
            }
            self.progress.revise_stages(id, &graph, specs.len());
        }
        query.specs.extend(specs);
        Some(Event::Revised {
            query: id,
            stages: infos,
        })
    }

    /// Fails all queries, and queries for the fleet that are submitted later.
    fn fleet_lost(&mut self, reason: String) {
        let failure = Failure {
            kind: FailureKind::Resource,
            message: reason,
        };
        for query in self.queries.keys() {
            self.report_outcome(*query, Err(failure.clone()));
        }
        self.fleet_failure = Some(failure);
    }
}
