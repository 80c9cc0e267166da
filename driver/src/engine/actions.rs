//! Executes the scheduler's actions: sends commands to executors and outcomes to readers, and
//! updates the progress.

use std::sync::Arc;

use faisca_executor::protocol::{TaskSpec, ToExecutor};
use faisca_planner::ids::{ExecutorId, QueryId};
use faisca_planner::stages::Fact;
use tracing::{debug, info, warn};

use super::query_plan::QueryStages;
use super::records::{action_record, event_record};
use super::{Engine, Message};
use crate::journal::record::Record;
use crate::scheduler::{Action, Event};

/// Executors whose command queue was full.
type Unresponsive = Vec<ExecutorId>;

impl Engine {
    /// Lets the scheduler process an event, and executes its actions in order.
    pub(super) fn step(&mut self, event: Event) -> Unresponsive {
        let mut unresponsive = vec![];
        self.add_record(|| event_record(&event));
        for action in self.scheduler.step(self.started.elapsed(), event) {
            self.add_record(|| action_record(&action));
            self.execute(action, &mut unresponsive);
        }
        unresponsive
    }

    /// Adds a record to the journal, if one is kept and there is something to record.
    fn add_record(&self, record: impl FnOnce() -> Option<Record>) {
        if self.journal.is_kept()
            && let Some(record) = record()
        {
            self.journal.record(record);
        }
    }

    fn execute(&mut self, action: Action, unresponsive: &mut Unresponsive) {
        let mut send = |executor, command| self.send_command(executor, command, unresponsive);
        match action {
            Action::Launch(executor, spec) => self.launch(executor, spec, unresponsive),
            Action::Cancel(executor, task, attempt) => {
                send(executor, ToExecutor::Cancel { task, attempt });
            }
            Action::Release(query, executors) => {
                for executor in executors {
                    send(executor, ToExecutor::Release(query));
                }
            }
            Action::Sweep(blocks) => {
                if let Some(tier) = self.durable.clone() {
                    self.sweeps.spawn(async move { tier.remove(blocks).await });
                }
            }
            Action::Completed(query, output) => self.report_outcome(query, Ok(output)),
            Action::Failed(query, failure) => self.report_outcome(query, Err(failure)),
            Action::Revise(query, facts) => self.revise(query, facts),
            Action::Sliced(query, stage, tasks) => {
                self.progress.set_task_count(query, stage, tasks)
            }
            Action::Committed(executor, report) => self.progress.record_commit(executor, &report),
            Action::Uncommitted(task) => self.progress.withdraw_commit(task),
            Action::Excluded(executor) => {
                warn!(%executor, "executor failed too often and gets no more tasks");
            }
            Action::HandOver {
                from,
                to,
                address,
                blocks,
            } => {
                info!(%from, %to, blocks = blocks.len(), "transferring the blocks of an executor");
                let hand_over = ToExecutor::HandOver {
                    to,
                    address,
                    blocks,
                };
                send(from, hand_over);
            }
            Action::Dismiss(executor) => send(executor, ToExecutor::Shutdown),
        }
    }

    /// Launches an attempt. Sends the plan of its stage first if the executor does not have it yet.
    fn launch(&mut self, executor: ExecutorId, spec: TaskSpec, unresponsive: &mut Unresponsive) {
        debug!(task = %spec.task, attempt = spec.attempt.0, %executor, "launching an attempt");
        let (query, stage) = (spec.task.query, spec.task.stage);
        let submitted = self.queries.get(&query);
        let stage_spec = submitted.and_then(|query| query.specs.get(stage.index()));
        if let Some(stage_spec) = stage_spec
            && self.sent_stages.insert((executor, query, stage))
        {
            let plan = ToExecutor::Stage(stage_spec.clone());
            self.send_command(executor, plan, unresponsive);
        }
        self.send_command(executor, ToExecutor::Launch(spec), unresponsive);
    }

    /// Re-plans the waiting stages of a query, on another thread because that takes much longer
    /// than a step. The result arrives as a message.
    fn revise(&self, id: QueryId, facts: Vec<Fact>) {
        let (Some(query), Some(own_queue)) = (self.queries.get(&id), self.own_queue.upgrade())
        else {
            return;
        };
        let plan = Arc::clone(&query.plan);
        tokio::task::spawn_blocking(move || {
            let stages = plan.revise(&facts).unwrap_or_else(|error| {
                warn!(query = %id, "the plan stays unchanged, because re-planning failed: {error}");
                QueryStages::default()
            });
            // An engine that has ended needs no reply.
            let _ = own_queue.blocking_send(Message::Revised(id, stages));
        });
    }

    /// Sends a command without waiting. An executor that is not connected any more gets none.
    fn send_command(
        &self,
        executor: ExecutorId,
        command: ToExecutor,
        unresponsive: &mut Unresponsive,
    ) {
        if let Some(commands) = self.commands.get(&executor)
            && commands.try_send(command).is_err()
            && !unresponsive.contains(&executor)
        {
            unresponsive.push(executor);
        }
    }
}
