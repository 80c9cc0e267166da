"""Airflow's own operator and sensor, of three ages, and ours: each runs a DAG against the cluster, as a worker would."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import NAMESPACE, ROOT, job, slow_steps, until

TOOLS = Path(os.environ["FAISCA_TOOLS"])
PROVIDERS = ["4.4.0", "7.14.0", "10.25.0"]
NEWEST = PROVIDERS[-1]
PODS = """
  driver: {cores: 0.2, memory: 512Mi, labels: {step: driver}, envFrom: [{secretRef: {name: lake}}]}
  executor: {instances: 1, cores: 0.2, memory: 512Mi, envFrom: [{secretRef: {name: lake}}]}
"""
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The six manifests, on the lake, with pods of this cluster's size."""
    folder = tmp_path_factory.mktemp("jobs")
    for manifest in (ROOT / "examples/enem/jobs").glob("*.yaml"):
        text = manifest.read_text().replace("data: examples/enem/data", "data: s3://lake")
        (folder / manifest.name).write_text(text.rstrip() + PODS)
    return folder


class Airflow:
    """One installation, with a database of its own."""

    def __init__(self, version, home, jobs):
        self.version = version
        self.bin = TOOLS / f"airflow-{version}" / "bin"
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": os.environ["KUBECONFIG"], "namespace": NAMESPACE}}
        self.env = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
            "KUBECONFIG": os.environ["KUBECONFIG"],
            "ENEM_JOBS": str(jobs),
            "ENEM_NAMESPACE": NAMESPACE,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }
        (home / "dags").mkdir()
        self.dags = home / "dags"
        self.run("db", "init" if version.startswith("4.") else "migrate")

    def run(self, *arguments, check=True):
        done = subprocess.run([self.bin / "airflow", *arguments], env=self.env, capture_output=True, text=True, timeout=600)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def test(self, dag, check=True):
        """Runs a DAG of this folder from its first task to its last."""
        shutil.copy(dag, self.dags)
        if not self.version.startswith(("4.", "7.")):
            self.run("dags", "reserialize")
        told = self.run("dags", "test", dag.stem if dag.parent == DAGS else "enem", "2026-01-02", check=check)
        return re.sub(r"\x1b\[[0-9;]*m", "", told)


@pytest.fixture
def airflow(request, tmp_path, jobs):
    return Airflow(request.param, tmp_path, jobs)


@pytest.mark.parametrize("airflow", PROVIDERS, indirect=True)
def test_the_dag_of_operators_and_sensors(cluster, airflow):
    outputs = ["processing/enem", "processing/intermediarias/uf_notas", "consumer/enem_uf", "consumer/enem_anon"]
    for output in outputs:
        shutil.rmtree(cluster.bucket / output, ignore_errors=True)
    told = airflow.test(ROOT / "examples/enem/dag.py")
    everywhere = cluster.objects.list_namespaced_custom_object("faisca.dev", "v1alpha1", NAMESPACE, "sparkapplications")["items"]
    ours = [a["metadata"]["name"] for a in everywhere if "enem" in a["metadata"]["name"]]
    states = [cluster.state(name) for name in ours]
    for name in ours:
        cluster.delete(name)
    for name in ours:
        cluster.gone(name)
    assert states == ["COMPLETED"] * 6, dict(zip(ours, states))
    assert "Spark application ended successfully" in told, told[-6000:]
    # 7.14 looks for the log of a container `base`, whatever it is told.
    assert "consumer/enem_uf" in told or airflow.version == "7.14.0", "the driver's log is shown"
    for output in outputs:
        assert cluster.rows(output) > 0, output


@pytest.mark.parametrize("airflow", PROVIDERS[1:], indirect=True)
def test_the_stock_operator_pushes_what_was_written(cluster, airflow):
    told = airflow.test(DAGS / "pushes.py")
    assert "pushed 3 rows of s3://lake/pushed" in told, told[-6000:]


@pytest.mark.parametrize("airflow", PROVIDERS[1:], indirect=True)
def test_a_failure_is_airflows_failure_with_the_drivers_words(cluster, airflow):
    told = airflow.test(DAGS / "fails.py", check=False)
    assert "no such column" in told.lower() or "nowhere" in told.lower(), told[-6000:]
    assert "state=failed" in told.lower() or "failed" in told.lower(), told[-6000:]


@pytest.mark.parametrize("airflow", [NEWEST], indirect=True)
def test_our_operator_defers_pushes_and_emits(cluster, airflow):
    told = airflow.test(DAGS / "deferred.py")
    assert "pushed 3 rows of s3://lake/deferred" in told, told[-6000:]
    assert "100%" in told, told[-6000:]
    assert cluster.rows("deferred") == 3
    assert "s3://lake/deferred" in airflow.run("assets", "list", "--output", "json"), told[-6000:]


KILL = """
import asyncio, sys
from faisca_airflow.operator import FaiscaOperator
from faisca_airflow.trigger import FaiscaTrigger

who, name, namespace = sys.argv[1:]
if who == "operator":
    operator = FaiscaOperator(task_id="t", namespace=namespace, application={"spec": {}}, deferrable=False)
    operator.name = name
    operator.on_kill()
else:
    asyncio.run(FaiscaTrigger(name, namespace, "kubernetes_default", 1.0).on_kill())
"""


@pytest.mark.parametrize("airflow", [NEWEST], indirect=True)
def test_a_task_that_is_cancelled_takes_its_pods_along(cluster, airflow):
    for who in ("operator", "trigger"):
        name = f"cancelled-{who}"
        with cluster.application(name, job(slow_steps(name), executors=1)):
            until("it runs", 60, lambda: cluster.running_executors(name))
            subprocess.run([airflow.bin / "python", "-c", KILL, who, name, NAMESPACE], env=airflow.env, check=True, timeout=120)
            cluster.gone(name)
            assert not (cluster.bucket / name).exists(), "a cancelled job leaves no output"
