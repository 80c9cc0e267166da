"""Jobs that cannot run report why: in the status, as an Event, by the exit code."""

import json

import pytest
from conftest import NAMESPACE, OTHER_NAMESPACE, job, run, until

ONE = [{"name": "one", "sql": "SELECT 1 AS a", "write": {"path": "s3://lake/mistakes", "mode": "overwrite"}}]


def failure(cluster, name, spec, seconds=60):
    """Runs a job that must fail. Returns its error message."""
    with cluster.application(name, spec):
        status = until(f"{name} failed", seconds, lambda: cluster.state(name) == "FAILED" and cluster.status(name))
        reasons = cluster.events(name)
        assert {"SparkApplicationFailed", "SparkApplicationSubmissionFailed"} & set(reasons), reasons
        return status["applicationState"]["errorMessage"]


def test_an_unknown_field_is_reported_with_the_nearest_name(cluster):
    text = failure(cluster, "unknown-field", job(ONE, mainAplicationFile="a.sql"))
    assert "spec.mainAplicationFile" in text and "mainApplicationFile" in text, text


def test_an_invalid_quantity_is_reported_by_its_field(cluster):
    text = failure(cluster, "quantity", job(ONE, driver={"memory": "much"}))
    assert "spec.driver.memory: `much` is not a size" in text, text


def test_admission_rejects_what_the_schema_can_check(cluster, tmp_path):
    manifest = tmp_path / "two.yaml"
    manifest.write_text("apiVersion: faisca.dev/v1alpha1\nkind: SparkApplication\nmetadata: {name: two}\n"
                        "spec: {mainApplicationFile: a.sql, steps: [{name: a, sql: SELECT 1}]}\n")
    rejected = run("kubectl", "apply", "-n", NAMESPACE, "-f", manifest, check=False)
    assert rejected.returncode != 0 and "exactly one of steps" in rejected.stderr, rejected.stderr


def test_a_missing_image_fails_the_job_after_the_timeout(cluster):
    text = failure(cluster, "no-image", job(ONE, image="local.test/nothing:1", imagePullPolicy="Never"))
    assert "local.test/nothing:1" in text and "did not start" in text, text
    text = failure(cluster, "bad-image", job(ONE, image="Not An Image"))
    assert "InvalidImageName" in text, text


def test_a_missing_service_account_is_reported_by_name(cluster):
    text = failure(cluster, "no-account", job(ONE, serviceAccount="missing-account"))
    assert "missing-account" in text and "serviceaccount" in text.lower(), text


def test_a_missing_role_is_reported_with_the_rule(cluster):
    run("kubectl", "create", "serviceaccount", "powerless", "-n", NAMESPACE)
    try:
        text = failure(cluster, "no-role", job(ONE, executors=1, serviceAccount="powerless"))
    finally:
        run("kubectl", "delete", "serviceaccount", "powerless", "-n", NAMESPACE)
    assert "cannot create resource" in text and "pods" in text and "Role" in text, text


def test_a_driver_that_a_quota_refuses_waits_and_says_so(cluster):
    name = "no-quota"
    run("kubectl", "create", "quota", "none", "-n", NAMESPACE, "--hard=pods=0")
    try:
        with cluster.application(name, job(ONE, executors=0)):
            until("the Event", 30, lambda: "SparkApplicationWaitsForQuota" in cluster.events(name))
            assert not cluster.pods(name) and cluster.state(name) != "FAILED", cluster.status(name)
            run("kubectl", "delete", "quota", "none", "-n", NAMESPACE)
            cluster.wait(name, "COMPLETED")
    finally:
        run("kubectl", "delete", "quota", "none", "-n", NAMESPACE, "--ignore-not-found")


def test_a_service_account_that_the_policy_does_not_allow_fails_the_job_with_the_remedy(cluster):
    text = failure(cluster, "forbidden-account", job(ONE, executors=0, serviceAccount="default"))
    assert "spec.serviceAccount: `default` is not one of faisca, powerless" in text and "of the chart" in text, text


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"hostNetwork": True}, "hostNetwork, hostPID, hostIPC and privileged containers are not allowed"),
        ({"initContainers": [{"name": "b", "image": "b", "securityContext": {"privileged": True}}]}, "privileged containers are not allowed"),
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "a volume is not one of configMap"),
        ({"serviceAccountName": "default"}, "`default` is not one of faisca, powerless"),
        ({"volumes": [{"name": "scratch", "emptyDir": {}}]}, None),
    ],
)
def test_a_driver_cannot_create_what_the_policy_forbids(cluster, spec, expected):
    pod = {"serviceAccountName": "faisca", "containers": [{"name": "a", "image": "a"}], **spec}
    body = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "intruder"}, "spec": pod})
    driver = f"--as=system:serviceaccount:{OTHER_NAMESPACE}:faisca"
    done = run("kubectl", "create", "-n", OTHER_NAMESPACE, driver, "--dry-run=server", "-f", "-", check=False, input=body)
    assert (done.returncode == 0) == (expected is None) and (expected or "") in done.stderr, done.stderr


def test_an_invalid_job_leaves_its_message_in_the_pod(cluster):
    steps = [{"name": "one", "sql": "SELECT nothing FROM generate_series(1, 3)"}]
    with cluster.application("wrong", job(steps, executors=0, restartPolicy={"type": "OnFailure", "onFailureRetries": 5})):
        status = until("it failed", 60, lambda: cluster.state("wrong") == "FAILED" and cluster.status("wrong"))
        assert "nothing" in status["applicationState"]["errorMessage"] and status["executionAttempts"] == 1, status
        pod = cluster.core.read_namespaced_pod("wrong-driver", NAMESPACE)
        terminated = pod.status.container_statuses[0].state.terminated
        assert pod.status.phase == "Failed" and terminated.exit_code == 2, terminated
        assert "step `one`" in terminated.message and "nothing" in terminated.message, terminated.message


def test_an_unschedulable_driver_stays_submitted_and_reports_why(cluster):
    with cluster.application("too-large", job(ONE, driver={"cores": 500})):
        until("the job waits for a node", 60, lambda: cluster.state("too-large") == "SUBMITTED")
        pod = until("the driver pod exists", 30, lambda: cluster.pods("too-large", "driver"))[0]
        until("the scheduler's message", 30, lambda: "Insufficient cpu" in str(cluster.core.read_namespaced_pod(pod.metadata.name, NAMESPACE).status.conditions))
