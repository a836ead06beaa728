"""Checkpoints: safetensors and JSON, hashed, published by one rename, verified before use.

A checkpoint holds model, optimizer, averaged weights and counters. It holds no RNG state and no data position, because
both are functions of (seed, step): `bert_core.data` seeks in O(1) and `bert_core.step` seeds dropout anew each step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bert_core.files import file_sha256, sync, write_json

INDEX = "checkpoint.json"


class CheckpointError(RuntimeError):
    """A checkpoint is torn, changed, or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    progress: dict[str, Any]
    identity: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors")


def save(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    progress: Mapping[str, Any],
    identity: Mapping[str, Any],
    keep: int,
) -> Path:
    """Publish `root/step-<step>` and remove all but the newest `keep`.

    Args:
        tensors: one safetensors file for each name.
        progress: counters that continue (JSON).
        identity: what a run must share with this checkpoint to resume from it (JSON).
    """
    final = root / f"step-{step:08d}"
    draft = root / f".{final.name}.partial"
    for stale in (draft, final):
        if stale.exists():
            shutil.rmtree(stale)
    draft.mkdir(parents=True)
    for name, group in tensors.items():
        save_file({key: value.detach().contiguous() for key, value in group.items()}, draft / f"{name}.safetensors")
    files = {file.name: file_sha256(file) for file in sorted(draft.iterdir())}
    index = {"step": step, "progress": dict(progress), "identity": dict(identity), "files": files}
    for file in draft.iterdir():
        sync(file)
    write_json(draft / INDEX, index)
    os.rename(draft, final)
    sync(root)
    for old in _folders(root)[keep:]:
        shutil.rmtree(old)
    return final


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every byte verified.

    Raises:
        CheckpointError: names the file that is missing or whose bytes changed.
    """
    try:
        index = json.loads((path / INDEX).read_text())
        files = index["files"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path / INDEX}: unreadable ({error})") from None
    for name, expected in files.items():
        file = path / name
        if not file.exists():
            raise CheckpointError(f"{file}: missing")
        if (actual := file_sha256(file)) != expected:
            raise CheckpointError(
                f"{file}: {file.stat().st_size} bytes with sha256 {actual[:12]}…, but {expected[:12]}… was written"
            )
    return Checkpoint(path, index["step"], index["progress"], index["identity"])


def newest_valid(root: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint under `root` that verifies, and a line for each newer one that does not."""
    faults: list[str] = []
    for path in _folders(root):
        try:
            return open_checkpoint(path), faults
        except CheckpointError as error:
            faults.append(str(error))
    return None, faults


def require_same_run(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Refuse to resume another run's checkpoint.

    Raises:
        CheckpointError: lists every key that differs, with both values.
    """
    keys = sorted(checkpoint.identity.keys() | identity.keys())
    different = [
        f"  {key}: checkpoint {checkpoint.identity.get(key)!r}, this run {identity.get(key)!r}"
        for key in keys
        if checkpoint.identity.get(key) != identity.get(key)
    ]
    if different:
        raise CheckpointError(f"{checkpoint.path} was written by another run:\n" + "\n".join(different))


def _folders(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"), reverse=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as flat named tensors: `<parameter number>.<state name>`."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
