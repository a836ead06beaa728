"""Pseudo-labels, active learning and further heads as sections of a recipe: one flow on real servers, and what is
refused before it."""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from bert_core.config import ConfigError, PairTask, SequenceTask
from bert_core.predict import open_model
from bert_core.tokenizer import train_wordpiece
from flows.finetune_recipe import FinetuneRecipe, check_one_class, load_finetune_recipe
from flows.recipe import shipped
from infra.stack import Stack
from tasks.config.augment import PseudoLabelConfig
from tasks.config.data import DataConfig
from tasks.labelled import LabelledDataError
from tasks.selection import pseudo_label, read_texts, without_known
from tests.flows.test_finetune_flow import BAD, GOOD, NEUTRAL, foundry

RECIPE = """
name = "methods"
seeds = [1, 2]

[data]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"

[task]
type = "sequence"

[train]
init = "weights"
epochs = 6
batch = { samples = 16, row_length = 32 }

[train.optimizer]
lr = 3e-3

[pseudo_labels]
data = "unlabelled.jsonl"
columns = { text = "body" }
threshold = 0.5
max_examples = 30

[select]
pool = "pool.csv"
count = 5
strategy = "entropy"
filled = "sheets/*.jsonl"

[auxiliary.tags]
data = { train = "tags.conll", repeats = "keep" }
task = { type = "token" }
weight = 0.5

[baselines]
models = ["majority"]

[evaluate]
bootstrap_samples = 100
explained = 0
latency_examples = 1

[gate]
min_test_examples = 10
min_gain_over_baseline = -1.0

[registry]
model_name = "methods"
experiment = "methods"
"""
Labelled = list[tuple[str, str]]


def drawn(count: int, seed: int) -> Labelled:
    """Texts of which no two are similar, and what they say."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        label, words = ("good", GOOD) if number % 2 else ("bad", BAD)
        text = [*draw.sample(NEUTRAL, 5), *draw.sample(words, 2), str(1000 * seed + number)]
        draw.shuffle(text)
        found.append((" ".join(text), label))
    return found


def write_csv(path: Path, rows: Labelled) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe and its files, in which some texts stand where they must not be learned."""
    home = tmp_path_factory.mktemp("methods")
    train, validation, test, more, pool, tagged = (
        drawn(count, seed) for seed, count in enumerate((96, 24, 40, 40, 20, 40), 1)
    )
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        write_csv(home / f"{name}.csv", rows)
    near = " ".join([*test[2][0].split()[:-1], "anew"])
    texts = [*(text for text, _ in more), more[0][0], train[0][0], test[0][0], test[1][0].upper(), near, " "]
    write_lines(home / "unlabelled.jsonl", [{"body": text} for text in texts])
    write_csv(home / "pool.csv", [*((text, "") for text, _ in pool), (test[0][0], "good"), (validation[0][0], "")])
    filled = [(pool[0][0], pool[0][1]), (pool[1][0], ""), (test[3][0], "good")]
    write_lines(
        home / "sheets" / "first.jsonl",
        [{"id": str(number), "text": text, "label": label} for number, (text, label) in enumerate(filled)],
    )
    sentences = [text.split() for text, _ in [*tagged, *test[:2]]]
    tags = [[(word, "B-TONE" if word in (*GOOD, *BAD) else "O") for word in sentence] for sentence in sentences]
    (home / "tags.conll").write_text("\n\n".join("\n".join(map(" ".join, each)) for each in tags) + "\n")
    tokenizer = train_wordpiece([text for text, _ in train] * 3, 300, 1, True)
    tokenizer.save(home / "weights")
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    BertModel(BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=64, **shape)).save_pretrained(
        home / "weights"
    )
    (home / "methods.toml").write_text(RECIPE)
    return home


def manifest(home: Path, stage: str, name: str = "methods") -> dict[str, Any]:
    """Of the one artifact of a stage; what was seen is accounted for."""
    (path,) = (home / "store" / stage).glob(f"{name}-*/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["rows"]["seen"] == found["rows"]["kept"] + sum(found["dropped"].values()), found
    return found | {"folder": path.parent}


def texts_of(table: pa.Table) -> set[str]:
    return {" ".join(text.lower().split()) for text in table["text"].to_pylist()}


@pytest.mark.timeout(600)
def test_three_methods_in_one_run(stack: Stack, home: Path) -> None:
    said = foundry(home, "finetune", "methods.toml", "--as-of", "2026-11-01")
    sheets = manifest(home, "sheets")
    assert sheets["rows"] == {"train": 97, "validation": 24, "test": 40, "seen": 3, "kept": 1}
    assert sheets["dropped"] == {"no label yet": 1, "equals or nearly equals a validation or test text": 1}
    held_out = texts_of(pq.read_table(sheets["folder"] / "test.parquet"))

    labelled = manifest(home, "pseudo-label")
    assert labelled["rows"]["seen"] == 46
    assert labelled["rows"]["kept"] == 30
    assert labelled["dropped"] == {
        "empty text": 1,
        "repeated text": 1,
        "labelled already": 1,
        "equals or nearly equals a validation or test text": 3,
        "over max examples": 10,
    }
    assert labelled["rows"]["train"] == 127
    learned = pq.read_table(labelled["folder"] / "train.parquet")
    assert sum(learned["pseudo"].to_pylist()) == 30
    assert not texts_of(learned) & held_out

    tags = manifest(home, "auxiliary", "methods-tags")
    assert tags["dropped"] == {"equals a validation or test text of the run's own task": tags["rows"]["seen"] - 30}
    trained = sorted((home / "store" / "train-task").glob("methods-*/model-tags"))
    assert len(trained) == 3, "a teacher and two seeds"
    said_of = open_model(trained[0]).answer(pa.table({"id": ["0"], "tokens": [["a", "neat", "film"]]}))
    assert len(said_of["tags"][0]) == 3

    chosen = manifest(home, "select")
    assert chosen["rows"] == {"seen": 22, "kept": 5}
    assert chosen["dropped"] == {
        "labelled already": 1,
        "equals or nearly equals a validation or test text": 2,
        "not among the chosen": 14,
    }
    sheet = chosen["folder"] / "sheet.jsonl"
    assert f"To label next: {sheet}" in said
    lines = [json.loads(line) for line in sheet.read_text().splitlines()]
    assert [line["label"] for line in lines] == [""] * 5
    assert lines[0]["legal"] == ["bad", "good"]

    (report,) = (home / "store" / "evidence").glob("methods-*/report.json")
    assert json.loads(report.read_text())["ablations"] == ["without_pseudo_labels"]
    shown = httpx.post(
        f"{os.environ['PREFECT_API_URL']}/artifacts/filter",
        json={"artifacts": {"key": {"any_": ["methods-pseudo-labels", "methods-to-label"]}}},
    ).json()
    assert {each["key"] for each in shown} == {"methods-pseudo-labels", "methods-to-label"}
    assert any(lines[0]["text"] in each["data"] for each in shown)

    with (home / "pool.csv").open("a", newline="") as file:
        csv.writer(file).writerows(drawn(3, 9))
    again = foundry(home, "finetune", "methods.toml", "--as-of", "2026-11-01")
    assert str(sheet) not in again
    assert len(list((home / "store" / "select").glob("methods-*"))) == 2, "a changed pool is asked about again"
    assert len(list((home / "store" / "train-task").glob("methods-*"))) == 3, "and nothing is trained for it"


def written(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = RECIPE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "changed.toml").write_text(text)
    return tmp_path / "changed.toml"


def recipe_of(tmp_path: Path, *changes: tuple[str, str]) -> FinetuneRecipe:
    return load_finetune_recipe(str(written(tmp_path, *changes)))


SEQUENCE = '[task]\ntype = "sequence"'


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            SEQUENCE,
            '[task]\ntype = "token"',
            "pseudo_labels is for .*'sequence' or 'pair' of kind 'single', not 'token'",
        ),
        (SEQUENCE, f'{SEQUENCE}\nkind = "multi"', "pseudo_labels is for .* not 'sequence' of kind 'multi'"),
        ("max_examples = 30", "max_examples = 0", "pseudo_labels.max_examples = 0"),
        ("max_examples = 30", "most = 3", "pseudo_labels.most = 3: unknown key; legal keys here: .*max_examples"),
        ("max_examples = 30", "teachers = 3", "pseudo_labels.teachers = 3, and there are 2 seeds"),
        ('columns = { text = "body" }', 'columns = { label = "x" }', "'id', 'text' or 'text_b'"),
        ("explained = 0", "learning_curve = [0.5]", "pseudo_labels and evaluate.learning_curve"),
        ('strategy = "entropy"', 'strategy = "luck"', "select.strategy = 'luck': .*'margin'"),
        ("seeds = [1, 2]", "seeds = [1]", "select.strategy = 'kl' needs two seeds"),
        ("count = 5", "", "select.count: required"),
        ('{ type = "token" }', '{ type = "causal" }', "auxiliary.tags.task.type = 'causal' .*legal are sequence, pair"),
        ("[auxiliary.tags]", "[auxiliary.span]", "auxiliary.span: a name is .* none of sequence"),
        ("weight = 0.5", "weight = 0", "auxiliary.tags.weight = 0"),
        ("[baselines]", "[method]\nprompt = { tokens = 4 }\n[baselines]", "leave out method.prompt"),
        (
            "[baselines]",
            '[method.cloze]\npattern = "{text} {mask}"\nverbalizer = {good = "neat", bad = "dull"}\n[baselines]',
            "leave out method.cloze",
        ),
    ],
)
def test_what_a_method_cannot_do_is_said_when_the_recipe_is_read(
    tmp_path: Path, old: str, new: str, fault: str
) -> None:
    also = [('strategy = "entropy"', 'strategy = "kl"')] if "seeds" in old else []
    with pytest.raises(ConfigError, match=fault):
        recipe_of(tmp_path, (old, new), *also)


def test_the_examples_in_shipped_recipes_are_legal_as_they_stand(tmp_path: Path) -> None:
    found = []
    for name in ("trec-questions", "tweet-ner"):
        text = re.sub(r"(?m)^# (\[|\w+ = )", r"\1", shipped()[name].read_text())
        (tmp_path / f"{name}.toml").write_text(text)
        recipe = load_finetune_recipe(str(tmp_path / f"{name}.toml"))
        found += [each for each in (recipe.pseudo_labels, recipe.select, *recipe.auxiliary) if each]
    assert len(found) == 3


@pytest.mark.parametrize("type", ["seq2seq", "causal"])
def test_a_generator_has_no_heads(tmp_path: Path, type: str) -> None:
    head = RECIPE.index("[pseudo_labels]"), RECIPE.index("[auxiliary")
    with pytest.raises(ConfigError, match=f"task.type = '{type}' has none"):
        recipe_of(tmp_path, (SEQUENCE, f'[task]\ntype = "{type}"'), (RECIPE[slice(*head)], ""))


def test_labels_that_turn_out_to_be_several_are_refused(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    check_one_class(recipe, PairTask())
    with pytest.raises(ConfigError, match="not 'sequence' of kind 'multi'"):
        check_one_class(recipe, SequenceTask(kind="multi"))


def test_texts_without_labels_are_read_and_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text,text_b\n1,one,two\n1,three,four\n2,"",five\n3,ONE,two!\n4,six,seven\n')
    (tmp_path / "b.jsonl").write_text('{"text": "eight", "text_b": "nine", "label": {"any": 1}}\nno json\n')
    found = read_texts(DataConfig(train="*.*"), PairTask(), tmp_path)
    assert found.seen == found.table.num_rows + found.dropped.total() == 7
    assert found.table.column_names == ["id", "text", "text_b", "origin"]
    labelled = pa.table({"text": ["Six"], "text_b": ["seven"]})
    new, dropped = without_known(PairTask(), found.table, labelled=labelled)
    assert new["text"].to_pylist() == ["one", "eight"]
    assert dropped == {"repeated text": 1, "labelled already": 1}
    (tmp_path / "b.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(LabelledDataError, match=r"b.jsonl: no column 'text', 'text_b'; it has 'body'"):
        read_texts(DataConfig(train="*.*"), PairTask(), tmp_path)


def test_the_surest_so_many_of_all_classes_or_of_each() -> None:
    task, sure = SequenceTask(labels=("a", "b")), [0.99, 0.98, 0.97, 0.96, 0.04, 0.05]
    texts = pa.table({"id": [str(i) for i in range(6)], "text": [f"text number {i}" for i in range(6)]})
    answers = pa.table({"id": texts["id"], "probabilities": [[p, 1 - p] for p in sure]})
    most = pseudo_label(PseudoLabelConfig(), task, texts, [answers], max_examples=3)
    assert most.table["id"].to_pylist() == ["0", "1", "2"]
    assert most.report.dropped == {"a": {"over_max_examples": 1}, "b": {"over_max_examples": 2}}
    config = PseudoLabelConfig(class_balanced=True)
    each = pseudo_label(config, task, texts, [answers], max_examples=3)
    assert each.table["id"].to_pylist() == ["0", "4"]
    assert sum(each.report.kept.values()) + sum(sum(by.values()) for by in each.report.dropped.values()) == 6
