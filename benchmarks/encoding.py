"""Encoding: tokens per second and core, ours against `datasets.map`, the same documents and the same tokenizer.

Ours is the stage as it runs: Parquet read, tokens, word and sentence starts, Arrow shards and their hashes, the index.
The peer is `Dataset.from_parquet` and `map(batched=True)` with the fast tokenizer of transformers: ids alone. Each run
is a process of its own on one processor, one thread, without anything cached; sides alternate; medians of the rounds.
Time is processor time; "x map" leaves out what the peer needs to load Parquet, "x all" counts it.

    make corpora && pip install -c constraints.txt datasets
    python benchmarks/encoding.py [--rounds 3] [--every 4] [--corpora sites films chinese]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpus_pages import page_files
from encoding_texts import chinese_reviews, film_reviews, sentence_offsets, site_texts

from bert_core import tokenizer as tokenizers
from tasks.artifacts import home
from tasks.text.documents import DOCUMENT_SCHEMA

DOCUMENTS_PER_PART = 2_000
SCHEMA = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
ONE_THREAD = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}


def texts(corpus: str, every: int) -> Iterator[str]:
    if corpus == "sites":
        return site_texts(file for _, file in page_files(every))
    return film_reviews(home() / "data") if corpus == "films" else chinese_reviews(home() / "data")


def write_documents(found: list[str], folder: Path) -> None:
    """Write texts as the split stage does."""
    (folder / "documents").mkdir(parents=True)
    rows = []
    for number, text in enumerate(found):
        row = dict.fromkeys(SCHEMA.names, "") | {"levels": [], "label": None, "text": text, "language": "en"}
        split = ("validation", "test")[number] if number < 2 else "train"
        url = f"https://example.org/{number}"
        rows.append(row | {"id": str(number), "url": url, "split": split, "sentences": sentence_offsets(text)})
    for part, start in enumerate(range(0, len(rows), DOCUMENTS_PER_PART)):
        table = pa.Table.from_pylist(rows[start : start + DOCUMENTS_PER_PART], SCHEMA)
        pq.write_table(table, folder / "documents" / f"part-{part:05d}.parquet", compression="zstd", row_group_size=512)


def make_tokenizers(folder: Path, training: list[str]) -> dict[str, Path]:
    """WordPiece as published with all-MiniLM-L6-v2; the others trained on the corpus."""
    trained = {
        "bpe": tokenizers.train_bpe(training, 16_000, 2),
        "unigram": tokenizers.train_unigram(training, 8_000, 2, lowercase=True),
    }
    for name, tokenizer in trained.items():
        tokenizer.save(folder / name)
    return {"wordpiece": home() / "data/all-minilm-l6-v2", **{name: folder / name for name in trained}}


def run(side: str, documents: Path, tokenizer: Path, folder: Path) -> dict[str, float]:
    """Figures of one run: cpu_s, load_s, tokens, and the bytes that it left on the disk."""
    out = folder / "out"
    command = [sys.executable, Path(__file__).with_name("encoding_side.py"), side, documents, tokenizer, out]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    if done.returncode:
        raise RuntimeError(f"{side} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["bytes"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return found


def compare(corpus: str, name: str, documents: Path, tokenizer: Path, folder: Path, rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "map": []}
    for _ in range(rounds):
        for side, runs in found.items():
            runs.append(run(side, documents, tokenizer, folder))
    tokens = {side: int(runs[0]["tokens"]) for side, runs in found.items()}
    if tokens["ours"] != tokens["map"]:
        raise RuntimeError(f"{corpus}, {name}: {tokens['ours']} tokens of ours, {tokens['map']} of the peer's")
    ours = statistics.median(each["cpu_s"] for each in found["ours"])
    alone = statistics.median(each["cpu_s"] for each in found["map"])
    whole = statistics.median(each["cpu_s"] + each["load_s"] for each in found["map"])
    count = tokens["ours"]
    print(
        f"{corpus:8} {name:10} {count:>10,} {count / ours:>12,.0f} {count / alone:>12,.0f} {alone / ours:>7.2f}"
        f" {whole / ours:>7.2f} {found['ours'][0]['bytes'] / 1e6:>8.1f} {found['map'][0]['bytes'] / 1e6:>8.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=4, help="of the sites' pages")
    parser.add_argument("--corpora", nargs="+", default=["sites", "films", "chinese"])
    options = parser.parse_args()
    print("tokens/s and core: ours, map; times faster: than map, than load + map; MB on disk: ours, peer's")
    print(f"{'corpus':8} {'tokenizer':10} {'tokens':>10} {'ours':>12} {'map':>12} {'x map':>7} {'x all':>7}", end="")
    print(f" {'MB ours':>8} {'MB peer':>8}")
    for corpus in options.corpora:
        with tempfile.TemporaryDirectory(dir=home()) as name:
            folder = Path(name)
            found = list(texts(corpus, options.every))
            write_documents(found, folder / "split")
            print(f"{corpus}: {len(found):,} documents, {sum(map(len, found)):,} characters", flush=True)
            for kind, tokenizer in make_tokenizers(folder, found).items():
                compare(corpus, kind, folder / "split", tokenizer, folder, options.rounds)


if __name__ == "__main__":
    main()
