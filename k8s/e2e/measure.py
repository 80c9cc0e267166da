"""Measurements on a real API server: `k8s/e2e/run.sh -s k8s/e2e/measure.py`. Prints figures, and fails if one exceeds its limit.

Many submissions run on a fake node: kwok simulates its kubelet, so that the operator's work is measured and not the
work of 2,000 processes.
"""

import os
import re
import statistics
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from conftest import GROUP, NAMESPACE, job, run, until

FAKE = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}
SUBMITTERS = 8
# A pod on the fake node runs at once, and a driver completes a second later.
STAGES = """
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: node-is-ready}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector: {matchExpressions: [{key: '.status.conditions.[] | select( .type == "Ready" ) | .status', operator: NotIn, values: ["True"]}]}
  next:
    statusTemplate: |
      conditions:
      - {type: Ready, status: "True", reason: KubeletReady, message: fake, lastHeartbeatTime: {{ Now }}, lastTransitionTime: {{ Now }}}
---
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: pod-runs}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: DoesNotExist}, {key: .status.podIP, operator: DoesNotExist}]}
  next:
    statusTemplate: |
      phase: Running
      podIP: 10.0.0.1
      startTime: {{ Now }}
      containerStatuses:
      - {name: {{ (index .spec.containers 0).name }}, image: i, imageID: i, ready: true, restartCount: 0, state: {running: {startedAt: {{ Now }}}}}
---
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: driver-completes}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchLabels: {spark-role: driver}
    matchExpressions: [{key: .metadata.deletionTimestamp, operator: DoesNotExist}, {key: .status.phase, operator: In, values: [Running]}]
  delay: {durationMilliseconds: 1000}
  next:
    statusTemplate: |
      phase: Succeeded
      containerStatuses:
      - {name: {{ (index .spec.containers 0).name }}, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now }}, finishedAt: {{ Now }}}}}
---
kind: Stage
apiVersion: kwok.x-k8s.io/v1alpha1
metadata: {name: pod-goes}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]}
  next: {finalizers: {empty: true}, delete: true}
"""


STATES = {"pods": ".status.phase", "sparkapplications": ".status.applicationState.state"}


@contextmanager
def watched(kind, selector=""):
    """Records when each (name, state) was first seen, by this machine's clock. A separate process watches, so that no other work delays it."""
    columns = f"custom-columns=NAME:.metadata.name,STATE:{STATES[kind]}"
    command = ["kubectl", "get", kind, "-n", NAMESPACE, "--watch", "--no-headers", "-o", columns, *(["-l", selector] if selector else [])]
    seen = {}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def record():
        for line in process.stdout:
            seen.setdefault(tuple(line.split()), time.time())

    thread = threading.Thread(target=record, daemon=True)
    thread.start()
    time.sleep(0.5)
    try:
        yield seen
    finally:
        process.kill()
        process.wait()


def lines(cluster, name):
    """Returns (time, text) for each line of the driver's log. The node's clock is this machine's clock."""
    log = cluster.core.read_namespaced_pod_log(f"{name}-driver", NAMESPACE, container="spark-kubernetes-driver", timestamps=True)
    parts = (line.split(" ", 1) for line in log.splitlines())
    return [(datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", stamp)).timestamp(), text) for stamp, text in parts]


@pytest.mark.parametrize("executors", [0, 1])
def test_from_the_resource_to_the_first_task(cluster, executors):
    steps = [{"name": "one", "sql": "SELECT 1 AS a", "write": {"path": "s3://lake/latency", "mode": "overwrite"}}]
    rows = []
    for attempt in range(5):
        name = f"latency-{executors}-{attempt}"
        with watched("pods", f"faisca.dev/app-name={name}") as seen:
            started = time.time()
            with cluster.application(name, job(steps, executors=executors)):
                cluster.wait(name, "COMPLETED")
                log = lines(cluster, name)
                driver, executor = (f"{name}-driver", "Pending"), f"{name}-1-exec-1"
                created, running = seen.get((executor, "Pending")), seen.get((executor, "Running"))
                first_step = next(at for at, text in log if "one" in text)
                row = {
                    "operator": seen[driver] - started,
                    "scheduler and kubelet: driver": log[0][0] - seen[driver],
                    "driver, until executors are created": created - log[0][0] if executors else 0,
                    "scheduler and kubelet: executor": running - created if executors else 0,
                    "first step, with S3": first_step - (running if executors else log[0][0]),
                    "total": first_step - started,
                }
                rows.append(row)
    print(f"\nfrom the resource to the end of the first step, {executors} executors, median of {len(rows)}")
    for key in rows[0]:
        print(f"  {key:34} {statistics.median(row[key] for row in rows):6.2f} s")
    faisca = statistics.median(row["operator"] + row["driver, until executors are created"] + row["first step, with S3"] for row in rows)
    print(f"  {'Faísca':34} {faisca:6.2f} s")
    assert faisca <= 1.0


@pytest.fixture(scope="module")
def kwok(cluster, tmp_path_factory):
    """A node without a kubelet, simulated by kwok."""
    folder = tmp_path_factory.mktemp("kwok")
    (folder / "stages.yaml").write_text(STAGES)
    tools = Path(os.environ["FAISCA_TOOLS"]) / "bin"
    if not (tools / "kwok").exists():
        subprocess.run(["go", "install", "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"], env={**os.environ, "GOBIN": str(tools)}, check=True)
    process = subprocess.Popen(
        [tools / "kwok", "--kubeconfig", os.environ["KUBECONFIG"], "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds", "40", "--config", folder / "stages.yaml"],
        stdout=(folder / "log").open("w"), stderr=subprocess.STDOUT,
    )
    node = {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok", "kubernetes.io/hostname": "fake"}},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "100000", "memory": "100000Gi", "pods": "100000"}, "capacity": {"cpu": "100000", "memory": "100000Gi", "pods": "100000"}},
    }
    cluster.core.create_node(node)
    cluster.core.patch_node_status("fake", {"status": node["status"]})
    yield process
    cluster.core.delete_node("fake")
    process.terminate()
    process.wait()


def operator_process():
    pids = run("pgrep", "-f", "^/usr/bin/faisca operator").stdout.split()
    return int(pids[0])


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_two_thousand_submissions_a_minute(cluster, kwok):
    count, seconds = int(os.environ.get("FAISCA_SUBMISSIONS", "2000")), 60
    spec = {"mainApplicationFile": "s3://lake/none.sql", "driver": {"cores": 1, "memory": "1Gi", **FAKE}}
    body = lambda n: {"apiVersion": "faisca.dev/v1alpha1", "kind": "SparkApplication", "metadata": {"name": f"many-{n}"}, "spec": spec}
    pid = operator_process()
    before = cpu_seconds(pid)
    with (
        watched("pods", "spark-role=driver") as pods,
        watched("sparkapplications") as applications,
    ):
        started = time.time()

        def submit(n):
            time.sleep(max(0.0, started + n * seconds / count - time.time()))
            cluster.objects.create_namespaced_custom_object(*GROUP, body(n))

        with ThreadPoolExecutor(SUBMITTERS) as pool:
            list(pool.map(submit, range(count)))
        submitted = time.time() - started

        def completed():
            return sum(1 for name, state in list(applications) if name.startswith("many-") and state == "COMPLETED") >= count

        until("all have completed", 240, completed)
        took = time.time() - started
    cpu = cpu_seconds(pid) - before
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024
    states = {"Running": "RUNNING", "Succeeded": "COMPLETED"}
    changes = [((pod.removesuffix("-driver"), states[phase]), at) for (pod, phase), at in pods.items() if phase in states]
    lags = sorted(applications[change] - at for change, at in changes if change in applications)
    print(f"\n{count} submissions in {submitted:.0f} s, all completed after {took:.0f} s")
    print(f"  operator: {cpu:.1f} s of CPU, {cpu / took:.2f} cores, {memory:.0f} MiB at peak")
    print(f"  status lag, of {len(lags)} changes: median {statistics.median(lags):.2f} s, p99 {lags[int(len(lags) * 0.99)]:.2f} s")
    run("kubectl", "delete", "sparkapplications", "--all", "-n", NAMESPACE, "--wait=false", "--timeout=120s")
    until("all pods are deleted", 300, lambda: not cluster.core.list_namespaced_pod(NAMESPACE, limit=1).items)
    assert cpu / took <= 1.0 and memory <= 200 and lags[int(len(lags) * 0.99)] <= 2.0


def test_a_hundred_executors(cluster, kwok):
    name, count = "hundred", 100
    spec = job([{"name": "one", "sql": "SELECT 1 AS a", "write": {"path": "s3://lake/hundred", "mode": "overwrite"}}], executors=count, executor=FAKE)
    with watched("pods", f"faisca.dev/app-name={name},spark-role=executor") as seen:
        with cluster.application(name, spec):
            log = until("all pods are created", 60, lambda: len({pod for pod, _ in list(seen)}) == count and lines(cluster, name))
            took = max(at for (_, phase), at in seen.items() if phase == "Pending") - log[0][0]
            print(f"\n{count} executors created {took:.2f} s after the driver's first line")
            assert took <= 2.0
