"""This project's side of the corpus benchmarks: the stages of the flow, called one after the other in one process.

    python benchmarks/corpus_ours.py PAGES TOKENIZER/tokenizer.json FOLDER [--cpu 0] [--stage NAME]

The stages publish whole artifacts (hashed, synced) as in a flow; only Prefect is left out. FOLDER gets the store,
figures.json (seconds by stage), verdicts.jsonl (what became of each page) and texts/texts.jsonl (what was extracted).
With `--stage` one stage alone runs, over what an earlier call left in FOLDER, and writes FOLDER/NAME.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from bert_core.files import write_json
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config import (
    CleanConfig,
    DedupConfig,
    EncodeConfig,
    ExtractConfig,
    PretrainedTokenizer,
    SplitConfig,
    WarcSource,
)
from tasks.config.privacy import PrivacyConfig
from tasks.config.quality import QualityConfig
from tasks.text.parts import Serial

NAME = KEY = "benchmark"
KEPT = "kept"
# What the peer does, and no more: its thresholds, no boilerplate, no personal data, no sentences.
EXTRACT = ExtractConfig(timeout_s=60)
CLEAN = CleanConfig(
    languages=("en",),
    min_language_score=0.65,
    sentences=False,
    boilerplate_pages=1_000_000_000,
    quality=QualityConfig(
        presets=("gopher", "c4"),
        min_characters=None,
        max_characters=None,
        min_letter_share=None,
        min_sentenced_share=None,
    ),
    privacy=PrivacyConfig(email=False, phone=False, ip=False, card=False, iban=False, national_id=False),
)
# 14 bands of 8 rows find half of the pairs of 0.72 similar; ours verifies what the bands propose.
DEDUP = DedupConfig(threshold=0.72, cluster_threshold=0.72, unit="word", shingle=5, permutations=112)
SPLIT = SplitConfig()


@dataclass(frozen=True)
class Run:
    pages: Path
    tokenizer: Path
    """Folder."""

    @property
    def source(self) -> WarcSource:
        return WarcSource(name="pages", paths=(str(self.pages / "*.warc.gz"),))


def collect(module: Any, run: Run, out: Draft) -> None:
    write_json(out.path / "units.json", [asdict(unit) for unit in module.reader(run.source).units()])


def extract(module: Any, run: Run, out: Draft) -> None:
    module.extract((run.source,), [published("collect")], EXTRACT, None, out, Serial(), silent)


def clean(module: Any, run: Run, out: Draft) -> None:
    module.clean(CLEAN, published("extract"), None, out, Serial(), silent)


def dedup(module: Any, run: Run, out: Draft) -> None:
    module.dedup(DEDUP, published("clean"), None, (), out, Serial(), silent)


def split(module: Any, run: Run, out: Draft) -> None:
    unique = published("dedup")
    module.split(SPLIT, unique, unique, None, (), {"pages": 1.0}, out, Serial(), silent)


def encode(module: Any, run: Run, out: Draft) -> None:
    config = EncodeConfig(tokenizer=PretrainedTokenizer(path=str(run.tokenizer)))
    module.encode(config, published("split"), (), out, Serial(), silent)


STAGES: dict[str, tuple[str, Callable[[Any, Run, Draft], None]]] = {
    "collect": ("tasks.text.sources.open", collect),
    "extract": ("tasks.text.reading", extract),
    "clean": ("tasks.text.clean", clean),
    "dedup": ("tasks.text.dedup", dedup),
    "split": ("tasks.text.split", split),
    "encode": ("tasks.text.encoding", encode),
}


def published(stage: str) -> ArtifactRef:
    found = artifacts.find(stage, NAME, KEY)
    assert found is not None, f"{stage} has not run"
    return found


def silent(done: int, total: int) -> None:
    pass


def perform(stage: str, run: Run) -> dict[str, Any]:
    """Run one stage over what the one before published; its seconds, counts and the peak of the process so far."""
    module, body = importlib.import_module(STAGES[stage][0]), STAGES[stage][1]
    wall, cpu = time.perf_counter(), cpu_seconds()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with artifacts.build(stage, NAME, KEY, config=None) as out:
        body(module, run, out)
    return {
        "stage": stage,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu_seconds() - cpu,
        "start_bytes": start * 1024,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rows": out.rows,
        "dropped": out.dropped,
    }


def ours(run: Run, folder: Path) -> dict[str, Any]:
    """All stages; writes figures.json and verdicts.jsonl into `folder`."""
    for module, _ in STAGES.values():
        importlib.import_module(module)  # imports are no stage's time; models that load when first used are
    wall, cpu = time.perf_counter(), cpu_seconds()
    stages = [perform(stage, run) for stage in STAGES]
    figures = {"start_s": cpu, "wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu, "stages": stages}
    write_json(folder / "figures.json", figures)
    with (folder / "verdicts.jsonl").open("w") as out:
        for url, verdict in verdicts():
            out.write(json.dumps({"url": url, "verdict": verdict}) + "\n")
    (folder / "texts").mkdir()
    with (folder / "texts" / "texts.jsonl").open("w") as out:
        for row in rows("extract", "documents", ("url", "text")):
            out.write(json.dumps(row) + "\n")
    return figures


def verdicts() -> Iterator[tuple[str, str]]:
    """(address, "kept" or the reason) of every page."""
    for stage in STAGES:
        for row in rows(stage, "rejects", ("url", "reason")):
            yield row["url"], row["reason"] if stage == "clean" else f"{stage}: {row['reason']}"
    for row in rows("split", "documents", ("url",)):
        yield row["url"], KEPT


def rows(stage: str, table: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for file in sorted((published(stage) / table).glob("part-*.parquet")):
        yield from pq.read_table(file, columns=list(columns)).to_pylist()


def cpu_seconds() -> float:
    """Of this process and of all its descendants, also those that still run and those that have ended."""
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", type=Path, help="folder of WARC files")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu", type=int, help="run on this processor alone")
    parser.add_argument("--stage", choices=list(STAGES))
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["BERT_FOUNDRY_STORE"] = str(folder / "store")
    run = Run(options.pages.resolve(), options.tokenizer.resolve().parent)
    if options.stage:
        write_json(folder / f"{options.stage}.json", perform(options.stage, run))
    else:
        ours(run, folder)


if __name__ == "__main__":
    main()
