"""The pages of a night in pieces, one for each worker.

A piece is what falls into a range of a hash of the URL. A few pages more or less change the pieces that they are in and
no other one; only when the number of pages passes a power of two times `pages_per_unit` does every piece split in two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef
from tasks.text.sources.raw import Unit
from tasks.text.web.pages import BATCH_ROWS, BODIES, Page, PageRow
from tasks.text.web.warc import BodyReader

HASHES = 2**32
_IDENTITY = ["hash", "url", "body_sha256", "content_type", "canonical"]


def page_units(ref: ArtifactRef, pages_per_unit: int) -> list[Unit]:
    """The night's pages that have a body, in pieces of `pages_per_unit` at most on average (and half of it at least).

    A unit's identity is a function of the URLs, bodies, content types and canonical addresses of its pages, and of its
    range of hashes: neither of the night nor of where the bodies lie. Ranges without a page have no unit.
    """
    with pq.ParquetFile(ref / BODIES) as file:
        count = file.metadata.num_rows
    buckets = 1 << max(0, (-(-count // pages_per_unit) - 1).bit_length())
    width = HASHES // buckets
    units = []
    for number, rows in groupby(_identities(ref), key=lambda row: row["hash"] // width):
        digest = hashlib.sha256()
        for row in sorted(rows, key=lambda row: row["url"]):
            digest.update(json.dumps([row[name] for name in _IDENTITY[1:]]).encode() + b"\n")
        units.append(Unit(BODIES, digest.hexdigest(), number * width, (number + 1) * width))
    return units


def read_pages_unit(ref: ArtifactRef, unit: Unit) -> Iterator[Page]:
    """The pages of one unit, sorted by URL; reads the part of the table that they are in, and one body at a time.

    Raises:
        ArtifactError: a WARC file is missing, or holds other bytes than the row's sha256 says.
    """
    inside = [("hash", ">=", unit.start), ("hash", "<", unit.stop or HASHES)]
    rows = pq.read_table(ref / BODIES, filters=inside).drop_columns(["hash"]).to_pylist()
    with BodyReader() as bodies:
        for row in sorted((PageRow(outcome="fetched", **row) for row in rows), key=lambda row: row.url):
            yield Page(row.url, row.content_type, row.fetched_at, bodies.read(row), row.canonical)


def _identities(ref: ArtifactRef) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(ref / BODIES) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=_IDENTITY):
            yield from batch.to_pylist()
