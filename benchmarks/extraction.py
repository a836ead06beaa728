"""Main text of pages: precision, recall and F of ours, trafilatura, resiliparse and readability-lxml, and their time.

Words of the text that was found against words of the known text (as multisets), averaged over the pages of a set; of
each set all pages, and the half that was held out while ours was made; and ours minus each other in F, with the 95%
interval of a paired bootstrap over pages. Time is processor time, a process of its own
for each extractor, one after the other in each round, medians of the rounds.

    make corpora bench-env
    python benchmarks/extraction.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import compress
from pathlib import Path

from extraction_sets import Labelled, labelled_pages, words
from extraction_side import ENGINES

from bert_core.intervals import paired_bootstrap
from tasks.artifacts import home

IN_BENCH_ENV = ("trafilatura of datatrove", "resiliparse", "readability-lxml")
Scores = tuple[float, float, float]


def run(engine: str, pages: list[Labelled]) -> tuple[float, list[str]]:
    """Milliseconds of processor time a page, and the texts."""
    python = home() / "bench-env" / "bin" / "python" if engine in IN_BENCH_ENV else Path(sys.executable)
    side = Path(__file__).with_name("extraction_side.py")
    files = json.dumps([str(page.file) for page in pages])
    out = subprocess.run([python, side, engine], input=files, text=True, capture_output=True, check=True)
    found = json.loads(out.stdout[out.stdout.index('{"cpu_s"') :])
    return 1000 * found["cpu_s"] / len(pages), found["texts"]


def scores(text: str, gold: str) -> Scores:
    """Precision, recall, F."""
    found, known = Counter(words(text)), Counter(words(gold))
    common = sum((found & known).values())
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / sum(found.values()), common / sum(known.values())
    return precision, recall, 2 * precision * recall / (precision + recall)


def mean(rows: list[Scores]) -> str:
    return "  ".join(f"{statistics.fmean(column):.3f}" for column in zip(*rows, strict=True))


def difference(ours: list[Scores], other: list[Scores]) -> str:
    """Ours minus the other's F, with its interval."""
    found = paired_bootstrap([f for _, _, f in ours], [f for _, _, f in other])
    return f"{found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    pages = labelled_pages()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    print(
        f"{'set':12} {'extractor':26} pages    P      R      F    | held out: P      R      F    | ms/page  x ours"
        " | ours minus it in F     | held out"
    )
    for name in dict.fromkeys(page.set for page in pages):
        chosen = [page for page in pages if page.set == name]
        texts: dict[str, list[str]] = {}
        for _ in range(rounds):
            for engine in ENGINES:
                milliseconds, texts[engine] = run(engine, chosen)
                times[name, engine].append(milliseconds)
        held = [page.held_out for page in chosen]
        found = {
            engine: [scores(text, page.gold) for page, text in zip(chosen, read, strict=True)]
            for engine, read in texts.items()
        }
        for engine in ENGINES:
            spent = statistics.median(times[name, engine])
            ratio = spent / statistics.median(times[name, "ours"])
            every, unseen = found[engine], list(compress(found[engine], held))
            print(
                f"{name:12} {engine:26} {len(every):5}  {mean(every)} | {mean(unseen):>29} | {spent:7.2f}  {ratio:5.1f}"
                f" | {difference(found['ours'], every)} | {difference(list(compress(found['ours'], held)), unseen)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
