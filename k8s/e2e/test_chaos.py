"""Pods and their masters die; jobs end as the failure matrix says."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import KEYS, NAMESPACE, ROWS, job, run, slow_steps, until
from kubernetes import client


def running(cluster, name, executors):
    cluster.wait(name, "RUNNING")
    until("executors are up", 60, lambda: len(cluster.running_executors(name)) >= executors)
    # Into the work: some tasks are done, most are not.
    until("tasks are done", 60, lambda: (cluster.status(name).get("progress") or {}).get("tasksDone", 0) > 0)


def whole(cluster, folder):
    """Every row once."""
    import pyarrow.dataset as dataset

    table = dataset.dataset(cluster.bucket / folder, format="parquet").to_table().to_pydict()
    assert sorted(table["k"]) == list(range(KEYS))
    assert sum(table["n"]) == ROWS and sum(table["s"]) == ROWS * (ROWS + 1) // 2


def kill_now(cluster, pod):
    cluster.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)


def let_go(cluster, pod):
    cluster.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE)


def evict(cluster, pod):
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod.metadata.name, namespace=NAMESPACE))
    cluster.core.create_namespaced_pod_eviction(pod.metadata.name, NAMESPACE, eviction)


@pytest.mark.parametrize("end", [kill_now, let_go, evict])
def test_executors_that_go_are_replaced_and_no_row_is_lost(cluster, end):
    name = end.__name__.replace("_", "-")
    with cluster.application(name, job(slow_steps(name), executors=2)):
        running(cluster, name, 2)
        victim = cluster.running_executors(name)[0]
        end(cluster, victim)
        until("another in its place", 60, lambda: any(p.metadata.labels["spark-exec-id"] == "3" for p in cluster.pods(name, "executor")))
        cluster.wait(name, "COMPLETED", seconds=240)
        cluster.gone(name, "executor")
        whole(cluster, name)


@pytest.fixture
def cordoned(cluster):
    nodes = [node.metadata.name for node in cluster.core.list_node().items]

    def cordon(on=True):
        for node in nodes:
            cluster.core.patch_node(node, {"spec": {"unschedulable": on}})

    yield cordon
    cordon(False)


def test_a_cordoned_node_takes_no_others_and_the_job_goes_on(cluster, cordoned):
    name = "cordoned"
    with cluster.application(name, job(slow_steps(name), executors=2)):
        running(cluster, name, 2)
        cordoned()
        evict(cluster, cluster.running_executors(name)[0])
        until("another one waits for a node", 60, lambda: any(p.metadata.labels["spark-exec-id"] == "3" for p in cluster.pods(name, "executor")))
        cluster.wait(name, "COMPLETED", seconds=240)
        cluster.gone(name, "executor")
        whole(cluster, name)


def test_a_pod_of_higher_priority_takes_an_executors_place(cluster):
    name = "preempted"
    scheduling = client.SchedulingV1Api()
    for priority, value in (("higher", 1000), ("highest", 2000)):
        scheduling.create_priority_class(client.V1PriorityClass(metadata=client.V1ObjectMeta(name=priority), value=value))
    pushy = client.V1Pod(
        metadata=client.V1ObjectMeta(name="pushy"),
        spec=client.V1PodSpec(
            priority_class_name="higher",
            termination_grace_period_seconds=0,
            containers=[client.V1Container(name="pushy", image="local.test/busybox:1", command=["sleep", "1000"])],
        ),
    )
    spec = job(slow_steps(name), executors=1, driver={"template": {"spec": {"priorityClassName": "highest"}}})
    try:
        with cluster.application(name, spec):
            running(cluster, name, 1)
            # All that is free, and a little more.
            node = cluster.core.list_node().items[0]
            used = [p for p in cluster.core.list_pod_for_all_namespaces().items if p.status.phase in ("Running", "Pending")]
            asked = sum(milli((c.resources.requests or {}).get("cpu", "0")) for p in used for c in p.spec.containers)
            free = milli(node.status.allocatable["cpu"]) - asked
            pushy.spec.containers[0].resources = client.V1ResourceRequirements(requests={"cpu": f"{free + 50}m"})
            cluster.core.create_namespaced_pod("faisca", pushy)
            until("the loss is told", 60, lambda: "preempted by a pod of higher priority" in cluster.log(name))
            cluster.core.delete_namespaced_pod("pushy", "faisca", grace_period_seconds=0)
            cluster.wait(name, "COMPLETED", seconds=240)
            cluster.gone(name, "executor")
            whole(cluster, name)
    finally:
        if "pushy" in [pod.metadata.name for pod in cluster.core.list_namespaced_pod("faisca").items]:
            cluster.core.delete_namespaced_pod("pushy", "faisca", grace_period_seconds=0)
        for priority in ("higher", "highest"):
            scheduling.delete_priority_class(priority)


def milli(quantity):
    return int(quantity[:-1]) if quantity.endswith("m") else int(float(quantity) * 1000)


def test_a_driver_that_is_deleted_fails_or_comes_again(cluster):
    once = "driver-once"
    with cluster.application(once, job(slow_steps(once), executors=1)):
        running(cluster, once, 1)
        cluster.core.delete_namespaced_pod(f"{once}-driver", NAMESPACE)
        status = until("it failed", 60, lambda: cluster.state(once) == "FAILED" and cluster.status(once))
        assert "driver" in status["applicationState"]["errorMessage"], status
        cluster.gone(once)
        assert "SparkApplicationFailed" in cluster.events(once)
        assert not list((cluster.bucket / once).rglob("*.parquet")), "something became visible"
    again = "driver-again"
    policy = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    with cluster.application(again, job(slow_steps(again), executors=1, restartPolicy=policy)):
        running(cluster, again, 1)
        cluster.core.delete_namespaced_pod(f"{again}-driver", NAMESPACE, grace_period_seconds=0)
        status = cluster.wait(again, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 2, status
        whole(cluster, again)


def operators(cluster):
    return cluster.core.list_namespaced_pod("faisca", label_selector="app.kubernetes.io/component=operator").items


def test_an_operator_that_is_told_to_end_hands_its_lease_on(cluster):
    holder = lambda: client.CoordinationV1Api().read_namespaced_lease("faisca-operator", "faisca").spec.holder_identity
    before = until("somebody leads", 30, holder)
    for pod in operators(cluster):
        cluster.core.delete_namespaced_pod(pod.metadata.name, "faisca")
    # A lease that nobody gives back is free after 15 s.
    until("another one leads", 10, lambda: holder() not in ("", before))


def test_the_operator_dies_and_goes_on(cluster):
    name = "operator-dies"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        running(cluster, name, 1)
        for pod in operators(cluster):
            cluster.core.delete_namespaced_pod(pod.metadata.name, "faisca", grace_period_seconds=0)
        status = cluster.wait(name, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 1, status
        cluster.gone(name, "executor")
        whole(cluster, name)


def test_an_edit_stops_nothing_and_suspension_does(cluster):
    name = "suspended"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        running(cluster, name, 1)
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"driver": {"memory": "1Gi"}}}')
        time.sleep(1)
        assert cluster.state(name) == "RUNNING" and cluster.status(name)["executionAttempts"] == 1
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": true}}')
        cluster.wait(name, "SUSPENDED")
        cluster.gone(name)
        run("kubectl", "patch", "sparkapplication", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": false}}')
        cluster.wait(name, "COMPLETED", seconds=240)
        whole(cluster, name)


def test_out_of_memory_is_told_as_such(cluster):
    name = "oom"
    # The kernel kills what takes more than its limit: a shell in the place of the driver takes all.
    hungry = ["/bin/sh", "-c", "x=a; while :; do x=$x$x; done"]
    spec = job([], executors=0, image="local.test/busybox:1", command=hungry, driver={"memory": "32Mi"})
    del spec["steps"]
    with cluster.application(name, spec):
        status = until("it failed", 60, lambda: cluster.state(name) == "FAILED" and cluster.status(name))
        assert "memory" in status["applicationState"]["errorMessage"], status


def test_an_executor_that_takes_too_much_is_replaced_and_told(cluster):
    name = "executor-oom"
    # More in one value than the pod may have, and nothing that a memory pool could see coming.
    sql = "SELECT max(length(repeat('x', CAST(a AS INT) + 700000000))) AS n FROM generate_series(1, 2) AS t(a)"
    steps = [{"name": "hungry", "sql": sql, "write": {"path": f"s3://lake/{name}", "mode": "overwrite"}}]
    with cluster.application(name, job(steps, executors=1)):
        status = until("it failed", 180, lambda: cluster.state(name) == "FAILED" and cluster.status(name))
        log = cluster.log(name)
        assert "killed for taking more memory than its limit" in log and "executor-2" in log, log
        assert "memory" in status["applicationState"]["errorMessage"], status
        cluster.gone(name, "executor")


own_cluster = pytest.mark.skipif(
    "FAISCA_CLUSTER" not in os.environ or not Path(os.environ["FAISCA_CLUSTER"], "run/pids/apiserver").exists(), reason="not our own cluster"
)


@own_cluster
def test_the_api_server_restarts(cluster):
    name = "api-restarts"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        running(cluster, name, 1)
        pids = Path(os.environ["FAISCA_CLUSTER"], "run/pids")
        os.kill(int((pids / "apiserver").read_text()), signal.SIGKILL)
        time.sleep(2)
        subprocess.run([Path(__file__).parent / "cluster/up.sh", "apiserver"], check=True, capture_output=True)
        status = cluster.wait(name, "COMPLETED", seconds=240)
        assert status["executionAttempts"] == 1, status
        cluster.gone(name, "executor")
        whole(cluster, name)
