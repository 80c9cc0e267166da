//! What follows from what is: the operator's decisions, without a clock or a network.

use std::time::Duration;

use faisca_planner::manifest::RestartPolicyType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::cost::cost;
use super::view::{DriverView, Phase, PodsView};
use crate::application::{Application, InvalidSpec};
use crate::loss::Loss;
use crate::pods::driver_name;
use crate::resource::{ApplicationCondition, ApplicationState, ApplicationStatus, DriverInfo};
use crate::stuck::Patience;

/// Between two tries of a failed driver, unless the manifest says otherwise; doubled each time.
const RETRY_INTERVAL_SECONDS: u64 = 5;
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(300);
/// The exit code of a job that is wrong: another try would end the same way.
const EXIT_CODE_WRONG: i32 = 2;

/// What is done to the cluster. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Make the secret and the driver's pod of an attempt.
    CreateDriver(u32),
    DeleteDriver,
    DeleteExecutors,
    DeleteResource,
}

/// An Event, as Airflow and `kubectl describe` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) reason: &'static str,
    pub(super) text: String,
    pub(super) warning: bool,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) status: ApplicationStatus,
    pub(super) actions: Vec<Action>,
    pub(super) notes: Vec<Note>,
    /// Look again then, even if nothing happens.
    pub(super) again: Option<Duration>,
}

/// What is.
pub(super) struct Situation<'a> {
    pub(super) application: Result<&'a Application, &'a InvalidSpec>,
    pub(super) name: &'a str,
    pub(super) status: &'a ApplicationStatus,
    pub(super) pods: &'a PodsView,
    pub(super) patience: Patience,
    pub(super) now: Timestamp,
}

pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let mut decider = Decider {
        situation,
        decision: Decision {
            status: situation.status.clone(),
            actions: vec![],
            notes: vec![],
            again: None,
        },
    };
    decider.decide();
    decider.decision
}

struct Decider<'a> {
    situation: &'a Situation<'a>,
    decision: Decision,
}

impl Decider<'_> {
    fn decide(&mut self) {
        let Situation {
            status,
            pods,
            application,
            ..
        } = self.situation;
        let state = status.application_state.state;
        if state != ApplicationState::New {
            self.decision.status.executor_state = pods
                .executors
                .iter()
                .map(|(pod, state)| (pod.clone(), (*state).to_owned()))
                .collect();
        }
        if state.is_terminal() {
            return self.ended();
        }
        match application {
            // An edit that breaks the spec must not stop what runs.
            Err(invalid) if pods.driver.is_none() => {
                self.fail(invalid.to_string(), "SparkApplicationSubmissionFailed")
            }
            Ok(application) if application.spec().suspend => self.suspended(),
            Ok(_) | Err(_) => self.driven(),
        }
    }

    /// Clean-up, and the end of the resource itself.
    fn ended(&mut self) {
        let Situation {
            status,
            pods,
            application,
            now,
            ..
        } = self.situation;
        if pods.has_executors() {
            self.decision.actions.push(Action::DeleteExecutors);
        }
        let ttl = application
            .as_ref()
            .ok()
            .and_then(|application| application.spec().time_to_live_seconds);
        if let (Some(ttl), Some(ended)) = (ttl, &status.termination_time) {
            let left = Duration::from_secs(ttl).saturating_sub(since(ended.0, *now));
            if left.is_zero() {
                self.decision.actions.push(Action::DeleteResource);
            } else {
                self.decision.again = Some(left);
            }
        }
    }

    fn suspended(&mut self) {
        let driver = self.situation.pods.driver.as_ref();
        if driver.is_some_and(|driver| driver.phase == Phase::Succeeded) {
            return self.driven();
        }
        if self.state() != ApplicationState::Suspended {
            self.enter(
                ApplicationState::Suspended,
                "SparkApplicationSuspended",
                "stopped until spec.suspend is false".to_owned(),
            );
        }
        if driver.is_some_and(|driver| !driver.deleting) {
            self.decision.actions.push(Action::DeleteDriver);
        }
        if self.situation.pods.has_executors() {
            self.decision.actions.push(Action::DeleteExecutors);
        }
    }

    fn driven(&mut self) {
        let Situation { status, pods, .. } = self.situation;
        let Some(driver) = &pods.driver else {
            return self.without_driver();
        };
        match self.state() {
            ApplicationState::PendingRerun | ApplicationState::Suspended => {
                // The old pod has the name of the next one.
                if !driver.deleting {
                    self.decision.actions.push(Action::DeleteDriver);
                }
            }
            _ => {
                if driver.attempt > status.execution_attempts
                    || self.state() == ApplicationState::New
                {
                    // The operator died between making the pod and telling so.
                    self.submitted(driver.attempt);
                }
                self.followed(driver);
            }
        }
    }

    fn without_driver(&mut self) {
        let Situation {
            status,
            now,
            application,
            ..
        } = self.situation;
        match self.state() {
            ApplicationState::New | ApplicationState::Suspended => self.submit(),
            ApplicationState::PendingRerun => {
                let interval = application
                    .as_ref()
                    .ok()
                    .and_then(|a| a.spec().restart_policy.on_failure_retry_interval);
                let wait = backoff(interval.unwrap_or(RETRY_INTERVAL_SECONDS), status.failures);
                let left = wait.saturating_sub(
                    status
                        .termination_time
                        .as_ref()
                        .map_or(wait, |ended| since(ended.0, *now)),
                );
                if left.is_zero() {
                    self.submit()
                } else {
                    self.decision.again = Some(left)
                }
            }
            _ => self.attempt_failed("the driver pod was deleted".to_owned(), None),
        }
    }

    fn submit(&mut self) {
        let attempt = self.decision.status.execution_attempts + 1;
        self.decision.actions.push(Action::CreateDriver(attempt));
        self.submitted(attempt);
        // No news may be bad news: images and nodes that never come.
        self.decision.again = Some(self.situation.patience.start);
    }

    fn submitted(&mut self, attempt: u32) {
        let pod = driver_name(self.situation.name);
        let status = &mut self.decision.status;
        status.execution_attempts = attempt;
        status.submission_time = Some(Time(self.situation.now));
        status.termination_time = None;
        status.driver_info = Some(DriverInfo {
            pod_name: Some(pod.clone()),
            web_ui_address: None,
        });
        (status.progress, status.result) = (None, None);
        self.enter(
            ApplicationState::Submitted,
            "SparkApplicationSubmitted",
            format!("attempt {attempt}: pod {pod}"),
        );
    }

    fn followed(&mut self, driver: &DriverView) {
        if driver.progress.is_some() {
            self.decision.status.progress.clone_from(&driver.progress);
        }
        match driver.phase {
            Phase::Pending if driver.deleting => {}
            Phase::Pending => self.pending(driver),
            Phase::Running => {
                if self.state() != ApplicationState::Running {
                    self.enter(
                        ApplicationState::Running,
                        "SparkDriverRunning",
                        format!("driver {} runs", driver_name(self.situation.name)),
                    );
                }
                self.decision.again = None;
            }
            Phase::Succeeded => self.succeeded(driver),
            Phase::Failed => {
                let from_outside = match driver.loss {
                    Some(loss) if loss != Loss::Failed => Some(format!("the driver was {loss}")),
                    _ if driver.deleting => Some("the driver pod was deleted".to_owned()),
                    _ => None,
                };
                if let Some(cause) = from_outside {
                    return self.attempt_failed(cause, None);
                }
                let code = || {
                    driver.exit_code.map_or_else(
                        || "the driver failed".to_owned(),
                        |code| format!("the driver ended with exit code {code}"),
                    )
                };
                // The driver's own words tell the cause and how to mend it.
                self.attempt_failed(
                    driver.last_words.clone().unwrap_or_else(code),
                    driver.exit_code,
                );
            }
        }
    }

    /// Waits for images and nodes, but not for ever.
    fn pending(&mut self, driver: &DriverView) {
        let Situation { patience, now, .. } = self.situation;
        let age = driver
            .created
            .map_or(Duration::ZERO, |created| since(created, *now));
        let limit = driver
            .stuck
            .as_ref()
            .map_or(patience.start, |stuck| stuck.limit(*patience));
        match &driver.stuck {
            Some(why) if age >= limit => {
                self.decision
                    .actions
                    .extend([Action::DeleteDriver, Action::DeleteExecutors]);
                self.fail(
                    format!("the driver did not start in {} s: {why}", age.as_secs()),
                    "SparkApplicationFailed",
                );
            }
            Some(_) => {
                self.decision.again = Some(limit.saturating_sub(age).max(Duration::from_secs(1)))
            }
            // The watch tells when that changes.
            None => self.decision.again = Some(limit),
        }
    }

    fn succeeded(&mut self, driver: &DriverView) {
        self.decision.status.result.clone_from(&driver.result);
        let restart = self
            .situation
            .application
            .as_ref()
            .is_ok_and(|a| a.spec().restart_policy.kind == RestartPolicyType::Always);
        if restart {
            self.decision.status.failures = 0;
            return self.rerun("it is done, and runs again".to_owned());
        }
        self.end(
            ApplicationState::Completed,
            "SparkApplicationCompleted",
            "done".to_owned(),
        );
        self.decision.actions.push(Action::DeleteExecutors);
    }

    fn attempt_failed(&mut self, text: String, exit_code: Option<i32>) {
        self.decision.status.failures += 1;
        let policy = self
            .situation
            .application
            .as_ref()
            .ok()
            .map(|application| &application.spec().restart_policy);
        let retries = match policy.map(|policy| policy.kind) {
            Some(RestartPolicyType::Always) => u32::MAX,
            Some(RestartPolicyType::OnFailure) => policy
                .and_then(|policy| policy.on_failure_retries)
                .unwrap_or(u32::MAX),
            Some(RestartPolicyType::Never) | None => 0,
        };
        if self.decision.status.failures <= retries && exit_code != Some(EXIT_CODE_WRONG) {
            return self.rerun(text);
        }
        self.decision.actions.push(Action::DeleteExecutors);
        self.fail(text, "SparkApplicationFailed");
    }

    fn rerun(&mut self, text: String) {
        self.decision
            .actions
            .extend([Action::DeleteDriver, Action::DeleteExecutors]);
        self.decision.status.termination_time = Some(Time(self.situation.now));
        self.decision.again = Some(Duration::from_secs(1));
        self.enter(
            ApplicationState::PendingRerun,
            "SparkApplicationPendingRerun",
            text,
        );
    }

    fn fail(&mut self, text: String, reason: &'static str) {
        self.end(ApplicationState::Failed, reason, text);
    }

    fn end(&mut self, state: ApplicationState, reason: &'static str, text: String) {
        let now = self.situation.now;
        self.decision.status.termination_time = Some(Time(now));
        let began = self
            .decision
            .status
            .submission_time
            .as_ref()
            .map_or(now, |time| time.0);
        let spec = self
            .situation
            .application
            .as_ref()
            .ok()
            .map(|application| application.spec());
        self.decision.status.cost = spec.map(|spec| cost(spec, since(began, now)));
        let ttl = spec.and_then(|spec| spec.time_to_live_seconds);
        self.decision.again = ttl.map(Duration::from_secs);
        self.enter(state, reason, text);
    }

    fn enter(&mut self, state: ApplicationState, reason: &'static str, text: String) {
        let warning = matches!(
            state,
            ApplicationState::Failed | ApplicationState::PendingRerun
        );
        let status = &mut self.decision.status.application_state;
        status.state = state;
        status.error_message = warning.then(|| text.clone());
        let conditions = conditions(
            &self.decision.status.conditions,
            state,
            &text,
            self.situation.now,
        );
        self.decision.status.conditions = conditions;
        self.decision.notes.push(Note {
            reason,
            text,
            warning,
        });
    }

    fn state(&self) -> ApplicationState {
        self.decision.status.application_state.state
    }
}

/// One condition for each state that people wait for.
fn conditions(
    before: &[ApplicationCondition],
    state: ApplicationState,
    message: &str,
    now: Timestamp,
) -> Vec<ApplicationCondition> {
    let reason = format!("{state:?}");
    let all = [
        ("Running", ApplicationState::Running),
        ("Completed", ApplicationState::Completed),
        ("Failed", ApplicationState::Failed),
    ];
    let condition = |(kind, holds_in): (&str, ApplicationState)| {
        let status = if state == holds_in { "True" } else { "False" };
        let unchanged = before
            .iter()
            .find(|old| old.kind == kind && old.status == status);
        ApplicationCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.clone(),
            message: message.to_owned(),
            last_transition_time: unchanged
                .map_or_else(|| Time(now), |old| old.last_transition_time.clone()),
        }
    };
    all.map(condition).into()
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then).max(SignedDuration::ZERO)).unwrap_or_default()
}

/// `interval`, doubled with each failure after the first.
fn backoff(interval: u64, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.saturating_sub(1).min(16));
    Duration::from_secs(doubled).min(RETRY_INTERVAL_MAX.max(Duration::from_secs(interval)))
}
