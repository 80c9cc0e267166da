//! Follows applications through the decisions step by step, from submission to their end.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::decide::{Action, Decision, Observed, decide};
use super::view::{DriverView, PodsView};
use crate::application::Application;
use crate::application::tests::resource;
use crate::pod_state::{Loss, Phase, StartupProblem, StartupTimeouts};
use crate::resource::{ApplicationProgress, ApplicationState, ApplicationStatus};

/// One application, its pods and the time.
struct Story {
    spec: Value,
    status: ApplicationStatus,
    pods: PodsView,
    now: Timestamp,
}

impl Story {
    fn new(extra: &Value) -> Self {
        let mut story = Self {
            spec: json!({"mainApplicationFile": "a.sql", "image": "faisca:1", "driver": {"cores": 1, "memory": "1g"}}),
            status: ApplicationStatus::default(),
            pods: PodsView::default(),
            now: "2026-11-23T00:00:00Z".parse().unwrap(),
        };
        story.edit(extra);
        story
    }

    fn edit(&mut self, extra: &Value) {
        self.spec
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
    }

    /// Decides once, and applies the decision to status and pods.
    fn step(&mut self) -> Decision {
        let application = Application::parse(&resource(self.spec.clone()));
        let observed = Observed {
            application: application.as_ref(),
            name: "enem",
            status: &self.status,
            pods: &self.pods,
            startup_timeouts: StartupTimeouts::default(),
            now: self.now,
        };
        let decision = decide(&observed);
        self.status = decision.status.clone();
        for action in &decision.actions {
            match action {
                Action::CreateDriver(attempt) => {
                    assert!(self.pods.driver.is_none(), "two drivers at once");
                    self.pods.driver = Some(DriverView {
                        attempt: *attempt,
                        created: Some(self.now),
                        ..DriverView::default()
                    });
                }
                Action::DeleteDriver => self.pods.driver = None,
                Action::DeleteExecutors => self.pods.executors.clear(),
                Action::DeleteResource => {}
            }
        }
        decision
    }

    fn driver(&mut self) -> &mut DriverView {
        self.pods.driver.as_mut().unwrap()
    }

    /// Ends the driver, and decides.
    fn end_driver(&mut self, phase: Phase, exit_code: i32, message: &str) -> Decision {
        let driver = self.driver();
        (driver.phase, driver.exit_code) = (phase, Some(exit_code));
        driver.termination_message = Some(message.to_owned());
        self.step()
    }

    fn advance(&mut self, seconds: i64) {
        self.now = self
            .now
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap();
    }

    fn state(&self) -> ApplicationState {
        self.status.application_state.state
    }
}

fn reasons(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.reason).collect()
}

#[test]
fn an_application_runs_and_completes() {
    let mut story = Story::new(&json!({"timeToLiveSeconds": 60}));
    let submitted = story.step();
    assert_eq!(
        (submitted.actions.as_slice(), reasons(&submitted)),
        (
            &[Action::CreateDriver(1)][..],
            vec!["SparkApplicationSubmitted"]
        )
    );
    assert_eq!(
        story
            .status
            .driver_info
            .clone()
            .unwrap()
            .pod_name
            .as_deref(),
        Some("enem-driver")
    );
    assert_eq!(story.step().actions, []);
    story.driver().phase = Phase::Running;
    assert_eq!(reasons(&story.step()), ["SparkDriverRunning"]);
    story.driver().progress = Some(ApplicationProgress {
        percent: Some("50%".to_owned()),
        ..ApplicationProgress::default()
    });
    story
        .pods
        .executors
        .insert("enem-1-exec-1".to_owned(), "RUNNING");
    let running = story.step();
    assert_eq!(
        (
            reasons(&running),
            running.status.executor_state["enem-1-exec-1"].as_str()
        ),
        (vec![], "RUNNING")
    );
    assert_eq!(
        running.status.progress.unwrap().percent.as_deref(),
        Some("50%")
    );
    story.advance(30);
    let completed = story.end_driver(Phase::Succeeded, 0, "");
    assert_eq!(
        (story.state(), reasons(&completed)),
        (
            ApplicationState::Completed,
            vec!["SparkApplicationCompleted"]
        )
    );
    let true_conditions: Vec<_> = story
        .status
        .conditions
        .iter()
        .filter(|c| c.status == "True")
        .map(|c| c.kind.as_str())
        .collect();
    assert_eq!(true_conditions, ["Completed"]);
    assert_eq!(completed.actions, [Action::DeleteExecutors]);
    assert_eq!(story.status.cost.clone().unwrap().vcpu_seconds, 30);
    // The state outlives the pod; then the time to live ends.
    story.pods.driver = None;
    assert_eq!(story.step().requeue_after, Some(Duration::from_secs(60)));
    story.advance(61);
    assert_eq!(story.step().actions, [Action::DeleteResource]);
    assert_eq!(story.state(), ApplicationState::Completed);
}

#[test]
fn a_failed_driver_is_retried_as_the_policy_allows_unless_the_job_is_invalid() {
    let policy = json!({"restartPolicy": {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 10}});
    let mut story = Story::new(&policy);
    story.step();
    for (failures, wait) in [(1, 10), (2, 20)] {
        let failed = story.end_driver(Phase::Failed, 3, "no executor started");
        assert_eq!(
            (story.state(), story.status.failures),
            (ApplicationState::PendingRerun, failures)
        );
        assert_eq!(
            failed.actions,
            [Action::DeleteDriver, Action::DeleteExecutors]
        );
        assert_eq!(story.step().requeue_after, Some(Duration::from_secs(wait)));
        story.advance(i64::try_from(wait).unwrap());
        assert_eq!(story.step().actions, [Action::CreateDriver(failures + 1)]);
    }
    let failed = story.end_driver(Phase::Failed, 3, "no executor started");
    assert_eq!(
        (story.state(), reasons(&failed)),
        (ApplicationState::Failed, vec!["SparkApplicationFailed"])
    );
    assert_eq!(
        story.status.application_state.error_message.as_deref(),
        Some("no executor started")
    );
    let mut invalid = Story::new(&policy);
    invalid.step();
    invalid.end_driver(Phase::Failed, 2, "unknown column `a`");
    assert_eq!(
        (invalid.state(), invalid.status.execution_attempts),
        (ApplicationState::Failed, 1)
    );
}

#[test]
fn a_deleted_or_evicted_driver_is_reported_as_such() {
    let mut story = Story::new(&json!({}));
    story.step();
    story.driver().phase = Phase::Running;
    story.step();
    story.pods.driver = None;
    story.step();
    assert_eq!(
        story.status.application_state.error_message.as_deref(),
        Some("the driver pod was deleted")
    );
    let mut story = Story::new(&json!({"restartPolicy": {"type": "Always"}}));
    story.step();
    let driver = story.driver();
    (driver.phase, driver.loss) = (Phase::Failed, Some(Loss::Evicted));
    story.step();
    assert_eq!(story.state(), ApplicationState::PendingRerun);
    assert_eq!(
        story.status.application_state.error_message.as_deref(),
        Some("the driver was evicted from its node")
    );
}

#[test]
fn a_driver_that_cannot_start_fails_after_its_timeout() {
    for (problem, seconds, text) in [
        (
            StartupProblem::InvalidImageName("InvalidImageName: x".to_owned()),
            0,
            "InvalidImageName",
        ),
        (
            StartupProblem::ContainerBlocked("ImagePullBackOff: x".to_owned()),
            61,
            "ImagePullBackOff",
        ),
        (
            StartupProblem::Unschedulable("Unschedulable: 0/1 nodes".to_owned()),
            301,
            "0/1 nodes",
        ),
    ] {
        let mut story = Story::new(&json!({}));
        story.step();
        story.driver().startup_problem = Some(problem);
        if seconds > 0 {
            assert!(story.step().requeue_after.is_some());
            assert_eq!(
                story.state(),
                ApplicationState::Submitted,
                "{text}: failed too early"
            );
        }
        story.advance(seconds);
        let ended = story.step();
        assert_eq!(
            (story.state(), ended.actions.first()),
            (ApplicationState::Failed, Some(&Action::DeleteDriver))
        );
        assert!(
            story
                .status
                .application_state
                .error_message
                .clone()
                .unwrap()
                .contains(text)
        );
    }
}

#[test]
fn an_edit_does_not_stop_a_running_job_but_suspension_does() {
    let mut story = Story::new(&json!({"mainAplicationFile": "typo"}));
    let rejected = story.step();
    assert_eq!(
        (story.state(), reasons(&rejected)),
        (
            ApplicationState::Failed,
            vec!["SparkApplicationSubmissionFailed"]
        )
    );
    let mut story = Story::new(&json!({}));
    story.step();
    story.driver().phase = Phase::Running;
    story.step();
    story.edit(&json!({"nonsense": true}));
    assert_eq!(
        (story.step().actions, story.state()),
        (vec![], ApplicationState::Running)
    );
    story.spec.as_object_mut().unwrap().remove("nonsense");
    story.edit(&json!({"suspend": true}));
    story
        .pods
        .executors
        .insert("enem-1-exec-1".to_owned(), "RUNNING");
    assert_eq!(
        story.step().actions,
        [Action::DeleteDriver, Action::DeleteExecutors]
    );
    assert_eq!(
        (story.step().actions, story.state()),
        (vec![], ApplicationState::Suspended)
    );
    story.edit(&json!({"suspend": false}));
    assert_eq!(
        (story.step().actions, story.status.failures),
        (vec![Action::CreateDriver(2)], 0)
    );
}

#[test]
fn an_operator_that_died_before_it_wrote_the_status_continues() {
    let mut story = Story::new(&json!({}));
    story.step();
    // The pod exists, but the status was never written.
    story.status = ApplicationStatus::default();
    story.driver().phase = Phase::Running;
    let resumed = story.step();
    assert_eq!(
        (
            resumed.actions.len(),
            story.state(),
            story.status.execution_attempts
        ),
        (0, ApplicationState::Running, 1)
    );
}
