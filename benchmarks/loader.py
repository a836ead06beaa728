"""What the loader costs: its share of a training step, the bytes that it copies, and a seek in a huge index.

Three tables:

    time    in the real loop, seconds of the loader for each step against those of the whole step, for the text, batch
            and BERTs of `throughput`
    copies  bytes of tokens that reading them from the memory-mapped shards copies (0: views), and what making a batch
            holds at its peak (tracemalloc sees numpy's memory) against the bytes of the batch itself
    seek    with --index-tokens N, in a fresh process, the batch of step 1,000,000 of shards of N tokens: seconds to
            open them (tokenizer, the shards' index, the index of rows that an earlier process left beside them), to
            seek, and how much of the mapped files became resident on the way. The shards (2 bytes a token, all of one
            word; lengths lognormal with a mean of 300) are made first, and that is timed apart

Usage:

    python benchmarks/loader.py [--sizes 4x256 6x384 12x768] [--steps 10] [--index-tokens 1000000000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pretraining_ours
import pyarrow as pa
import torch
from pretraining_texts import Corpus, prepare
from throughput import LENGTH, ROWS, SHAPES

from bert_core.data import Batch, PretrainingData
from bert_core.shard_rows import ShardHeader, TokenizedBatch
from bert_core.shard_writer import ShardFiles, write_index

GOAL_SHARE, GOAL_SEEK_S = 0.02, 1.0
MEAN_LENGTH, SIGMA = 300, 0.9
DOCUMENTS_AT_ONCE = 500_000
SHARD_TOKENS = 2**28


def batch_bytes(batch: Batch) -> int:
    values = [getattr(batch, field.name) for field in fields(batch)]
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))


def time_table(corpus: Corpus, sizes: list[str], steps: int, rows: int) -> None:
    for size in sizes:
        loading, whole = pretraining_ours.loading_seconds(corpus, SHAPES[size], rows, LENGTH, steps)
        load, step = statistics.median(loading), statistics.median(whole)
        print(f"time    {size:<7} loader {load * 1e3:6.1f} ms of a step's {step * 1e3:8.1f} ms: {load / step:.2%}"
              f" (goal < {GOAL_SHARE:.0%})", flush=True)  # fmt: skip


def copies_table(corpus: Corpus, rows: int) -> None:
    data = pretraining_ours.loader_data(corpus, rows, LENGTH)
    data.batch(0, 0, 1)
    shards = corpus.shards("train")
    views = [shards.tokens(document) for document in range(min(1000, shards.num_documents))]
    owned, read = sum(view.nbytes for view in views if view.flags.owndata), sum(view.nbytes for view in views)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    batch = data.batch(1, 0, 1)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    size = batch_bytes(batch)
    print(f"copies  {owned:,} of {read:,} bytes of tokens were copied by reading 1,000 documents from the shards")
    print(
        f"copies  a batch has {size:,} bytes; making it held {peak:,} at most, {peak / size:.1f} times that", flush=True
    )


def seek_table(corpus: Corpus, index_tokens: int, step: int, rows: int, folder: Path) -> None:
    with timed(f"made shards of {index_tokens:,} tokens"):
        write_long_shards(corpus, folder / "long", index_tokens)
    with timed("made and kept their index of rows"):
        long_data(corpus, folder / "long", rows)
    command = [sys.executable, __file__, "--seek-side", json.dumps([corpus.name, str(corpus.train.parent.parent)])]
    command += ["--seek-step", str(step), "--rows", str(rows), "--folder", str(folder / "long")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(
        f"seek    step {step:,}: opened in {found['open_s']:.3f} s, sought in {found['seek_s']:.3f} s "
        f"(goal < {GOAL_SEEK_S:g} s together); {found['resident_bytes'] / 1e6:.1f} MB of files resident"
    )


def long_data(corpus: Corpus, folder: Path, rows: int) -> PretrainingData:
    return pretraining_ours.loader_data(Corpus("long", corpus.tokenizer, folder, folder), rows, LENGTH)


def seek_side(corpus: Corpus, folder: Path, step: int, rows: int) -> dict[str, float]:
    before, started = resident_file_bytes(), time.perf_counter()
    data = long_data(corpus, folder, rows)
    opened = time.perf_counter()
    data.batch(step, 0, 1)
    sought = time.perf_counter()
    resident = resident_file_bytes() - before
    return {"open_s": opened - started, "seek_s": sought - opened, "resident_bytes": resident}


def write_long_shards(corpus: Corpus, folder: Path, tokens: int) -> None:
    """Documents that all say one word, as a real folder of shards."""
    folder.mkdir(parents=True)
    tokenizer, rng = corpus.load_tokenizer(), np.random.default_rng(1)
    header = ShardHeader(tokenizer.vocab_size, tokenizer.fingerprint)

    @contextmanager
    def opening(number: int) -> Iterator[Path]:
        yield folder / f"shard-{number:05d}.arrow"

    files = ShardFiles(header, opening, max_documents=2**31, max_tokens=SHARD_TOKENS)
    done = written = 0
    while done < tokens:
        counts = np.maximum(
            1, rng.lognormal(np.log(MEAN_LENGTH) - SIGMA**2 / 2, SIGMA, DOCUMENTS_AT_ONCE).astype(np.int64)
        )
        counts = counts[: int(np.searchsorted(np.cumsum(counts), tokens - done)) + 1]
        files.add(same_word(counts, written))
        done, written = done + int(counts.sum()), written + len(counts)
    files.flush()
    entries = [{"name": f"shard-{number:05d}.arrow", **entry} for number, entry in enumerate(files.entries)]
    write_index(folder, header, entries)


def same_word(counts: np.ndarray, first: int) -> TokenizedBatch:
    """Sentences of 20 tokens, each token a word."""
    per_document = -(-counts // 20)
    starts = np.arange(per_document.sum()) - np.repeat(np.cumsum(per_document) - per_document, per_document)
    return TokenizedBatch(
        document_ids=pa.array(np.arange(first, first + len(counts))).cast(pa.string()),
        kinds=pa.array([""]).take(pa.array(np.zeros(len(counts), dtype=np.int32))),
        labels=np.full(len(counts), -1, dtype=np.int32),
        counts=counts,
        tokens=np.full(counts.sum(), 2000, dtype=np.uint16),
        word_starts=np.ones(counts.sum(), dtype=bool),
        sentence_counts=per_document,
        sentence_starts=(20 * starts).astype(np.int32),
    )


def resident_file_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssFile")).split()[1]) * 1024


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"seek    {what} in {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=SHAPES, default=["4x256", "6x384", "12x768"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--index-tokens", type=int, default=0, help="0: no seek; 1000000000 needs 4 GB of disk")
    parser.add_argument("--seek-step", type=int, default=10**6)
    parser.add_argument("--corpus", default="film-reviews")
    parser.add_argument("--folder", type=Path, help="of the tokenized corpora; default: bench in the home folder")
    parser.add_argument("--seek-side", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seek_side:
        corpus = prepare(options.seek_side[0], Path(options.seek_side[1]))
        print(json.dumps(seek_side(corpus, options.folder, options.seek_step, options.rows)))
        return
    pretraining_ours.prepare_process(options.threads)
    corpus = prepare(options.corpus, options.folder)
    time_table(corpus, options.sizes, options.steps, options.rows)
    copies_table(corpus, options.rows)
    if options.index_tokens:
        with tempfile.TemporaryDirectory() as folder:
            seek_table(corpus, options.index_tokens, options.seek_step, options.rows, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
