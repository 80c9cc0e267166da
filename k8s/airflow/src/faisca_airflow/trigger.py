"""Waits for the end of an application without occupying a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from kubernetes_asyncio import client
from kubernetes_asyncio.client.exceptions import ApiException

from faisca_airflow.application import GROUP, State


class FaiscaTrigger(BaseTrigger):
    """Fires when the application has ended or was deleted."""

    def __init__(self, name: str, namespace: str, kubernetes_conn_id: str, poll_interval: float) -> None:
        super().__init__()
        self.name = name
        self.namespace = namespace
        self.kubernetes_conn_id = kubernetes_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = ("name", "namespace", "kubernetes_conn_id", "poll_interval")
        return "faisca_airflow.trigger.FaiscaTrigger", {key: getattr(self, key) for key in arguments}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        reported = ""
        while True:
            try:
                state = State.from_resource(await self._call("get_namespaced_custom_object"))
            except ApiException as error:
                if error.status == 404:
                    yield TriggerEvent({"state": "DELETED"})
                    return
                # The API server may be unavailable for a while. The job continues without it, so the trigger does, too.
                self.log.warning("%s: %s", self.name, error.reason)
                await asyncio.sleep(self.poll_interval)
                continue
            if state.progress != reported:
                reported = state.progress
                self.log.info("%s: %s", self.name, reported)
            if state.has_ended:
                yield TriggerEvent({"state": state.state, "message": state.message, "result": state.result})
                return
            await asyncio.sleep(self.poll_interval)

    async def on_kill(self) -> None:
        """Deletes the resource with its pods, because a user has ended the task."""
        try:
            await self._call("delete_namespaced_custom_object")
        except ApiException as error:
            if error.status != 404:
                raise

    async def _call(self, method: str) -> dict[str, Any]:
        hook = AsyncKubernetesHook(conn_id=self.kubernetes_conn_id)
        async with hook.get_conn() as connection:
            api = client.CustomObjectsApi(connection)
            return await getattr(api, method)(**GROUP, namespace=self.namespace, name=self.name)
