"""What turns a pure stage function into a Prefect task over artifacts: identity, cache, progress, page, publication."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import TaskRunContext
from pydantic import BaseModel

from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.memory import MemorySampler

AWAY_S = 30.0
"""Between two tries to show progress on a Prefect server that went away."""

Config = BaseModel | Mapping[str, Any] | None


class StageBody(Protocol):
    """Fills `out` from `config` and `inputs`; raising leaves nothing published."""

    def __call__(self, config: Any, inputs: Sequence[Any], out: Draft) -> None: ...


class Stage:
    """A named step of the pipeline. Calling it in a flow runs it as a Prefect task, or finds what it would build.

    Prefect's cache is keyed by the artifact's key, so its page shows `Cached` for what is reused. The artifact itself
    is the authority: one that was removed from disk is built again, one that a fresh Prefect server never saw is not.
    """

    memory_roots: ClassVar[Callable[[], Iterable[int]]] = staticmethod(lambda: [os.getpid()])
    """Processes whose memory (with that of their descendants) counts as a stage's; a flow adds the local stack's."""

    def __init__(self, name: str, code: str, body: StageBody, *, resume: bool = False, retries: int = 0) -> None:
        self.name = name
        self.code = code
        self.body = body
        self.resume = resume
        decorate: Any = task(
            name=name,
            description=body.__doc__,
            cache_key_fn=lambda _, parameters: f"{name}-{parameters['key']}",
            persist_result=True,
            result_serializer="json",
            retries=retries,
            retry_delay_seconds=10,
        )
        self._task = decorate(self._run)

    def key(self, config: Config, inputs: Sequence[ArtifactRef | None]) -> str:
        return artifacts.stage_key(self.name, config, inputs, artifacts.code_hash(self.code))

    def __call__(
        self, name: str, config: Config, *inputs: ArtifactRef | None, as_of: str = "", what: str = ""
    ) -> ArtifactRef:
        """The published artifact of this stage over `inputs`.

        Args:
            name: recipe name, the first part of the artifact's folder.
            as_of: the night that this run stands for; recorded, and not part of the artifact's identity.
            what: tells several runs of one stage apart, in Prefect's page.
        """
        key = self.key(config, inputs)
        missing = artifacts.find(self.name, name, key) is None
        shown = f"{self.name} {{name}} {what}".rstrip()
        ref: ArtifactRef = self._task.with_options(refresh_cache=missing, task_run_name=shown)(
            name=name, key=key, config=config, inputs=list(inputs), as_of=as_of
        )
        # One Prefect server may serve several stores, and its cache remembers the path in the first of them.
        here = str(artifacts.artifact_path(self.name, name, key))
        return ref if ref.path == here else ref.model_copy(update={"path": here})

    def _run(self, name: str, key: str, config: Any, inputs: list[ArtifactRef | None], as_of: str) -> ArtifactRef:
        if found := artifacts.find(self.name, name, key):
            return found
        code = artifacts.code_hash(self.code)
        with (
            artifacts.build(self.name, name, key, config=config, inputs=inputs, code=code, resume=self.resume) as out,
            MemorySampler(Stage.memory_roots) as memory,
        ):
            self.body(config, inputs, out)
            out.facts |= {"as_of": as_of, "peak_memory_bytes": memory.peak}
        built = artifacts.find(self.name, name, key)
        assert built is not None
        show_stage(built)
        return built


def stage(name: str, *, code: str, resume: bool = False, retries: int = 0) -> Callable[[StageBody], Stage]:
    """Decorator: make a `Stage` of a body.

    Args:
        code: module whose code (with all of ours that it imports) is part of the artifact's identity.
        resume: a killed attempt's partial folder is continued rather than emptied.
    """
    return lambda body: Stage(name, code, body, resume=resume, retries=retries)


def progress(what: str) -> Callable[[int, int], None]:
    """A callable (done, total) that moves a Prefect progress artifact, at most once in two seconds.

    While the server is away nothing is shown, and the work goes on.
    """
    artifact: UUID | None = None
    quiet_until = 0.0

    def show(done: int, total: int) -> None:
        nonlocal artifact, quiet_until
        if TaskRunContext.get() is None or (time.monotonic() < quiet_until and done < total):
            return
        percent = round(100 * done / max(total, 1), 1)
        try:
            if artifact is None:
                created = create_progress_artifact(percent, key=artifact_key(what), description=what)
                artifact = created if isinstance(created, UUID) else None
            else:
                update_progress_artifact(artifact, percent, description=f"{what}: {done:,} of {total:,}")
            quiet_until = time.monotonic() + 2
        except httpx.HTTPError as error:
            quiet_until = time.monotonic() + AWAY_S
            get_run_logger().warning("progress of %s cannot be shown: %s", what, error)

    return show


def show_stage(ref: ArtifactRef) -> None:
    """A table and a text about a published artifact, on its task's page in Prefect.

    Raises:
        httpx.HTTPError: the server stays away. The artifact is safe; without a server no further task can be recorded.
    """
    if TaskRunContext.get() is None:
        return
    manifest = ref.manifest
    rows = [{"what": name, "count": count} for name, count in manifest["rows"].items()]
    rows += [{"what": f"dropped: {reason}", "count": count} for reason, count in manifest["dropped"].items()]
    if rows:
        create_table_artifact(rows, key=artifact_key(f"{ref.stage}-counts"), description=f"{ref.stage}: rows and drops")
    create_markdown_artifact(stage_markdown(ref), key=artifact_key(f"{ref.stage}-summary"), description=ref.stage)


def stage_markdown(ref: ArtifactRef) -> str:
    manifest = ref.manifest
    facts = "\n".join(f"| {name} | {_short(value)} |" for name, value in sorted(manifest["facts"].items()))
    return (
        f"## {ref.stage} · {ref.name}\n\n"
        f"`{ref.path}`\n\nkey `{ref.key[:16]}` · content `{ref.content[:16]}` · {manifest['seconds']:.1f} s · "
        f"{sum(entry['bytes'] for entry in manifest['files'].values()):,} bytes in {len(manifest['files'])} files\n\n"
        f"| fact | value |\n|---|---|\n{facts}\n"
    )


def artifact_key(text: str) -> str:
    """`text` as Prefect wants artifact keys: lowercase letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return (text if len(text) <= 300 else text[:297] + "…").replace("|", "\\|").replace("\n", " ")
