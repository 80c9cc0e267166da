"""Airflow operator that runs an application and returns what it wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import yaml
from airflow.configuration import conf
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client.exceptions import ApiException

from faisca_airflow.application import DRIVER_CONTAINER, GROUP, State, label_value, resource_of_try, unique_name
from faisca_airflow.trigger import FaiscaTrigger


class FaiscaOperator(BaseOperator):
    """
    Runs a SparkApplication of faisca.dev, and waits until it ends.

    :param application: the manifest: a `.yaml` file next to the DAG, its text, or a dict; templated.
    :param namespace: namespace of the job; templated.
    :param parameters: values for the manifest's `${name}`; templated.
    :param kubernetes_conn_id: connection to the cluster.
    :param deferrable: whether to wait in the triggerer instead of a worker.
    :param poll_interval: seconds between two requests for the state.
    :param keep: whether the resource stays after the job ends: `always`, `failed` (only after a failure) or `never`.
    """

    template_fields: Sequence[str] = ("application", "namespace", "parameters")
    template_ext: Sequence[str] = (".yaml", ".yml")
    template_fields_renderers = {"application": "yaml"}
    ui_color = "#f7c59f"

    def __init__(
        self,
        *,
        application: str | dict[str, Any],
        namespace: str = "default",
        parameters: dict[str, str] | None = None,
        kubernetes_conn_id: str = "kubernetes_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=True),
        poll_interval: float = 5.0,
        keep: str = "failed",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if keep not in ("always", "failed", "never"):
            raise ValueError(f"keep is {keep!r}: expected 'always', 'failed' or 'never'")
        self.application = application
        self.namespace = namespace
        self.parameters = parameters or {}
        self.kubernetes_conn_id = kubernetes_conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.keep = keep
        self.name: str | None = None

    @cached_property
    def hook(self) -> KubernetesHook:
        return KubernetesHook(conn_id=self.kubernetes_conn_id)

    def execute(self, context: Any) -> dict[str, Any] | None:
        self.name = self._submit(context["ti"])
        if self.deferrable:
            self.defer(
                trigger=FaiscaTrigger(self.name, self.namespace, self.kubernetes_conn_id, self.poll_interval),
                method_name="resume",
                kwargs={"name": self.name},
            )
        return self._finish(context, self._wait())

    def resume(self, context: Any, event: dict[str, Any], name: str) -> dict[str, Any]:
        """Continues after the trigger has fired."""
        self.name = name
        return self._finish(context, State(event["state"], event.get("message", ""), "", event.get("result") or {}))

    def on_kill(self) -> None:
        """Deletes the resource; Kubernetes deletes its pods with it."""
        if self.name:
            self._delete()

    def _submit(self, ti: Any) -> str:
        application = yaml.safe_load(self.application) if isinstance(self.application, str) else self.application
        if not isinstance(application, dict) or "spec" not in application:
            raise AirflowException(f"application: expected a manifest with a `spec`, found {str(application)[:80]!r}")
        base = (application.get("metadata") or {}).get("name") or self.task_id
        name = unique_name(base, ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number)
        labels = {key: label_value(getattr(ti, key)) for key in ("dag_id", "task_id", "run_id", "try_number")}
        body = resource_of_try(application, name=name, namespace=self.namespace, parameters=self.parameters, labels=labels)
        try:
            self.hook.custom_object_client.create_namespaced_custom_object(**GROUP, namespace=self.namespace, body=body)
            self.log.info("submitted %s/%s", self.namespace, name)
        except ApiException as error:
            if error.status != 409:
                raise AirflowException(f"{self.namespace}/{name}: {error.body or error.reason}") from error
            self.log.info("%s/%s already exists: waiting for it", self.namespace, name)
        return name

    def _wait(self) -> State:
        reported = ""
        while True:
            try:
                state = State.from_resource(self.hook.custom_object_client.get_namespaced_custom_object(**GROUP, namespace=self.namespace, name=self.name))
            except ApiException as error:
                if error.status == 404:
                    return State("DELETED")
                self.log.warning("%s: %s", self.name, error.reason)
                time.sleep(self.poll_interval)
                continue
            if state.progress != reported:
                reported = state.progress
                self.log.info("%s: %s", self.name, reported)
            if state.has_ended:
                return state
            time.sleep(self.poll_interval)

    def _finish(self, context: Any, state: State) -> dict[str, Any]:
        if state.state == "DELETED":
            raise AirflowException(f"{self.namespace}/{self.name} was deleted before it ended")
        self._show_log(failed=state.state == "FAILED")
        if self.keep == "never" or (self.keep == "failed" and state.state == "COMPLETED"):
            self._delete()
        if state.state == "FAILED":
            raise AirflowException(f"{self.namespace}/{self.name} failed: {state.message}")
        self._emit(context, state.result)
        return {"application": self.name, **state.result}

    def _emit(self, context: Any, result: dict[str, Any]) -> None:
        extra = {"application": self.name, "rows": result.get("rows", 0), "bytes": result.get("bytes", 0)}
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                for step, path in (result.get("tables") or {}).items():
                    context["outlet_events"][outlet].add(Asset(name=step, uri=path), extra=extra)
            elif isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(extra)

    def _show_log(self, *, failed: bool) -> None:
        try:
            log = self.hook.core_v1_client.read_namespaced_pod_log(f"{self.name}-driver", self.namespace, container=DRIVER_CONTAINER)
        except ApiException as error:
            self.log.warning("the driver's log cannot be read: %s", error.reason)
            return
        for line in log.splitlines():
            (self.log.error if failed else self.log.info)("driver: %s", line)

    def _delete(self) -> None:
        try:
            self.hook.custom_object_client.delete_namespaced_custom_object(**GROUP, namespace=self.namespace, name=self.name)
        except ApiException as error:
            if error.status != 404:
                self.log.warning("cannot delete %s: %s", self.name, error.reason)
