"""Runs DAGs against the cluster, as an Airflow worker would: with three versions of Airflow's own operator, and with ours."""

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
    """Returns a folder with the six manifests, adapted to the lake and to the size of this cluster."""
    folder = tmp_path_factory.mktemp("jobs")
    for manifest in (ROOT / "examples/enem/jobs").glob("*.yaml"):
        text = manifest.read_text().replace("data: examples/enem/data", "data: s3://lake")
        (folder / manifest.name).write_text(text.rstrip() + PODS)
    return folder


class Airflow:
    """An Airflow installation with its own database."""

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
        """Runs a DAG from its first task to its last. Returns the log without colors."""
        shutil.copy(dag, self.dags)
        if not self.version.startswith(("4.", "7.")):
            self.run("dags", "reserialize")
        log = self.run("dags", "test", dag.stem if dag.parent == DAGS else "enem", "2026-01-02", check=check)
        return re.sub(r"\x1b\[[0-9;]*m", "", log)


@pytest.fixture
def airflow(request, tmp_path, jobs):
    return Airflow(request.param, tmp_path, jobs)


@pytest.mark.parametrize("airflow", PROVIDERS, indirect=True)
def test_a_dag_of_stock_operators_and_sensors(cluster, airflow):
    outputs = ["processing/enem", "processing/intermediarias/uf_notas", "consumer/enem_uf", "consumer/enem_anon"]
    for output in outputs:
        shutil.rmtree(cluster.bucket / output, ignore_errors=True)
    log = airflow.test(ROOT / "examples/enem/dag.py")
    applications = cluster.objects.list_namespaced_custom_object("faisca.dev", "v1alpha1", NAMESPACE, "sparkapplications")["items"]
    names = [a["metadata"]["name"] for a in applications if "enem" in a["metadata"]["name"]]
    states = [cluster.state(name) for name in names]
    for name in names:
        cluster.delete(name)
    for name in names:
        cluster.wait_for_no_pods(name)
    assert states == ["COMPLETED"] * 6, dict(zip(names, states))
    assert "Spark application ended successfully" in log, log[-6000:]
    # 7.14 always reads the log of a container `base`, which does not exist.
    assert "consumer/enem_uf" in log or airflow.version == "7.14.0", "the driver's log must be shown"
    for output in outputs:
        assert cluster.rows(output) > 0, output


@pytest.mark.parametrize("airflow", PROVIDERS[1:], indirect=True)
def test_the_stock_operator_pushes_the_result(cluster, airflow):
    log = airflow.test(DAGS / "pushes.py")
    assert "pushed 3 rows of s3://lake/pushed" in log, log[-6000:]


@pytest.mark.parametrize("airflow", PROVIDERS[1:], indirect=True)
def test_a_failed_job_fails_the_task_with_the_drivers_message(cluster, airflow):
    log = airflow.test(DAGS / "fails.py", check=False)
    assert "no such column" in log.lower() or "nowhere" in log.lower(), log[-6000:]
    assert "state=failed" in log.lower() or "failed" in log.lower(), log[-6000:]


@pytest.mark.parametrize("airflow", [NEWEST], indirect=True)
def test_our_operator_defers_pushes_the_result_and_emits_assets(cluster, airflow):
    log = airflow.test(DAGS / "deferred.py")
    assert "pushed 3 rows of s3://lake/deferred" in log, log[-6000:]
    assert "100%" in log, log[-6000:]
    assert cluster.rows("deferred") == 3
    assert "s3://lake/deferred" in airflow.run("assets", "list", "--output", "json"), log[-6000:]


KILL = """
import asyncio, sys
from faisca_airflow.operator import FaiscaOperator
from faisca_airflow.trigger import FaiscaTrigger

part, name, namespace = sys.argv[1:]
if part == "operator":
    operator = FaiscaOperator(task_id="t", namespace=namespace, application={"spec": {}}, deferrable=False)
    operator.name = name
    operator.on_kill()
else:
    asyncio.run(FaiscaTrigger(name, namespace, "kubernetes_default", 1.0).on_kill())
"""


@pytest.mark.parametrize("airflow", [NEWEST], indirect=True)
def test_cancelling_a_task_deletes_its_pods(cluster, airflow):
    for part in ("operator", "trigger"):
        name = f"cancelled-{part}"
        with cluster.application(name, job(slow_steps(name), executors=1)):
            until("its executor runs", 60, lambda: cluster.running_executors(name))
            subprocess.run([airflow.bin / "python", "-c", KILL, part, name, NAMESPACE], env=airflow.env, check=True, timeout=120)
            cluster.wait_for_no_pods(name)
            assert not (cluster.bucket / name).exists(), "a cancelled job must leave no output"
