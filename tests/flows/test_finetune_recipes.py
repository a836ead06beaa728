"""Every shipped fine-tuning recipe on a slice of its real data: read, encoded, trained, asked; without servers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from bert_core import tokenizer, train
from bert_core.config import TrainConfig
from bert_core.features import encode, write_features
from bert_core.hf import load_config, read_task
from bert_core.predict import open_model
from flows.finetune_recipe import FinetuneRecipe, load_finetune_recipe
from flows.recipe import is_finetuning, shipped
from tasks.evidence.page import page
from tasks.evidence.report import CANDIDATE, Draw, Evidence, build_report
from tasks.labelled import load_dataset
from tasks.text.vocabulary import train as train_vocabulary

HOME = Path(os.environ.get("BERT_FOUNDRY_HOME", Path(__file__).parents[2] / ".foundry"))
RECIPES = [name for name, path in shipped().items() if is_finetuning(path)]
SLICE = ["data.max_train=48", "data.max_validation=16", "data.max_test=24", "train.steps=3", "train.batch.samples=8"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_learns_from_a_slice_of_its_data(name: str, tmp_path: Path) -> None:
    recipe = load_finetune_recipe(name, SLICE)
    if not (HOME / recipe.data.train).exists():
        if name == "help-en-de" and shutil.which("apt-get") is None:
            pytest.skip("its texts come out of Debian packages, and apt-get is not here")
        pytest.fail(f"{HOME / recipe.data.train} is not there: `make data` fetches it")
    data = load_dataset(recipe.data, recipe.task, home=HOME, seed=recipe.seeds[0])
    folder, config = trained(recipe, data.sides, data.task, tmp_path)
    predictor = open_model(folder)
    tuned = read_task(folder)
    assert tuned is not None
    assert tuned.task.type == recipe.task.type
    said = predictor.answer(data.sides["test"])
    assert said["id"].to_pylist() == data.sides["test"]["id"].to_pylist()
    report = build_report(
        Evidence(task=predictor.task, gold=data.sides["test"], answers={CANDIDATE: [said]}, draw=Draw(samples=100))
    )
    assert report.examples == 24
    assert recipe.name in page(report.model_copy(update={"title": recipe.name}))
    assert json.loads((config / "summary.json").read_text())["steps"] == 3


def trained(recipe: FinetuneRecipe, sides: dict[str, pa.Table], task: object, work: Path) -> tuple[Path, Path]:
    """The model's folder, and that of its training."""
    steps = recipe.train
    if steps.init:
        tokens, shape = tokenizer.load(HOME / steps.init), load_config(HOME / steps.init)
        tokenizer_folder = HOME / steps.init
    else:
        assert steps.model is not None
        assert steps.tokenizer is not None
        assert steps.tokenizer.type != "pretrained"
        tokens = train_vocabulary(steps.tokenizer, sides["train"]["target"].to_pylist() * 20)
        tokenizer_folder = work / "tokenizer"
        tokens.save(tokenizer_folder)
        shape = steps.model.for_tokenizer(vocab_size=tokens.vocab_size, pad_token_id=tokens.pad_id)
    most = min(steps.batch.row_length, shape.max_positions)
    for side in ("train", "validation"):
        write_features(encode(task, sides[side], tokens, most), work / side)  # type: ignore[arg-type]
    config = TrainConfig(
        name="slice",
        seed=recipe.seeds[0],
        init=str(HOME / steps.init) if steps.init else None,
        model=None if steps.init else shape,
        task=task,  # type: ignore[arg-type]
        method=recipe.method,
        train_data=str(work / "train"),
        eval_data=str(work / "validation"),
        tokenizer=str(tokenizer_folder),
        batch=steps.batch,
        steps=3,
        optimizer=steps.optimizer,
        precision="fp32",
    )
    train.run(config, work_dir=work / "run", report=lambda line, saved: None)
    return work / "run" / "model", work / "run"
