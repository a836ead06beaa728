"""Taggers against python-crfsuite and seqeval, on sentences whose tags hang on the neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pycrfsuite
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

from bert_core.config import TokenTask
from tasks.classical import fit
from tasks.classical.scoring import entities, entity_f1
from tasks.classical.tagging import MAX_ITERATIONS, features, shape
from tasks.config.classical import ClassicalConfig
from tests.classical.toys import sides, small

TAGS = st.lists(st.sampled_from(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")), max_size=12)


def visits(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """The same names are persons before "visited" and places after it; many are new in every side."""
    for _ in range(size):
        names = ["".join(rng.choice(list("abcdefgh"), 4)).title() for _ in range(4)]
        who, where = names[: rng.integers(1, 3)], names[2 : 2 + rng.integers(1, 3)]
        tokens = [*who, "visited", *where, "yesterday", "."]
        tags = [*["B-PER", "I-PER"][: len(who)], "O", *["B-LOC", "I-LOC"][: len(where)], "O", "O"]
        yield {"tokens": tokens, "tags": tags}


def test_context_beats_the_usual_tag() -> None:
    data = sides(visits, 150, 40)
    rivals = fit(small(epochs=15), TokenTask(), data, seed=1)
    assert tuple(rivals) == ("majority", "crf", "bilstm")
    truth = data["test"]["tags"].to_pylist()
    f1 = {name: f1_score(truth, rival.answers["tags"].to_pylist()) for name, rival in rivals.items()}
    assert f1["majority"] < 0.5
    assert f1["crf"] > 0.97
    assert f1["bilstm"] > 0.9, f1
    for rival in rivals.values():
        for tags, confidences in zip(
            rival.answers["tags"].to_pylist(), rival.answers["confidences"].to_pylist(), strict=True
        ):
            assert len(tags) == len(confidences)
            assert all(0 <= value <= 1 + 1e-6 for value in confidences)
        found = f1_score(data["validation"]["tags"].to_pylist(), rival.validation["tags"].to_pylist())
        assert np.isclose(rival.facts["validation_entity_f1"], found)


def test_the_field_is_that_of_python_crfsuite(tmp_path: Path) -> None:
    data = sides(visits, 60, 20)
    rival = fit(ClassicalConfig(models=("crf",)), TokenTask(), data, seed=1)["crf"]
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({
        "c1": rival.facts["c1"], "c2": rival.facts["c2"], "max_iterations": MAX_ITERATIONS,
        "feature.possible_transitions": True,
    })  # fmt: skip
    for tokens, tags in zip(data["train"]["tokens"].to_pylist(), data["train"]["tags"].to_pylist(), strict=True):
        trainer.append(features(tokens), tags)
    trainer.train(str(tmp_path / "field"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "field"))
    for row in zip(
        data["test"]["tokens"].to_pylist(),
        *(rival.answers[c].to_pylist() for c in ("tags", "confidences")),
        strict=True,
    ):
        tokens, tags, confidences = row
        assert tagger.tag(features(tokens)) == tags
        assert np.allclose([tagger.marginal(tag, i) for i, tag in enumerate(tags)], confidences, atol=1e-6)


def test_the_usual_tag_is_the_most_frequent_one() -> None:
    rows = [
        {"id": "1", "tokens": ["run", "run", "run", "dogs"], "tags": ["VERB", "NOUN", "VERB", "NOUN"]},
        {"id": "2", "tokens": ["cats"], "tags": ["NOUN"]},
    ]
    table = pa.Table.from_pylist(rows)
    unseen = pa.Table.from_pylist(
        [{"id": "3", "tokens": ["run", "birds"], "tags": ["VERB", "NOUN"]}, {"id": "4", "tokens": [], "tags": []}],
        schema=table.schema,
    )
    task = TokenTask(scheme="plain")
    rivals = fit(
        ClassicalConfig(models=("majority", "crf")), task, {"train": table, "validation": table, "test": unseen}, seed=1
    )
    assert rivals["majority"].answers["tags"].to_pylist() == [["VERB", "NOUN"], []]
    assert np.allclose(rivals["majority"].answers["confidences"].to_pylist()[0], [2 / 3, 3 / 5])
    assert rivals["majority"].facts["validation_accuracy"] == 0.8
    assert rivals["crf"].answers["tags"].to_pylist()[1] == []


def test_a_large_training_side_is_sampled_and_iterations_fit_the_budget() -> None:
    data = sides(visits, 80, 10)
    rivals = fit(small(epochs=1, max_tagging_tokens=100, budget_s=0.01), TokenTask(), data, seed=1)
    assert any("max_tagging_tokens = 100" in note for note in rivals["crf"].notes)
    assert any("of 100 iterations, for want of time" in note for note in rivals["crf"].notes)
    assert any("max_tagging_tokens = 100" in note for note in rivals["bilstm"].notes)


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=4))
def test_entities_are_those_of_seqeval(rows: list[tuple[list[str], list[str]]]) -> None:
    pairs = [(gold, (found + ["O"] * len(gold))[: len(gold)]) for gold, found in rows]
    for gold, found in pairs:
        for tags in (gold, found):
            assert entities(tags) == [(name, start, end + 1) for name, start, end in get_entities(tags)]
    if any(entities(tags) for pair in pairs for tags in pair):
        wanted = f1_score([gold for gold, _ in pairs], [found for _, found in pairs], zero_division=0)
        assert np.isclose(entity_f1([gold for gold, _ in pairs], [found for _, found in pairs]), wanted)


def test_shapes() -> None:
    tokens = ("3.5", "1998", "NATO", "Paris", "café", "x2", "...", "北")
    assert [shape(token) for token in tokens] == ["digits", "digits", "upper", "title", "word", "mixed", "mark", "word"]
