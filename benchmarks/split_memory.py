"""Memory and processor time of splitting, by the number of documents; on a first night and on the one after it.

Documents are drawn: ids of 32 hex digits, pages with addresses of 80 characters, every tenth document on the page of
the one before it and every tenth in the cluster of the one before it. On the second night nine of ten are known, and
as many as are new are gone. Every run is a process of its own; its peak is the largest resident size that the kernel
saw, over what it was before the stage began.

    python benchmarks/split_memory.py [--sizes 200000 800000]
    python benchmarks/split_memory.py draw|split FOLDER SIZE NIGHT    (one step, in a process of its own)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import SplitConfig
from tasks.text.dedup import GONE, GONE_SCHEMA
from tasks.text.documents import BATCH_DOCUMENTS, DOCUMENT_SCHEMA, DOCUMENTS
from tasks.text.parts import Part, Serial
from tasks.text.split import split

PART_DOCUMENTS = 50_000
NIGHTS = ("first", "second")
MB = 2**20


def draw(folder: Path, size: int, night: int) -> None:
    """The dedup artifact of a night: `size` documents, and those of the first night that the second has no more."""
    away = size // 10 * night
    schema = DOCUMENT_SCHEMA.append(pa.field("cluster", pa.string()))
    for part, start in enumerate(range(away, away + size, PART_DOCUMENTS)):
        numbers = np.arange(start, min(start + PART_DOCUMENTS, away + size))
        columns = {
            "id": _ids(numbers),
            "group": [f"https://site{each % 997:03}.example/{each:055}" for each in _joined(numbers, 3).tolist()],
            "text": [f"text of document {each}" for each in numbers.tolist()],
            "cluster": _ids(_joined(numbers, 7)),
            "source": ["web"] * len(numbers),
        }
        columns["url"] = columns["group"]
        nothing = {field.name: pa.nulls(len(numbers), field.type) for field in schema}
        table = pa.table({name: columns.get(name, nothing[name]) for name in schema.names}, schema)
        path = Part(folder / f"dedup-{night}", part).file(DOCUMENTS)
        pq.write_table(table, path, compression="zstd", row_group_size=BATCH_DOCUMENTS)
    numbers = np.arange(away)
    texts = [f"text of document {each}" for each in numbers.tolist()]
    gone = pa.table([_ids(numbers), texts, texts, _ids(_joined(numbers, 7))], GONE_SCHEMA)
    pq.write_table(gone, folder / f"dedup-{night}" / GONE)


def _joined(numbers: np.ndarray, digit: int) -> np.ndarray:
    """Numbers that end in `digit` become the one before."""
    return np.where(numbers % 10 == digit, numbers - 1, numbers)


def _ids(numbers: np.ndarray) -> list[str]:
    """32 hex digits, that seem to be in no order."""
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return [
        f"{high:016x}{low:016x}" for high, low in zip(mixed.tolist(), (mixed ^ (mixed >> 29)).tolist(), strict=True)
    ]


def run(folder: Path, night: int) -> None:
    """Split a night; prints its figures as JSON."""
    source = _ref(folder / f"dedup-{night}")
    previous = _ref(folder / "split-0") if night else None
    out = Draft(folder / f"split-{night}")
    out.path.mkdir()
    begun: list[float] = []
    start, started = _peak(), time.process_time()
    split(
        *(SplitConfig(), source, source, previous, (), {}, out, Serial()),
        lambda done, total: begun.append(time.process_time()),  # the first call is made before the first part
    )
    found = {
        "bytes": _peak() - start,
        "decide_cpu_s": begun[0] - started,
        "write_cpu_s": time.process_time() - begun[0],
    }
    print(json.dumps(found))


def _ref(path: Path) -> ArtifactRef:
    return ArtifactRef(stage="benchmark", name="", key="", content="", path=str(path))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(sizes: Sequence[int]) -> None:
    print(
        f"{'documents':>12}{'night':>8}{'MB over start':>15}{'MB a million':>14}{'decide CPU s':>14}{'write CPU s':>13}"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for night, name in enumerate(NIGHTS):
                _step("draw", folder, size, night)
                found = json.loads(_step("split", folder, size, night))
                used = found["bytes"] / MB
                print(f"{size:>12,}{name:>8}{used:>15,.0f}{used / size * 1e6:>14,.0f}", end="")
                print(f"{found['decide_cpu_s']:>14.1f}{found['write_cpu_s']:>13.1f}", flush=True)


def _step(step: str, folder: str, size: int, night: int) -> str:
    """In a process of its own, begun by a small one: a child's peak begins with what its parent had."""
    command = [sys.executable, __file__, step, folder, str(size), str(night)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000, 800_000], help="numbers of documents")
    report(parser.parse_args().sizes)


if __name__ == "__main__":
    if sys.argv[1:2] == ["draw"]:
        draw(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["split"]:
        run(Path(sys.argv[2]), int(sys.argv[4]))
    else:
        main()
