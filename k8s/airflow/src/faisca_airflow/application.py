"""An application as the API server tells of it. Nothing here needs Airflow or a network."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

GROUP = {"group": "faisca.dev", "version": "v1alpha1", "plural": "sparkapplications"}
DRIVER_CONTAINER = "spark-kubernetes-driver"
NAME_LENGTH_MAX = 63
# A driver's or executor's pod has the application's name and some more.
SUFFIX_ROOM = 16


@dataclass(frozen=True)
class State:
    """State, how far it is, and what it wrote."""

    state: str = ""
    message: str = ""
    progress: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ("COMPLETED", "FAILED")

    @classmethod
    def of(cls, resource: dict[str, Any]) -> State:
        status = resource.get("status") or {}
        state = status.get("applicationState") or {}
        return cls(
            state=state.get("state", ""),
            message=state.get("errorMessage", ""),
            progress=_told(status.get("progress") or {}),
            result=status.get("result") or {},
        )


def _told(progress: dict[str, Any]) -> str:
    parts = [
        progress.get("percent", ""),
        progress.get("step", ""),
        f"stages {progress['stage']}" if progress.get("stage") else "",
        f"tasks {progress['tasksDone']}/{progress['tasksTotal']}" if progress.get("tasksTotal") else "",
        f"{progress['rows']:,} rows" if progress.get("rows") else "",
    ]
    return " · ".join(part for part in parts if part)


def prepared(application: dict[str, Any], *, name: str, namespace: str, parameters: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    """The resource of one try: its name, its parameters, and the labels by which pods tell whose they are."""
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
    """`base` and a digest of what makes a try unique: the same try finds its application again."""
    digest = hashlib.sha256("/".join(map(str, identity)).encode()).hexdigest()[:8]
    clean = re.sub(r"[^a-z0-9-]+", "-", base.lower()).strip("-") or "application"
    return f"{clean[: NAME_LENGTH_MAX - SUFFIX_ROOM - len(digest) - 1].rstrip('-')}-{digest}"


def label_value(text: object) -> str:
    """Text as a label's value: Kubernetes takes 63 characters of a small alphabet."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(text))[:63].strip("_.-")
