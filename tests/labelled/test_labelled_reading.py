"""Every format gives the same table; every record that cannot be used is dropped for its own reason."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
)
from tasks.config.data import DataConfig
from tasks.labelled import LabelledDataError
from tasks.labelled.ledger import Ledger
from tasks.labelled.reading import canonical_table, read_files
from tasks.text.documents import CorpusError
from tests.labelled.labelled_files import dropped, jsonl, loaded, reviews, sentence, three_sides

ROWS = [
    {"text": 'a witty film, said "she"', "label": "fresh"},
    {"text": "dull\nand long", "label": "rotten"},
    {"text": "令人失望", "label": "rotten"},
    {"text": "очень хорошо", "label": "fresh"},
]


def _csv(path: Path, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def _json(path: Path) -> Path:
    path.write_text(json.dumps(ROWS), "utf-8")
    return path


def _parquet(path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def _saved(path: Path) -> Path:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["rotten", "fresh"])}
    )
    datasets.Dataset.from_list(ROWS, features=features).save_to_disk(path)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "reviews.csv": _csv,
    "reviews.tsv": lambda path: _csv(path, "\t"),
    "reviews.jsonl": lambda path: jsonl(path, ROWS),
    "reviews.json": _json,
    "reviews.parquet": _parquet,
    "saved": _saved,
}


def read(home: Path, task: Task, file: str | Path, **config: Any) -> tuple[pa.Table, Ledger]:
    """One file, without a split."""
    settings = DataConfig(train=str(file), **config)
    ledger = Ledger()
    return canonical_table(settings, task, None, read_files(settings, task, [str(file)], home), ledger), ledger


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_examples(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name)
    file = next(path.glob("*.arrow")) if path.is_dir() else path
    table, ledger = read(tmp_path, SequenceTask(), file)
    assert table.select(["text", "label"]).to_pylist() == ROWS
    assert ledger.rejects().num_rows == 0
    assert table["origin"][0].as_py().startswith(str(file))


def test_ids_do_not_depend_on_the_format_or_place(tmp_path: Path) -> None:
    one, _ = read(tmp_path, SequenceTask(), _csv(tmp_path / "a.csv"))
    other, _ = read(tmp_path, SequenceTask(), jsonl(tmp_path / "b.jsonl", ROWS[::-1]))
    assert one["id"].to_pylist() == other["id"].to_pylist()[::-1]


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open)])
def test_compressed_files_are_read(suffix: str, opener: Callable[..., Any], tmp_path: Path) -> None:
    plain = _csv(tmp_path / "reviews.csv")
    with opener(tmp_path / f"reviews.csv{suffix}", "wb") as file:
        file.write(plain.read_bytes())
    table, _ = read(tmp_path, SequenceTask(), f"reviews.csv{suffix}")
    assert table.select(["text", "label"]).to_pylist() == ROWS


def test_rows_are_numbered_by_the_line_where_they_begin(tmp_path: Path) -> None:
    table, _ = read(tmp_path, SequenceTask(), _csv(tmp_path / "reviews.csv"))
    assert [each.rsplit(":", 1)[1] for each in table["origin"].to_pylist()] == ["2", "3", "5", "6"]


def test_another_encoding_is_an_error_that_names_the_line_and_a_guess(tmp_path: Path) -> None:
    text = "text,label\nfine,a\nMotörhead in München und Köln,b\n"
    (tmp_path / "latin.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(LabelledDataError, match=r"latin\.csv: line 3: not UTF-8.*cp1252.*`encoding`"):
        read(tmp_path, SequenceTask(), "latin.csv")
    table, _ = read(tmp_path, SequenceTask(), "latin.csv", encoding="latin-1")
    assert table["text"][1].as_py() == "Motörhead in München und Köln"
    with pytest.raises(LabelledDataError, match="encoding 'latin-17' is not known"):
        read(tmp_path, SequenceTask(), "latin.csv", encoding="latin-17")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_bytes("text,label\nfine,a\n".encode("utf-8-sig"))
    assert read(tmp_path, SequenceTask(), "excel.csv")[0]["text"].to_pylist() == ["fine"]


def test_names_for_columns_of_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "bare.tsv").write_text('good\t5" screen\n', "utf-8")
    table, _ = read(tmp_path, SequenceTask(), "bare.tsv", header=("label", "text"))
    assert table.select(["text", "label"]).to_pylist() == [{"text": '5" screen', "label": "good"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,sentiment\nx,y\n", r"a\.csv: no column 'label'; it has 'text', 'sentiment'.*columns ="),
        ("a.csv", "text,text\nx,y\n", "'text' are there twice"),
        ("a.csv", "", "empty; its first line must name the columns"),
        ("a.csv", 'text,label\n"open,y\n', "line 2: not CSV"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"examples": 1}', "an object with keys examples; legal: an array"),
        ("a.json", '{"data": [{"paragraphs": [{"context": "c"}]}]}', "SQuAD has data > paragraphs"),
        ("a.parquet", "no", "not a readable Parquet file"),
        ("a.xlsx", "no", r"suffix '\.xlsx' says no format; legal are \.csv"),
    ],
)
def test_files_that_are_something_else_are_errors(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(LabelledDataError, match=message):
        read(tmp_path, SequenceTask(), name)


def test_a_torn_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(_csv(tmp_path / "a.csv").read_bytes())[:-20])
    with pytest.raises(LabelledDataError, match=r"a\.csv\.gz: cannot be expanded"):
        read(tmp_path, SequenceTask(), "a.csv.gz")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere\.csv: no such file"):
        loaded(tmp_path, train="nowhere.csv")


def _reasons(tmp_path: Path, task: Task, rows: list[dict[str, Any]], **config: Any) -> tuple[pa.Table, list[str]]:
    """What is kept of the rows, and the reasons of the others, in order."""
    jsonl(tmp_path / "rows.jsonl", rows)
    table, ledger = read(tmp_path, task, "rows.jsonl", **config)
    assert table.num_rows + ledger.rejects().num_rows == len(rows)
    return table, ledger.rejects()["reason"].to_pylist()


def test_every_reason_to_drop_a_classified_text(tmp_path: Path) -> None:
    good = {"text": "kept", "label": "a"}
    bad = [
        ({"text": "", "label": "a"}, "empty text"),
        ({"text": " \u3000\n", "label": "a"}, "empty text"),
        ({"text": None, "label": "a"}, "empty text"),
        ({"label": "a"}, "empty text"),
        ({"text": ["x"], "label": "a"}, "not text"),
        ({"text": "x" * 101, "label": "a"}, "text too long"),
        ({"text": "half \ud800", "label": "a"}, "not JSON"),
        ({"text": "x", "label": ""}, "empty label"),
        ({"text": "x", "label": None}, "empty label"),
        ({"text": "x"}, "empty label"),
        ({"text": "x", "label": {"a": 1}}, "label is neither text nor number"),
    ]
    rows = [good, *(row for row, _ in bad)]
    table, reasons = _reasons(tmp_path, SequenceTask(), rows, max_characters=100)
    assert table["text"].to_pylist() == ["kept"]
    assert reasons == [reason for _, reason in bad]


def test_lines_that_are_no_objects_are_dropped_and_blank_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": "a"}\n\n[1]\n{"text": \n', "utf-8")
    table, ledger = read(tmp_path, SequenceTask(), "a.jsonl")
    assert table.num_rows == 1
    assert ledger.rejects().select(["row", "reason"]).to_pylist() == [
        {"row": 3, "reason": "not a JSON object"},
        {"row": 4, "reason": "not JSON"},
    ]


def test_rows_with_other_numbers_of_fields_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,a\ny\nz,a,b\n", "utf-8")
    table, ledger = read(tmp_path, SequenceTask(), "a.csv")
    assert table["text"].to_pylist() == ["x"]
    assert ledger.rejects().select(["row", "reason", "detail", "text"]).to_pylist() == [
        {"row": 3, "reason": "broken row", "detail": "1 fields, the header has 2", "text": "y"},
        {"row": 4, "reason": "broken row", "detail": "3 fields, the header has 2", "text": "z"},
    ]


def test_half_a_surrogate_pair_out_of_json_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(r'[{"text": "x\ud800", "label": "a"}]', "utf-8")
    with pytest.raises(LabelledDataError, match="not JSON"):
        read(tmp_path, SequenceTask(), "a.json")


def test_labels_are_names_whatever_their_type(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": label} for label in (1, 1.0, "1", " 1 ", True)]
    table, _ = _reasons(tmp_path, SequenceTask(), rows, label_names={"1": "good"})
    assert table["label"].to_pylist() == ["good"] * 4 + ["true"]


def test_targets_that_are_no_numbers(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["a", "b", "c", "d"], "label": [1.5, math.nan, None, math.inf]}), tmp_path / "a.parquet"
    )
    table, ledger = read(tmp_path, SequenceTask(kind="regression"), "a.parquet")
    assert table["label"].to_pylist() == [1.5]
    assert ledger.rejects()["reason"].to_pylist() == ["NaN target", "empty label", "NaN target"]
    (tmp_path / "a.csv").write_text("text,label\nx,1\ny,good\nz,nan\n", "utf-8")
    table, ledger = read(tmp_path, SequenceTask(kind="regression"), "a.csv")
    assert table["label"].to_pylist() == [1.0]
    assert ledger.rejects()["reason"].to_pylist() == ["label is no number", "NaN target"]


def test_a_null_class_is_an_empty_label_also_where_pandas_made_it_nan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, math.nan]}), tmp_path / "a.parquet")
    table, ledger = read(tmp_path, SequenceTask(), "a.parquet")
    assert table["label"].to_pylist() == ["1"]
    assert ledger.rejects()["detail"].to_pylist() == ["NaN"]


def test_class_indices_outside_of_the_classes_are_dropped(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    made = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, -1]}, features=features)
    made.save_to_disk(tmp_path / "saved")
    file = next((tmp_path / "saved").glob("*.arrow"))
    table, ledger = read(tmp_path, SequenceTask(), file)
    assert table["label"].to_pylist() == ["b"]
    reject = ledger.rejects().to_pylist()[0]
    assert (reject["reason"], reject["detail"]) == (
        "class index outside of the classes",
        "-1; there are 2 classes, from 0",
    )


def test_several_labels_in_every_form(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": ["x", "y", "x"]},
        {"text": "b", "label": []},
        {"text": "c", "label": "x; y"},
        {"text": "d", "label": ""},
        {"text": "e", "label": None},
        {"text": "f", "label": [None]},
    ]
    table, reasons = _reasons(tmp_path, SequenceTask(kind="multi"), rows, label_separator=";")
    assert table["label"].to_pylist() == [["x", "y"], [], ["x", "y"], []]
    assert reasons == ["empty label", "empty label"]


def test_a_column_for_each_label(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,toxic,rude\na,1,0\nb,0,0\nc,1.0,1\nd,2,0\n", "utf-8")
    table, ledger = read(tmp_path, SequenceTask(kind="multi"), "a.csv", label_columns=("toxic", "rude"))
    assert table["label"].to_pylist() == [["toxic"], [], ["toxic", "rude"]]
    assert ledger.rejects()["reason"].to_pylist() == ["label column is neither 0 nor 1"]


def test_pairs_need_both_texts(tmp_path: Path) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": 0}, {"premise": "a", "hypothesis": "", "label": 0}]
    columns = {"text": "premise", "text_b": "hypothesis"}
    table, reasons = _reasons(tmp_path, PairTask(), rows, columns=columns)
    assert table.select(["text", "text_b", "label"]).to_pylist() == [{"text": "a", "text_b": "b", "label": "0"}]
    assert reasons == ["empty text_b"]


def test_every_reason_to_drop_tagged_tokens(tmp_path: Path) -> None:
    bad = [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "tokens and tags differ in length"),
        ({"tokens": [], "tags": []}, "no tokens"),
        ({"tokens": "", "tags": ""}, "no tokens"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "empty token"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "empty token"),
        ({"tokens": ["a"], "tags": [""]}, "empty tag"),
        ({"tokens": ["a"], "tags": [None]}, "empty tag"),
        ({"tokens": ["a"], "tags": ["PER"]}, "tag that is not BIO"),
        ({"tokens": [["a"]], "tags": ["O"]}, "not text"),
        ({"tokens": ["a" * 60, "b" * 60], "tags": ["O", "O"]}, "text too long"),
    ]
    good = [{"tokens": ["a", "b"], "tags": ["B-X", "I-X"]}, {"tokens": "c d", "tags": "O O"}]
    table, reasons = _reasons(tmp_path, TokenTask(), [*good, *(row for row, _ in bad)], max_characters=100)
    assert table["tokens"].to_pylist() == [["a", "b"], ["c", "d"]]
    assert reasons == [reason for _, reason in bad]


def test_other_ways_to_mark_entities_become_bio(tmp_path: Path) -> None:
    rows = [
        {"tokens": ["a", "b", "c"], "tags": ["B-X", "E-X", "S-Y"]},
        {"tokens": ["a", "b", "c"], "tags": ["I-X", "I-X", "I-Y"]},
        {"tokens": ["a", "b"], "tags": ["B-X", "B-X"]},
    ]
    jsonl(tmp_path / "a.jsonl", rows)
    table, ledger = read(tmp_path, TokenTask(), "a.jsonl")
    assert table["tags"].to_pylist() == [["B-X", "I-X", "B-Y"], ["B-X", "I-X", "B-Y"], ["B-X", "B-X"]]
    assert ledger.repaired() == {"tags of another scheme, as BIO": 1, "entity without B-, given one": 1}


def test_conll_files(tmp_path: Path) -> None:
    text = (
        "-DOCSTART- -X- -X- O\n\n# sent_id = s1\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP\n\n"
        "1-2 CD B-NP O\n# NN B-NP O\n"
    )
    (tmp_path / "a.conll").write_text(text, "utf-8")
    table, ledger = read(tmp_path, TokenTask(), "a.conll", conll={"tag_column": 3}, slices="sent_id")
    assert table["tokens"].to_pylist() == [["EU", "rejects"], ["1-2", "#"]]
    assert table["tags"].to_pylist() == [["B-ORG", "O"], ["O", "O"]]
    assert table["sent_id"].to_pylist() == ["s1", None]
    reject = ledger.rejects().to_pylist()[0]
    assert (reject["row"], reject["reason"]) == (8, "token without a tag")
    assert "line 8: 'Peter NNP B-NP' has 3 column(s), 4 are needed" in reject["detail"]


def test_conll_u_skips_what_is_no_word(tmp_path: Path) -> None:
    text = (
        "# text = vámonos al\n1-2\tvámonos\t_\t_\n1\tvamos\t_\tVERB\n2\tnos\t_\tPRON\n2.1\tgap\t_\tX\n3\tal\t_\tADP\n"
    )
    (tmp_path / "a.conllu").write_text(text, "utf-8")
    conll = {"token_column": 1, "tag_column": 3, "separator": "tab"}
    table, _ = read(tmp_path, TokenTask(scheme="plain"), "a.conllu", conll=conll)
    assert table["tokens"].to_pylist() == [["vamos", "nos", "al"]]
    assert table["tags"].to_pylist() == [["VERB", "PRON", "ADP"]]


def test_tags_as_class_indices_of_a_saved_dataset(tmp_path: Path) -> None:
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-X"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})
    made = datasets.Dataset.from_dict({"tokens": [["a", "b"]], "ner_tags": [[1, 0]]}, features=features)
    made.save_to_disk(tmp_path / "saved")
    file = next((tmp_path / "saved").glob("*.arrow"))
    assert read(tmp_path, TokenTask(), file, columns={"tags": "ner_tags"})[0]["tags"].to_pylist() == [["B-X", "O"]]


CONTEXT = "Ann met Bob. Then Ann left."


def _question(answers: Any, **more: Any) -> dict[str, Any]:
    return {"question": "Who?", "context": CONTEXT, "answers": answers, **more}


def test_answers_in_every_form(tmp_path: Path) -> None:
    rows = [
        _question([{"text": "Bob", "answer_start": 8}]),
        _question([{"text": "Ann", "start": 18}]),
        _question({"text": ["Bob"], "answer_start": [8]}),
        _question('[{"text": "Bob", "answer_start": 8}]'),
        _question([]),
        _question({"text": [], "answer_start": []}),
    ]
    table, reasons = _reasons(tmp_path, SpanTask(), rows)
    bob, ann = [{"text": "Bob", "start": 8}], [{"text": "Ann", "start": 18}]
    assert table["answers"].to_pylist() == [bob, ann, bob, bob, [], []]
    assert not reasons


def test_answers_are_moved_to_where_they_stand_or_dropped(tmp_path: Path) -> None:
    rows = [
        _question([{"text": "Bob", "answer_start": 7}]),
        _question([{"text": "Bob"}]),
        _question([{"text": "Bob", "answer_start": 8}, {"text": "Carl", "answer_start": 0}]),
        _question([{"text": "Ann", "answer_start": 1}]),
        _question([{"text": "Carl", "answer_start": 0}]),
        _question([{"answer": "Bob"}]),
        _question("Bob"),
        _question({"text": ["Bob"], "answer_start": []}),
        _question([{"text": "Bob", "answer_start": "eight"}]),
        _question([], question=""),
        _question([], context=None),
    ]
    jsonl(tmp_path / "a.jsonl", rows)
    table, ledger = read(tmp_path, SpanTask(), "a.jsonl")
    assert table["answers"].to_pylist() == [[{"text": "Bob", "start": 8}]] * 3
    assert ledger.repaired() == {"answer moved to where it stands": 2, "answer left out beside good ones": 1}
    assert ledger.rejects()["reason"].to_pylist() == [
        *(["answer not in its context"] * 2),
        *(["broken answers"] * 4),
        "empty question",
        "empty context",
    ]
    assert "the context has it 2 times" in ledger.rejects()["detail"][0].as_py()


def test_squad_files(tmp_path: Path) -> None:
    questions = [
        {"id": "1", "question": "Whom?", "answers": [{"text": "Bob", "answer_start": 8}]},
        {"id": "2", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [{"text": "Bob"}]},
    ]
    squad = {"version": "v2.0", "data": [{"title": "Ann", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad), "utf-8")
    table, _ = read(tmp_path, SpanTask(), "squad.json", slices="title")
    assert table["id"].to_pylist() == ["1", "2"]
    assert table["title"].to_pylist() == ["Ann", "Ann"]
    assert table["answers"].to_pylist() == [[{"text": "Bob", "start": 8}], []]


def test_one_answer_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f'question,context,reply,at\nWhom?,"{CONTEXT}",Bob,8\nWhy?,"{CONTEXT}",,\n', "utf-8"
    )
    columns = {"answer": "reply", "answer_start": "at"}
    table, _ = read(tmp_path, SpanTask(), "a.csv", columns=columns)
    assert table["answers"].to_pylist() == [[{"text": "Bob", "start": 8}], []]


def test_choices(tmp_path: Path) -> None:
    rows = [
        {"text": "stem", "choices": ["x", "y"], "label": 1},
        {"text": "", "choices": ["x", "y"], "label": "x"},
        {"choices": ["p", "q"], "label": "B"},
        {"choices": ["x", "y"], "label": 2},
        {"choices": ["x", "y"], "label": -1},
        {"choices": ["x", "y"], "label": "z"},
        {"choices": ["x"], "label": 0},
        {"choices": None, "label": 0},
        {"choices": ["x", ""], "label": 0},
        {"choices": ["x", "y"], "label": None},
    ]
    table, reasons = _reasons(tmp_path, ChoiceTask(), rows)
    assert table.select(["text", "label"]).to_pylist() == [
        {"text": "stem", "label": 1},
        {"text": "", "label": 0},
        {"text": "", "label": 1},
    ]
    assert reasons == [
        *(["label outside of choices"] * 3),
        *(["fewer than two choices"] * 2),
        "empty choice",
        "empty label",
    ]
    (tmp_path / "a.csv").write_text("stem,a,b,label\nQ,x,y,1\n", "utf-8")
    table, _ = read(tmp_path, ChoiceTask(), "a.csv", columns={"text": "stem"}, choice_columns=("a", "b"))
    assert table["choices"].to_pylist() == [["x", "y"]]


def test_embedding_pairs(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "text_b": "b"},
        {"text": "a", "text_b": "b", "label": 0.5, "negative": "c"},
        {"text": "a", "text_b": "b", "label": "much"},
        {"text": "a", "text_b": None},
    ]
    table, reasons = _reasons(tmp_path, EmbeddingTask(), rows)
    assert table.select(["label", "negative"]).to_pylist() == [
        {"label": None, "negative": None},
        {"label": 0.5, "negative": "c"},
    ]
    assert reasons == ["label is no number", "empty text_b"]


def test_texts_to_generate(tmp_path: Path) -> None:
    rows = [{"text": "a", "target": "b"}, {"text": "", "target": "b"}, {"text": "a", "target": " "}]
    table, reasons = _reasons(tmp_path, Seq2SeqTask(), rows)
    assert table.num_rows == 1
    assert reasons == ["empty text", "empty target"]
    table, reasons = _reasons(tmp_path, CausalTask(), rows)
    assert table["text"].to_pylist() == ["a", ""]
    assert reasons == ["empty target"]
    table, _ = _reasons(tmp_path, CausalTask(), [{"text": "a long text"}], columns={"target": "text"})
    assert table.select(["text", "target"]).to_pylist() == [{"text": "", "target": "a long text"}]


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"text": "", "label": "a"}, {"text": "x", "label": ""}])
    with pytest.raises(
        LabelledDataError, match=r"no example left of 2\. empty text: 1 \(first a\.jsonl:1.*empty label: 1"
    ):
        read(tmp_path, SequenceTask(), "a.jsonl")


def test_an_id_of_the_file_is_kept_and_a_second_one_is_dropped(tmp_path: Path) -> None:
    rows = [{"id": 7, "text": "a", "label": "x"}, {"id": "7", "text": "b", "label": "x"}, {"text": "c", "label": "x"}]
    table, reasons = _reasons(tmp_path, SequenceTask(), rows)
    assert table["id"][0].as_py() == "7"
    assert reasons == ["id that another example has"]


def test_ids_that_two_sides_have_in_common_get_the_sides_name(tmp_path: Path) -> None:
    def numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"id": number, **row} for number, row in enumerate(rows)]

    sides = three_sides(tmp_path, numbered(reviews(20)), numbered(reviews(6, first=100)))
    data = loaded(tmp_path, **sides)
    assert data.sides["train"]["id"].to_pylist()[:2] == ["train-0", "train-1"]


def test_columns_are_kept_with_their_type(tmp_path: Path) -> None:
    rows = [{**row, "year": 2000 + i, "mixed": i if i % 2 else "x", "none": None} for i, row in enumerate(reviews(40))]
    jsonl(tmp_path / "a.jsonl", rows)
    data = loaded(tmp_path, train="a.jsonl", slices=("year", "mixed", "none"))
    schema = data.sides["train"].schema
    assert (schema.field("year").type, schema.field("mixed").type) == (pa.int64(), pa.string())
    with pytest.raises(LabelledDataError, match=r"no column 'month'; it has 'text', 'label', 'year'"):
        loaded(tmp_path, train="a.jsonl", slices="month")


def test_folders_and_globs(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    jsonl(tmp_path / "parts/one.jsonl", reviews(20))
    jsonl(tmp_path / "parts/two.jsonl", reviews(20, first=50))
    assert set(loaded(tmp_path, train="parts").accounts) == {"parts/one.jsonl", "parts/two.jsonl"}
    assert set(loaded(tmp_path, train="parts/o*.jsonl").accounts) == {"parts/one.jsonl"}
    with pytest.raises(LabelledDataError, match=r"parts/one\.jsonl: on side train and on side test"):
        loaded(tmp_path, train="parts", test="parts/one.jsonl")


def test_a_folder_of_files_named_by_sides(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for first, name in ((0, "train"), (100, "dev"), (200, "test")):
        jsonl(tmp_path / f"corpus/{name}.jsonl", reviews(20, first=first))
    data = loaded(tmp_path, train="corpus")
    assert {side: table.num_rows for side, table in data.sides.items()} == dict.fromkeys(data.sides, 20)
    (tmp_path / "corpus/train.jsonl").unlink()
    with pytest.raises(LabelledDataError, match="holds test, validation and no train"):
        loaded(tmp_path, train="corpus")


def test_a_saved_dictionary_of_splits(tmp_path: Path) -> None:
    made = {
        name: datasets.Dataset.from_list(reviews(20, first=first))
        for first, name in ((0, "train"), (100, "validation"), (200, "test"))
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    data = loaded(tmp_path, train="saved")
    assert data.sides["test"]["text"].to_pylist() == [row["text"] for row in reviews(20, first=200)]
    alone = loaded(tmp_path, train="saved/train")
    assert sum(table.num_rows for table in alone.sides.values()) == 20
    assert dropped(alone) == {}


def test_texts_of_other_scripts_are_fine(tmp_path: Path) -> None:
    texts = ["مرحبا بالعالم", "こんにちは世界", "👩‍👩‍👧 \u200d", "नमस्ते दुनिया", "สวัสดีชาวโลก"]
    jsonl(
        tmp_path / "a.jsonl",
        [{"text": f"{text} {sentence(i)}", "label": str(i % 2)} for i, text in enumerate(texts * 8)],
    )
    data = loaded(tmp_path, train="a.jsonl")
    assert sum(table.num_rows for table in data.sides.values()) == 40
