"""A night on a stack of its own that is disturbed in the middle of pretraining, and its undisturbed twin."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from infra import processes, records
from infra import stack as stacks
from infra.services import free_port
from tests.nights import Foundry
from tests.sites import review_site

NIGHT = "2002-10-04"
LONGER = ("pretrain.steps=60", "pretrain.checkpoint_every=5", "pretrain.batch.rows=32")
CHECKPOINT_TIMEOUT_S = 240.0


@contextmanager
def own_foundry(folder: Path, data: Path) -> Iterator[Foundry]:
    """A home with a stack of its own, because its servers are killed, and the site of day 1."""
    port = free_port()
    ports = {name: str(free_port()) for name in ("PREFECT", "MLFLOW", "RAY", "DASHBOARD")}
    own = {f"BERT_FOUNDRY_{name}_PORT": number for name, number in ports.items()}
    own |= dict.fromkeys(("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"), "")
    found = Foundry(folder / "home", f"http://127.0.0.1:{port}", own)
    with review_site(1, port, data, folder / "site.log", 60):
        try:
            yield found
        finally:
            found.run(found.command("down"))


def night(foundry: Foundry) -> list[str]:
    """The command of a night whose pretraining takes long enough to be disturbed."""
    return foundry.night(NIGHT, *LONGER)


def members(foundry: Foundry, service: str) -> list[psutil.Process]:
    """The processes of one server of the stack."""
    recorded = records.read(foundry.home / "stack")[service]
    return [psutil.Process(pid) for pid in processes.members(recorded.process)]


def descendants(foundry: Foundry, name: str) -> list[psutil.Process]:
    """Processes of the stack whose command line has `name` in it."""
    with _environment(foundry):
        pids = stacks.current().pids()
    return [process for process in map(psutil.Process, pids) if name in " ".join(process.cmdline())]


@dataclass
class Unpublished:
    """A pretraining that was done once and is taken away, so that it is done again."""

    foundry: Foundry
    published: Path
    aside: Path
    log: Path

    @property
    def partial(self) -> Path:
        return self.published.with_name(self.published.name + ".partial")

    def start(self) -> subprocess.Popen[bytes]:
        """The night's process, once pretraining has written a checkpoint."""
        flow = self.foundry.start(night(self.foundry), self.log)
        deadline = time.monotonic() + CHECKPOINT_TIMEOUT_S
        while not list(self.partial.glob("checkpoints/step-*")):
            assert flow.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"no checkpoint within {CHECKPOINT_TIMEOUT_S} s"
            time.sleep(0.05)
        return flow

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def content(self) -> str:
        """Content hash of the weights, which are published once."""
        (manifest,) = self.foundry.manifests("pretrain")
        return str(manifest["content"])


@contextmanager
def unpublished(foundry: Foundry, folder: Path) -> Iterator[Unpublished]:
    """The foundry's one pretraining, put aside; it comes back if the block does not make it again."""
    (whole,) = (foundry.home / "store" / "pretrain").glob("small-*")
    found = Unpublished(foundry, whole, folder / whole.name, folder / "disturbed.log")
    whole.rename(found.aside)
    try:
        yield found
    finally:
        if not whole.exists():
            os.rename(found.aside, whole)


@contextmanager
def _environment(foundry: Foundry) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_HOME", str(foundry.home))
        for variable, value in foundry.environment.items():
            patch.setenv(variable, value)
        yield
