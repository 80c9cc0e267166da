"""Reads and builds applications. Nothing here needs Airflow or a network."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

GROUP = {"group": "faisca.dev", "version": "v1alpha1", "plural": "sparkapplications"}
DRIVER_CONTAINER = "spark-kubernetes-driver"
NAME_LENGTH_MAX = 63
# Characters that the names of driver and executor pods add to the application's name.
SUFFIX_LENGTH_MAX = 16


@dataclass(frozen=True)
class State:
    """State of an application, with its progress as text and its result."""

    state: str = ""
    message: str = ""
    progress: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        return self.state in ("COMPLETED", "FAILED")

    @classmethod
    def from_resource(cls, resource: dict[str, Any]) -> State:
        status = resource.get("status") or {}
        state = status.get("applicationState") or {}
        return cls(
            state=state.get("state", ""),
            message=state.get("errorMessage", ""),
            progress=_describe_progress(status.get("progress") or {}),
            result=status.get("result") or {},
        )


def _describe_progress(progress: dict[str, Any]) -> str:
    parts = [
        progress.get("percent", ""),
        progress.get("step", ""),
        f"stages {progress['stage']}" if progress.get("stage") else "",
        f"tasks {progress['tasksDone']}/{progress['tasksTotal']}" if progress.get("tasksTotal") else "",
        f"{progress['rows']:,} rows" if progress.get("rows") else "",
    ]
    return " · ".join(part for part in parts if part)


def resource_of_try(application: dict[str, Any], *, name: str, namespace: str, parameters: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    """Returns the resource of one try: with its name, its parameters, and labels that identify the task on its pods."""
    spec = dict(application.get("spec") or {})
    spec["parameters"] = {**(spec.get("parameters") or {}), **parameters}
    spec["labels"] = {**(spec.get("labels") or {}), **labels}
    return {
        "apiVersion": "faisca.dev/v1alpha1",
        "kind": "SparkApplication",
        "metadata": {**(application.get("metadata") or {}), "name": name, "namespace": namespace},
        "spec": spec,
    }


def unique_name(base: str, *identity: object) -> str:
    """Returns `base` with a digest of the try's identity, so that a restarted worker finds the application of the same try."""
    digest = hashlib.sha256("/".join(map(str, identity)).encode()).hexdigest()[:8]
    clean = re.sub(r"[^a-z0-9-]+", "-", base.lower()).strip("-") or "application"
    return f"{clean[: NAME_LENGTH_MAX - SUFFIX_LENGTH_MAX - len(digest) - 1].rstrip('-')}-{digest}"


def label_value(text: object) -> str:
    """Converts text to a valid label value: at most 63 characters of a small alphabet."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(text))[:63].strip("_.-")
