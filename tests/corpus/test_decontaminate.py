"""Decontamination: what an evaluation set has is found, named and dropped; the rest stays."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.artifacts import ArtifactRef
from tasks.config.dedup import DecontaminateConfig, EvaluationSet
from tasks.text.decontaminate import decontaminate
from tasks.text.documents import CorpusError
from tasks.text.overlap import Units
from tasks.text.parts import Serial
from tests.corpus.duplicates import changed, cleaned, document, jaccard, pages, sentence, shingles, vocabulary
from tests.tasks.corpora import ignore, publish, rows

QUESTION = "Which of the rivers that rise in the black forest flows into the black sea after ten countries?"
SHORT = "A river of ten countries, but which?"
TINY = "Which river?"
CHINESE = "多瑙河发源于德国黑森林地区，流经十个国家，最后注入黑海，是欧洲第二长河。"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


def evaluation(home: Path, texts: Sequence[str], name: str = "quiz") -> EvaluationSet:
    path = home / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"question": text}, ensure_ascii=False) + "\n" for text in texts))
    return EvaluationSet(name=name, path=path.name, column="question")


def decontaminated(
    home: Path, source: ArtifactRef, *sets: EvaluationSet, name: str = "1", **options: Any
) -> ArtifactRef:
    config = DecontaminateConfig(sets=sets, **options)
    return publish("decontaminate", name, lambda out: decontaminate(config, home, source, out, Serial(), ignore))


def found(ref: ArtifactRef) -> list[tuple[int, int, str]]:
    """(document, row of the evaluation, kind of overlap) of every leak."""
    return [
        (int(row["url"].rsplit("/", 1)[1]), row["evaluation_row"], row["overlap"]) for row in rows(ref, "leaks.parquet")
    ]


def test_what_leaks_is_found_dropped_and_reported(tmp_path: Path) -> None:
    quiz = evaluation(tmp_path, [QUESTION, SHORT, TINY, CHINESE])
    texts = [
        QUESTION.upper().replace("?", "..."),
        f"Quiz night!\nWe asked: {QUESTION[:80]} and nobody knew.",
        f"And the next was: a river; of ten countries -- but which. {'Nobody knew. ' * 30}",
        "Which river? The Danube. Which river? The Rhine.",
        f"旅游指南：{CHINESE[2:34]}今天就到这里。",
        "The rivers that rise in the black forest are many, and the Danube flows into the black sea.",
        "这是一篇关于多瑙河的短文，内容与考题无关，只是提到了黑海和德国而已。",
    ]
    ref = decontaminated(tmp_path, cleaned("c", *pages(texts, 2)), quiz)
    assert set(found(ref)) == {
        (0, 0, "near duplicate"),
        (0, 0, "n-gram"),
        (1, 0, "n-gram"),
        (2, 1, "whole text"),
        (4, 3, "n-gram"),
    }
    assert [row["text"] for row in rows(ref)] == [texts[3], texts[5], texts[6]]
    assert ref.manifest["dropped"] == {"contaminated: quiz": 4}
    assert ref.manifest["rows"] == {"seen": 7, "kept": 3}
    facts = ref.manifest["facts"]
    assert facts["evaluation_texts"] == {"quiz": 4}
    assert facts["too_short_for_runs"] == {"quiz": 1}
    assert facts["documents_leaked"] == {"quiz": 4}
    leak = next(row for row in rows(ref, "leaks.parquet") if row["url"].endswith("/1"))
    assert leak["ngram"] == "which of the rivers that rise in the black forest flows into the"
    units = len(QUESTION.split())
    assert leak["share"] == pytest.approx((len(QUESTION[:80].split()) - 12) / (units - 12), abs=0.2)
    reject = next(row for row in rows(ref, "rejects") if row["url"].endswith("/2"))
    assert reject["detail"] == "whole text with row 1: a river; of ten countries -- but which."


def test_runs_agree_with_sets_of_words(tmp_path: Path) -> None:
    """Random texts with pieces of evaluation texts in them, against Python's sets of tuples of words."""
    rng = random.Random(1)
    words = vocabulary(rng, 50)
    questions = [sentence(rng, words, 3, 40) for _ in range(60)]
    texts = []
    for _ in range(300):
        piece = rng.choice(questions).split()
        first = rng.randrange(len(piece))
        piece = piece[first : first + rng.randint(1, 20)]
        texts.append(" ".join([sentence(rng, words, 1, 30), *piece, sentence(rng, words, 1, 30)]))

    def contaminated(text: str) -> bool:
        mine = text.split()
        for question in questions:
            theirs = question.split()
            size = min(13, len(theirs))
            if size < 5:
                continue
            runs = {tuple(theirs[at : at + size]) for at in range(len(theirs) - size + 1)}
            if any(tuple(mine[at : at + size]) in runs for at in range(len(mine) - size + 1)):
                return True
        return False

    ref = decontaminated(tmp_path, cleaned("c", *pages(texts, 3)), evaluation(tmp_path, questions), threshold=1.0)
    dropped = {int(row["url"].rsplit("/", 1)[1]) for row in rows(ref, "rejects")}
    assert dropped == {number for number, text in enumerate(texts) if contaminated(text)}
    assert 30 < len(dropped) < 270


def test_near_duplicates_agree_with_exact_similarity(tmp_path: Path) -> None:
    rng = random.Random(2)
    words = vocabulary(rng)
    questions = [sentence(rng, words, 4, 60) for _ in range(80)]
    texts = [changed(rng, question, words, share) for question in questions for share in (0.02, 0.05, 0.3)]
    ref = decontaminated(
        tmp_path, cleaned("c", *pages(texts, 2)), evaluation(tmp_path, questions), ngram=100, shortest=100
    )
    expected = {
        (i, j)
        for i, text in enumerate(texts)
        for j, question in enumerate(questions)
        if jaccard(shingles(text, 5), shingles(question, 5)) >= 0.8
    }
    near = {(i, j) for i, j, kind in found(ref) if kind == "near duplicate"}
    assert near <= expected
    assert len(near) >= 0.98 * len(expected) > 40


def test_several_runs_can_be_asked_for(tmp_path: Path) -> None:
    quiz = evaluation(tmp_path, [QUESTION])
    part = " ".join(QUESTION.split()[:14])
    ref = decontaminated(tmp_path, cleaned("c", *pages([f"Well: {part} whatever."], 1)), quiz, least=3)
    assert ref.manifest["dropped"] == {}
    ref = decontaminated(tmp_path, cleaned("c", *pages([f"Well: {part} whatever."], 1)), quiz, name="2", least=2)
    assert ref.manifest["dropped"] == {"contaminated: quiz": 1}


def test_a_text_that_many_evaluation_texts_share_names_some_of_them(tmp_path: Path) -> None:
    questions = [f"{QUESTION} Number {number}" for number in range(50)]
    ref = decontaminated(
        tmp_path, cleaned("c", *pages([QUESTION], 1)), evaluation(tmp_path, questions), leaks_per_document=7
    )
    assert len(rows(ref, "leaks.parquet")) == 7


def test_every_format(tmp_path: Path) -> None:
    sets = []
    for suffix in (".csv", ".tsv"):
        with (tmp_path / f"a{suffix}").open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",").writerows([["n", "text"], ["1", QUESTION]])
    pq.write_table(pa.table({"text": [QUESTION]}), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text(f"\n{QUESTION}\n")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as packed:
        packed.write(json.dumps({"text": QUESTION}) + "\n")
    for number, name in enumerate(("a.csv", "a.tsv", "a.parquet", "a.txt", "a.jsonl.gz")):
        sets.append(EvaluationSet(name=f"set-{number}", path=name))
    ref = decontaminated(tmp_path, cleaned("c", *pages([QUESTION], 1)), *sets)
    assert ref.manifest["facts"]["documents_leaked"] == {f"set-{number}": 1 for number in range(5)}
    leaks = [(row["evaluation_set"], row["evaluation_row"]) for row in rows(ref, "leaks.parquet")]
    assert sorted(set(leaks)) == [("set-0", 0), ("set-1", 0), ("set-2", 0), ("set-3", 1), ("set-4", 0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, r"gone.jsonl: no such file"),
        ("a.jsonl", b'{"question": "x"}\n', r"a.jsonl, row 0: no column 'text'; it has \['question'\]"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 7}\n', r"a.jsonl, row 1: 'text' is 7, not a text"),
        ("a.jsonl", b'{"text": "x"}\n{"text"\n', r"a.jsonl, row 1: not JSON"),
        ("a.jsonl", b'{"text": "\xff"}\n', r"a.jsonl cannot be read: .*utf-8"),
        ("a.csv", b"id,question\n1,x\n", r"a.csv: no column 'text'; it has \['id', 'question'\]"),
        ("a.parquet", b"PAR1", r"a.parquet cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999, mtime=0)[:-20], r"a.jsonl.gz cannot be read"),
        ("a.docx", b"", r"a.docx: .docx is not an evaluation set's; legal are .jsonl, .csv"),
        ("a.txt", b"\n\n", r"a.txt has no texts"),
    ],
)
def test_an_evaluation_set_that_cannot_be_read_stops_the_stage(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        decontaminated(tmp_path, cleaned("c", *pages([QUESTION], 1)), EvaluationSet(name="quiz", path=name))


def test_names_of_sets_are_their_own() -> None:
    one = EvaluationSet(name="quiz", path="a.txt")
    with pytest.raises(ValidationError, match="several evaluation sets are named quiz"):
        DecontaminateConfig(sets=(one, one))


def test_columns_and_parts_stay(tmp_path: Path) -> None:
    source = cleaned("c", *pages(["A text.", "Another.", QUESTION], 2), [])
    ref = decontaminated(tmp_path, source, evaluation(tmp_path, [QUESTION]))
    assert [path.name for path in sorted((ref / "documents").iterdir())] == [f"part-{n:05d}.parquet" for n in range(3)]
    kept = [row for row in rows(source) if row["text"] != QUESTION]
    assert rows(ref) == kept
    again = decontaminated(tmp_path, source, evaluation(tmp_path, [QUESTION]), name="2")
    assert again.content == ref.content


def test_units_of_many_scripts() -> None:
    texts = ["don't stop", "多瑙河 river两", "नमस्ते दुनिया", "", "...", "สวัสดี"]
    units = Units.of(texts)
    assert np.diff(units.hashes.offsets).tolist() == [3, 5, 2, 0, 0, 6]
    assert units.is_character.tolist() == [False] * 3 + [True] * 3 + [False, True] + [False] * 2 + [True] * 6
    assert texts[1][units.span(1, 0, 3)] == "多瑙河 "
    assert texts[0][units.span(0, 1, 2)] == "t stop"


def test_documents_of_the_same_words_in_other_places_have_the_same_units() -> None:
    one, other = Units.of(["river river deep"]), Units.of(["mountain", "so: river! RIVER river"])
    assert one.hashes[0][0] == one.hashes[0][1] == other.hashes[1][1] == other.hashes[1][3]
    assert len({*one.hashes.values.tolist(), *other.hashes.values.tolist()}) == 5


def test_an_evaluation_texts_own_document_without_a_letter(tmp_path: Path) -> None:
    quiz = evaluation(tmp_path, ["???", QUESTION])
    ref = decontaminated(tmp_path, cleaned("c", [document("!!!", "https://site.example/0")]), quiz)
    assert ref.manifest["rows"]["kept"] == 1
