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


def test_the_operator_dies_and_goes_on(cluster):
    name = "operator-dies"
    with cluster.application(name, job(slow_steps(name), executors=1)):
        running(cluster, name, 1)
        for pod in cluster.core.list_namespaced_pod("faisca", label_selector="app.kubernetes.io/component=operator").items:
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


@pytest.mark.skipif("FAISCA_CLUSTER" not in os.environ or not Path(os.environ["FAISCA_CLUSTER"], "run/pids/apiserver").exists(), reason="not our own cluster")
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
