"""What deduplication needs to know of a document, a third of a kilobyte for each: made once, kept with the corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.config.dedup import DedupConfig, Unit
from tasks.text.documents import BATCH_DOCUMENTS, CorpusError
from tasks.text.minhash import band_keys, bands, signatures, sketch
from tasks.text.ngrams import Ragged, characters, ngrams, words
from tasks.text.normalise import canonical
from tasks.text.parts import Part, Receipt
from tasks.text.web.urls import normalise_url, site_of

SKETCHES = "documents"
ID_DIGITS = 32
BATCH_CHARACTERS = 1_000_000
"""Hashed at once: about 60 bytes for each. A longer text is a batch of its own."""
_ROWS = 8_192
_COLUMNS = ("id", "url", "text", "kind", "label", "meta")


@dataclass(frozen=True)
class Shingling:
    """What decides a sketch."""

    unit: Unit
    size: int
    bands: int
    rows: int
    seed: int
    one_per_address: tuple[str, ...]
    code: str
    """Hash of the code that makes sketches."""

    @staticmethod
    def of(config: DedupConfig, code: str) -> Shingling:
        count, rows = bands(min(config.threshold, config.cluster_threshold), config.permutations)
        kinds = tuple(sorted(config.one_per_address))
        return Shingling(config.unit, config.shingle, count, rows, config.seed, kinds, code)

    @property
    def identity(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def entries(self) -> int:
        return self.bands * self.rows

    def shingles(self, texts: Sequence[str]) -> Ragged:
        """Hashed shingles of canonical texts, with repetitions."""
        return ngrams((characters if self.unit == "character" else words)(texts), self.size)


@dataclass(frozen=True)
class SketchPart:
    """Makes a part's sketches. Pickles."""

    shingling: Shingling

    def __call__(self, documents: str, part: Part) -> Receipt:
        rows = 0
        schema = sketch_schema(self.shingling)
        with (
            part.writing(SKETCHES, ".arrow") as path,
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for batch in _joined(sketched(Path(documents), self.shingling)):
                writer.write_batch(batch)
                rows += batch.num_rows
        return Receipt(facts={"rows": rows})


def sketched(documents: Path, shingling: Shingling) -> Iterator[pa.RecordBatch]:
    """The sketches of a part's documents, in its order."""
    with pq.ParquetFile(documents) as parquet:
        columns = [name for name in _COLUMNS if name in parquet.schema_arrow.names]
        for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=columns):
            values = {name: batch[name].to_pylist() for name in columns}
            texts = [canonical(text) for text in values["text"]]
            yield _batch(shingling, texts, values, documents)


def batched(texts: Sequence[str], characters: int = BATCH_CHARACTERS) -> Iterator[Sequence[str]]:
    """Runs of texts with no more than so many characters in all, or one text."""
    start, size = 0, 0
    for index, text in enumerate(texts):
        if size + len(text) > characters and index > start:
            yield texts[start:index]
            start, size = index, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]


def is_made_as(path: Path, shingling: Shingling) -> bool:
    """Whether sketches exist that can be compared with those of `shingling`."""
    if not path.exists():
        return False
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return (reader.schema.metadata or {}).get(b"sketch") == shingling.identity.encode()


def count(path: Path) -> int:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return sum(reader.get_batch(index).num_rows for index in range(reader.num_record_batches))


def read(path: Path, *columns: str) -> list[NDArray[Any]]:
    """Columns as arrays: (rows) of numbers, or (rows, bytes)."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        empty = [_array(pa.array([], reader.schema.field(name).type)) for name in columns]
        found = zip(empty, ([_array(batch[name]) for batch in batches] for name in columns), strict=True)
        return [np.concatenate([none, *some]) for none, some in found]


def rows(path: Path, wanted: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The wanted rows, in the wanted order, in few batches."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
        for start in range(0, len(wanted), _ROWS):
            yield from table.take(list(wanted[start : start + _ROWS])).combine_chunks().to_batches()


def id_bytes(ids: Sequence[str], where: Path) -> bytes:
    """16 bytes for each id.

    Raises:
        CorpusError: an id is not 32 hexadecimal digits.
    """
    try:
        found = bytes.fromhex("".join(ids))
    except ValueError:
        found = b""
    if len(found) * 2 != ID_DIGITS * len(ids) or any(len(each) != ID_DIGITS for each in ids):
        wrong = next((each for each in ids if len(each) != ID_DIGITS or not _is_hex(each)), "")
        raise CorpusError(f"{where}: id {wrong!r} is not {ID_DIGITS} hexadecimal digits")
    return found


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)


def sketch_schema(shingling: Shingling) -> pa.Schema:
    fields = [("id", pa.binary(16)), ("text", pa.binary(16)), ("address", pa.uint64()), ("label", pa.uint64())]
    fields += [(band_name(number), pa.uint32()) for number in range(shingling.bands)]
    fields += [("signature", pa.binary(shingling.entries))]
    return pa.schema(fields, {"sketch": shingling.identity})


def band_name(number: int) -> str:
    return f"band_{number:03d}"


def _batch(shingling: Shingling, texts: Sequence[str], values: dict[str, list[Any]], where: Path) -> pa.RecordBatch:
    many = [sketch(shingling.shingles(run), shingling.entries, shingling.seed) for run in batched(texts)]
    sketches = np.concatenate(many) if many else np.empty((0, shingling.entries), np.uint32)
    addresses = _addresses(values, len(texts), shingling.one_per_address)
    labels = [0 if label is None else _hash64(label) for label in values.get("label", [None] * len(texts))]
    columns = [
        _fixed(id_bytes(values["id"], where), 16),
        _fixed(b"".join(_digest(text, 16) for text in texts), 16),
        pa.array(addresses, pa.uint64()),
        pa.array(labels, pa.uint64()),
        *(pa.array(keys) for keys in band_keys(sketches, shingling.bands, shingling.rows)),
        _fixed(signatures(sketches).tobytes(), shingling.entries),
    ]
    return pa.record_batch(columns, schema=sketch_schema(shingling))


def _addresses(values: dict[str, list[Any]], size: int, kinds: Sequence[str]) -> list[int]:
    """A hash of each document's address, 0 where it has none of its own."""
    if "url" not in values or "kind" not in values:
        return [0] * size
    metas = values.get("meta", [None] * size)
    found = (
        address_of(url, meta) if kind in kinds else None
        for url, kind, meta in zip(values["url"], values["kind"], metas, strict=True)
    )
    return [_hash64(address) if address else 0 for address in found]


def address_of(url: str, meta: str | None) -> str | None:
    """The address that a document says is its own, else the one where it was found; None: not on the web.

    A canonical address (`canonical` in `meta`) on another site is not believed, nor the home page as that of another
    page: both are common mistakes of templates, and would leave one page of a site.
    """
    own = normalise_url(url)
    if own is None or not meta or '"canonical"' not in meta:
        return own
    stated = normalise_url(str(json.loads(meta).get("canonical") or ""))
    if stated is None or site_of(stated) != site_of(own):
        return own
    is_home = urlsplit(stated).path == "/" and not urlsplit(stated).query
    return own if is_home else stated


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Fewer, larger batches: a reader spends time on each."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _ROWS:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _fixed(data: bytes, width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data) // width, [None, pa.py_buffer(data)])


def _array(column: pa.Array) -> NDArray[Any]:
    if not pa.types.is_fixed_size_binary(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    width = column.type.byte_width
    data = column.buffers()[1]
    whole = np.frombuffer(data if data is not None else b"", np.uint8)
    return whole[column.offset * width : (column.offset + len(column)) * width].reshape(len(column), width)


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _hash64(text: str) -> int:
    return int.from_bytes(_digest(text, 8), "little") | 1  # 0 says: none
