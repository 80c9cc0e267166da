"""Fixtures: a cluster with the chart installed, and jobs on it. Tests see them as users do: through the API server."""

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes import client, config

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "jobs"
OTHER_NAMESPACE = "other-jobs"
GROUP = ("faisca.dev", "v1alpha1", NAMESPACE, "sparkapplications")


def run(*command, check=True, **more):
    """Runs a command; asserts that it succeeds unless `check` is false."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done


def until(what, seconds, probe):
    """Waits until `probe` returns a true value, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s")


class Cluster:
    def __init__(self):
        config.load_kube_config(os.environ["KUBECONFIG"])
        self.core = client.CoreV1Api()
        self.apps = client.AppsV1Api()
        self.policy = client.PolicyV1Api()
        self.objects = client.CustomObjectsApi()
        self.bucket = Path(os.environ["FAISCA_E2E_BUCKET"])

    def get(self, name):
        return self.objects.get_namespaced_custom_object(*GROUP, name)

    def status(self, name):
        return self.get(name).get("status", {})

    def state(self, name):
        return self.status(name).get("applicationState", {}).get("state", "")

    def wait(self, name, *states, seconds=120):
        """Waits for one of these states; fails if the application ends in another one."""

        def probe():
            state = self.state(name)
            if state in states:
                return self.status(name)
            assert state not in ("COMPLETED", "FAILED"), f"{name}: {self.status(name)}\n{self.log(name)}"
            return None

        return until(f"{name} in {states}", seconds, probe)

    def log(self, name):
        try:
            return self.core.read_namespaced_pod_log(f"{name}-driver", NAMESPACE, container="spark-kubernetes-driver")
        except client.ApiException as error:
            return f"no log: {error.reason}"

    def pods(self, name, role=None):
        selector = f"faisca.dev/app-name={name}" + (f",spark-role={role}" if role else "")
        return self.core.list_namespaced_pod(NAMESPACE, label_selector=selector).items

    def running_executors(self, name):
        pods = self.pods(name, "executor")
        return [pod for pod in pods if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp]

    def events(self, name):
        events = self.core.list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.name={name}").items
        return [event.reason for event in events]

    def create(self, name, spec):
        body = {"apiVersion": "faisca.dev/v1alpha1", "kind": "SparkApplication", "metadata": {"name": name}, "spec": spec}
        return self.objects.create_namespaced_custom_object(*GROUP, body)

    def delete(self, name):
        self.objects.delete_namespaced_custom_object(*GROUP, name)

    def wait_for_no_pods(self, name, role=None, seconds=60):
        """Waits until the application has no pods left, or none of this role."""
        until(f"no {role or 'pod'} of {name}", seconds, lambda: not self.pods(name, role))

    @contextmanager
    def application(self, name, spec):
        """An application that is deleted at the end of the block."""
        self.create(name, spec)
        try:
            yield
        finally:
            try:
                self.delete(name)
            except client.ApiException as error:
                assert error.status == 404
            self.wait_for_no_pods(name)

    def rows(self, folder):
        """Returns the number of rows of a written folder, read by a client other than Faísca."""
        import pyarrow.dataset as dataset

        return dataset.dataset(self.bucket / folder, format="parquet").to_table().num_rows


def lake_env():
    """Returns the reference to the secret with which pods access the lake."""
    return [{"secretRef": {"name": "lake"}}]


def job(steps, executors=1, **more):
    """Returns the spec of a job; `more` adds or replaces fields."""
    spec = {
        "steps": steps,
        "driver": {"cores": 0.2, "memory": "512Mi", "envFrom": lake_env()},
        "executor": {"instances": executors, "cores": 0.2, "memory": "512Mi", "envFrom": lake_env()},
        "conf": {"faisca.smallQueryBytes": "0"},
    }
    for role in ("driver", "executor"):
        spec[role].update(more.pop(role, {}))
    spec.update(more)
    return spec


ROWS = 24_000_000
KEYS = 97


def slow_steps(name):
    """Returns the steps of a slow job of twelve tasks. Its result shows whether every row was processed exactly once."""
    part = ROWS // 12
    ranges = [f"SELECT value AS a FROM generate_series({i * part + 1}, {(i + 1) * part})" for i in range(12)]
    digest = "sha512(sha512(sha512(cast(a AS string))))"
    sql = f"SELECT a % {KEYS} AS k, count(*) AS n, sum(a) AS s, max({digest}) AS d FROM ({' UNION ALL '.join(ranges)}) GROUP BY a % {KEYS}"
    return [{"name": "slow", "sql": sql, "write": {"path": f"s3://lake/{name}", "mode": "overwrite"}}]


@pytest.fixture(scope="session")
def cluster():
    cluster = Cluster()
    # Not created by the chart, so no level of Pod Security hides what the chart's own policy refuses.
    run("kubectl", "create", "namespace", OTHER_NAMESPACE, check=False)
    namespaces = [{"name": NAMESPACE, "create": True}, {"name": OTHER_NAMESPACE}]
    values = ["--set-json", f"jobNamespaces={json.dumps(namespaces)}", "--set", "admissionPolicy.serviceAccounts={powerless}", "--set", f"image.repository={os.environ.get('FAISCA_E2E_IMAGE', 'local.test/faisca')}", "--set", "image.pullPolicy=IfNotPresent", "--set", "operator.startTimeout=8"]
    run("helm", "upgrade", "--install", "faisca", ROOT / "k8s/charts/faisca", "--namespace", "faisca", "--create-namespace", *values, "--wait", "--timeout", "90s")
    variables = {
        "AWS_ACCESS_KEY_ID": "lake",
        "AWS_SECRET_ACCESS_KEY": "lake-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": os.environ["FAISCA_E2E_S3"],
        "AWS_ENDPOINT_URL_GLUE": os.environ["FAISCA_E2E_GLUE"],
    }
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="lake"), string_data=variables)
    try:
        cluster.core.create_namespaced_secret(NAMESPACE, secret)
    except client.ApiException as error:
        assert error.status == 409
    return cluster


@pytest.fixture(scope="session")
def enem(tmp_path_factory):
    """Returns the manifest of the ENEM pipeline, adapted from the laptop to the cluster: with the lake and pod sizes."""
    text = (ROOT / "examples/enem/enem.yaml").read_text()
    text = text.replace("data: examples/enem/data", "data: s3://lake")
    # PyArrow reads the folders by their path, where replaced files would stay visible for an hour.
    catalog = "catalog: {type: glue, database: enem, createDatabase: true, keepOldSeconds: 0}"
    text = re.sub(r"(write: \{.*mode: overwrite)\}", rf"\1, {catalog}}}", text)
    pods = "\n".join(
        [
            "  driver: {cores: 0.2, memory: 512Mi, envFrom: [{secretRef: {name: lake}}]}",
            "  executor: {instances: 2, cores: 0.2, memory: 512Mi, envFrom: [{secretRef: {name: lake}}]}",
        ]
    )
    path = tmp_path_factory.mktemp("enem") / "enem.yaml"
    path.write_text(text.rstrip() + "\n" + pods + "\n")
    return path
