"""The sections of a recipe, as a person writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bert_core.config import Config, ConfigError, dump_json, load
from tasks.config.augment import ActiveLearningConfig, AugmentConfig, PseudoLabelConfig
from tasks.config.behaviour import BehaviourConfig

RECIPE = """
[augment]
language = "en"
protected = ["Oscar"]
thesaurus = { type = "wordnet", path = "/usr/share/wordnet" }

[[augment.methods]]
type = "synonyms"
copies = 2

[[augment.methods]]
type = "characters"
typos = ["swap", "drop"]

[[augment.methods]]
type = "mlm"
folder = "models/our-encoder"

[pseudo]
threshold = 0.9
class_balanced = true

[active]
strategy = "kl"

[[behaviour.tests]]
kind = "mft"
name = "praise"
templates = ["This is {a:good} film."]
words = { good = ["great", "amazing"] }
expected = "fresh"

[[behaviour.tests]]
kind = "invariance"
name = "names"
perturbation = { type = "words", shipped = ["names", "cities"] }

[[behaviour.tests]]
kind = "direction"
name = "blame"
add = ["I hated it."]
label = "fresh"
must_not = "rise"

[behaviour.bias.axes.age]
old = ["old", "elderly"]
young = ["young", "youthful"]

[behaviour.robustness.perturbations]
typos = { type = "typos", rate = 0.2 }
"""


class Recipe(Config):
    augment: AugmentConfig
    pseudo: PseudoLabelConfig
    active: ActiveLearningConfig
    behaviour: BehaviourConfig


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE, "utf-8")
    return tmp_path / "recipe.toml"


def test_a_recipe_is_read_and_read_again(recipe: Path) -> None:
    config = load(recipe, Recipe)
    assert [method.type for method in config.augment.methods] == ["synonyms", "characters", "mlm"]
    assert [test.kind for test in config.behaviour.tests] == ["mft", "invariance", "direction"]
    assert config.behaviour.bias is not None
    assert config.behaviour.bias.shipped == ("gender",)
    assert config.behaviour.robustness is not None
    assert list(config.behaviour.robustness.perturbations) == ["typos"]
    assert Recipe.model_validate_json(dump_json(config)) == config


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("augment.max_share=1.0", r"augment\.max_share"),
        ('augment.methods=[{type="swop"}]', "swop"),
        ('augment.methods=[{type="swap", rat=0.1}]', "rat.*unknown key"),
        ('active.strategy="best"', r"active\.strategy"),
        ('behaviour.tests=[{kind="mft", name="a b", templates=["x"], expected="y"}]', "name"),
    ],
)
def test_faults_are_named(recipe: Path, override: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load(recipe, Recipe, [override])
