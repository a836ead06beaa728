"""Stage dedup from start to end: every step a function of the inputs alone, that can be killed and started again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.artifacts import ArtifactRef, Draft, code_hash
from tasks.config.dedup import DedupConfig
from tasks.text import documents as tables
from tasks.text.dedup import sketches, write
from tasks.text.dedup.candidates import BANDS_AT_ONCE, PAIRS, Bands, FindPairs
from tasks.text.dedup.decide import NAMER, Decision, clusters, decide, ghosts, load_similar, stays
from tasks.text.dedup.numbering import Numbering, number, save_signatures, store
from tasks.text.dedup.shelves import Layout, Role, Shelf
from tasks.text.dedup.sketches import SKETCHES, Shingling, SketchPart
from tasks.text.dedup.steps import Steps
from tasks.text.dedup.verify import SIMILAR, WANTED, Compare, CopyTexts, ranges
from tasks.text.documents import CorpusError
from tasks.text.joined import sweep
from tasks.text.minhash import found
from tasks.text.parts import PARTS, Progress, Receipt, Workers, build_parts, part_files
from tasks.text.takedown import Takedown

WORK, USED = "work", "work.used"
SKETCH_FOLDER, COPIED = "sketches", "copied"
PAIRS_AT_ONCE = 200_000
STEPS = 8
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def dedup(
    config: DedupConfig,
    documents: ArtifactRef,
    previous: ArtifactRef | None,
    against: Sequence[ArtifactRef],
    out: Draft,
    workers: Workers,
    progress: Progress,
    takedown: Path | None = None,
) -> None:
    """Write documents (with `cluster`: the smallest id in it) and rejects part by part, clusters.parquet, gone.parquet.

    Of duplicates the one of another corpus stays, then the one that was kept the night before, then the first; every
    dropped document names one that stays. Texts are compared in lower case with blanks collapsed; a near duplicate has
    a Jaccard similarity of shingles >= `threshold` to a text that is kept; kept texts with a similarity >=
    `cluster_threshold`, also through others, are one cluster. Other corpora's texts join no clusters.

    Precision is exact; recall is that of MinHash-LSH, `minhash.RECALL` at the lower threshold, but for what
    `bucket_limit` leaves out.

    Args:
        documents: a clean artifact.
        previous: the dedup artifact of the night before.
        against: dedup artifacts of other corpora.
        takedown: list of what must not stay among what is gone, either.

    Raises:
        CorpusError: there are no documents.
    """
    work = out.path / WORK
    shutil.rmtree(out.path / USED, ignore_errors=True)
    sweep(out.path, out.path / SKETCH_FOLDER)
    work.mkdir(parents=True, exist_ok=True)
    steps = Steps(work, _identity(config, [documents, previous, *against], takedown), workers, progress, STEPS)
    shingling = Shingling.of(config, code_hash("tasks.text.dedup.sketches"))
    layout = shelve(steps, shingling, documents, previous, against, out)
    if not layout.is_of(Role.OURS).any():
        raise CorpusError(f"{documents.path}: no documents to deduplicate")
    layout.save(work)
    numbering = number(layout, Takedown.load(takedown) if takedown else Takedown())
    numbering.save(work)
    similar = similar_pairs(steps, config, shingling, layout, numbering, out)
    decision = decide(layout, numbering, similar, config.threshold)
    _score_addresses(steps, shingling, numbering, decision)
    decision.save(work)
    gone = ghosts(layout, numbering, decision)
    members = stays(layout, decision)
    members[gone] = True
    namer = clusters(layout, numbering, members, similar, config.cluster_threshold)
    store(work / NAMER, namer)
    store(work / write.IDS, layout.column("id"))
    del similar, members
    steps.run(write.WINNERS, range(len(layout.shelves)), write.NameWinners(str(work)), (write.STANDING,))
    _write(steps, layout, out)
    write.write_clusters(work, out.path)
    write.write_gone(layout, gone, work, sketches.sketch_schema(shingling), out.path)
    sizes = np.bincount(namer[stays(layout, decision)])
    out.rows |= {"clusters": int((sizes > 1).sum()), "clustered": int(sizes[sizes > 1].sum()), "gone": len(gone)}
    os.rename(work, out.path / USED)  # at once: half of it would be taken for steps that are done
    shutil.rmtree(out.path / USED)
    tables.check_balance(out)


def _identity(config: DedupConfig, inputs: Sequence[ArtifactRef | None], takedown: Path | None) -> str:
    wishes = takedown.read_bytes() if takedown and takedown.exists() else b""
    content = [config.model_dump(mode="json"), [ref and ref.content for ref in inputs], wishes.hex()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shelve(
    steps: Steps,
    shingling: Shingling,
    documents: ArtifactRef,
    previous: ArtifactRef | None,
    against: Sequence[ArtifactRef],
    out: Draft,
) -> Layout:
    """Sketches of everything. Tonight's parts that last night had, too, are linked; others' are used where they are."""
    files = tables.document_files(documents)
    listed = documents.manifest["files"]
    contents = [listed[file.relative_to(documents.path).as_posix()]["sha256"] for file in files]
    last = previous and previous.model_copy(update={"path": str(previous / SKETCH_FOLDER)})
    folder = out.path / SKETCH_FOLDER
    out.volatile.add(f"{SKETCH_FOLDER}/{PARTS}")
    receipts = steps.run(
        SKETCH_FOLDER,
        [str(file) for file in files],
        SketchPart(shingling),
        (SKETCHES,),
        folder=folder,
        keys=[f"{content} {hashlib.sha256(shingling.identity.encode()).hexdigest()}" for content in contents],
        previous=last,
    )
    shelves = [
        Shelf(Role.OURS, str(file), str(path), receipt.facts["rows"], True)
        for file, path, receipt in zip(files, part_files(folder / SKETCHES), receipts, strict=True)
    ]
    shelves += _earlier(previous) if previous else []
    shelves += [shelf for ref in against for shelf in _kept(ref, Role.OTHER)]
    return Layout(tuple(_with_sketches(steps, shingling, shelves)))


def _earlier(previous: ArtifactRef) -> list[Shelf]:
    gone = Shelf(Role.GONE, str(previous / write.GONE), str(previous / SKETCH_FOLDER / "gone.arrow"), -1, True)
    return [*_kept(previous, Role.KEPT), gone]


def _kept(ref: ArtifactRef, role: Role) -> list[Shelf]:
    """What a dedup artifact kept; its sketches are of all that it saw."""
    name = ref.name if role == Role.OTHER else ""
    files = tables.document_files(ref)
    made = [ref / SKETCH_FOLDER / SKETCHES / f"{file.stem}.arrow" for file in files]
    return [Shelf(role, str(file), str(path), -1, False, name) for file, path in zip(files, made, strict=True)]


def _with_sketches(steps: Steps, shingling: Shingling, shelves: Sequence[Shelf]) -> list[Shelf]:
    """Shelves with the number of their rows; where other settings or other code made the sketches, with new ones."""
    fits = [shelf.rows >= 0 or sketches.is_made_as(Path(shelf.sketches), shingling) for shelf in shelves]
    lacking = [shelf for shelf, fit in zip(shelves, fits, strict=True) if not fit]
    receipts = steps.run("others", [shelf.documents for shelf in lacking], SketchPart(shingling), (SKETCHES,))
    made = iter(zip(part_files(steps.folder / "others" / SKETCHES), receipts, strict=True))
    complete = []
    for shelf, fit in zip(shelves, fits, strict=True):
        if fit:
            rows = shelf.rows if shelf.rows >= 0 else sketches.count(Path(shelf.sketches))
            complete.append(Shelf(shelf.role, shelf.documents, shelf.sketches, rows, shelf.is_aligned, shelf.corpus))
        else:
            path, receipt = next(made)
            complete.append(Shelf(shelf.role, shelf.documents, str(path), receipt.facts["rows"], True, shelf.corpus))
    return complete


def similar_pairs(
    steps: Steps, config: DedupConfig, shingling: Shingling, layout: Layout, numbering: Numbering, out: Draft
) -> NDArray[np.void]:
    """SIMILARITY of every pair that the bands propose and the texts confirm."""
    work, least = steps.folder, min(config.threshold, config.cluster_threshold)
    if not (work / COPIED / PARTS).exists():
        save_signatures(layout, work)
    numbers = range(shingling.bands)
    groups = [tuple(numbers[first : first + BANDS_AT_ONCE]) for first in numbers[::BANDS_AT_ONCE]]
    items = [Bands(str(work), group) for group in groups]
    met = steps.run(PAIRS, items, FindPairs(shingling, least, config.bucket_limit), (PAIRS,))
    files = part_files(work / PAIRS / PAIRS)
    wanted = _of_addresses(layout, numbering)
    for file in files:
        codes = np.load(file, mmap_mode="r")
        wanted[(codes >> _SHIFT).astype(np.int64)] = True
        wanted[(codes & _LOW).astype(np.int64)] = True
    store(work / WANTED, wanted)
    steps.run(COPIED, range(len(layout.shelves)), CopyTexts(str(work)), ("texts", "places"))
    compare = Compare(str(work), shingling, least)
    compared = steps.run("compared", ranges(files, PAIRS_AT_ONCE), compare, (SIMILAR,))
    out.facts |= _facts(shingling, least, met, compared)
    return load_similar(part_files(work / "compared" / SIMILAR))


def _facts(shingling: Shingling, least: float, met: Sequence[Receipt], compared: Sequence[Receipt]) -> dict[str, Any]:
    counts = sum((receipt.rows for receipt in met), Counter[str]())
    return {
        "bands": shingling.bands,
        "rows_per_band": shingling.rows,
        "recall_at_threshold": round(found(least, shingling.bands, shingling.rows), 4),
        "pairs_met": counts["met"],
        "pairs_compared": sum(receipt.facts["compared"] for receipt in compared),
        "large_buckets": counts["large_buckets"],
        "largest_bucket": max((receipt.rows["largest_bucket"] for receipt in met), default=0),
    }


def _of_addresses(layout: Layout, numbering: Numbering) -> NDArray[np.bool_]:
    """(nodes): texts of addresses that come more than once. Their similarity is stated where one of them goes."""
    addresses = layout.column("address", (Role.OURS, Role.OTHER))
    addresses[numbering.nodes < 0] = 0
    found = np.sort(addresses[addresses != 0])
    again = found[1:][found[1:] == found[:-1]]
    wanted = np.zeros(len(numbering.representative), bool)
    rows = np.flatnonzero(np.isin(addresses, again))
    wanted[numbering.nodes[rows]] = True
    return wanted


def _score_addresses(steps: Steps, shingling: Shingling, numbering: Numbering, decision: Decision) -> None:
    """Fill in how similar the documents are that go because of their address."""
    rows = np.flatnonzero((decision.winner >= 0) & np.isnan(decision.score))
    one, other = numbering.nodes[rows].astype(np.uint64), numbering.nodes[decision.winner[rows]].astype(np.uint64)
    codes = np.minimum(one, other) << _SHIFT | np.maximum(one, other)
    path = steps.folder / "addresses.npy"
    store(path, np.unique(codes))
    items = ranges([path], PAIRS_AT_ONCE)
    steps.run("addresses", items, Compare(str(steps.folder), shingling, 0.0), (SIMILAR,))
    scored = load_similar(part_files(steps.folder / "addresses" / SIMILAR))
    decision.score[rows] = scored["similarity"][np.searchsorted(scored["pair"], codes)]


def _write(steps: Steps, layout: Layout, out: Draft) -> None:
    ours = [number for number, _, _ in layout.numbered(Role.OURS)]
    steps.done += 1
    keys = steps.keys("write", len(ours))
    make = write.WritePart(str(steps.folder))
    build_parts(ours, keys, make, out, steps.workers, steps.told, folders=(tables.DOCUMENTS, tables.REJECTS))
