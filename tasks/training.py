"""Runs one training config to its end on Ray Train, following its metrics as they are written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from bert_core.config import TrainConfig
from bert_core.files import write_json
from tasks import artifacts
from tasks.artifacts import Draft

POLL_S = 0.5
LOST_RAY = re.compile(r"ConnectionError|Raylet|raylet|GCS|gcs_rpc|failed to connect", re.IGNORECASE)


class TrainingError(RuntimeError):
    """Training stopped; the message has the cause. Checkpoints stay, and the same command continues from them."""


def fit(config: TrainConfig, out: Draft, *, workers: int, follow: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train in `out.path`, continuing what an earlier attempt left there, and return the summary.

    Args:
        follow: called with every line of metrics.jsonl as it appears, those of earlier attempts included.

    Raises:
        TrainingError: a rank failed more often than Ray restarts it, or Ray itself is gone.
    """
    work_dir = out.path
    if not (work_dir / "summary.json").exists():  # written last: with it there is nothing left to train
        _drive(config, work_dir, workers, follow)
    for leftover in ("checkpoints", "best"):
        shutil.rmtree(work_dir / leftover, ignore_errors=True)
    for file in ("lock", "spec.json"):
        (work_dir / file).unlink(missing_ok=True)
    out.volatile |= {"driver.log", "metrics.jsonl", "summary.json"}
    result: dict[str, Any] = json.loads((work_dir / "summary.json").read_text())
    return result


def _drive(config: TrainConfig, work_dir: Path, workers: int, follow: Callable[[dict[str, Any]], None]) -> None:
    spec = work_dir / "spec.json"
    storage = artifacts.store() / ".ray"
    storage.mkdir(parents=True, exist_ok=True)
    write_json(
        spec,
        {
            "config": config.model_dump(mode="json"),
            "work_dir": str(work_dir),
            "ray_storage": str(storage),
            "workers": workers,
            "threads": max(1, (os.cpu_count() or 1) // workers),
        },
    )
    log_path = work_dir / "driver.log"
    with log_path.open("ab") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "tasks.ray_driver", str(spec)], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        try:
            lines = tail(work_dir / "metrics.jsonl")
            while driver.poll() is None:
                for line in next(lines):
                    follow(line)
                time.sleep(POLL_S)
            for line in next(lines):
                follow(line)
        finally:
            if driver.stdin:
                driver.stdin.close()
            driver.kill()
            driver.wait()
    if not (work_dir / "summary.json").exists():
        raise TrainingError(_cause(log_path, driver.returncode))


def tail(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Each `next` gives the lines added since; a file that was cut back (a resume) is read from its start again."""
    position, last = 0, b""
    while True:
        lines: list[bytes] = []
        if path.exists():
            with path.open("rb") as file:
                if not _ends_with(file, position, last):  # cut back, and perhaps longer again by now
                    position, last = 0, b""
                file.seek(position)
                whole, newline, _ = file.read().rpartition(b"\n")
            position += len(whole) + len(newline)
            lines = whole.splitlines()
            last = lines[-1] if lines else last
        yield [json.loads(line) for line in lines]


def _ends_with(file: IO[bytes], position: int, last: bytes) -> bool:
    """Whether the line that ends at `position` still is `last`; lines carry times, so no two are the same."""
    expected = last + b"\n" if last else b""
    file.seek(position - len(expected))
    return file.read(len(expected)) == expected


def _cause(log: Path, returncode: int) -> str:
    """What a person needs of the driver's log: the worker's own error where there is one, else its end."""
    text = log.read_text(errors="replace")
    raised = re.findall(r"^(?:\w+\.)*(\w*(?:Error|Exception)\w*): (.+)$", text, re.MULTILINE)
    own = [f"{kind}: {message}" for kind, message in raised if "TrainingFailed" not in kind]
    if own and not LOST_RAY.search(own[-1]):
        return f"{own[-1]}\n(whole log: {log})"
    if LOST_RAY.search(text[-20_000:]):
        return (
            f"Ray at {os.environ.get('RAY_ADDRESS', '(local)')} went away during training (driver exit {returncode}). "
            f"Checkpoints are in {log.parent / 'checkpoints'}: `bert-foundry up` starts Ray again, "
            f"and the same command continues. Whole log: {log}"
        )
    return f"training driver ended with {returncode}:\n{text[-3000:]}\n(whole log: {log})"
