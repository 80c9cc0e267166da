"""Runs an invalid job."""

from datetime import datetime
from pathlib import Path

from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator

MANIFEST = Path(__file__).parent / "fails.manifest"
MANIFEST.write_text("""
apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: fails}
spec:
  steps:
    - {name: wrong, sql: "SELECT nowhere FROM generate_series(1, 3)", write: {path: "s3://lake/wrong", mode: overwrite}}
  driver: {cores: 0.2, memory: 512Mi, labels: {step: driver}, envFrom: [{secretRef: {name: lake}}]}
""")

with DAG("fails", start_date=datetime(2026, 1, 1), schedule=None):
    SparkKubernetesOperator(task_id="fails", namespace="jobs", application_file=str(MANIFEST))
