//! Applications by the clock: `ScheduledSparkApplication`.

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
use kube::runtime::controller::{Action as Next, Controller};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};

use super::{Context, OperatorError, api, gone, is_conflict, put_status, retry};
use crate::resource::{
    ApplicationState, ConcurrencyPolicy, ScheduledApplicationSpec, ScheduledSparkApplication,
    ScheduledStatus, SparkApplication,
};

/// Label of runs: the schedule that they belong to.
const SCHEDULE_LABEL: &str = "faisca.dev/schedule";
const SUCCESSFUL_KEPT: u32 = 3;
const FAILED_KEPT: u32 = 1;
/// A run's name is the schedule's with a dash and the minute in this many digits; driver pods add to it.
const NAME_LENGTH_MAX: usize = 52;

/// A run, as far as schedules care.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    name: String,
    state: ApplicationState,
    created: Timestamp,
}

/// What follows for a schedule.
#[derive(Debug, Clone, Default, PartialEq)]
struct Plan {
    status: ScheduledStatus,
    /// Runs to stop or to forget.
    delete: Vec<String>,
    /// Run to start.
    start: Option<String>,
    again: Option<Duration>,
}

pub(super) async fn run(context: Arc<Context>) {
    let schedules = api::<ScheduledSparkApplication>(&context.client, &context.config);
    let runs = api::<SparkApplication>(&context.client, &context.config);
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
) -> Result<Next, OperatorError> {
    if schedule.metadata.deletion_timestamp.is_some() {
        return Ok(Next::await_change());
    }
    let namespace = schedule.namespace().unwrap_or_default();
    let applications = Api::<SparkApplication>::namespaced(context.client.clone(), &namespace);
    let selected =
        ListParams::default().labels(&format!("{SCHEDULE_LABEL}={}", schedule.name_any()));
    let runs: Vec<Run> = applications
        .list(&selected)
        .await?
        .iter()
        .map(run_of)
        .collect();
    let status = schedule.status.clone().unwrap_or_default();
    let created = schedule
        .creation_timestamp()
        .map_or_else(Timestamp::now, |time| time.0);
    let plan = plan(
        &schedule.name_any(),
        &schedule.spec,
        &status,
        &runs,
        created,
        Timestamp::now(),
    );
    for name in &plan.delete {
        gone(
            applications
                .delete(name, &DeleteParams::background())
                .await
                .map(drop),
        )?;
    }
    if let Some(name) = &plan.start {
        let mut run = SparkApplication::new(name, schedule.spec.template.clone());
        let mut labels = schedule.labels().clone();
        labels.insert(SCHEDULE_LABEL.to_owned(), schedule.name_any());
        run.metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            owner_references: schedule.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        match applications.create(&PostParams::default(), &run).await {
            Err(error) if is_conflict(&error) => {}
            created => drop(created?),
        }
    }
    if plan.status != status {
        let schedules =
            Api::<ScheduledSparkApplication>::namespaced(context.client.clone(), &namespace);
        put_status(&schedules, &schedule.name_any(), &plan.status).await?;
    }
    Ok(plan.again.map_or_else(Next::await_change, Next::requeue))
}

fn run_of(application: &SparkApplication) -> Run {
    Run {
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
    let told = |plan: &mut Plan, state: &str, reason: Option<String>| {
        plan.status.schedule_state = Some(state.to_owned());
        plan.status.reason = reason;
    };
    keep_history(spec, runs, &mut plan);
    if name.len() > NAME_LENGTH_MAX {
        told(
            &mut plan,
            "FailedValidation",
            Some(format!(
                "metadata.name: {} characters, {NAME_LENGTH_MAX} at most",
                name.len()
            )),
        );
        return plan;
    }
    if spec.suspend {
        told(&mut plan, "Suspended", None);
        plan.status.next_run = None;
        return plan;
    }
    // Runs that were due while nobody looked are one run.
    let last = status.last_run.as_ref().map_or(created, |time| time.0);
    let (due, next) = match due_and_next(spec, last, now) {
        Ok(found) => found,
        Err(reason) => {
            told(&mut plan, "FailedValidation", Some(reason));
            plan.status.next_run = None;
            return plan;
        }
    };
    told(&mut plan, "Scheduled", None);
    plan.status.next_run = next.map(Time);
    plan.again = next.map(|next| {
        Duration::try_from(next.duration_since(now))
            .unwrap_or_default()
            .max(Duration::from_millis(1))
    });
    let Some(due) = due else { return plan };
    plan.status.last_run = Some(Time(due));
    let late = u64::try_from(now.duration_since(due).as_secs()).unwrap_or_default();
    if let Some(limit) = spec.starting_deadline_seconds.filter(|limit| late > *limit) {
        plan.status.reason = Some(format!(
            "the run of {due} was left out: {late} s late, {limit} s at most"
        ));
        return plan;
    }
    let running: Vec<&Run> = runs.iter().filter(|run| !run.state.is_terminal()).collect();
    match spec.concurrency_policy {
        ConcurrencyPolicy::Forbid if !running.is_empty() => {
            plan.status.reason = Some(format!(
                "the run of {due} was left out: {} still runs",
                running[0].name
            ));
        }
        policy => {
            if policy == ConcurrencyPolicy::Replace {
                plan.delete
                    .extend(running.iter().map(|run| run.name.clone()));
            }
            let run = format!("{name}-{}", due.as_second() / 60);
            plan.status.last_run_name = Some(run.clone());
            plan.start = Some(run);
        }
    }
    plan
}

/// Ended runs beyond the limits go, the oldest first.
fn keep_history(spec: &ScheduledApplicationSpec, runs: &[Run], plan: &mut Plan) {
    let limits = [
        (
            ApplicationState::Completed,
            spec.successful_run_history_limit.unwrap_or(SUCCESSFUL_KEPT),
        ),
        (
            ApplicationState::Failed,
            spec.failed_run_history_limit.unwrap_or(FAILED_KEPT),
        ),
    ];
    for (state, limit) in limits {
        let mut ended: Vec<&Run> = runs.iter().filter(|run| run.state == state).collect();
        ended.sort_by_key(|run| std::cmp::Reverse((run.created, run.name.clone())));
        let (kept, gone) = ended.split_at(ended.len().min(limit as usize));
        plan.delete.extend(gone.iter().map(|run| run.name.clone()));
        let names = kept.iter().map(|run| run.name.clone()).collect();
        match state {
            ApplicationState::Completed => plan.status.past_successful_run_names = names,
            _ => plan.status.past_failed_run_names = names,
        }
    }
}

/// The newest time that is due and not after `now`, if any since `last`; and the next one after `now`.
fn due_and_next(
    spec: &ScheduledApplicationSpec,
    last: Timestamp,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), String> {
    let cron = Cron::from_str(&spec.schedule)
        .map_err(|error| format!("spec.schedule: `{}`: {error}", spec.schedule))?;
    let zone = spec.time_zone.as_deref().unwrap_or("UTC");
    let zone = Tz::from_str(zone).map_err(|_| {
        format!("spec.timeZone: `{zone}` is no time zone; write one like America/Sao_Paulo")
    })?;
    let local = |time: Timestamp| {
        DateTime::<Utc>::from_timestamp(time.as_second(), 0)
            .unwrap_or_default()
            .with_timezone(&zone)
    };
    let global = |time: DateTime<Tz>| {
        Timestamp::from_second(time.timestamp()).map_err(|error| error.to_string())
    };
    let next = cron
        .find_next_occurrence(&local(now), false)
        .ok()
        .map(global)
        .transpose()?;
    let before = cron
        .find_previous_occurrence(&local(now), true)
        .ok()
        .map(global)
        .transpose()?;
    Ok((before.filter(|due| *due > last), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ApplicationSpec;

    fn at(text: &str) -> Timestamp {
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
    fn a_run_is_due_by_the_clock_of_its_zone_and_only_once() {
        let (created, before, after) = (
            at("2026-11-22T00:00:00Z"),
            at("2026-11-22T08:59:00Z"),
            at("2026-11-22T09:00:10Z"),
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
            (waiting.start, waiting.again),
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
        let name = format!("enem-{}", at("2026-11-22T09:00:00Z").as_second() / 60);
        assert_eq!(due.start, Some(name.clone()));
        let again = plan("enem", &six, &due.status, &[], created, after);
        assert_eq!(
            (again.start, again.status.last_run_name),
            (None, Some(name))
        );
        // A day later, after two nights without an operator: one run, not two.
        let late = plan(
            "enem",
            &six,
            &due.status,
            &[],
            created,
            at("2026-11-24T12:00:00Z"),
        );
        assert_eq!(late.status.last_run, Some(Time(at("2026-11-24T09:00:00Z"))));
        let deadline = ScheduledApplicationSpec {
            starting_deadline_seconds: Some(60),
            ..six
        };
        let late = plan(
            "enem",
            &deadline,
            &due.status,
            &[],
            created,
            at("2026-11-24T12:00:00Z"),
        );
        assert!(late.start.is_none() && late.status.reason.unwrap().contains("10800 s late"));
    }

    #[test]
    fn runs_that_overlap_are_left_out_or_replaced_and_old_ones_go() {
        let now = at("2026-11-22T09:00:10Z");
        let run = |name: &str, state, created: &str| Run {
            name: name.to_owned(),
            state,
            created: at(created),
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
                at("2026-11-20T00:00:00Z"),
                now,
            )
        };
        let left_out = planned(ConcurrencyPolicy::Forbid);
        assert!(
            left_out.start.is_none() && left_out.status.reason.unwrap().contains("c still runs")
        );
        assert_eq!(
            (left_out.delete, left_out.status.past_successful_run_names),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        let replaced = planned(ConcurrencyPolicy::Replace);
        assert!(replaced.start.is_some() && replaced.delete.contains(&"c".to_owned()));
        assert!(planned(ConcurrencyPolicy::Allow).start.is_some());
    }

    #[test]
    fn a_schedule_that_cannot_be_read_says_why() {
        let state = |spec: &ScheduledApplicationSpec, name: &str| {
            let status = plan(
                name,
                spec,
                &ScheduledStatus::default(),
                &[],
                at("2026-11-20T00:00:00Z"),
                at("2026-11-22T00:00:00Z"),
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
        assert!(state(&zone, "a").contains("`Brasilia` is no time zone"));
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
