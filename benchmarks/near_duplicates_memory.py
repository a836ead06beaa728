"""Memory of deduplication by the number of documents, on random sketches: a part of near_duplicates.py.

Sketches are drawn at random; every tenth document has a near twin. What is measured is the peak resident size of a
process over what it had before, in processes of their own. Memory-mapped files are counted as far as they were touched.

    python benchmarks/near_duplicates_memory.py STEP FOLDER    (one step, in a process of its own)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.config.dedup import DedupConfig
from tasks.text.dedup.candidates import BANDS_AT_ONCE, Bands, FindPairs
from tasks.text.dedup.decide import clusters, decide, ghosts, load_similar, stays
from tasks.text.dedup.numbering import Numbering, number, save_signatures
from tasks.text.dedup.shelves import Layout, Role, Shelf
from tasks.text.dedup.sketches import Shingling, sketch_schema
from tasks.text.dedup.verify import SIMILARITY
from tasks.text.parts import Part
from tasks.text.takedown import Takedown

SIZES = (250_000, 1_000_000)
PART_DOCUMENTS = 50_000
CONFIG = DedupConfig()
SHINGLING = Shingling.of(CONFIG, "benchmark")
STEPS = ("nothing", "number and decide", "find pairs")


def report() -> None:
    """Print the peaks at two sizes, and the growth for each million documents."""
    peaks: dict[str, list[float]] = {step: [] for step in STEPS}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), size)
            for step in STEPS:
                command = [sys.executable, __file__, step, folder]
                peaks[step].append(
                    int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024
                )
    print(f"\nmemory, MB{'':14}" + "".join(f"{f'{size:,} documents':>20}" for size in SIZES) + f"{'per million':>16}")
    for step, (small, large) in peaks.items():
        growth = (large - small) / (SIZES[1] - SIZES[0]) * 1_000_000
        print(f"{step:24}{small:>20.0f}{large:>20.0f}{growth:>16.0f}")
    print("measured at these two sizes; a larger corpus is this growth times its millions, by extrapolation")


def draw(folder: Path, size: int) -> None:
    """Sketches, a layout, the numbering's files and pairs, as the stage leaves them."""
    shelves = []
    for part, first in enumerate(range(0, size, PART_DOCUMENTS)):
        path = folder / f"sketches-{part}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, sketch_schema(SHINGLING)) as writer:
            for start in range(first, min(first + PART_DOCUMENTS, size), 10_000):
                writer.write_batch(_sketches(np.random.default_rng(start), min(10_000, size - start)))
        rows = min(PART_DOCUMENTS, size - first)
        shelves.append(Shelf(Role.OURS, "", str(path), rows, True))
    layout = Layout(tuple(shelves))
    layout.save(folder)
    # Every row has a text of its own, so its number is its node's.
    rows = np.arange(size, dtype=np.int32)
    Numbering(rows, rows, rows, np.zeros(size, bool)).save(folder)
    save_signatures(layout, folder)
    pairs = np.zeros(size // 10, SIMILARITY)
    pairs["pair"] = (np.arange(0, size // 10 * 10, 10, dtype=np.uint64) << np.uint64(32)) + np.arange(
        1, size // 10 * 10, 10, dtype=np.uint64
    )
    pairs["similarity"] = np.random.default_rng(1).uniform(0.5, 1, len(pairs))
    np.save(folder / "similar.npy", pairs)


def _sketches(rng: np.random.Generator, rows: int) -> pa.RecordBatch:
    columns = []
    for field in sketch_schema(SHINGLING):
        if pa.types.is_fixed_size_binary(field.type):
            data = pa.py_buffer(rng.bytes(rows * field.type.byte_width))
            columns.append(pa.FixedSizeBinaryArray.from_buffers(field.type, rows, [None, data]))
        else:
            values = rng.integers(1, 2**32, rows, dtype=np.uint64)
            values[1::10] = values[::10][: len(values[1::10])]
            columns.append(pa.array(values).cast(field.type))
    return pa.record_batch(columns, schema=sketch_schema(SHINGLING))


def run(step: str, folder: Path) -> None:
    layout = Layout.load(folder)
    if step == "number and decide":
        numbering = number(layout, Takedown())
        similar = load_similar([folder / "similar.npy"])
        decision = decide(layout, numbering, similar, CONFIG.threshold)
        members = stays(layout, decision)
        members[ghosts(layout, numbering, decision)] = True
        clusters(layout, numbering, members, similar, CONFIG.cluster_threshold)
    elif step == "find pairs":
        find = FindPairs(SHINGLING, CONFIG.cluster_threshold, CONFIG.bucket_limit)
        find(Bands(str(folder), tuple(range(BANDS_AT_ONCE))), Part(folder, 0))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
