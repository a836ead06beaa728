"""Training of a config as it is given: the file that `python -m bert_core.train` takes, carried out on Ray Train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from bert_core.config import TrainConfig
from bert_core.files import file_sha256
from tasks import artifacts
from tasks.artifacts import ArtifactError, Draft
from tasks.config import Workers
from tasks.stage import stage
from tasks.train import CARRYING_OUT, TrackedSpec, train_stage

INDEX = "shards.json"
"""Holds the hash of every shard beside it, which the loader verifies."""
FOLDERS = ("train_data", "eval_data", "tokenizer", "init")


class TrainSpec(TrackedSpec):
    """What decides the weights: the config, with folders by what they hold and not by where they lie."""

    train: TrainConfig
    contents: dict[str, str]
    workers: Workers = 2
    mirror: str | None = None

    @classmethod
    def of(cls, config: TrainConfig, *, experiment: str, workers: Workers, mirror: str | None) -> TrainSpec:
        """The spec of `config`, its folders looked up from the working folder.

        Raises:
            ArtifactError: one of them is not there.
        """
        folders = {name: Path(folder).resolve() for name in FOLDERS if (folder := getattr(config, name)) is not None}
        return cls(
            name=config.name,
            experiment=experiment,
            train=config.model_copy(update={name: str(folder) for name, folder in folders.items()}),
            contents={name: _content(name, folder) for name, folder in folders.items()},
            workers=workers,
            mirror=mirror,
        )

    @model_serializer(mode="wrap")
    def _identity(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        identity = {key: value for key, value in dump(self).items() if key not in CARRYING_OUT}
        train = {key: value for key, value in identity["train"].items() if key not in {*CARRYING_OUT, *FOLDERS}}
        return {**identity, "train": train}


@stage("train", code="bert_core.train", resume=True)
def train_as_given(config: TrainSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Train a config to its end, from whatever folders it names."""
    train_stage(config.train, config, inputs, out, workers=config.workers, mirror=config.mirror)


def _content(name: str, folder: Path) -> str:
    if not name.endswith("_data"):
        return artifacts.folder_content(folder)
    if not (folder / INDEX).is_file():
        raise ArtifactError(f"{name} = {folder}: no {INDEX}, so this is not a folder of token shards")
    return file_sha256(folder / INDEX)
