//! The operator's decisions: observed state → status, actions and Events. Pure: no clock, no
//! network.
//!
//! ```text
//!  (new) ─► SUBMITTED ─► RUNNING ─► COMPLETED
//!               │           │
//!               └─ failure ─┴─┬─► PENDING_RERUN ─► SUBMITTED  if restartPolicy allows a retry
//!                             └─► FAILED                      otherwise
//!
//!  (new) ─► FAILED                           if the spec is invalid
//!  any state ─► SUSPENDED ─► SUBMITTED       while, and after, spec.suspend is true
//! ```
//!
//! **Every decision can be repeated.** The operator may die between any two actions; the next one
//! decides on what it then observes, and reaches the same result.

use std::time::Duration;

use faisca_driver::Error;
use faisca_planner::manifest::{JobSpec, RestartPolicy, RestartPolicyType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::cost::cost;
use super::view::{DriverView, PodsView};
use crate::application::Application;
use crate::error::InvalidSpec;
use crate::pod_state::{Loss, Phase, StartupTimeouts};
use crate::pods::driver_name;
use crate::resource::{ApplicationCondition, ApplicationState, ApplicationStatus, DriverInfo};

/// Default delay before the second attempt; doubled for each further one.
const RETRY_INTERVAL_SECONDS: u64 = 5;
/// Upper bound of the doubled delay.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Change of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Creates the secret and the driver's pod of this attempt.
    CreateDriver(u32),
    DeleteDriver,
    DeleteExecutors,
    DeleteResource,
}

/// An Event to publish, as `kubectl describe` and Airflow show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingEvent {
    /// One word, stable: programs match on it.
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) is_warning: bool,
}

/// Result of a decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) status: ApplicationStatus,
    /// Executed in this order, before the status is written.
    pub(super) actions: Vec<Action>,
    /// Published after the status is written.
    pub(super) events: Vec<PendingEvent>,
    /// When to decide again, even if nothing changes.
    pub(super) requeue_after: Option<Duration>,
}

/// Everything a decision depends on.
pub(super) struct Observed<'a> {
    /// The checked application, or what is wrong with its spec.
    pub(super) application: Result<&'a Application, &'a InvalidSpec>,
    /// Name of the resource.
    pub(super) name: &'a str,
    pub(super) status: &'a ApplicationStatus,
    pub(super) pods: &'a PodsView,
    pub(super) startup_timeouts: StartupTimeouts,
    pub(super) now: Timestamp,
}

/// Decides the next step of an application.
pub(super) fn decide(observed: &Observed<'_>) -> Decision {
    let mut decider = Decider {
        observed,
        decision: Decision {
            status: observed.status.clone(),
            actions: vec![],
            events: vec![],
            requeue_after: None,
        },
    };
    decider.decide();
    decider.decision
}

/// A decision in progress.
struct Decider<'a> {
    observed: &'a Observed<'a>,
    decision: Decision,
}

/// How often a failed application runs again.
#[derive(Debug, Clone, Copy)]
enum Retries {
    AtMost(u32),
    Unlimited,
}

impl Retries {
    fn from_policy(policy: &RestartPolicy) -> Self {
        match policy.kind {
            RestartPolicyType::Always => Self::Unlimited,
            RestartPolicyType::OnFailure => policy
                .on_failure_retries
                .map_or(Self::Unlimited, Self::AtMost),
            RestartPolicyType::Never => Self::AtMost(0),
        }
    }

    /// Returns whether another attempt may start after this number of failures.
    fn allow(self, failures: u32) -> bool {
        match self {
            Self::AtMost(retries) => failures <= retries,
            Self::Unlimited => true,
        }
    }
}

impl<'a> Decider<'a> {
    fn decide(&mut self) {
        let Observed {
            status,
            pods,
            application,
            ..
        } = self.observed;
        let state = status.application_state.state;
        if state != ApplicationState::New {
            self.decision.status.executor_state = pods
                .executors
                .iter()
                .map(|(pod, state)| (pod.clone(), (*state).to_owned()))
                .collect();
        }
        if state.is_terminal() {
            return self.clean_up();
        }
        match application {
            // With a driver, an edit that breaks the spec must not stop the running attempt.
            Err(invalid) if pods.driver.is_none() => {
                self.fail(invalid.to_string(), "SparkApplicationSubmissionFailed")
            }
            Ok(application) if application.spec().suspend => self.suspend(),
            Ok(_) | Err(_) => self.follow_attempt(),
        }
    }

    /// The application has ended: deletes its executors and, after its time to live, the resource.
    fn clean_up(&mut self) {
        let Observed {
            status, pods, now, ..
        } = self.observed;
        if pods.has_executors() {
            self.decision.actions.push(Action::DeleteExecutors);
        }
        let ttl = self.spec().and_then(|spec| spec.time_to_live_seconds);
        if let (Some(ttl), Some(ended)) = (ttl, &status.termination_time) {
            let remaining = Duration::from_secs(ttl).saturating_sub(since(ended.0, *now));
            if remaining.is_zero() {
                self.decision.actions.push(Action::DeleteResource);
            } else {
                self.decision.requeue_after = Some(remaining);
            }
        }
    }

    /// Deletes all pods; `spec.suspend` is true.
    fn suspend(&mut self) {
        let driver = self.observed.pods.driver.as_ref();
        // The job is done: there is nothing left to suspend.
        if driver.is_some_and(|driver| driver.phase == Phase::Succeeded) {
            return self.follow_attempt();
        }
        if self.state() != ApplicationState::Suspended {
            self.enter(
                ApplicationState::Suspended,
                "SparkApplicationSuspended",
                "stopped until spec.suspend is false".to_owned(),
            );
        }
        if driver.is_some_and(|driver| !driver.is_deleting) {
            self.decision.actions.push(Action::DeleteDriver);
        }
        if self.observed.pods.has_executors() {
            self.decision.actions.push(Action::DeleteExecutors);
        }
    }

    /// Follows the current attempt, or waits for the pod of the previous one to disappear.
    fn follow_attempt(&mut self) {
        let Observed { status, pods, .. } = self.observed;
        let Some(driver) = &pods.driver else {
            return self.follow_without_driver();
        };
        match self.state() {
            ApplicationState::PendingRerun | ApplicationState::Suspended => {
                // The pod of the previous attempt has the name of the next one.
                if !driver.is_deleting {
                    self.decision.actions.push(Action::DeleteDriver);
                }
            }
            _ => {
                if driver.attempt > status.execution_attempts
                    || self.state() == ApplicationState::New
                {
                    // The operator died after it created the pod and before it wrote the status.
                    self.record_submission(driver.attempt);
                }
                self.follow_driver(driver);
            }
        }
    }

    /// There is no driver pod: starts an attempt, waits for its time, or notices a deleted driver.
    fn follow_without_driver(&mut self) {
        let Observed { status, now, .. } = self.observed;
        match self.state() {
            ApplicationState::New | ApplicationState::Suspended => self.submit(),
            ApplicationState::PendingRerun => {
                let interval = self
                    .spec()
                    .and_then(|spec| spec.restart_policy.on_failure_retry_interval);
                let wait = backoff(interval.unwrap_or(RETRY_INTERVAL_SECONDS), status.failures);
                let remaining = wait.saturating_sub(
                    status
                        .termination_time
                        .as_ref()
                        .map_or(wait, |ended| since(ended.0, *now)),
                );
                if remaining.is_zero() {
                    self.submit()
                } else {
                    self.decision.requeue_after = Some(remaining)
                }
            }
            _ => self.fail_attempt("the driver pod was deleted".to_owned(), None),
        }
    }

    /// Starts the next attempt.
    fn submit(&mut self) {
        let attempt = self.decision.status.execution_attempts + 1;
        self.decision.actions.push(Action::CreateDriver(attempt));
        self.record_submission(attempt);
        // A pod that stays pending causes no further change that would trigger a decision.
        self.decision.requeue_after = Some(self.observed.startup_timeouts.start);
    }

    /// Enters `SUBMITTED` for this attempt, and clears what belongs to the previous one.
    fn record_submission(&mut self, attempt: u32) {
        let pod = driver_name(self.observed.name);
        let status = &mut self.decision.status;
        status.execution_attempts = attempt;
        status.submission_time = Some(Time(self.observed.now));
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

    /// Copies the driver's progress, and reacts to its phase.
    fn follow_driver(&mut self, driver: &DriverView) {
        if driver.progress.is_some() {
            self.decision.status.progress.clone_from(&driver.progress);
        }
        match driver.phase {
            Phase::Pending if driver.is_deleting => {}
            Phase::Pending => self.wait_for_start(driver),
            Phase::Running => {
                if self.state() != ApplicationState::Running {
                    self.enter(
                        ApplicationState::Running,
                        "SparkDriverRunning",
                        format!("driver {} runs", driver_name(self.observed.name)),
                    );
                }
                self.decision.requeue_after = None;
            }
            Phase::Succeeded => self.complete(driver),
            Phase::Failed => {
                let (message, exit_code) = failure_cause(driver);
                self.fail_attempt(message, exit_code);
            }
        }
    }

    /// Waits for images and nodes, within the timeouts.
    fn wait_for_start(&mut self, driver: &DriverView) {
        let Observed {
            startup_timeouts,
            now,
            ..
        } = self.observed;
        let age = driver
            .created
            .map_or(Duration::ZERO, |created| since(created, *now));
        let timeout = driver
            .startup_problem
            .as_ref()
            .map_or(startup_timeouts.start, |problem| {
                problem.timeout(*startup_timeouts)
            });
        match &driver.startup_problem {
            Some(problem) if age >= timeout => {
                self.decision
                    .actions
                    .extend([Action::DeleteDriver, Action::DeleteExecutors]);
                self.fail(
                    format!("the driver did not start in {} s: {problem}", age.as_secs()),
                    "SparkApplicationFailed",
                );
            }
            Some(_) => {
                self.decision.requeue_after =
                    Some(timeout.saturating_sub(age).max(Duration::from_secs(1)))
            }
            // Images are being pulled, for example. The watch reports when that changes.
            None => self.decision.requeue_after = Some(timeout),
        }
    }

    /// The driver succeeded.
    fn complete(&mut self, driver: &DriverView) {
        self.decision.status.result.clone_from(&driver.result);
        let runs_again = self
            .spec()
            .is_some_and(|spec| spec.restart_policy.kind == RestartPolicyType::Always);
        if runs_again {
            self.decision.status.failures = 0;
            // The next attempt is one of another run: it repeats every step.
            self.decision.status.completions += 1;
            return self
                .rerun("the job completed and runs again: restartPolicy is Always".to_owned());
        }
        self.end(
            ApplicationState::Completed,
            "SparkApplicationCompleted",
            "the job completed".to_owned(),
        );
        self.decision.actions.push(Action::DeleteExecutors);
    }

    /// Ends an attempt: starts another one if the restart policy allows it.
    fn fail_attempt(&mut self, message: String, exit_code: Option<i32>) {
        self.decision.status.failures += 1;
        let policy = self.spec().map(|spec| &spec.restart_policy);
        let retries = policy.map_or(Retries::AtMost(0), Retries::from_policy);
        // An invalid job would fail again in the same way.
        let is_job_invalid = exit_code == Some(i32::from(Error::EXIT_CODE_INVALID));
        if retries.allow(self.decision.status.failures) && !is_job_invalid {
            return self.rerun(message);
        }
        self.decision.actions.push(Action::DeleteExecutors);
        self.fail(message, "SparkApplicationFailed");
    }

    /// Deletes the pods of this attempt; the next one starts after the retry interval.
    fn rerun(&mut self, message: String) {
        self.decision
            .actions
            .extend([Action::DeleteDriver, Action::DeleteExecutors]);
        self.decision.status.termination_time = Some(Time(self.observed.now));
        self.decision.requeue_after = Some(Duration::from_secs(1));
        self.enter(
            ApplicationState::PendingRerun,
            "SparkApplicationPendingRerun",
            message,
        );
    }

    fn fail(&mut self, message: String, reason: &'static str) {
        self.end(ApplicationState::Failed, reason, message);
    }

    /// Enters a final state, with the cost of the attempt.
    fn end(&mut self, state: ApplicationState, reason: &'static str, message: String) {
        let now = self.observed.now;
        self.decision.status.termination_time = Some(Time(now));
        let submitted = self
            .decision
            .status
            .submission_time
            .as_ref()
            .map_or(now, |time| time.0);
        let spec = self.spec();
        self.decision.status.cost = spec.map(|spec| cost(spec, since(submitted, now)));
        let ttl = spec.and_then(|spec| spec.time_to_live_seconds);
        self.decision.requeue_after = ttl.map(Duration::from_secs);
        self.enter(state, reason, message);
    }

    /// Enters a state: sets state, message and conditions, and announces it by an Event.
    fn enter(&mut self, state: ApplicationState, reason: &'static str, message: String) {
        let is_warning = matches!(
            state,
            ApplicationState::Failed | ApplicationState::PendingRerun
        );
        let status = &mut self.decision.status.application_state;
        status.state = state;
        status.error_message = is_warning.then(|| message.clone());
        let conditions = conditions(
            &self.decision.status.conditions,
            state,
            &message,
            self.observed.now,
        );
        self.decision.status.conditions = conditions;
        self.decision.events.push(PendingEvent {
            reason,
            message,
            is_warning,
        });
    }

    /// Returns the spec, if it is valid.
    fn spec(&self) -> Option<&'a JobSpec> {
        self.observed.application.ok().map(Application::spec)
    }

    fn state(&self) -> ApplicationState {
        self.decision.status.application_state.state
    }
}

/// Returns why a driver failed, and its exit code if that is the cause.
fn failure_cause(driver: &DriverView) -> (String, Option<i32>) {
    // A cause outside the process explains more than its exit code.
    match driver.loss {
        Some(loss) if loss != Loss::Failed => return (format!("the driver was {loss}"), None),
        _ if driver.is_deleting => return ("the driver pod was deleted".to_owned(), None),
        _ => {}
    }
    // The driver's own message names the cause and how to fix it.
    let message = driver.termination_message.clone().unwrap_or_else(|| {
        driver.exit_code.map_or_else(
            || "the driver failed".to_owned(),
            |code| format!("the driver ended with exit code {code}"),
        )
    });
    (message, driver.exit_code)
}

/// Returns one condition for each state that users wait for.
fn conditions(
    before: &[ApplicationCondition],
    state: ApplicationState,
    message: &str,
    now: Timestamp,
) -> Vec<ApplicationCondition> {
    let reason = format!("{state:?}");
    let states = [
        ("Running", ApplicationState::Running),
        ("Completed", ApplicationState::Completed),
        ("Failed", ApplicationState::Failed),
    ];
    let condition = |(kind, true_in): (&str, ApplicationState)| {
        let status = if state == true_in { "True" } else { "False" };
        let unchanged = before
            .iter()
            .find(|previous| previous.kind == kind && previous.status == status);
        ApplicationCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.clone(),
            message: message.to_owned(),
            last_transition_time: unchanged.map_or_else(
                || Time(now),
                |previous| previous.last_transition_time.clone(),
            ),
        }
    };
    states.map(condition).into()
}

/// Returns the time between two instants; zero if the clock was set back.
fn since(start: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(start).max(SignedDuration::ZERO)).unwrap_or_default()
}

/// Returns the delay before the next attempt: `interval_seconds`, doubled with each failure after
/// the first, up to [`RETRY_INTERVAL_MAX`] or the interval itself, whichever is longer.
fn backoff(interval_seconds: u64, failures: u32) -> Duration {
    let doubled = interval_seconds.saturating_mul(1 << failures.saturating_sub(1).min(16));
    Duration::from_secs(doubled).min(RETRY_INTERVAL_MAX.max(Duration::from_secs(interval_seconds)))
}
