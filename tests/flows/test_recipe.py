"""Recipes: the shipped ones are whole, and a fault in one is told before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bert_core.config import TASK_TYPES, ConfigError, dump_json
from flows.finetune_recipe import FinetuneRecipe, load_finetune_recipe
from flows.recipe import CorpusRecipe, load_any, load_recipe, load_runnable, shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_legal_and_survives_json(name: str) -> None:
    recipe = load_any(name)
    assert isinstance(recipe, CorpusRecipe | FinetuneRecipe)
    assert recipe.name == name
    assert type(recipe).model_validate_json(dump_json(recipe)) == recipe
    if isinstance(recipe, CorpusRecipe):
        assert all(source.name == key for key, source in recipe.sources.items())


def test_there_is_a_recipe_for_every_type_of_source_and_of_task() -> None:
    recipes = [load_any(name) for name in shipped()]
    sources = {each.type for one in recipes if isinstance(one, CorpusRecipe) for each in one.sources.values()}
    assert sources == {"web", "warc", "wikipedia", "files", "dataset", "package"}
    assert {one.task.type for one in recipes if isinstance(one, FinetuneRecipe)} == set(TASK_TYPES)


def test_a_recipe_is_run_by_the_command_that_fits_it() -> None:
    with pytest.raises(ConfigError, match="bert-foundry finetune trec-questions"):
        load_runnable("trec-questions")
    with pytest.raises(ConfigError, match="bert-foundry run film-reviews"):
        load_finetune_recipe("film-reviews")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("gate.min_class_f1=2", ["gate.min_class_f1 = 2", "less than or equal to 1"]),
        ("train.epochs='many'", ["train.epochs = 'many'", "number"]),
        ("trian.epochs=2", ["trian = ", "unknown key", "train"]),
        ("dedup.treshold=0.5", ["dedup.treshold = 0.5", "unknown key", "threshold"]),
        ("sources.site.type='ftp'", ["sources.site", "ftp", "'web', 'files'"]),
        ("pretrain.batch.samples=8", ["pretrain.batch", "rows", "samples"]),
        ("task.labels=['only']", ["task", "only"]),
        ("task.kind='regression'", ["task", "regression"]),
        ("train.init='data/all-minilm-l6-v2'", ["starts from what [pretrain] makes", "train.init"]),
        ("clean.labels=['a', 'b']", ["clean.labels", "task.labels", "differ"]),
        ("name='Not Legal'", ["name = 'Not Legal'"]),
    ],
)
def test_a_fault_names_key_value_and_what_is_legal(override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("film-reviews", [override])
    assert not [part for part in parts if part not in str(caught.value)], str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"3 fault\(s\)"):
        load_recipe("film-reviews", ["gate.min_class_f1=2", "seed=-1", "colour='red'"])


def test_an_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="film-reviews"):
        load_recipe("film-review")


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match="line 1"):
        load_recipe(str(tmp_path / "a.toml"))


def test_an_override_without_a_value_is_explained() -> None:
    with pytest.raises(ConfigError, match="key=value"):
        load_recipe("film-reviews", ["train.epochs"])


def test_the_command_line_says_it_in_one_message_and_runs_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows", "run", "film-reviews", "gate.min_class_f1=2"],
        capture_output=True,
        text=True,
        env={"PATH": "", "BERT_FOUNDRY_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 1
    assert "gate.min_class_f1 = 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_an_unknown_key_of_one_of_several_types_is_told_the_legal_ones() -> None:
    with pytest.raises(ConfigError, match=r"task\.sequence\.typ = 3: unknown key; legal keys here: class_weights"):
        load_finetune_recipe("trec-questions", ["task.typ=3"])
