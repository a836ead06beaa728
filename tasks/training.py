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
from bert_core.watchdog import describe
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.config import Workers

POLL_S = 0.5
LOST_RAY = re.compile(r"ConnectionError|Raylet|raylet|GCS|gcs_rpc|failed to connect", re.IGNORECASE)
PASSING = ("checkpoints", "best", "ranks", "lock", "spec.json", "failure.json")
"""What a run needs only while it is under way."""


class TrainingError(RuntimeError):
    """Training stopped; the message has the cause. Checkpoints stay, and the same command continues from them."""


def fit(
    config: TrainConfig,
    out: Draft,
    *,
    workers: Workers,
    follow: Callable[[dict[str, Any]], None],
    beat: Callable[[], None] = lambda: None,
    mirror: str | None = None,
) -> dict[str, Any]:
    """Train in `out.path`, continuing what an earlier attempt left there, and return the summary.

    The weights, `model/`, are what comes out; the other files tell of the way there and differ from run to run.

    Args:
        follow: called with every line of metrics.jsonl as it appears, those of earlier attempts included.
        beat: called twice a second while training lasts.
        mirror: folder that gets a copy of every checkpoint.

    Raises:
        TrainingError: ranks failed again and again, for a reason that would come again, or Ray itself is gone.
    """
    work_dir = out.path
    if not (work_dir / "summary.json").exists():  # written last: with it there is nothing left to train
        _drive(config, work_dir, workers, mirror, follow, beat)
    for leftover in PASSING:
        _remove(work_dir / leftover)
    files = (file.relative_to(work_dir) for file in work_dir.rglob("*") if file.is_file())
    out.volatile |= {file.as_posix() for file in files if file.parts[0] != "model"}
    result: dict[str, Any] = json.loads((work_dir / "summary.json").read_text())
    return {**result, "world_sizes": [attempt["world_size"] for attempt in _attempts(work_dir)]}


def with_work_to_do(workers: Workers, config: TrainConfig) -> Workers:
    """`workers`, but not more than the smallest global batch has rows: one more would have nothing to do."""
    batch = config.batch
    rows = batch.samples or min(batch.rows_of(length) for length, _ in batch.stretches)
    rows = min(rows, batch.warmup.start) if batch.warmup else rows
    fewest, most = (workers, workers) if isinstance(workers, int) else workers
    if most <= rows:
        return workers
    fitting: Workers = min(fewest, rows) if isinstance(workers, int) else (min(fewest, rows), rows)
    unit = "samples" if batch.samples else "rows"
    print(
        f"{config.name}: workers {workers}, but the smallest global batch has {rows} {unit}: going on with {fitting}",
        file=sys.stderr,
        flush=True,
    )
    return fitting


def _drive(
    config: TrainConfig,
    work_dir: Path,
    workers: Workers,
    mirror: str | None,
    follow: Callable[[dict[str, Any]], None],
    beat: Callable[[], None],
) -> None:
    spec = work_dir / "spec.json"
    storage = artifacts.store() / ".ray"
    storage.mkdir(parents=True, exist_ok=True)
    for told in ("failure.json", "ranks"):  # of an earlier attempt
        _remove(work_dir / told)
    write_json(
        spec,
        {
            "config": config.model_dump(mode="json"),
            "work_dir": str(work_dir),
            "ray_storage": str(storage),
            "workers": with_work_to_do(workers, config),
            "mirror": mirror,
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
                beat()
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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _attempts(work_dir: Path) -> list[dict[str, Any]]:
    """When the workers began, and how many they were, each time; rank 0 writes a line."""
    path = work_dir / "attempts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
    """What a person needs: the rank that hung, the worker's own error, or the end of the driver's log."""
    text = log.read_text(errors="replace")
    hung = _read(hang := log.parent / "ranks" / "hang.json")
    failure = _read(log.parent / "failure.json")
    where = f"(whole log: {log})"
    if failure and failure["ours"]:
        return f"rank {failure['rank']}: {failure['kind']}: {failure['message']}\n{where}"
    if hung:
        named = "\n".join(line for line in describe(hung).splitlines() if not line.startswith(" "))
        return f"{named}\n(in which line: {hang})\n{where}"
    raised = re.findall(r"^(?:\w+\.)*(\w*(?:Error|Exception)\w*): (.+)$", text, re.MULTILINE)
    own = [f"{kind}: {message}" for kind, message in raised if "TrainingFailed" not in kind]
    if own and not LOST_RAY.search(own[-1]):
        return f"{own[-1]}\n{where}"
    if LOST_RAY.search(text[-20_000:]):
        return (
            f"Ray at {os.environ.get('RAY_ADDRESS', '(local)')} went away during training (driver exit {returncode}). "
            f"Checkpoints are in {log.parent / 'checkpoints'}: `bert-foundry up` starts Ray again, "
            f"and the same command continues. Whole log: {log}"
        )
    return f"training driver ended with {returncode}:\n{text[-3000:]}\n{where}"


def _read(path: Path) -> dict[str, Any] | None:
    """What a rank left to be known of its end; None where there is nothing, or a torn file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found
