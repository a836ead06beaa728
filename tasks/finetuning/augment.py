"""More training examples out of those there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prefect.artifacts import create_markdown_artifact

from bert_core.config import Config
from bert_core.files import write_json
from bert_core.mlm_substitution import MlmSubstitution
from bert_core.predict import open_model
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.augment import augment as augmented
from tasks.config.augment import AugmentConfig, BackTranslation, Substitution
from tasks.finetuning.prepare import side, task_of
from tasks.stage import artifact_key, stage


class AugmentSpec(Config):
    name: str
    augment: AugmentConfig
    seed: int
    contents: dict[str, str]
    """Content of each folder that a method names."""


@stage("augment", code="tasks.finetuning.augment")
def augment(config: AugmentSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Change copies of training examples, keep their labels, and drop what comes near validation or test."""
    (prepared,) = inputs
    home, methods = artifacts.home(), config.augment.methods
    masked = next((method for method in methods if isinstance(method, Substitution)), None)
    translated = next((method for method in methods if isinstance(method, BackTranslation)), None)
    found = augmented(
        config.augment,
        task_of(prepared),
        side(prepared, "train"),
        forbidden=(side(prepared, "validation"), side(prepared, "test")),
        seed=config.seed,
        substitute=MlmSubstitution(home / masked.folder, rate=masked.rate, top_k=masked.top_k) if masked else None,
        translate=(_translator(home / translated.there), _translator(home / translated.back)) if translated else None,
        home=home,
    )
    pq.write_table(found.table, out.path / "train.parquet", compression="zstd")
    write_json(out.path / "augmented.json", found.report.model_dump(mode="json"))
    create_markdown_artifact(
        found.report.markdown(), key=artifact_key(f"{config.name}-augmented"), description="changed copies"
    )
    out.rows = {"train": found.table.num_rows}


def folders(config: AugmentConfig) -> list[str]:
    """Model folders that the methods name."""
    named = [(method.folder,) for method in config.methods if isinstance(method, Substitution)]
    named += [(method.there, method.back) for method in config.methods if isinstance(method, BackTranslation)]  # type: ignore[misc]
    return [folder for each in named for folder in each]


def _translator(folder: Path) -> Any:
    predictor = open_model(folder)
    return lambda texts: [str(answer["output"]) for answer in predictor.serve([{"text": text} for text in texts])]
