"""The sides of the split in arrays, against the definition; and the strings that they are given to as numbers."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.artifacts import ArtifactRef
from tasks.config import SplitConfig
from tasks.text.documents import DOCUMENTS, CorpusError, content_id, rows_table, write_table
from tasks.text.names import Column, number
from tasks.text.parts import part_files
from tasks.text.sides import BRIDGE, SIDES, TORN_GROUP, page_key
from tasks.text.split import SIDES_FILE, read_corpus
from tests.tasks.split_reference import Document, Memory, decide, hubs_of, key_of, reference

CORPORA = 400
HOSTS = ("http://127.0.0.1:1", "https://films.org", "")


class Drawn:
    """A small corpus: tonight's documents in parts, and what is known of earlier nights."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.config = SplitConfig(group=rng.random() < 0.7, seed=seed)
        count = rng.randint(1, 40)
        groups = [f"{rng.choice(HOSTS)}/film/{number}?é" for number in range(rng.randint(1, count))]
        clusters = [f"c{number}" for number in range(rng.randint(1, count))]
        is_hex = rng.random() < 0.5
        if is_hex:
            clusters = [content_id(each) for each in clusters]
        names = [content_id(str(each)) if is_hex else f"é{each}" for each in range(count)]
        every = [Document(each, rng.choice(groups), rng.choice(clusters)) for each in names]
        known_share, sides = rng.choice((0, 0.1, 0.3, 0.7)), rng.choice((("test",), SIDES))
        known = [each for each in every if rng.random() < known_share]
        away = [each for each in known if rng.random() < 0.5]
        self.memory = Memory({each.id: rng.choice(sides) for each in known}, {each.id: each.group for each in known})
        self.gone = {each.id: each.cluster for each in away if rng.random() < 0.7}
        self.documents = [each for each in every if each not in away] or every[:1]
        rng.shuffle(self.documents)
        cuts = sorted(rng.choices(range(len(self.documents) + 1), k=rng.randint(0, 3)))
        self.parts = [self.documents[a:b] for a, b in zip([0, *cuts], [*cuts, len(self.documents)], strict=True)]


def test_random_corpora_are_split_as_the_definition_says(tmp_path: Path) -> None:
    seen: set[str] = set()
    for seed in range(CORPORA):
        drawn = Drawn(seed)
        found = decide(drawn.config, tmp_path / str(seed), drawn.parts, drawn.gone, drawn.memory)
        in_order = sorted(drawn.documents, key=lambda each: each.id)
        assert found == reference(drawn.config, in_order, drawn.gone, drawn.memory), seed
        seen |= {*found[0].values(), *found[1].values()}
    assert seen == {*SIDES, BRIDGE, TORN_GROUP}


def test_where_a_new_document_is_all_are_on_one_side(tmp_path: Path) -> None:
    """No cluster and no page is on two sides, unless all that it holds was given its side on an earlier night."""
    torn = 0
    for seed in range(CORPORA, 2 * CORPORA):
        drawn = Drawn(seed)
        sides, dropped = decide(drawn.config, tmp_path / str(seed), drawn.parts, drawn.gone, drawn.memory)
        assert sides.keys() | dropped.keys() == {each.id for each in drawn.documents}
        members = defaultdict(list)
        for each in drawn.documents:
            for hub in hubs_of(drawn.config, each) if each.id in sides else ():
                members[hub].append(each.id)
        for ids in members.values():
            if len({sides[each] for each in ids}) > 1:
                torn += 1
                assert set(ids) <= drawn.memory.sides.keys(), seed
    assert torn


def test_the_order_and_the_parts_of_documents_do_not_matter(tmp_path: Path) -> None:
    for seed in range(2 * CORPORA, 2 * CORPORA + 50):
        drawn = Drawn(seed)
        one = decide(drawn.config, tmp_path / f"{seed}-1", drawn.parts, drawn.gone, drawn.memory)
        other = decide(drawn.config, tmp_path / f"{seed}-2", [drawn.documents[::-1]], drawn.gone, drawn.memory)
        assert one == other


def test_a_side_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"sides other than .*dev"):
        decide(SplitConfig(), tmp_path, [[Document("a", "g", "c")]], memory=Memory({"x": "dev"}, {"x": "g"}))


def test_the_key_of_a_page_is_what_the_standard_library_leaves_of_its_address() -> None:
    rng = random.Random(1)
    pieces = ("http://", "https://", "HTTP://", "a.b", ":8", "@", "//", "/", "?", "#", "x", ";", "%20", " ", "\t", "é")
    for _ in range(20_000):
        group = rng.choice(pieces[:3]) + "".join(rng.choices(pieces, k=rng.randint(0, 6)))
        assert page_key(group) == key_of(SplitConfig(), Document("", group, "")), group


@pytest.mark.parametrize("is_hex", [True, False])
def test_strings_are_numbered_across_columns(tmp_path: Path, is_hex: bool) -> None:
    rng = random.Random(2)
    every = [content_id(str(each)) if is_hex else f"{each}é" * (each % 3) for each in range(300)]
    columns, wanted = [], []
    for place in range(3):
        files = []
        for part in range(place):  # the first column has no files
            values = rng.choices(every, k=500 * part)  # and each first file no rows
            path = tmp_path / f"{place}-{part}.parquet"
            write_table(path, rows_table([(each,) for each in values], pa.schema([("id", pa.string())])))
            files.append(path)
            wanted += values
        columns.append(Column(tuple(files), "id"))
    numbers, names = number(columns, ascending=True)
    assert [len(each) for each in numbers] == [column.count() for column in columns]
    assert names.take(np.concatenate(numbers)).to_pylist() == wanted
    assert names.take(np.arange(len(names), dtype=np.int32)).to_pylist() == sorted(set(wanted))
    unordered, others = number(columns)
    assert others.take(np.concatenate(unordered)).to_pylist() == wanted
    assert len(others) == len(names)


def test_one_string_of_other_characters_makes_all_of_them_text(tmp_path: Path) -> None:
    values = [content_id("a"), content_id("a").upper(), content_id("a"), "a"]
    path = tmp_path / "ids.parquet"
    write_table(path, rows_table([(each,) for each in values], pa.schema([("id", pa.string())])))
    (numbers,), names = number([Column((path,), "id")], ascending=True)
    assert names.take(numbers).to_pylist() == values
    assert len(names) == 3


def test_earlier_nights_without_a_table_or_a_column_are_named(tmp_path: Path) -> None:
    path = tmp_path / "dedup"
    parts, nothing = (
        [[Document("a", "g", "c")]],
        ArtifactRef(stage="s", name="", key="", content="", path=str(tmp_path)),
    )
    decide(SplitConfig(), path, parts)
    files, dedup = part_files(path / DOCUMENTS), nothing.model_copy(update={"path": str(path)})
    with pytest.raises(CorpusError, match=r"sides.parquet: no such file"):
        read_corpus(files, dedup, nothing)
    write_table(tmp_path / SIDES_FILE, pa.table({"id": ["a"], "split": ["test"]}))
    with pytest.raises(CorpusError, match=r"sides.parquet: lacks the columns \['group'\]"):
        read_corpus(files, dedup, nothing)
