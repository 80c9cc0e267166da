"""Deployment by chart repository, Prometheus operator, Argo CD and Kustomize, with their published resource definitions."""

import json
import subprocess
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import OTHER_NAMESPACE, ROOT, run, until
from lupa import LuaRuntime

PROMETHEUS = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml")
ARGO = ("github.com/argoproj/argo-cd/v3", "v3.6.1", "manifests/crds")


def published(path, version, file):
    """Returns a file of a published Go module. Only downloads the module, so its required Go version does not matter."""
    output = run("go", "mod", "download", "-json", f"{path}@{version}", check=False, cwd="/").stdout
    with zipfile.ZipFile(json.loads(output)["Zip"]) as module:
        return module.read(f"{path}@{version}/{file}").decode()


def apply_dry_run(text):
    """Asserts that the API server accepts resources, without creating them. Returns their names."""
    done = subprocess.run(["kubectl", "apply", "--server-side", "--dry-run=server", "-f", "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def definitions(cluster):
    path, version, folder = ARGO
    crds = [published(*PROMETHEUS), *(published(path, version, f"{folder}/{kind}-crd.yaml") for kind in ("application", "applicationset"))]
    for crd in crds:
        run("kubectl", "apply", "--server-side", "-f", "-", input=crd)
    run("kubectl", "create", "namespace", "argocd", check=False)
    established = ("kubectl", "wait", "--for=condition=Established", "--timeout=10s", "crd", "--all")
    until("the definitions are established", 60, lambda: run(*established, check=False).returncode == 0)


def test_the_chart_repository_serves_the_chart(tmp_path):
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        run(ROOT / "k8s/charts/package.sh", tmp_path, url)
        rendered = run("helm", "template", "faisca", "faisca", "--repo", url, "--kube-version", "1.36.0").stdout
        server.shutdown()
    kinds = {document["kind"] for document in yaml.safe_load_all(rendered) if document}
    assert {"Deployment", "ServiceAccount", "CustomResourceDefinition", "Role"} <= kinds, kinds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {("Role", "faisca")}),
        (["--set-json", 'jobNamespaces=[{"name": "a"}, {"name": "b"}]'], {("Role", "a"), ("Role", "b")}),
        (["--set", "watchAllNamespaces=true"], {("ClusterRole", None)}),
    ],
)
def test_only_a_watch_of_all_namespaces_needs_a_cluster_role(values, expected):
    rendered = run("helm", "template", "faisca", ROOT / "k8s/charts/faisca", "--namespace", "faisca", "--kube-version", "1.36.0", *values).stdout
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    roles = [document for document in documents if document["kind"] in ("Role", "ClusterRole") and document["metadata"]["name"] == "faisca-operator"]
    assert {(role["kind"], role["metadata"].get("namespace")) for role in roles} == expected


def test_one_operator_serves_several_namespaces_without_a_cluster_role(cluster):
    name, namespace = "elsewhere", OTHER_NAMESPACE
    spec = {"steps": [{"name": "one", "sql": "SELECT 1 AS a"}], "executor": {"instances": 0}, "driver": {"cores": 0.2, "memory": "256Mi"}}
    body = {"apiVersion": "faisca.dev/v1alpha1", "kind": "SparkApplication", "metadata": {"name": name}, "spec": spec}
    resources = ("faisca.dev", "v1alpha1", namespace, "sparkapplications")
    cluster.objects.create_namespaced_custom_object(*resources, body)
    try:
        state = lambda: cluster.objects.get_namespaced_custom_object(*resources, name).get("status", {}).get("applicationState", {}).get("state")
        until(f"{namespace}/{name} completed", 120, lambda: state() == "COMPLETED")
        assert "faisca-operator" not in run("kubectl", "get", "clusterroles", "-o", "name").stdout
    finally:
        cluster.objects.delete_namespaced_custom_object(*resources, name)


def test_an_invalid_value_is_rejected_by_name():
    done = run("helm", "template", "faisca", ROOT / "k8s/charts/faisca", "--set", "operator.replicas=many", check=False)
    assert done.returncode != 0 and "replicas" in done.stderr, done.stderr


def test_prometheus_accepts_the_service_monitor(cluster, definitions):
    rendered = run("helm", "template", "faisca", ROOT / "k8s/charts/faisca", "--namespace", "faisca", "--kube-version", "1.36.0", "--set", "serviceMonitor.enabled=true").stdout
    monitors = [document for document in yaml.safe_load_all(rendered) if document and document["kind"] == "ServiceMonitor"]
    assert len(monitors) == 1
    assert "servicemonitor" in apply_dry_run(yaml.safe_dump({**monitors[0], "metadata": {**monitors[0]["metadata"], "namespace": "faisca"}}))


@pytest.mark.parametrize("file", ["application.yaml", "jobs.yaml"])
def test_argo_accepts_its_applications(cluster, definitions, file):
    assert "argoproj.io" in apply_dry_run((ROOT / "k8s/argocd" / file).read_text())


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("SparkApplication", None, "Progressing"),
        ("SparkApplication", {"applicationState": {"state": "RUNNING"}}, "Progressing"),
        ("SparkApplication", {"applicationState": {"state": "COMPLETED"}}, "Healthy"),
        ("SparkApplication", {"applicationState": {"state": "FAILED", "errorMessage": "no bucket"}}, "Degraded"),
        ("SparkApplication", {"applicationState": {"state": "SUSPENDED"}}, "Suspended"),
        ("ScheduledSparkApplication", {"scheduleState": "Scheduled", "nextRun": "soon"}, "Healthy"),
        ("ScheduledSparkApplication", {"scheduleState": "FailedValidation", "reason": "cron"}, "Degraded"),
    ],
)
def test_argo_reports_the_health_of_our_resources(kind, status, expected):
    data = yaml.safe_load((ROOT / "k8s/argocd/health.yaml").read_text())["data"]
    lua = LuaRuntime()
    check = lua.eval(f"function(obj) {data[f'resource.customizations.health.faisca.dev_{kind}']} end")
    health = check(lua.table_from({"status": status} if status else {}, recursive=True))
    assert health["status"] == expected


def test_the_cluster_accepts_what_kustomize_renders(cluster):
    assert "deployment.apps/faisca-operator" in apply_dry_run(run("kubectl", "kustomize", "--enable-helm", "--load-restrictor=LoadRestrictionsNone", ROOT / "k8s/kustomize").stdout)


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_the_cluster_accepts_the_example_repository_of_jobs(cluster, stage):
    assert "scheduledsparkapplication" in apply_dry_run(run("kubectl", "kustomize", ROOT / "examples/gitops/jobs" / stage).stdout)
