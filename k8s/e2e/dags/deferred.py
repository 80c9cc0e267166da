"""Runs our operator: deferred, with one asset per table."""

from datetime import datetime

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, AssetAlias
from faisca_airflow.operator import FaiscaOperator

MANIFEST = {
    "metadata": {"name": "deferred"},
    "spec": {
        "parameters": {"rows": "1", "to": "s3://lake/elsewhere"},
        "steps": [{"name": "three", "sql": "SELECT value FROM generate_series(1, ${rows})", "write": {"path": "${to}", "mode": "overwrite"}}],
        "driver": {"cores": 0.2, "memory": "512Mi", "envFrom": [{"secretRef": {"name": "lake"}}]},
    },
}


def check(ti):
    result = ti.xcom_pull(task_ids="deferred")
    print(f"pushed {result['rows']} rows of {result['tables']['three']}")


with DAG("deferred", start_date=datetime(2026, 1, 1), schedule=None):
    deferred = FaiscaOperator(
        task_id="deferred",
        namespace="jobs",
        application=MANIFEST,
        parameters={"rows": "3", "to": "s3://lake/{{ ti.task_id }}"},
        poll_interval=1,
        outlets=[AssetAlias("lake")],
    )
    deferred >> PythonOperator(task_id="check", python_callable=check)
