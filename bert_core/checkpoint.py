"""Checkpoints: safetensors and JSON, hashed, published by one rename, verified before use.

A checkpoint holds model, optimizer, averaged weights and counters. It holds no RNG state and no data position, because
both are functions of (seed, step): `bert_core.data` seeks in O(1) and `bert_core.step` seeds dropout anew each step.
Tensors are whole ones under their parameters' names, so that any number of ranks, split in any way, can load them.

`bert_core.checkpoint_writer` saves while training goes on, keeps by policy, and copies to a mirror.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from torch import Tensor

from bert_core.config import different_values
from bert_core.files import file_sha256, sync, write_atomically
from bert_core.optimizer_state import load_optimizer_tensors, optimizer_tensors
from bert_core.retention import Entry
from bert_core.tensor_file import write_tensors

if TYPE_CHECKING:
    from bert_core.mirror import Mirror

__all__ = [
    "INDEX",
    "Checkpoint",
    "CheckpointError",
    "best_valid",
    "fetch",
    "load_optimizer_tensors",
    "newest_valid",
    "open_checkpoint",
    "optimizer_tensors",
    "require_same_run",
    "write_checkpoint",
]

INDEX = "checkpoint.json"


class CheckpointError(RuntimeError):
    """A checkpoint is torn, changed, could not be saved, or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    positions: int
    """Of rows planned up to this step, padding included: the clock of `keep_every_tokens`."""
    loss: float | None
    """Held-out, where it was measured at this step."""
    progress: dict[str, Any]
    identity: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors")

    def has(self, name: str) -> bool:
        return (self.path / f"{name}.safetensors").exists()


def write_checkpoint(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    progress: Mapping[str, Any],
    identity: Mapping[str, Any],
    positions: int = 0,
    loss: float | None = None,
) -> Path:
    """Publish `root/step-<step>`, in place of one that lies there.

    Args:
        tensors: one safetensors file for each name.
        progress: counters that continue (JSON).
        identity: what a run must share with this checkpoint to resume from it (JSON).

    Raises:
        OSError: such as a full disk. Nothing is left of it, and what was there before is untouched.
    """
    draft = root / f".{step_name(step)}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        files = {}
        for name, group in tensors.items():
            files[f"{name}.safetensors"] = write_tensors(draft / f"{name}.safetensors", group)
        index = {"step": step, "positions": positions, "loss": loss, "files": files}
        index |= {"progress": dict(progress), "identity": dict(identity)}
        write_atomically(draft / INDEX, render_index(index))
        return publish(draft, root / step_name(step))
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def publish(draft: Path, final: Path) -> Path:
    """Rename a whole draft to its place; a folder that has the place is removed, and never half of it is seen."""
    if final.exists():
        remove(final)
    os.rename(draft, final)
    sync(final.parent)
    return final


def remove(folder: Path) -> None:
    """Delete a checkpoint so that a kill half-way leaves a hidden folder, not a torn checkpoint."""
    hidden = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(folder, hidden)
    shutil.rmtree(hidden)


def remove_drafts(root: Path) -> None:
    """What killed saves, downloads and removals left."""
    for folder in root.glob(".step-*"):
        shutil.rmtree(folder, ignore_errors=True)


def render_index(index: Mapping[str, Any]) -> bytes:
    """The bytes of checkpoint.json; they hold their own hash, since a flipped bit in a number is still JSON."""
    body = json.loads(json.dumps({key: value for key, value in index.items() if key != "sha256"}))
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, indent=2, sort_keys=True, ensure_ascii=False).encode()


def parse_index(data: bytes) -> dict[str, Any]:
    """Inverse of `render_index`.

    Raises:
        ValueError: not the very bytes that were written.
    """
    index = json.loads(data)
    if not isinstance(index, dict) or render_index(index) != data:
        raise ValueError("not the bytes that were written: its own sha256 differs")
    return index


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every byte verified.

    Raises:
        CheckpointError: names the file that is missing or whose bytes changed.
    """
    try:
        index = parse_index((path / INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / INDEX}: unreadable ({error})") from None
    for name, expected in index["files"].items():
        file = path / name
        if not file.exists():
            raise CheckpointError(f"{file}: missing")
        try:
            actual = file_sha256(file)
        except OSError as error:
            raise CheckpointError(f"{file}: unreadable ({error})") from None
        if actual != expected:
            raise CheckpointError(
                f"{file}: {file.stat().st_size} bytes with sha256 {actual[:12]}…, but {expected[:12]}… was written"
            )
    return Checkpoint(path, index["step"], index["positions"], index["loss"], index["progress"], index["identity"])


def newest_valid(root: Path, mirror: Mirror | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint of `root` and the mirror that verifies, and a line for each newer one that does not.

    One that only the mirror has is downloaded into `root`.

    Raises:
        CheckpointError: the mirror cannot be reached and `root` has none: to start anew would be a mistake.
    """
    return _first_valid(root, mirror, lambda entry: -entry.step)


def best_valid(root: Path, mirror: Mirror | None = None) -> tuple[Checkpoint | None, list[str]]:
    """As `newest_valid`: the one with the lowest held-out loss, of those that carry one; of equals the earliest."""

    def rank(entry: Entry) -> tuple[float, int] | None:
        return None if entry.loss is None else (entry.loss, entry.step)

    return _first_valid(root, mirror, rank)


def fetch(root: Path, step: int, mirror: Mirror | None = None) -> Checkpoint:
    """The checkpoint of `step`, downloaded where `root` lacks a valid one.

    Raises:
        CheckpointError: neither has it, or not whole.
    """
    path = root / step_name(step)
    if mirror is None:
        return open_checkpoint(path)
    try:
        return open_checkpoint(path)
    except CheckpointError:
        return mirror.download(step, root)


def _first_valid(
    root: Path, mirror: Mirror | None, rank: Callable[[Entry], Any]
) -> tuple[Checkpoint | None, list[str]]:
    local, faults = local_entries(root)
    remote: list[Entry] = []
    unreachable = ""
    if mirror is not None:
        try:
            remote, torn = mirror.entries()
            faults += torn
        except OSError as error:
            unreachable = f"mirror {mirror.uri}: {error}"
            faults.append(unreachable)
    candidates = [(rank(entry), here, entry.step) for here, part in ((0, local), (1, remote)) for entry in part]
    for _, there, step in sorted(candidate for candidate in candidates if candidate[0] is not None):
        try:
            if not there:
                return open_checkpoint(root / step_name(step)), faults
            assert mirror is not None
            return mirror.download(step, root), faults
        except (CheckpointError, OSError) as error:
            faults.append(str(error))
    if unreachable:
        raise CheckpointError(f"no valid checkpoint in {root}, and there may be one behind {unreachable}")
    return None, faults


def local_entries(root: Path) -> tuple[list[Entry], list[str]]:
    """What the readable indices of `root` say, newest first, and a line for each that cannot be read."""
    entries, faults = [], []
    for path in sorted(folders(root).values(), reverse=True):
        try:
            index = parse_index((path / INDEX).read_bytes())
        except (OSError, ValueError) as error:
            faults.append(f"{path / INDEX}: unreadable ({error})")
        else:
            entries.append(Entry(index["step"], index["positions"], index["loss"]))
    return entries, faults


def folders(root: Path) -> dict[int, Path]:
    """Published checkpoints, whole or not, by step."""
    return {int(path.name[5:]): path for path in root.glob("step-*") if path.name[5:].isdecimal()}


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def require_same_run(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Refuse to resume another run's checkpoint.

    Raises:
        CheckpointError: lists every dotted key that differs, with both values.
    """
    different = different_values(checkpoint.identity, identity)
    if different:
        lines = [f"  {key}: checkpoint {theirs!r}, this run {ours!r}" for key, (theirs, ours) in different.items()]
        raise CheckpointError(
            f"{checkpoint.path} was written by another run:\n"
            + "\n".join(lines)
            + "\nTrain into another folder, or set these back to continue that run."
        )
