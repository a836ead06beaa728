"""The section [search], the points of its space, and a recipe's text with other values in it."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from bert_core.config import ConfigError, TrainConfig, apply_override, validate
from flows.finetune_recipe import FinetuneRecipe, load_finetune_recipe
from flows.recipe import is_finetuning, shipped
from flows.recipe_text import toml_text, toml_value, with_recipe_values
from flows.searching import best_recipe, check_space
from tasks.config.search import SearchConfig
from tasks.finetuning.halving import falls_behind, others_at, rung_of
from tasks.finetuning.search import SearchSpec
from tasks.finetuning.search import search as search_stage
from tasks.finetuning.space import most_trials, points, short, train_config, trial_key
from tasks.tune_driver import distributions, values_of

LR = "train.optimizer.lr"


def config(**fields: Any) -> SearchConfig:
    return validate(SearchConfig, {"space": {LR: [1e-4, 2e-4], "train.epochs": [1, 2, 3]}, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": {}}, "space"),
        ({"space": {LR: []}}, "at least 1 item"),
        ({"space": {LR: [1e-4, 1e-4]}}, "each choice once"),
        ({"space": {LR: {"low": 1e-3, "high": 1e-4}}}, "low = 0.001 is not below high = 0.0001"),
        ({"space": {LR: {"low": 0.0, "high": 1e-4, "log": True}}}, "log needs numbers above 0"),
        ({"space": {LR: {"low": 1.0, "high": 2.0, "log": True, "step": 0.5}}}, "log and step"),
        ({"space": {LR: {"low": 1, "high": 2, "step": 5}}}, "leads beyond high"),
        ({"space": {"data.train": ["a", "b"]}}, "'data.train' is not a key below train"),
        ({"space": {"train": [1]}}, "'train' is not a key below train"),
        ({"space": {"train.batch.row_length": [32, 64]}}, "features are made once for all trials"),
        ({"space": {"train.batch": [{"samples": 4, "row_length": 8}]}}, "holds 'train.batch.row_length'"),
        ({"space": {"train.model.num_layers": [1, 2]}}, "same shape"),
        ({"space": {"train.log_every": [1, 2]}}, "decides no weight"),
        ({"space": {"task.labels": [["a", "b"]]}}, "what the data is for"),
        ({"space": {"method.lora": [{"rank": 4}], "method.lora.rank": [4]}}, "lies within 'method.lora'"),
        ({"algorithm": "grid", "space": {LR: {"low": 1e-5, "high": 1e-4}}}, "'grid' needs lists"),
        ({"algorithm": "grid", "trials": 3}, "leave trials out"),
        ({"algorithm": "bayes", "sampling": "bayes"}, "is of asha"),
        ({"metric": "loss", "space": {"task.label_smoothing": [0.0, 0.1]}}, "changes what the loss is"),
        ({"algorithm": "hyperband"}, "'grid', 'random', 'asha' or 'bayes'"),
    ],
)
def test_a_search_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**fields)


def test_a_grid_is_every_combination() -> None:
    found = points(config(algorithm="grid"))
    assert [tuple(values.values()) for values in found] == [(lr, n) for lr in (1e-4, 2e-4) for n in (1, 2, 3)]
    assert most_trials(config(algorithm="grid")) == 6


def test_what_is_drawn_is_different_within_bounds_and_the_same_again() -> None:
    space = {
        LR: {"low": 1e-5, "high": 1e-2, "log": True},
        "train.epochs": {"low": 1, "high": 4},
        "train.optimizer.warmup_share": {"low": 0.0, "high": 0.5, "step": 0.1},
        "method.freeze_layers": ["encoder", 2],
    }
    search = config(space=space, trials=300)
    found = points(search)
    assert found == points(search)
    assert found[:20] == points(config(space=space, trials=20))
    assert found != points(config(space=space, trials=300, seed=8))
    assert len({trial_key(values) for values in found}) == 300
    rates = np.array([values[LR] for values in found])
    assert rates.min() >= 1e-5
    assert rates.max() <= 1e-2
    assert 0.4 < (rates < 10**-3.5).mean() < 0.6  # the middle of the orders of magnitude
    assert {values["train.epochs"] for values in found} == {1, 2, 3, 4}
    assert {values["train.optimizer.warmup_share"] for values in found} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}


def test_no_more_is_drawn_than_there_is() -> None:
    assert len(points(config(trials=50))) == most_trials(config(trials=50)) == 6


def test_optuna_draws_from_the_same_space() -> None:
    space = {
        LR: {"low": 1e-5, "high": 1e-2, "log": True},
        "train.epochs": {"low": 1, "high": 4},
        "train.optimizer.weight_decay": {"low": 0.0, "high": 0.1},
        "method.adversarial": [{"type": "fgm"}, {"type": "pgd"}],
    }
    search = config(algorithm="bayes", space=space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(50):
        values = values_of(search, study.ask(distributions(search)).params)
        assert 1e-5 <= values[LR] <= 1e-2
        assert values["train.epochs"] in (1, 2, 3, 4)
        assert values["method.adversarial"] in ({"type": "fgm"}, {"type": "pgd"})
        assert toml_value(values[LR]) == repr(values[LR])


def test_halving_decides_as_tunes_own_scheduler(tmp_path: Path) -> None:
    """Tune's keeps what it has seen in memory; ours reads it from the trials' folders."""
    search = config(algorithm="asha", grace_share=0.1, reduction_factor=3)
    assert search.rungs == pytest.approx((0.1, 0.3, 0.9))
    theirs = AsyncHyperBandScheduler(
        time_attr="share", metric="goodness", mode="max", max_t=1.0, grace_period=0.1, reduction_factor=3
    )
    chance = random.Random(4)
    stopped = 0
    for number in range(60):
        trial: Any = SimpleNamespace(trial_id=str(number))
        folder = tmp_path / str(number)
        folder.mkdir()
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]
        for share in (0.1, 0.3, 0.9):
            goodness = round(chance.random(), 1)
            with (folder / "scores.jsonl").open("a") as file:
                file.write(json.dumps({"share": share, "goodness": goodness}) + "\n")
            wanted = theirs.on_trial_result(None, trial, {"share": share + 1e-12, "goodness": goodness})  # type: ignore[arg-type]
            rung = rung_of(share, search.rungs)
            assert rung is not None
            ours = falls_behind(goodness, others_at(tmp_path, folder.name, rung, search.rungs), 3)
            assert ours == (wanted == TrialScheduler.STOP)
            if ours:
                stopped += 1
                break
    assert 30 < stopped < 60


def test_a_point_changes_the_training_and_nothing_else() -> None:
    base = TrainConfig(
        name="a", init="weights", task={"type": "sequence"}, train_data="t", tokenizer="v", steps=3,
        batch={"samples": 4},
    )  # fmt: skip
    changed = train_config(base, {LR: 1e-3, "task.focal_gamma": 2.0, "method.lora.rank": 4, "train.epochs": 2})
    assert changed.optimizer.lr == 1e-3
    assert changed.task is not None
    assert changed.method.lora is not None
    assert (changed.method.lora.rank, changed.epochs, changed.steps) == (4, 2, 3)
    with pytest.raises(ConfigError, match="prompt"):
        train_config(base, {"method.lora.rank": 4, "method.prompt.tokens": 4})


def test_short_names_stay_apart() -> None:
    assert short({LR: 2e-4, "method.adversarial.type": "fgm", "task.type": 1}) == (
        "lr=0.0002 adversarial.type=fgm task.type=1"
    )


def recipe(space: dict[str, Any]) -> FinetuneRecipe:
    given = tomllib.loads(shipped()["trec-questions"].read_text())
    return validate(FinetuneRecipe, given | {"search": {"space": space}})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.optimizer.rate": [1]}, r"rate = 1: unknown key; legal keys here: .*\blr\b.*weight_decay"),
        ({"train.optimizer.lr": [1e-4, 2.0]}, r"train.optimizer.lr = 2.0: Input should be less than or equal to 1"),
        ({"train.epochs": {"low": -1, "high": 3}}, r"train.epochs = -1: Input should be greater than 0"),
        ({"method.dropout": [0.1]}, r"unknown key; legal keys here: .*lora"),
        ({"task.smoothing": [0.1]}, r"smoothing.* = 0.1: unknown key"),
    ],
)
def test_a_space_that_the_recipe_cannot_take_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space(recipe(space))


def test_a_recipe_without_a_search_says_how_to_write_one() -> None:
    with pytest.raises(ConfigError, match=r'\[search\]\nspace = \{ "train.optimizer.lr"'):
        check_space(load_finetune_recipe("vitaminc"))


def test_a_search_is_named_by_what_it_tries_and_not_by_how_it_is_carried_out() -> None:
    def key(search: dict[str, Any], **train: Any) -> str:
        given = recipe({LR: [1e-4]})
        spec = SearchSpec(
            name="a",
            experiment="a",
            seed=1,
            task=given.task,
            train=given.train.model_copy(update=train),
            search=SearchConfig.model_validate({"space": {LR: [1e-4, 2e-4]}, **search}),
        )
        return search_stage.key(spec, [])

    assert key({}) == key({"concurrent": 2}) == key({}, workers=2, log_every=9)
    assert len({key({}), key({"trials": 3}), key({"seed": 8}), key({}, epochs=9)}) == 4


VALUES: dict[str, Any] = {
    "train.optimizer.lr": 3e-05,
    "train.epochs": 7,
    "train.batch.samples": 5,
    "train.patience": 2,
    "method.lora": {"rank": 4, "targets": ["up", "down"]},
    "method.rdrop_alpha": 0.5,
}


@pytest.mark.parametrize("name", [name for name, path in shipped().items() if is_finetuning(path)])
def test_a_shipped_recipe_takes_values_and_keeps_its_comments(name: str) -> None:
    text = with_recipe_values(shipped()[name].read_text(), {}, drop="search")
    wanted = tomllib.loads(text)
    for key, value in VALUES.items():
        apply_override(wanted, f"{key}={toml_value(value)}")
    section = '\n# tried\n[search]\ntrials = 3\n[search.space]\n"train.epochs" = [1, 7] # passes\n'
    changed = with_recipe_values(text + section, VALUES, drop="search")
    assert tomllib.loads(changed) == wanted
    assert [line.partition("#")[2] for line in changed.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in text.splitlines() if "#" in line
    ]
    assert tomllib.loads(toml_text(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a.b = 1 # one\n", "a.b = 2 # one\n"),
        ("[a]\nb   =   1\n", "[a]\nb   =   2\n"),
        ('[a]\nb = "x # y"    # z\n', "[a]\nb = 2          # z\n"),
        ("[a]\nb = [\n 1, # in\n 2,\n] # out\nc = 3\n", "[a]\nb = 2 # out\nc = 3\n"),
        ("a = { b = 1, c = 2 }\n", "a = { b = 2, c = 2 }\n"),
        ("x = 1\n[a.c]\nd = 1", "x = 1\na.b = 2\n[a.c]\nd = 1"),
        ("# about\n\n[c]\nd = 1\n", "# about\na.b = 2\n\n[c]\nd = 1\n"),
        ("x = 1\n[a]\n[c]\n", "x = 1\n[a]\nb = 2\n[c]\n"),
        ("", "a.b = 2\n"),
        (
            "x = 1\n\n# in\n[a.b]\nc = 3\n\n[a.b.d]\ne = 4\n\n# next\n[f]\ng = 5\n",
            "x = 1\na.b = 2\n\n# next\n[f]\ng = 5\n",
        ),
        ("x = 1", "x = 1\na.b = 2\n"),
    ],
)
def test_a_value_is_set_wherever_it_may_stand(text: str, changed: str) -> None:
    assert with_recipe_values(text, {"a.b": 2}) == changed


def test_a_section_goes_with_its_comment_and_leaves_those_of_others() -> None:
    text = "x = 1\n\n# search\n[search]\na = 1\n\n[search.space]\n# within\nb = 2\n\n# next\n[y]\nz = 3\n"
    assert with_recipe_values(text, {}, drop="search") == "x = 1\n\n# next\n[y]\nz = 3\n"


def test_a_layout_that_cannot_be_changed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"a.b: cannot be set in this recipe's text"):
        with_recipe_values("[[a]]\nb = 1\n", {"a.b": 2})


def test_the_best_recipe_differs_in_what_was_searched_alone() -> None:
    given = recipe({LR: [1e-4, 5e-4]})
    text = with_recipe_values(shipped()["trec-questions"].read_text(), {}, drop="search")
    with_search = text + '\n[search]\nspace = { "train.optimizer.lr" = [1e-4, 5e-4] }\n'
    best = best_recipe(given, with_search, {LR: 5e-4})
    assert tomllib.loads(best) == {
        **tomllib.loads(text),
        "train": {**tomllib.loads(text)["train"], "optimizer": {"lr": 5e-4, "warmup_share": 0.1, "ema_decay": 0.99}},
    }
    assert validate(FinetuneRecipe, tomllib.loads(best_recipe(given, None, {LR: 5e-4}))) == validate(
        FinetuneRecipe, tomllib.loads(best)
    )
    with pytest.raises(ConfigError, match=r"the text given is not that of the recipe trec-questions: .*epochs"):
        best_recipe(given, with_search.replace("epochs = 3", "epochs = 4"), {LR: 5e-4})
