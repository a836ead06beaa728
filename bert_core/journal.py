"""What a run says of itself: metrics.jsonl, and on request the log of sample ids. A resumed run repeats no line.

Both are cut back to the checkpoint that a run continues from, and the lines after it come again. So the files of a run
that was killed are those of one that was not, times and rates aside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_core.distributed import World
from bert_core.files import write_atomically


class Journal:
    """Rank 0's metrics.jsonl, and every rank's own order/rank-N.jsonl beside it.

    A line of a step must be written before that step's checkpoint is saved: a line that comes after would be missing
    when the run is killed in between.
    """

    def __init__(self, path: Path, step: int, world: World, *, log_order: bool = False) -> None:
        """
        Args:
            step: optimizer steps done, of the checkpoint that the run continues from; 0 begins anew.
        """
        self.path = path if world.rank == 0 else None
        folder = path.parent / "order"
        self._order = folder / f"rank-{world.rank}.jsonl" if log_order else None
        if self.path:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut(path, [line for line in read_metrics(path) if step and line["step"] <= step])
            for file in folder.glob("rank-*.jsonl"):  # also of ranks that an attempt with more of them had
                _cut(file, [line for line in read_metrics(file) if line["step"] < step])
        world.barrier()
        if self._order:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, line: dict[str, Any]) -> None:
        """Append to metrics.jsonl, with the time; on ranks but the first, nothing."""
        if self.path:
            _append(self.path, {"time": round(time.time(), 3), **line})

    def order(self, step: int, sample_ids: Sequence[int]) -> None:
        """Append this rank's samples of the step that begins, where asked for.

        Args:
            step: optimizer steps done before it.
        """
        if self._order:
            _append(self._order, {"step": step, "ids": list(sample_ids)})


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a torn last line, of a killed run, is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except ValueError:
            break
    return parsed


def read_order(work_dir: Path) -> list[tuple[int, list[int]]]:
    """(step, sample ids of all ranks in rank order) of every step that was begun, as `runtime.log_order` wrote them."""
    ranks = sorted((work_dir / "order").glob("rank-*.jsonl"), key=lambda file: int(file.stem[5:]))
    steps: dict[int, list[int]] = {}
    for file in ranks:
        for line in read_metrics(file):
            steps.setdefault(line["step"], []).extend(line["ids"])
    return sorted(steps.items())


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _cut(path: Path, kept: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
