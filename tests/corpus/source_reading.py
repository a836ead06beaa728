"""Reading a whole source in a test: every unit in order, as a stage would."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from tasks.text.sources.open import reader
from tasks.text.sources.raw import RawDocument, Unreadable


def read_all(source: Any) -> tuple[list[RawDocument], list[Unreadable]]:
    """(documents, what could not be read); by a reader that has been pickled, as it is on its way to a worker."""
    found = pickle.loads(pickle.dumps(reader(source)))
    units = found.units()
    assert units == found.units()
    assert len({unit.identity for unit in units}) == len(units)
    records = [record for unit in units for record in found.read(unit)]
    documents = [record for record in records if isinstance(record, RawDocument)]
    for document in documents:
        assert (document.body is None) != (document.text is None)
    return documents, [record for record in records if isinstance(record, Unreadable)]


def reasons(unreadable: list[Unreadable]) -> list[str]:
    return [record.reason for record in unreadable]


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path
