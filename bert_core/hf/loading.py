"""Read a folder of transformers: its shape, labels and weights. A refusal leaves the model as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bert_core.config import ModelConfig, validate
from bert_core.config.model import Family
from bert_core.heads import Pooler, PretrainingModel
from bert_core.hf.configs import WeightsError, our_values
from bert_core.hf.families import NAMES, Names
from bert_core.hf.tasks import read_task
from bert_core.hf.weights import Kind, from_transformers, ours_of, parts_of, to_transformers
from bert_core.model import Encoder
from bert_core.task_models import ClassModel, TaskModel

if TYPE_CHECKING:
    from bert_core.xlnet import XlnetPretrainingModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class LoadReport:
    """What a load did; every parameter of the model is in `loaded` or in `missing`."""

    loaded: tuple[str, ...]
    """our names of the parameters that were read"""
    missing: tuple[str, ...]
    """our names of head parameters that the file lacks: they keep the values they had"""
    unused: tuple[str, ...]
    """names in the file for which the model has no place, such as the head of another task"""


def load_config(folder: str | Path) -> ModelConfig:
    """The shape of the model in `folder`.

    Raises:
        WeightsError: no config.json, not JSON, or an architecture that this project cannot run.
        ConfigError: a value out of bounds.
    """
    path = Path(folder) / CONFIG_FILE
    return validate(ModelConfig, _our_values(path), source=str(path))


def load_labels(folder: str | Path) -> tuple[str, ...]:
    """The label names of the classifier in `folder`, in the order of their ids."""
    path = Path(folder) / CONFIG_FILE
    names = read_json(path).get("id2label") or {}
    if sorted(names) != sorted(str(i) for i in range(len(names))) or not names:
        raise WeightsError(f"{path}: id2label = {names!r}: expected a name for each of the ids 0, 1, ...")
    return tuple(names[str(i)] for i in range(len(names)))


def load_encoder(folder: str | Path, encoder: Encoder, pooler: Pooler | None = None) -> LoadReport:
    """Read the weights of any model of its family in `folder` into `encoder`, and into `pooler` where the file has one.

    Raises:
        WeightsError: see `load_pretraining`.
    """
    parts: dict[str, nn.Module] = {"encoder": encoder}
    if pooler is not None:
        parts["pooler"] = pooler
    return _load(Path(folder), parts, encoder.config.family, "classifier")


def load_pretraining(folder: str | Path, model: PretrainingModel | XlnetPretrainingModel) -> LoadReport:
    """Read the weights of any model of its family in `folder` into `model`; heads that the file lacks keep theirs.

    Raises:
        WeightsError: another family, no safetensors file or a broken one, an encoder weight is missing, a shape
            differs, or the decoder is not tied to the word embeddings. `model` is then unchanged.
    """
    return _load(Path(folder), dict(model.named_children()), model.config.family, "pretraining")


def load_task_model(folder: str | Path, model: TaskModel, *, head: bool | None = None) -> LoadReport:
    """Read the weights of any model of its family in `folder` into `model`; see `load_pretraining`.

    Args:
        head: whether to read the head; None: only from a folder of the same task with the same labels.
    """
    found = read_task(folder)
    is_same = head if head is not None else found is not None and found.is_same_head(model.task)
    kind = found.kind if found is not None else "classifier"
    parts = {name: part for name, part in model.named_children() if name != "classifier" or is_same}
    report = _load(Path(folder), parts, model.config.family, kind)
    if "classifier.weight" in report.loaded and isinstance(model, ClassModel) and model.task.kind == "regression":
        model.standardise_head()  # where statistics are known: it is trained on standardised numbers
    return report


def _load(folder: Path, parts: Mapping[str, nn.Module], family: Family, kind: Kind) -> LoadReport:
    # another architecture is refused before its weights half fit
    found_family = _our_values(folder / CONFIG_FILE)["family"]
    if found_family != family:
        raise WeightsError(
            f"{folder / CONFIG_FILE}: model_type = {found_family!r}: legal here: {family!r}, the model's"
        )
    found, unused = _read_weights(folder, family, kind)
    wanted = {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}
    loaded = [name for name in wanted if name in found]
    missing = [name for name in wanted if name not in found]
    _check(folder / WEIGHTS_FILE, wanted, found, missing)
    with torch.no_grad():
        for name in loaded:
            wanted[name].copy_(found[name])
    left = {name: tensor for name, tensor in found.items() if name not in wanted}
    unused += list(to_transformers(left, family, kind))
    return LoadReport(tuple(loaded), tuple(missing), tuple(sorted(unused)))


def _check(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], missing: Sequence[str]) -> None:
    if lost := [name for name in missing if name.startswith("encoder.")]:
        raise WeightsError(f"{path}: lacks {len(lost)} weights of the encoder, the first being {lost[0]}")
    for name, parameter in wanted.items():
        if name in found and found[name].shape != parameter.shape:
            shapes = f"{tuple(found[name].shape)} in the file, {tuple(parameter.shape)} in the model"
            raise WeightsError(f"{path}: {name} is of shape {shapes}")


def _read_weights(folder: Path, family: Family, kind: Kind) -> tuple[dict[str, Tensor], list[str]]:
    """The file's weights under our names, and those of its names that the map lacks."""
    path, names, modules = folder / WEIGHTS_FILE, NAMES[family], ours_of(family, kind)
    state = {_current_name(name, names): tensor for name, tensor in read_safetensors(path).items()}
    buffers = [name for name in state if re.sub(r"\.\d+\.", ".*.", name) in names.buffers]
    for name in buffers:
        del state[name]
    for copy, original in names.tied.items():
        if copy in state and not torch.equal(state.pop(copy), state.get(original, torch.empty(0))):
            raise WeightsError(f"{path}: {copy} differs from {original}; only models that tie the two can be loaded")
    known = {name: tensor for name, tensor in state.items() if parts_of(name)[0] in modules}
    try:
        return from_transformers(known, family, kind), [name for name in state if name not in known]
    except KeyError as error:
        raise WeightsError(f"{path}: lacks {error.args[0]}") from None


def _current_name(name: str, names: Names) -> str:
    """The name that today's transformers gives a weight of an older file, or of one saved without its heads."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return f"{names.prefix}{name}" if name.startswith(names.bare) else name


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors by name.

    Raises:
        WeightsError: there is no such file (pickled ones beside it are named), or it is torn.
    """
    if not path.exists():
        pickled = sorted(file.name for file in path.parent.glob("*.bin"))
        hint = f"; {', '.join(pickled)} is pickled, and is not read: save it as safetensors first" if pickled else ""
        raise WeightsError(f"{path}: no such file{hint}")
    try:
        return load_file(path)
    except SafetensorError as error:
        size = path.stat().st_size
        raise WeightsError(f"{path}: {size} bytes that are not a whole safetensors file: {error}") from None


def _our_values(path: Path) -> dict[str, Any]:
    try:
        return our_values(read_json(path))
    except ValueError as error:
        raise error if isinstance(error, WeightsError) else WeightsError(f"{path}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The file's object.

    Raises:
        WeightsError: there is no such file, it is not JSON, or no object.
    """
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: not an object, but {type(config).__name__}")
    return config
