//! Runs applications on a schedule: `ScheduledSparkApplication`.
//!
//! [`plan`] is pure: schedule, runs and time → status, runs to delete and the run to start. Missed
//! runs are not caught up: if several were due, at most one starts.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};

use super::reconcile::ignore_not_found;
use super::status::replace_status;
use super::{Context, retry};
use crate::error::{OperatorError, is_already_exists};
use crate::resource::{
    ApplicationState, ConcurrencyPolicy, ScheduledApplicationSpec, ScheduledSparkApplication,
    ScheduledStatus, SparkApplication,
};

/// Label of a run: the name of its schedule.
const SCHEDULE_LABEL: &str = "faisca.dev/schedule";
/// Default number of completed runs to keep.
const SUCCESSFUL_RUNS_DEFAULT: u32 = 3;
/// Default number of failed runs to keep.
const FAILED_RUNS_DEFAULT: u32 = 1;
/// Longest name of a schedule. A run's name adds a dash and the minute of its scheduled time, and
/// the names of its pods add more.
const NAME_LENGTH_MAX: usize = 52;

/// A run of a schedule, as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    name: String,
    state: ApplicationState,
    created: Timestamp,
}

/// The next step of a schedule.
#[derive(Debug, Clone, Default, PartialEq)]
struct Plan {
    status: ScheduledStatus,
    /// Runs to delete: replaced ones, and those beyond the history limits.
    delete: Vec<String>,
    /// Name of the run to start.
    start: Option<String>,
    /// When to plan again, even if nothing changes.
    requeue_after: Option<Duration>,
}

/// Reconciles schedules whenever they or their runs change.
pub(super) async fn control_schedules(context: Arc<Context>) {
    let schedules = context.watched_api::<ScheduledSparkApplication>();
    let runs = context.watched_api::<SparkApplication>();
    Controller::new(schedules, watcher::Config::default())
        .owns(runs, watcher::Config::default().labels(SCHEDULE_LABEL))
        .run(
            reconcile,
            |_, error, context| retry(error, &context),
            context,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(
    schedule: Arc<ScheduledSparkApplication>,
    context: Arc<Context>,
) -> Result<Action, OperatorError> {
    if schedule.metadata.deletion_timestamp.is_some() {
        // Its runs are deleted with it: they have an owner reference.
        return Ok(Action::await_change());
    }
    let name = schedule.name_any();
    let namespace = schedule.namespace().unwrap_or_default();
    let applications = Api::<SparkApplication>::namespaced(context.client.clone(), &namespace);
    let selected = ListParams::default().labels(&format!("{SCHEDULE_LABEL}={name}"));
    let runs: Vec<Run> = applications
        .list(&selected)
        .await?
        .iter()
        .map(Run::from_application)
        .collect();
    let status = schedule.status.clone().unwrap_or_default();
    let created = schedule
        .creation_timestamp()
        .map_or_else(Timestamp::now, |time| time.0);
    let plan = plan(
        &name,
        &schedule.spec,
        &status,
        &runs,
        created,
        Timestamp::now(),
    );
    for run in &plan.delete {
        let deleted = applications.delete(run, &DeleteParams::background()).await;
        ignore_not_found(deleted)?;
    }
    if let Some(run) = &plan.start {
        let run = run_resource(&schedule, run);
        match applications.create(&PostParams::default(), &run).await {
            // An operator that died before it wrote the status has started it.
            Err(error) if is_already_exists(&error) => {}
            created => drop(created?),
        }
    }
    if plan.status != status {
        let schedules =
            Api::<ScheduledSparkApplication>::namespaced(context.client.clone(), &namespace);
        replace_status(&schedules, &name, &plan.status).await?;
    }
    Ok(plan
        .requeue_after
        .map_or_else(Action::await_change, Action::requeue))
}

/// Builds the application of a run, owned by its schedule.
fn run_resource(schedule: &ScheduledSparkApplication, name: &str) -> SparkApplication {
    let mut run = SparkApplication::new(name, schedule.spec.template.clone());
    let mut labels = schedule.labels().clone();
    labels.insert(SCHEDULE_LABEL.to_owned(), schedule.name_any());
    run.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels),
        owner_references: schedule.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    run
}

impl Run {
    fn from_application(application: &SparkApplication) -> Self {
        Self {
            name: application.name_any(),
            state: application
                .status
                .as_ref()
                .map_or(ApplicationState::New, |status| {
                    status.application_state.state
                }),
            created: application
                .creation_timestamp()
                .map_or_else(Timestamp::now, |time| time.0),
        }
    }
}

/// Plans the next step of a schedule that was created at `created`.
fn plan(
    name: &str,
    spec: &ScheduledApplicationSpec,
    status: &ScheduledStatus,
    runs: &[Run],
    created: Timestamp,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan {
        status: status.clone(),
        ..Plan::default()
    };
    plan.limit_history(spec, runs);
    if name.len() > NAME_LENGTH_MAX {
        let length = name.len();
        plan.set_state(
            "FailedValidation",
            Some(format!(
                "metadata.name: {length} characters, the limit is {NAME_LENGTH_MAX}"
            )),
        );
        return plan;
    }
    if spec.suspend {
        plan.set_state("Suspended", None);
        plan.status.next_run = None;
        return plan;
    }
    // A schedule without runs begins at its creation: earlier times are not due.
    let last_run = status.last_run.as_ref().map_or(created, |time| time.0);
    let (due, next) = match due_and_next(spec, last_run, now) {
        Ok(times) => times,
        Err(reason) => {
            plan.set_state("FailedValidation", Some(reason.to_string()));
            plan.status.next_run = None;
            return plan;
        }
    };
    plan.set_state("Scheduled", None);
    plan.status.next_run = next.map(Time);
    plan.requeue_after = next.map(|next| {
        Duration::try_from(next.duration_since(now))
            .unwrap_or_default()
            .max(Duration::from_millis(1))
    });
    if let Some(due) = due {
        plan.start_or_skip(name, spec, runs, due, now);
    }
    plan
}

impl Plan {
    fn set_state(&mut self, state: &str, reason: Option<String>) {
        self.status.schedule_state = Some(state.to_owned());
        self.status.reason = reason;
    }

    /// Starts the due run, unless it is too late or the concurrency policy forbids it.
    fn start_or_skip(
        &mut self,
        name: &str,
        spec: &ScheduledApplicationSpec,
        runs: &[Run],
        due: Timestamp,
        now: Timestamp,
    ) {
        // A skipped run is recorded as the last one, too, so that it is not started later.
        self.status.last_run = Some(Time(due));
        let late = u64::try_from(now.duration_since(due).as_secs()).unwrap_or_default();
        if let Some(limit) = spec.starting_deadline_seconds.filter(|limit| late > *limit) {
            self.status.reason = Some(format!(
                "the run of {due} was skipped: {late} s late, the limit is {limit} s"
            ));
            return;
        }
        let running: Vec<&Run> = runs.iter().filter(|run| !run.state.is_terminal()).collect();
        match (spec.concurrency_policy, running.first()) {
            (ConcurrencyPolicy::Forbid, Some(run)) => {
                self.status.reason = Some(format!(
                    "the run of {due} was skipped: {} still runs",
                    run.name
                ));
                return;
            }
            (ConcurrencyPolicy::Replace, _) => {
                let replaced = running.iter().map(|run| run.name.clone());
                self.delete.extend(replaced);
            }
            (ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid, _) => {}
        }
        // Two operators, or one that restarts, derive the same name for the same run, so it is
        // created once.
        let run = format!("{name}-{}", due.as_second() / 60);
        self.status.last_run_name = Some(run.clone());
        self.start = Some(run);
    }

    /// Deletes ended runs beyond the history limits, the oldest first, and lists the others.
    fn limit_history(&mut self, spec: &ScheduledApplicationSpec, runs: &[Run]) {
        let successful = spec
            .successful_run_history_limit
            .unwrap_or(SUCCESSFUL_RUNS_DEFAULT);
        let failed = spec.failed_run_history_limit.unwrap_or(FAILED_RUNS_DEFAULT);
        self.status.past_successful_run_names =
            self.limit_runs(runs, ApplicationState::Completed, successful);
        self.status.past_failed_run_names = self.limit_runs(runs, ApplicationState::Failed, failed);
    }

    /// Deletes the runs in `state` beyond `limit`. Returns the names of the others, newest first.
    fn limit_runs(&mut self, runs: &[Run], state: ApplicationState, limit: u32) -> Vec<String> {
        let mut ended: Vec<&Run> = runs.iter().filter(|run| run.state == state).collect();
        ended.sort_by_key(|run| std::cmp::Reverse((run.created, run.name.clone())));
        let (kept, surplus) = ended.split_at(ended.len().min(limit as usize));
        self.delete
            .extend(surplus.iter().map(|run| run.name.clone()));
        kept.iter().map(|run| run.name.clone()).collect()
    }
}

/// Why a schedule has no times.
#[derive(Debug, thiserror::Error)]
enum ScheduleError {
    #[error("spec.schedule: `{schedule}`: {source}")]
    Cron {
        schedule: String,
        source: croner::errors::CronError,
    },
    #[error(
        "spec.timeZone: `{zone}` is not a time zone; expected an IANA name such as \
         America/Sao_Paulo"
    )]
    TimeZone {
        zone: String,
        source: chrono_tz::ParseError,
    },
    #[error(transparent)]
    Time(#[from] k8s_openapi::jiff::Error),
}

/// Returns the latest scheduled time in (`last_run`, `now`], if there is one, and the first one
/// after `now`.
///
/// # Errors
/// If the cron expression or the time zone is invalid.
fn due_and_next(
    spec: &ScheduledApplicationSpec,
    last_run: Timestamp,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), ScheduleError> {
    let cron = Cron::from_str(&spec.schedule).map_err(|source| ScheduleError::Cron {
        schedule: spec.schedule.clone(),
        source,
    })?;
    let zone = spec.time_zone.as_deref().unwrap_or("UTC");
    let zone = Tz::from_str(zone).map_err(|source| ScheduleError::TimeZone {
        zone: zone.to_owned(),
        source,
    })?;
    let local = |time: Timestamp| {
        DateTime::<Utc>::from_timestamp(time.as_second(), 0)
            .unwrap_or_default()
            .with_timezone(&zone)
    };
    let utc = |time: DateTime<Tz>| Timestamp::from_second(time.timestamp());
    let next = cron
        .find_next_occurrence(&local(now), false)
        .ok()
        .map(utc)
        .transpose()?;
    let previous = cron
        .find_previous_occurrence(&local(now), true)
        .ok()
        .map(utc)
        .transpose()?;
    Ok((previous.filter(|due| *due > last_run), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ApplicationSpec;

    fn timestamp(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn spec(schedule: &str) -> ScheduledApplicationSpec {
        ScheduledApplicationSpec {
            schedule: schedule.to_owned(),
            time_zone: Some("America/Sao_Paulo".to_owned()),
            suspend: false,
            concurrency_policy: ConcurrencyPolicy::Forbid,
            starting_deadline_seconds: None,
            successful_run_history_limit: Some(1),
            failed_run_history_limit: None,
            template: ApplicationSpec::default(),
        }
    }

    #[test]
    fn a_run_is_due_in_its_time_zone_and_only_once() {
        let (created, before, after) = (
            timestamp("2026-11-22T00:00:00Z"),
            timestamp("2026-11-22T08:59:00Z"),
            timestamp("2026-11-22T09:00:10Z"),
        );
        let six = spec("0 6 * * *");
        let waiting = plan(
            "enem",
            &six,
            &ScheduledStatus::default(),
            &[],
            created,
            before,
        );
        assert_eq!(
            (waiting.start, waiting.requeue_after),
            (None, Some(Duration::from_secs(60)))
        );
        let due = plan(
            "enem",
            &six,
            &ScheduledStatus::default(),
            &[],
            created,
            after,
        );
        let name = format!(
            "enem-{}",
            timestamp("2026-11-22T09:00:00Z").as_second() / 60
        );
        assert_eq!(due.start, Some(name.clone()));
        let second_plan = plan("enem", &six, &due.status, &[], created, after);
        assert_eq!(
            (second_plan.start, second_plan.status.last_run_name),
            (None, Some(name))
        );
        // After two nights without an operator, one run starts, not two.
        let late_plan = plan(
            "enem",
            &six,
            &due.status,
            &[],
            created,
            timestamp("2026-11-24T12:00:00Z"),
        );
        assert_eq!(
            late_plan.status.last_run,
            Some(Time(timestamp("2026-11-24T09:00:00Z")))
        );
        let deadline = ScheduledApplicationSpec {
            starting_deadline_seconds: Some(60),
            ..six
        };
        let late_plan = plan(
            "enem",
            &deadline,
            &due.status,
            &[],
            created,
            timestamp("2026-11-24T12:00:00Z"),
        );
        assert!(
            late_plan.start.is_none() && late_plan.status.reason.unwrap().contains("10800 s late")
        );
    }

    #[test]
    fn overlapping_runs_are_skipped_or_replaced_and_old_runs_are_deleted() {
        let now = timestamp("2026-11-22T09:00:10Z");
        let run = |name: &str, state, created: &str| Run {
            name: name.to_owned(),
            state,
            created: timestamp(created),
        };
        let runs = [
            run("a", ApplicationState::Completed, "2026-11-20T09:00:00Z"),
            run("b", ApplicationState::Completed, "2026-11-21T09:00:00Z"),
            run("c", ApplicationState::Running, "2026-11-21T09:00:00Z"),
        ];
        let planned = |policy| {
            let spec = ScheduledApplicationSpec {
                concurrency_policy: policy,
                ..spec("@daily")
            };
            plan(
                "enem",
                &spec,
                &ScheduledStatus::default(),
                &runs,
                timestamp("2026-11-20T00:00:00Z"),
                now,
            )
        };
        let skipped = planned(ConcurrencyPolicy::Forbid);
        assert!(skipped.start.is_none() && skipped.status.reason.unwrap().contains("c still runs"));
        assert_eq!(
            (skipped.delete, skipped.status.past_successful_run_names),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        let replaced = planned(ConcurrencyPolicy::Replace);
        assert!(replaced.start.is_some() && replaced.delete.contains(&"c".to_owned()));
        assert!(planned(ConcurrencyPolicy::Allow).start.is_some());
    }

    #[test]
    fn an_invalid_schedule_reports_why() {
        let state = |spec: &ScheduledApplicationSpec, name: &str| {
            let status = plan(
                name,
                spec,
                &ScheduledStatus::default(),
                &[],
                timestamp("2026-11-20T00:00:00Z"),
                timestamp("2026-11-22T00:00:00Z"),
            )
            .status;
            format!(
                "{}: {}",
                status.schedule_state.unwrap(),
                status.reason.unwrap_or_default()
            )
        };
        assert!(
            state(&spec("61 * * * *"), "a")
                .starts_with("FailedValidation: spec.schedule: `61 * * * *`")
        );
        let zone = ScheduledApplicationSpec {
            time_zone: Some("Brasilia".to_owned()),
            ..spec("@daily")
        };
        assert!(state(&zone, "a").contains("`Brasilia` is not a time zone"));
        assert!(state(&spec("@daily"), &"a".repeat(60)).contains("60 characters"));
        assert_eq!(
            state(
                &ScheduledApplicationSpec {
                    suspend: true,
                    ..spec("@daily")
                },
                "a"
            ),
            "Suspended: "
        );
    }
}
