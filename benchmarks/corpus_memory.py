"""Peak memory of every corpus stage over an input and over ten times as much; and what 1 TB of HTML would cost.

    make corpora
    python benchmarks/corpus_memory.py [--sample 1500] [--times 10] [--cores 32] [--price 1.50]

The larger input holds each page and nine copies of it in other words (corpus_copies.py), so nothing is a duplicate of
anything and every stage has ten times the work. Each stage runs in a process of its own; its peak is the largest
resident size that the kernel saw, or what its processes had together where there are several.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from corpus_copies import copies, vocabulary
from corpus_datatrove import whole_tokenizer
from corpus_estimate import Cluster, Figures, documents_into, print_estimate
from corpus_ours import STAGES
from corpus_pages import Page, page_files, pages, write_warcs
from measured import measure

HERE = Path(__file__).resolve().parent
MB = 2**20
LIMIT = 1.1
"""For the streaming stages: all but dedup, whose index of the whole corpus is stated per million documents."""


def run_stages(warcs: Path, tokenizer: Path, folder: Path) -> Figures:
    """Every stage in a process of its own, with its peak memory and the bytes that it published."""
    found: Figures = {}
    folder.mkdir()
    for stage in STAGES:
        command = [sys.executable, HERE / "corpus_ours.py", warcs, tokenizer, folder, "--stage", stage]
        usage = measure(command, folder / f"{stage}.log")
        own = json.loads((folder / f"{stage}.json").read_text())
        found[stage] = own | {
            "peak_bytes": max(own["peak_bytes"], usage.peak_bytes),
            "bytes": folder_bytes(folder / "store" / stage),
        }
    return found


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def print_memory(small: Figures, large: Figures) -> bool:
    """One line a stage; returns whether every streaming stage stays within the limit.

    `own` is what came on top of the interpreter and its imports; `core ms` is of a document; the last column is what
    peak memory grew by, for each million documents more.
    """
    print(f"{'stage':<9}{'documents':>18}{'peak MB':>16}{'ratio':>8}{'own MB':>14}{'core ms':>16}{'MB a million':>14}")
    flat = True
    for stage in STAGES:
        few, many = small[stage], large[stage]
        counts = [documents_into(stage, figures) for figures in (small, large)]
        peaks = [each["peak_bytes"] / MB for each in (few, many)]
        own = [(each["peak_bytes"] - each["start_bytes"]) / MB for each in (few, many)]
        growth = (peaks[1] - peaks[0]) / max(1, counts[1] - counts[0]) * 1e6
        ratio = peaks[1] / peaks[0]
        print(f"{stage:<9}{counts[0]:>9,}{counts[1]:>9,}{peaks[0]:>8,.0f}{peaks[1]:>8,.0f}{ratio:>8.3f}", end="")
        cost = [1000 * each["cpu_s"] / max(1, count) for each, count in zip((few, many), counts, strict=True)]
        print(f"{own[0]:>7,.0f}{own[1]:>7,.0f}{cost[0]:>8.2f}{cost[1]:>8.2f}{growth:>14,.0f}")
        flat &= stage == "dedup" or ratio <= LIMIT
    return flat


class Counted:
    """Pages as they are, their bytes added up on the way."""

    def __init__(self, source: Iterable[Page]) -> None:
        self.source = source
        self.bytes = 0

    def __iter__(self) -> Iterator[Page]:
        for url, body in self.source:
            self.bytes += len(body)
            yield url, body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sample", type=int, default=1_500, help="pages of the smaller input; fewer do not fill the buffers"
    )
    parser.add_argument("--times", type=int, default=10, help="how much larger the other one is (default: %(default)s)")
    Cluster.add_options(parser)
    options = parser.parse_args()
    every = max(1, len(page_files()) // options.sample)
    runs: list[Figures] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer = whole_tokenizer(folder / "tokenizer")
        words = vocabulary(pages(max(1, every // 4)))
        for number, times in enumerate((1, options.times, 1)):
            warcs = folder / f"pages-{number}"
            source = Counted(copies(lambda: pages(every), times, words))
            count = write_warcs(source, warcs)
            figures = run_stages(warcs, tokenizer, folder / f"run-{number}")
            figures["input"] = {"pages": count, "html_bytes": source.bytes, "warc_bytes": folder_bytes(warcs)}
            runs.append(figures)
    _, large, small = runs  # the first found cold caches: libraries that no file cache holds are mapped 30 MB smaller
    flat = print_memory(small, large)
    print(f"streaming stages within {LIMIT}: {'yes' if flat else 'NO'}")
    print_estimate(large, Cluster.of(options))


if __name__ == "__main__":
    main()
