"""Near-duplicates on real text: recall and precision against exact similarity, time against datasketch and rensa.

    make corpora && python benchmarks/near_duplicates.py [--reviews 2000] [--pages 300] [--rounds 3] [--memory]

Texts are film reviews (short) and pages of Debian's linux-doc-6.1 (long), each with a copy of which 1 to 30% of the
words are replaced. Exact similarity is counted from strings, for all pairs, by a matrix of texts and shingles. All
sides have the same shingles (5 characters), the same threshold and the same number of hash functions, take turns, and
the median of their processor seconds counts. The peers propose pairs (`query`); `checked` adds the exact similarity by
Python's sets, which ours has always: ours reads Parquet and leaves its sketches and pairs on disk, as in a stage.

--memory measures the peak of the one process that decides, and of a worker that looks for pairs, at two sizes of
random sketches, and what a million documents more cost.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import lxml.html
import numpy as np
from datasketch import MinHash, MinHashLSH
from rensa import RMinHash, RMinHashLSH
from sklearn.feature_extraction.text import CountVectorizer

from tasks.artifacts import ArtifactRef, Draft, build, find, home
from tasks.config.dedup import DedupConfig
from tasks.text.dedup.numbering import number
from tasks.text.dedup.run import shelve, similar_pairs
from tasks.text.dedup.sketches import Shingling
from tasks.text.dedup.steps import Steps
from tasks.text.documents import DOCUMENT_SCHEMA, DOCUMENTS, content_id, rows_table, write_table
from tasks.text.normalise import canonical
from tasks.text.parts import Part, Serial
from tasks.text.takedown import Takedown

sys.path.insert(0, str(Path(__file__).parent))
import near_duplicates_memory

SHINGLE, PERMUTATIONS, SEED = 5, 128, 42
PART_DOCUMENTS = 1_000
Pairs = set[tuple[int, int]]


def reviews(count: int) -> list[str]:
    path = home() / "data/film-reviews/rotten_tomatoes_corpus_full.csv.bz2"
    with bz2.open(path, "rt", encoding="utf-8", errors="replace") as file:
        texts = (canonical(row["text"]) for row in csv.DictReader(file))
        return list(dict.fromkeys(texts))[:count]


def pages(count: int) -> list[str]:
    folder = home() / "data/corpora/linux-doc-6.1"
    found: dict[str, None] = {}
    for path in sorted(folder.rglob("*.html")):
        root = lxml.html.fromstring(path.read_bytes())
        main = (root.xpath("//div[@itemprop='articleBody' or @role='main']") or [root])[0]
        if len(text := canonical(main.text_content())) > 1_000:
            found[text[:50_000]] = None
        if len(found) == count:
            break
    return list(found)


def with_copies(texts: Sequence[str], seed: int) -> list[str]:
    """The texts, and each once more with some of its words replaced by words of others; no text is there twice."""
    rng = random.Random(seed)
    words = [word for text in texts[:500] for word in text.split()]
    copies = (_changed(rng, text, words, rng.choice((0.01, 0.03, 0.05, 0.1, 0.3))) for text in texts)
    return list(dict.fromkeys((*texts, *copies)))


def _changed(rng: random.Random, text: str, words: Sequence[str], share: float) -> str:
    return " ".join(rng.choice(words) if rng.random() < share else word for word in text.split())


def exact(texts: Sequence[str], threshold: float) -> tuple[Pairs, Pairs]:
    """All pairs with a Jaccard similarity of at least the threshold, and those within 0.05 above it."""
    count = CountVectorizer(
        analyzer="char", ngram_range=(SHINGLE, SHINGLE), binary=True, lowercase=False, dtype=np.int32
    )
    matrix = count.fit_transform(texts)
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    every, close = set(), set()
    for first in range(0, len(texts), 500):
        shared = (matrix[first : first + 500] @ matrix.T).toarray()
        similarity = shared / np.maximum(sizes[first : first + 500, None] + sizes - shared, 1)
        for i, j in np.argwhere(similarity >= threshold).tolist():
            if first + i < j:
                every.add((first + i, j))
                if similarity[i, j] < threshold + 0.05:
                    close.add((first + i, j))
    return every, close


def stored(texts: Sequence[str], name: str) -> ArtifactRef:
    key = f"{name:0<64}"
    with build("clean", "benchmark", key, config=None) as out:
        for part, first in enumerate(range(0, len(texts), PART_DOCUMENTS)):
            rows = [_row(text, first + index) for index, text in enumerate(texts[first : first + PART_DOCUMENTS])]
            write_table(Part(out.path, part).file(DOCUMENTS), rows_table(rows, DOCUMENT_SCHEMA))
    ref = find("clean", "benchmark", key)
    assert ref is not None
    return ref


def _row(text: str, index: int) -> tuple[object, ...]:
    row = {"id": content_id(str(index), text), "url": f"text:{index}", "text": text, "kind": "text", "meta": "{}"}
    return tuple(row.get(name, [] if name in ("levels", "sentences") else "") for name in DOCUMENT_SCHEMA.names)


def ours(documents: ArtifactRef, config: DedupConfig, folder: Path) -> Pairs:
    """The pairs that the stage finds, from its input on disk."""
    work = folder / "work"
    work.mkdir(parents=True)
    steps, out = Steps(work, "benchmark", Serial(), lambda done, total: None, 8), Draft(folder)
    shingling = Shingling.of(config, "benchmark")
    layout = shelve(steps, shingling, documents, None, (), out)
    layout.save(work)
    numbering = number(layout, Takedown())
    numbering.save(work)
    found = similar_pairs(steps, config, shingling, layout, numbering, out)
    found = found[found["similarity"] >= config.threshold]
    codes, row = found["pair"], numbering.representative
    one, other = row[(codes >> np.uint64(32)).astype(np.int64)], row[(codes & np.uint64(2**32 - 1)).astype(np.int64)]
    return {(min(i, j), max(i, j)) for i, j in zip(one.tolist(), other.tolist(), strict=True)}


def shingles(text: str) -> set[str]:
    return {text[at : at + SHINGLE] for at in range(max(1, len(text) - SHINGLE + 1))}


def datasketch(texts: Sequence[str], threshold: float) -> Pairs:
    index, sketches = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS), []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        sketches.append(sketch)
        index.insert(i, sketch)
    return {(i, j) for j, sketch in enumerate(sketches) for i in index.query(sketch) if i < j}


def rensa(texts: Sequence[str], threshold: float) -> Pairs:
    sketches = RMinHash.from_token_sets((shingles(text) for text in texts), PERMUTATIONS, SEED)
    index = RMinHashLSH(threshold, PERMUTATIONS, 16)
    index.insert_many(sketches)
    return {(i, j) for j, found in enumerate(index.query_all(sketches)) for i in found if i < j}


def checked(pairs: Iterable[tuple[int, int]], texts: Sequence[str], threshold: float) -> Pairs:
    sets = {i: shingles(texts[i]) for pair in pairs for i in pair}
    return {(i, j) for i, j in pairs if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold}


def compare(name: str, texts: Sequence[str], rounds: int) -> None:
    config = DedupConfig(threshold=0.8, cluster_threshold=0.8, permutations=PERMUTATIONS, seed=SEED)
    truth, close = exact(texts, config.threshold)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BERT_FOUNDRY_STORE"] = scratch
        documents = stored(texts, name)
        at = config.threshold
        sides: dict[str, Callable[[Path], Pairs]] = {
            "ours": lambda folder: ours(documents, config, folder),
            "ours, clusters at 0.5": lambda folder: ours(documents, DedupConfig(seed=SEED), folder),
            "rensa": lambda folder: rensa(texts, at),
            "rensa, checked": lambda folder: checked(rensa(texts, at), texts, at),
            "datasketch": lambda folder: datasketch(texts, at),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        found: dict[str, Pairs] = {}
        for number_ in range(rounds):
            for side, run in sides.items():
                started = time.process_time()
                found[side] = run(Path(scratch) / f"{side} {number_}")
                times[side].append(time.process_time() - started)
    characters = sum(map(len, texts)) // len(texts)
    print(f"\n{name}: {len(texts):,} texts of {characters:,} characters, {len(truth):,} pairs at 0.8 or above,")
    print(f"{len(close):,} of them below 0.85\n")
    print(f"{'':24}{'recall':>8}{'below .85':>11}{'precision':>11}{'s per 1,000':>13}{'times ours':>12}")
    base = statistics.median(times["ours"])
    for side, pairs in found.items():
        right, near = len(pairs & truth), len(pairs & close)
        median = statistics.median(times[side])
        figures = f"{right / len(truth):>8.4f}{near / max(len(close), 1):>11.4f}{right / max(len(pairs), 1):>11.4f}"
        print(f"{side:24}{figures}{1000 * median / len(texts):>13.3f}{median / base:>12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=2_000)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.reviews:
        compare("reviews", with_copies(reviews(arguments.reviews), SEED), arguments.rounds)
    if arguments.pages:
        compare("pages", with_copies(pages(arguments.pages), SEED), arguments.rounds)
    if arguments.memory:
        near_duplicates_memory.report()


if __name__ == "__main__":
    main()
