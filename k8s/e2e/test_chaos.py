"""Kills pods, the operator and the API server; jobs must end as the failure table of ARCHITECTURE.md says."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import KEYS, NAMESPACE, ROWS, job, run, slow_steps, until
from kubernetes import client


def wait_until_working(cluster, name, executors):
    """Waits until the executors run and some tasks, but not most, are done."""
    cluster.wait(name, "RUNNING")
    until("executors run", 60, lambda: len(cluster.running_executors(name)) >= executors)
    until("some tasks are done", 60, lambda: (cluster.status(name).get("progress") or {}).get("tasksDone", 0) > 0)


def assert_every_row_once(cluster, folder):
    """Asserts that the result counts every row exactly once."""
    import pyarrow.dataset as dataset

    table = dataset.dataset(cluster.bucket / folder, format="parquet").to_table().to_pydict()
    assert sorted(table["k"]) == list(range(KEYS))
    assert sum(table["n"]) == ROWS and sum(table["s"]) == ROWS * (ROWS + 1) // 2


def kill_now(cluster, pod):
    cluster.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)


def delete(cluster, pod):
    cluster.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE)


def evict(cluster, pod):
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod.metadata.name, namespace=NAMESPACE))
    cluster.core.create_namespaced_pod_eviction(pod.metadata.name, NAMESPACE, eviction)


@pytest.mark.parametrize("end", [kill_now, delete, evict])
def test_lost_executors_are_replaced_and_no_row_is_lost(cluster, end):
    name = end.__name__.replace("_", "-")
    with cluster.application(name, job(slow_steps(name), executors=2)):
        wait_until_working(cluster, name, 2)
        victim = cluster.running_executors(name)[0]
        end(cluster, victim)
        until("its replacement", 60, lambda: any(p.metadata.labels["spark-exec-id"] == "3" for p in cluster.pods(name, "executor")))
        cluster.wait(name, "COMPLETED", seconds=240)
        cluster.wait_for_no_pods(name, "executor")
        assert_every_row_once(cluster, name)


def test_a_replacement_that_a_quota_refuses_is_requested_again(cluster):
    name = "quota"
    with cluster.application(name, job(slow_steps(name), executors=2)):
        wait_until_working(cluster, name, 2)
        run("kubectl", "create", "quota", "few", "-n", NAMESPACE, "--hard=pods=2")
        try:
            until("the quota counts", 30, lambda: "used" in run("kubectl", "get", "quota", "few", "-n", NAMESPACE, "-o", "json").stdout)
            kill_now(cluster, cluster.running_executors(name)[0])
            until("the refusal is logged", 60, lambda: "exceeded quota" in cluster.log(name))
        finally:
            run("kubectl", "delete", "quota", "few", "-n", NAMESPACE)
        until("its replacement", 60, lambda: any(p.metadata.labels["spark-exec-id"] == "3" for p in cluster.pods(name, "executor")))
        cluster.wait(name, "COMPLETED", seconds=240)
        cluster.wait_for_no_pods(name, "executor")
        assert_every_row_once(cluster, name)


@pytest.fixture
def cordoned(cluster):
    nodes = [node.metadata.name for node in cluster.core.list_node().items]

    def cordon(on=True):
        for node in nodes:
            cluster.core.patch_node(node, {"spec": {"unschedulable": on}})

    yield cordon
    cordon(False)


def test_a_cordoned_node_accepts_no_replacement_and_the_job_continues(cluster, cordoned):
    name = "cordoned"
    with cluster.application(name, job(slow_steps(name), executors=2)):
        wait_until_working(cluster, name, 2)
        cordoned()
        evict(cluster, cluster.running_executors(name)[0])
        until("its replacement waits for a node", 60, lambda: any(p.metadata.labels["spark-exec-id"] == "3" for p in cluster.pods(name, "executor")))
        cluster.wait(name, "COMPLETED", seconds=240)
        cluster.wait_for_no_pods(name, "executor")
        assert_every_row_once(cluster, name)


def test_an_executor_preempted_by_higher_priority_is_replaced(cluster):
    name = "preempted"
    scheduling = client.SchedulingV1Api()
    for priority, value in (("higher", 1000), ("highest", 2000)):
        scheduling.create_priority_class(client.V1PriorityClass(metadata=client.V1ObjectMeta(name=priority), value=value))
    preemptor = client.V1Pod(
        metadata=client.V1ObjectMeta(name="preemptor"),
        spec=client.V1PodSpec(
            priority_class_name="higher",
            termination_grace_period_seconds=0,
            containers=[client.V1Container(name="preemptor", image="local.test/busybox:1", command=["sleep", "1000"])],
        ),
    )
    spec = job(slow_steps(name), executors=1, driver={"template": {"spec": {"priorityClassName": "highest"}}})
    try:
        with cluster.application(name, spec):
            wait_until_working(cluster, name, 1)
            # Slightly more than all free CPU, so that the scheduler must preempt the executor.
            node = cluster.core.list_node().items[0]
            used = [p for p in cluster.core.list_pod_for_all_namespaces().items if p.status.phase in ("Running", "Pending")]
            requested = sum(milli((c.resources.requests or {}).get("cpu", "0")) for p in used for c in p.spec.containers)
            free = milli(node.status.allocatable["cpu"]) - requested
            preemptor.spec.containers[0].resources = client.V1ResourceRequirements(requests={"cpu": f"{free + 50}m"})
            cluster.core.create_namespaced_pod("faisca", preemptor)
            until("the loss is reported", 60, lambda: "preempted by a pod of higher priority" in cluster.log(name))
            cluster.core.delete_namespaced_pod("preemptor", "faisca", grace_period_seconds=0)
            cluster.wait(name, "COMPLETED", seconds=240)
            cluster.wait_for_no_pods(name, "executor")
            assert_every_row_once(cluster, name)
    finally:
        if "preemptor" in [pod.metadata.name for pod in cluster.core.list_namespaced_pod("faisca").items]:
            cluster.core.delete_namespaced_pod("preemptor", "faisca", grace_period_seconds=0)
        for priority in ("higher", "highest"):
            scheduling.delete_priority_class(priority)


def milli(quantity):
    """Converts a CPU quantity to thousandths of a core."""
    return int(quantity[:-1]) if quantity.endswith("m") else int(float(quantity) * 1000)


def test_a_deleted_driver_fails_or_is_restarted_as_the_policy_says(cluster):
    once = "driver-once"
    with cluster.application(once, job(slow_steps(once), executors=1)):
        wait_until_working(cluster, once, 1)
        cluster.core.delete_namespaced_pod(f"{once}-driver", NAMESPACE)
        status = until("it failed", 60, lambda: cluster.state(once) == "FAILED" and cluster.status(once))
        assert "driver" in status["applicationState"]["errorMessage"], status
        cluster.wait_for_no_pods(once)
        assert "SparkApplicationFailed" in cluster.events(once)
        assert not list((cluster.bucket / once).rglob("*.parquet")), "a failed job must leave no visible output"
    again = "driver-again"
    policy = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    with cluster.application(again, job(slow_steps(again), executors=1, restartPolicy=policy)):
        wait_until_working(cluster, again, 1)
        cluster.core.delete_namespaced_pod(f"{again}-driver", NAMESPACE, grace_period_seconds=0)
        status = cluster.wait(again, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 2, status
        assert_every_row_once(cluster, again)


def operator_pods(cluster):
    return cluster.core.list_namespaced_pod("faisca", label_selector="app.kubernetes.io/component=operator").items


def test_an_operator_that_shuts_down_releases_its_lease(cluster):
    holder = lambda: client.CoordinationV1Api().read_namespaced_lease("faisca-operator", "faisca").spec.holder_identity
    before = until("an operator leads", 30, holder)
    for pod in operator_pods(cluster):
        cluster.core.delete_namespaced_pod(pod.metadata.name, "faisca")
    # A lease that is not released expires after 15 s.
    until("another operator leads", 10, lambda: holder() not in ("", before))


def test_a_killed_operator_is_restarted_and_continues(cluster):
    name = "operator-dies"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        wait_until_working(cluster, name, 1)
        for pod in operator_pods(cluster):
            cluster.core.delete_namespaced_pod(pod.metadata.name, "faisca", grace_period_seconds=0)
        status = cluster.wait(name, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 1, status
        cluster.wait_for_no_pods(name, "executor")
        assert_every_row_once(cluster, name)


def test_an_edit_does_not_stop_a_running_job_but_suspension_does(cluster):
    name = "suspended"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        wait_until_working(cluster, name, 1)
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"driver": {"memory": "1Gi"}}}')
        time.sleep(1)
        assert cluster.state(name) == "RUNNING" and cluster.status(name)["executionAttempts"] == 1
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": true}}')
        cluster.wait(name, "SUSPENDED")
        cluster.wait_for_no_pods(name)
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": false}}')
        cluster.wait(name, "COMPLETED", seconds=240)
        assert_every_row_once(cluster, name)


def test_a_driver_out_of_memory_is_reported_as_such(cluster):
    name = "oom"
    # A shell in place of the driver allocates memory until the kernel kills it.
    allocate = ["/bin/sh", "-c", "x=a; while :; do x=$x$x; done"]
    spec = job([], executors=0, image="local.test/busybox:1", command=allocate, driver={"memory": "32Mi"})
    del spec["steps"]
    with cluster.application(name, spec):
        status = until("it failed", 60, lambda: cluster.state(name) == "FAILED" and cluster.status(name))
        assert "memory" in status["applicationState"]["errorMessage"], status


def test_an_executor_out_of_memory_is_replaced_and_reported(cluster):
    name = "executor-oom"
    # One value larger than the pod's limit: no memory pool can refuse it in advance.
    sql = "SELECT max(length(repeat('x', CAST(a AS INT) + 700000000))) AS n FROM generate_series(1, 2) AS t(a)"
    steps = [{"name": "allocate", "sql": sql, "write": {"path": f"s3://lake/{name}", "mode": "overwrite"}}]
    with cluster.application(name, job(steps, executors=1)):
        status = until("it failed", 180, lambda: cluster.state(name) == "FAILED" and cluster.status(name))
        log = cluster.log(name)
        assert "killed for exceeding its memory limit" in log and "executor-2" in log, log
        assert "memory" in status["applicationState"]["errorMessage"], status
        cluster.wait_for_no_pods(name, "executor")


own_cluster = pytest.mark.skipif(
    "FAISCA_CLUSTER" not in os.environ or not Path(os.environ["FAISCA_CLUSTER"], "run/pids/apiserver").exists(), reason="needs the tests' own cluster"
)


@own_cluster
def test_the_api_server_restarts(cluster):
    name = "api-restarts"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        wait_until_working(cluster, name, 1)
        pids = Path(os.environ["FAISCA_CLUSTER"], "run/pids")
        os.kill(int((pids / "apiserver").read_text()), signal.SIGKILL)
        time.sleep(2)
        subprocess.run([Path(__file__).parent / "cluster/up.sh", "apiserver"], check=True, capture_output=True)
        status = cluster.wait(name, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 1, status
        cluster.wait_for_no_pods(name, "executor")
        assert_every_row_once(cluster, name)
