"""
The pipeline as a DAG: each job is submitted and awaited as it was with Spark, with Airflow's own classes.

Any version of apache-airflow-providers-cncf-kubernetes does. Tables register themselves, so no crawler follows.
"""

import inspect
import os
from datetime import datetime
from pathlib import Path

from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator
from airflow.providers.cncf.kubernetes.sensors.spark_kubernetes import SparkKubernetesSensor

NAMESPACE = os.environ.get("ENEM_NAMESPACE", "jobs")
JOBS = Path(os.environ.get("ENEM_JOBS", Path(__file__).parent / "jobs")).resolve()
GROUP = {"api_group": "faisca.dev", "api_version": "v1alpha1"}
# From 7.14 on operators read the group from the manifest, show the driver's log, wait, and delete the resource.
NEW = "api_group" not in inspect.signature(SparkKubernetesOperator.__init__).parameters


def application(ti, task_id):
    """Name of the resource that an operator made."""
    resource = ti.xcom_pull(task_ids=task_id)
    return resource["metadata"]["name"] if resource else ti.xcom_pull(task_ids=task_id, key="pod_name").removesuffix("-driver")


def job(name):
    """Submits a job, then waits for its end."""
    submit = SparkKubernetesOperator(
        task_id=name,
        namespace=NAMESPACE,
        application_file=str(JOBS / f"{name}.yaml"),
        **({"delete_on_termination": False} if NEW else GROUP),
    )
    wait = SparkKubernetesSensor(
        task_id=f"{name}_done",
        namespace=NAMESPACE,
        application_name=f"{{{{ application(ti, '{name}') }}}}",
        attach_log=not NEW,
        poke_interval=5,
        **GROUP,
    )
    submit >> wait
    return submit, wait


with DAG(
    "enem",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    template_searchpath="/",
    user_defined_macros={"application": application},
):
    _, converted = job("enem_converte_parquet")
    aggregates = [job(f"enem_agrega_{what}") for what in ("idade", "notas", "sexo")]
    joined, _ = job("enem_join_final")
    anonymised, _ = job("enem_anonimiza_inscricao")

    converted >> anonymised
    for start, end in aggregates:
        converted >> start
        end >> joined
