"""Jobs as users run them: with kubectl, with the command, on a schedule."""

import json
import shutil
import subprocess
import urllib.request

from conftest import KEYS, NAMESPACE, job, run, slow_steps, until

TABLES = ["processing/enem", "consumer/enem_uf", "consumer/enem_anon", "processing/edsup2019/aluno"]


def rows_by_table(cluster):
    return {table: cluster.rows(table) for table in TABLES}


def test_the_pipeline_with_kubectl(cluster, enem):
    run("kubectl", "apply", "-n", NAMESPACE, "-f", enem)
    status = cluster.wait("enem", "COMPLETED")
    assert status["progress"]["percent"] == "100%"
    assert len(status["result"]["tables"]) == 10 and status["result"]["rows"] > 0, status
    assert status["executionAttempts"] == 1
    events = cluster.events("enem")
    for reason in ("SparkApplicationSubmitted", "SparkDriverRunning", "SparkApplicationCompleted"):
        assert reason in events, events
    log = run("kubectl", "logs", "-n", NAMESPACE, "enem-driver").stdout
    assert "consumer/enem_uf" in log and "executor-2" in log, log
    driver = cluster.core.read_namespaced_pod("enem-driver", NAMESPACE)
    assert driver.status.phase == "Succeeded"
    cluster.wait_for_no_pods("enem", "executor")
    assert all(rows_by_table(cluster).values())
    shown = run("kubectl", "get", "sparkapplication", "enem", "-n", NAMESPACE).stdout
    assert "COMPLETED" in shown and "100%" in shown, shown
    run("kubectl", "delete", "-n", NAMESPACE, "-f", enem)
    cluster.wait_for_no_pods("enem")


def test_the_pipeline_with_the_command(cluster, enem):
    before = rows_by_table(cluster)
    done = run("faisca", "submit", enem, "-n", NAMESPACE, "--name", "enem-2", "--follow")
    assert "jobs/enem-2 is submitted" in done.stdout and "consumer/enem_uf" in done.stdout, done.stdout
    assert rows_by_table(cluster) == before
    status = run("faisca", "status", "enem-2", "-n", NAMESPACE).stdout
    assert "completed 100%" in status and "enem_uf → s3://lake/consumer/enem_uf" in status, status
    assert "consumer/enem_uf" in run("faisca", "logs", "enem-2", "-n", NAMESPACE).stdout
    assert "enem-2" in run("faisca", "list", "-n", NAMESPACE).stdout
    again = run("faisca", "submit", enem, "-n", NAMESPACE, "--name", "enem-2", check=False)
    assert again.returncode == 3 and "already exists" in again.stderr, again.stderr
    unknown = run("faisca", "status", "enem-3", "-n", NAMESPACE, check=False)
    assert unknown.returncode == 3 and "did you mean `enem-2`?" in unknown.stderr, unknown.stderr
    run("faisca", "kill", "enem-2", "-n", NAMESPACE)
    cluster.wait_for_no_pods("enem-2")


def test_a_job_without_executors_runs_in_its_driver(cluster):
    steps = [{"name": "one", "sql": "SELECT 1 AS a", "write": {"path": "s3://lake/one", "mode": "overwrite"}}]
    with cluster.application("small", job(steps, executors=0, timeToLiveSeconds=2)):
        run("kubectl", "wait", "-n", NAMESPACE, "sparkapplication/small", "--for=condition=Completed", "--timeout=60s")
        assert cluster.state("small") == "COMPLETED"
        assert cluster.rows("one") == 1
        until("the resource is deleted after its time to live", 20, lambda: cluster.objects.list_namespaced_custom_object(
            "faisca.dev", "v1alpha1", NAMESPACE, "sparkapplications", field_selector="metadata.name=small")["items"] == [])


def test_the_page_of_a_driver_opens_through_a_forwarded_port(cluster):
    unknown = run("faisca", "ui", "no-such-job", "-n", NAMESPACE, check=False)
    assert unknown.returncode == 3 and "no-such-job" in unknown.stderr, unknown.stderr
    with cluster.application("watched", job(slow_steps("watched"), executors=1)):
        cluster.wait("watched", "RUNNING")
        command = ["faisca", "ui", "watched", "-n", NAMESPACE, "--port", "14040"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarded:
            try:
                assert forwarded.stdout.readline() == "Page: http://127.0.0.1:14040/\n"

                def state():
                    with urllib.request.urlopen("http://127.0.0.1:14040/state", timeout=10) as response:
                        return json.load(response)

                until("a stage runs", 60, lambda: state().get("stages_running"))
                assert state()["application"] == "watched" and state()["executors_ready"] == 1, state()
                with urllib.request.urlopen("http://127.0.0.1:14040/", timeout=10) as response:
                    page = response.read().decode()
                assert "Running</span> for" in page and "faisca logs watched" in page, page
            finally:
                forwarded.terminate()


def test_a_program_on_the_job_api_finds_its_executors(cluster):
    spec = job([], executors=2, image="local.test/enem:1", command=["/usr/bin/enem", "s3://lake"])
    del spec["steps"]
    shutil.rmtree(cluster.bucket / "consumer", ignore_errors=True)
    with cluster.application("program", spec):
        until("executors of the program", 60, lambda: len(cluster.pods("program", "executor")) == 2)
        status = cluster.wait("program", "COMPLETED")
        assert cluster.rows("consumer/enem_uf") > 0 and cluster.rows("consumer/enem_anon") > 0
        assert "s3://lake/consumer/enem_anon" in status["result"]["tables"].values(), status
        assert status["progress"]["tasksDone"] > 0, status
        cluster.wait_for_no_pods("program", "executor")


def test_logs_outlive_their_pods(cluster):
    name = "history"
    spec = job(slow_steps(name), executors=2)
    spec["conf"]["faisca.history.path"] = "s3://lake/logs"
    with cluster.application(name, spec):
        uid = cluster.get(name)["metadata"]["uid"]
        until("both executors run", 60, lambda: len(cluster.running_executors(name)) == 2 and "executors" in cluster.log(name))
        cluster.core.delete_namespaced_pod(f"{name}-1-exec-1", NAMESPACE, grace_period_seconds=0)
        cluster.wait(name, "COMPLETED", seconds=240)
        folder = cluster.bucket / "logs" / NAMESPACE / name / uid / "1"
        logs = {log.name: log.read_text() for log in folder.iterdir()}
        stored = {"journal.jsonl", "report.html", f"{name}-driver.log", *(f"{name}-1-exec-{n}.log" for n in (1, 2, 3))}
        assert set(logs) == stored, cluster.log(name)
        assert all(logs.values()), logs
        assert "s3://lake/history" in logs[f"{name}-driver.log"], logs
        records = [json.loads(line)["record"] for line in logs["journal.jsonl"].splitlines()]
        assert records[0] == "run_started" and records[-1] == "run_finished" and "executor_down" in records, records
        assert name in logs["report.html"]


def test_the_number_of_executors_follows_the_work(cluster):
    spec = job(slow_steps("scaled"), executors=0, executor={"scale": {"min": 0, "max": 2}})
    del spec["executor"]["instances"]
    with cluster.application("scaled", spec):
        until("both executors are created", 60, lambda: len(cluster.pods("scaled", "executor")) == 2)
        cluster.wait("scaled", "COMPLETED", seconds=240)
        assert "0 to 2 executors" in cluster.log("scaled"), cluster.log("scaled")
        cluster.wait_for_no_pods("scaled", "executor")
        assert cluster.rows("scaled") == KEYS


def test_a_schedule_starts_runs_and_deletes_old_ones(cluster):
    steps = [{"name": "one", "sql": "SELECT 1 AS a", "write": {"path": "s3://lake/scheduled", "mode": "overwrite"}}]
    body = {
        "apiVersion": "faisca.dev/v1alpha1",
        "kind": "ScheduledSparkApplication",
        "metadata": {"name": "often"},
        # With six fields the first one is seconds, so that the test need not wait for a minute.
        "spec": {"schedule": "*/5 * * * * *", "timeZone": "America/Sao_Paulo", "concurrencyPolicy": "Forbid",
                 "successfulRunHistoryLimit": 1, "template": job(steps, executors=0)},
    }
    schedules = ("faisca.dev", "v1alpha1", NAMESPACE, "scheduledsparkapplications")
    cluster.objects.create_namespaced_custom_object(*schedules, body)
    try:
        def probe():
            status = cluster.objects.get_namespaced_custom_object(*schedules, "often").get("status", {})
            return status if status.get("pastSuccessfulRunNames") else None

        status = until("a run has completed", 60, probe)
        assert status["scheduleState"] == "Scheduled" and status["nextRun"], status
    finally:
        cluster.objects.delete_namespaced_custom_object(*schedules, "often")
    until("its runs are deleted with it", 60, lambda: not [p for p in cluster.core.list_namespaced_pod(NAMESPACE).items if p.metadata.name.startswith("often-")])


def test_the_operator_serves_metrics(cluster):
    pod = cluster.core.list_namespaced_pod("faisca", label_selector="app.kubernetes.io/component=operator").items[0]
    path = f"/api/v1/namespaces/faisca/pods/{pod.metadata.name}:8080/proxy/metrics"
    metrics = run("kubectl", "get", "--raw", path).stdout
    assert "faisca_operator_driver_pods_total" in metrics and 'state="completed"' in metrics, metrics


def test_pods_pass_the_restricted_level_with_no_setting(cluster):
    labels = cluster.core.read_namespace(NAMESPACE).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    rules = run("kubectl", "auth", "can-i", "--list", "-n", NAMESPACE, "--as", f"system:serviceaccount:{NAMESPACE}:faisca").stdout
    granted = [line for line in rules.splitlines() if line.startswith(("pods", "secrets", "sparkapplications", "*"))]
    assert [line.split()[0] for line in sorted(granted)] == ["pods", "pods/log"], rules
