"""Runs the stock operator, which pushes the driver's result to the next task."""

from datetime import datetime
from pathlib import Path

from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator

MANIFEST = Path(__file__).parent / "pushes.manifest"
MANIFEST.write_text("""
apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: pushes}
spec:
  steps:
    - {name: three, sql: "SELECT value FROM generate_series(1, 3)", write: {path: "s3://lake/pushed", mode: overwrite}}
  airflow: {xcom: true, image: "local.test/busybox:1"}
  driver: {cores: 0.2, memory: 512Mi, labels: {step: driver}, envFrom: [{secretRef: {name: lake}}]}
""")


def check(ti):
    result = ti.xcom_pull(task_ids="pushes")
    print(f"pushed {result['rows']} rows of {result['tables']['three']}")


with DAG("pushes", start_date=datetime(2026, 1, 1), schedule=None):
    pushes = SparkKubernetesOperator(task_id="pushes", namespace="jobs", application_file=str(MANIFEST), do_xcom_push=True)
    pushes >> PythonOperator(task_id="check", python_callable=check)
