"""Parts of a stage: killed anywhere, in any order, with any number of workers: the same files."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts import ArtifactRef, Draft
from tasks.text.parts import PARTS, RECEIPTS, Part, Receipt, Serial, build_parts, part_files
from tests.tasks.corpora import ignore, publish

ITEMS = [f"text {number}" for number in range(12)]
KEYS = [hashlib.sha256(item.encode()).hexdigest() for item in ITEMS]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


class Threads:
    """Workers that finish in another order than they began."""

    def __init__(self, count: int) -> None:
        self.count = count

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        with ThreadPoolExecutor(self.count) as pool:
            futures = {pool.submit(function, item): index for index, item in enumerate(items)}
            for future in as_completed(futures):
                yield futures[future], future.result()


def make(item: str, part: Part) -> Receipt:
    """Writes in two steps, slowly, so that a kill falls between them."""
    time.sleep(random.random() / 50)
    with part.writing("documents", ".txt") as path:
        path.write_text(item)
    time.sleep(random.random() / 50)
    with part.writing("rejects", ".txt") as path:
        path.write_text(item.upper())
    return Receipt(Counter(seen=2, kept=1), Counter({"even" if len(item) % 2 == 0 else "odd": 1}), {"item": item})


def built(out: Draft, workers: Any, items: Sequence[str] = ITEMS, previous: ArtifactRef | None = None) -> list[Receipt]:
    keys = [hashlib.sha256(item.encode()).hexdigest() for item in items]
    return build_parts(items, keys, make, out, workers, ignore, folders=("documents", "rejects"), previous=previous)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.txt")}


@pytest.mark.parametrize("workers", [Serial(), Threads(4)], ids=["serial", "four threads"])
def test_parts_and_counts(workers: Any, tmp_path: Path) -> None:
    out = Draft(tmp_path)
    receipts = built(out, workers)
    assert [receipt.facts["item"] for receipt in receipts] == ITEMS
    assert [path.read_text() for path in part_files(tmp_path / "documents")] == ITEMS
    assert out.rows == {"seen": 24, "kept": 12}
    assert out.dropped == {"even": 10, "odd": 2} or out.dropped == {"even": 2, "odd": 10}
    assert not (tmp_path / RECEIPTS).exists()


def test_a_killed_build_continues_and_ends_in_the_same_files(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tasks.artifacts import Draft; "
        "from tests.corpus.test_parts import built, Threads; built(Draft(Path(sys.argv[1])), Threads(3))"
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    built(Draft(whole), Serial())
    seen = []
    for attempt in range(6):
        child = subprocess.Popen([sys.executable, "-c", script, str(killed)])
        started, wanted = time.monotonic(), (attempt + 1) * 2
        while len(list(killed.glob(f"{RECEIPTS}/*"))) < wanted and time.monotonic() < started + 60:
            assert child.poll() is None or not (killed / RECEIPTS).exists()
            if child.poll() is not None:
                break
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.wait()
        seen.append(len(list(killed.glob(f"{RECEIPTS}/*"))))
    assert any(0 < count < len(ITEMS) for count in seen), seen
    out = Draft(killed)
    built(out, Serial())
    assert contents(killed) == contents(whole)
    assert (killed / PARTS).read_bytes() == (whole / PARTS).read_bytes()
    assert out.rows == {"seen": 24, "kept": 12}
    assert {path.name for path in killed.rglob("*") if path.name.startswith(".")} == set()


def test_equal_parts_of_an_earlier_artifact_are_linked(tmp_path: Path) -> None:
    first = publish("extract", "1", lambda out: built(out, Serial()) and None)
    changed = [*ITEMS[6:], "new text"]
    again = publish("extract", "2", lambda out: built(out, Serial(), changed, first) and None)
    assert again.manifest["facts"]["parts_reused"] == 6
    assert [path.read_text() for path in part_files(again / "documents")] == changed
    assert os.stat(again / "documents" / "part-00000.txt").st_nlink == 2
    fresh = Draft(tmp_path / "fresh")
    built(fresh, Serial(), changed)
    assert contents(fresh.path) == contents(Path(again.path))


def test_a_shorter_attempt_leaves_no_strangers(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        build_parts(ITEMS, KEYS, fails_at_the_end, Draft(tmp_path), Serial(), ignore, folders=("documents", "rejects"))
    built(Draft(tmp_path), Serial(), ITEMS[:3])
    assert [path.read_text() for path in part_files(tmp_path / "documents")] == ITEMS[:3]
    assert len(list((tmp_path / "documents").iterdir())) == 3


def fails_at_the_end(item: str, part: Part) -> Receipt:
    if item == ITEMS[-1]:
        raise ZeroDivisionError(item)
    return make(item, part)


def test_a_full_disk_publishes_nothing_and_the_rerun_succeeds() -> None:
    full = True

    def write(item: str, part: Part) -> Receipt:
        with part.writing("documents", ".txt") as path:
            path.write_text(item)
            if full and item == ITEMS[5]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return Receipt(Counter(seen=1, kept=1))

    def fill(out: Draft) -> None:
        build_parts(ITEMS, KEYS, write, out, Serial(), ignore, folders=("documents",))

    with pytest.raises(OSError, match="No space left"):
        publish("extract", "3", fill)
    full = False
    ref = publish("extract", "3", fill)
    assert [path.read_text() for path in part_files(ref / "documents")] == ITEMS
