"""The page about a corpus: written beside the reports, and linked from the run in Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from bert_core.files import write_atomically
from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.stage import artifact_key
from tasks.text.look import look, page, summary_markdown
from tasks.workers import workers


def write_page(name: str, refs: Mapping[str, ArtifactRef], output: Path | None = None) -> Path:
    """Look at a corpus and write the page; returns where it lies."""
    return _write(name, refs, output)[0]


def publish_look(name: str, night: str, refs: Mapping[str, ArtifactRef | None]) -> str:
    """Write the page, and a summary of it into the run in Prefect; returns a line that says where it lies."""
    path, summary = _write(name, {key: ref for key, ref in refs.items() if ref is not None})
    create_markdown_artifact(f"{summary}\n\n`{path}`\n", key=artifact_key(f"{name}-corpus"), description="the corpus")
    return f"\nThe corpus of {night}, to look at: {path}\n"


def _write(name: str, refs: Mapping[str, ArtifactRef], output: Path | None = None) -> tuple[Path, str]:
    found = look(refs, workers())
    path = output or artifacts.store() / "reports" / f"{name}-corpus-{refs['encode'].content[:12]}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(found, name).encode())
    return path, summary_markdown(found)
