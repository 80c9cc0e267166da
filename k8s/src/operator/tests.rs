//! The story of an application, told to the decisions step by step.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::decide::{Action, Decision, Situation, decide};
use super::view::{DriverView, Phase, PodsView};
use crate::application::Application;
use crate::application::tests::resource;
use crate::loss::Loss;
use crate::resource::{ApplicationProgress, ApplicationState, ApplicationStatus};
use crate::stuck::{Patience, Stuck};

/// One application, and the world around it.
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

    /// Looks, and lets what was decided happen.
    fn step(&mut self) -> Decision {
        let application = Application::read(&resource(self.spec.clone()));
        let situation = Situation {
            application: application.as_ref(),
            name: "enem",
            status: &self.status,
            pods: &self.pods,
            patience: Patience::default(),
            now: self.now,
        };
        let decision = decide(&situation);
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

    fn ends(&mut self, phase: Phase, exit_code: i32, words: &str) -> Decision {
        let driver = self.driver();
        (driver.phase, driver.exit_code, driver.last_words) =
            (phase, Some(exit_code), Some(words.to_owned()));
        self.step()
    }

    fn later(&mut self, seconds: i64) {
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
    decision.notes.iter().map(|note| note.reason).collect()
}

#[test]
fn an_application_runs_and_completes() {
    let mut story = Story::new(&json!({"timeToLiveSeconds": 60}));
    let begun = story.step();
    assert_eq!(
        (begun.actions.as_slice(), reasons(&begun)),
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
    let told = story.step();
    assert_eq!(
        (
            reasons(&told),
            told.status.executor_state["enem-1-exec-1"].as_str()
        ),
        (vec![], "RUNNING")
    );
    assert_eq!(
        told.status.progress.unwrap().percent.as_deref(),
        Some("50%")
    );
    story.later(30);
    let done = story.ends(Phase::Succeeded, 0, "");
    assert_eq!(
        (story.state(), reasons(&done)),
        (
            ApplicationState::Completed,
            vec!["SparkApplicationCompleted"]
        )
    );
    let holds: Vec<_> = story
        .status
        .conditions
        .iter()
        .filter(|c| c.status == "True")
        .map(|c| c.kind.as_str())
        .collect();
    assert_eq!(holds, ["Completed"]);
    assert_eq!(done.actions, [Action::DeleteExecutors]);
    assert_eq!(story.status.cost.clone().unwrap().vcpu_seconds, 30);
    // Its pod goes, and it stays what it is; then it goes itself.
    story.pods.driver = None;
    assert_eq!(story.step().again, Some(Duration::from_secs(60)));
    story.later(61);
    assert_eq!(story.step().actions, [Action::DeleteResource]);
    assert_eq!(story.state(), ApplicationState::Completed);
}

#[test]
fn a_failed_driver_is_tried_again_as_the_policy_says_but_not_if_the_job_is_wrong() {
    let policy = json!({"restartPolicy": {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 10}});
    let mut story = Story::new(&policy);
    story.step();
    for (failures, wait) in [(1, 10), (2, 20)] {
        let failed = story.ends(Phase::Failed, 3, "no executor started");
        assert_eq!(
            (story.state(), story.status.failures),
            (ApplicationState::PendingRerun, failures)
        );
        assert_eq!(
            failed.actions,
            [Action::DeleteDriver, Action::DeleteExecutors]
        );
        assert_eq!(story.step().again, Some(Duration::from_secs(wait)));
        story.later(i64::try_from(wait).unwrap());
        assert_eq!(story.step().actions, [Action::CreateDriver(failures + 1)]);
    }
    let failed = story.ends(Phase::Failed, 3, "no executor started");
    assert_eq!(
        (story.state(), reasons(&failed)),
        (ApplicationState::Failed, vec!["SparkApplicationFailed"])
    );
    assert_eq!(
        story.status.application_state.error_message.as_deref(),
        Some("no executor started")
    );
    let mut wrong = Story::new(&policy);
    wrong.step();
    wrong.ends(Phase::Failed, 2, "unknown column `a`");
    assert_eq!(
        (wrong.state(), wrong.status.execution_attempts),
        (ApplicationState::Failed, 1)
    );
}

#[test]
fn a_driver_that_is_deleted_or_evicted_is_told_as_such() {
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
fn images_and_nodes_that_never_come_end_the_wait() {
    for (stuck, seconds, text) in [
        (
            Stuck::Invalid("InvalidImageName: x".to_owned()),
            0,
            "InvalidImageName",
        ),
        (
            Stuck::Start("ImagePullBackOff: x".to_owned()),
            61,
            "ImagePullBackOff",
        ),
        (
            Stuck::Node("Unschedulable: 0/1 nodes".to_owned()),
            301,
            "0/1 nodes",
        ),
    ] {
        let mut story = Story::new(&json!({}));
        story.step();
        story.driver().stuck = Some(stuck);
        if seconds > 0 {
            assert!(story.step().again.is_some());
            assert_eq!(
                story.state(),
                ApplicationState::Submitted,
                "{text}: too soon"
            );
        }
        story.later(seconds);
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
fn edits_stop_nothing_that_runs_and_suspension_does() {
    let mut story = Story::new(&json!({"mainAplicationFile": "typo"}));
    let refused = story.step();
    assert_eq!(
        (story.state(), reasons(&refused)),
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
fn an_operator_that_died_between_two_writes_goes_on() {
    let mut story = Story::new(&json!({}));
    story.step();
    // The pod is there, the status was never written.
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
