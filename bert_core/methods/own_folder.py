"""Folders of models that transformers has no class for: our weights, which it does not take for its own.

config.json and the tokenizer's files are as everywhere, task.json names the method, and weights.safetensors stands in
the place of model.safetensors, so that a loader that knows nothing of the method refuses instead of leaving it out.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bert_core.config import MethodConfig
from bert_core.files import write_json
from bert_core.hf.configs import WeightsError, their_config
from bert_core.hf.exporting import answering_parameters
from bert_core.hf.loading import CONFIG_FILE
from bert_core.hf.tasks import FineTuned, write_task
from bert_core.task_models import TaskModel

OWN_WEIGHTS_FILE = "weights.safetensors"


def is_own(method: MethodConfig) -> bool:
    """Whether a model trained so needs a folder of this kind."""
    return method.virtual_tokens > 0 or method.cloze is not None


def export_own(model: TaskModel, method: MethodConfig, max_tokens: int, folder: Path) -> None:
    """Write everything but the tokenizer; `model` has the structure that `method` adds."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in answering_parameters(model).items()}
    save_file(state, folder / OWN_WEIGHTS_FILE, metadata={"format": "pt"})
    labels = getattr(model.task, "labels", ())
    named = {"id2label": {str(i): label for i, label in enumerate(labels)}} if labels else {}
    write_json(folder / CONFIG_FILE, {**their_config(model.config), **named, "architectures": []})
    write_task(FineTuned(task=model.task, max_tokens=max_tokens, method=method), folder)


def load_own(folder: str | Path, model: TaskModel) -> None:
    """Read the weights that `export_own` wrote.

    Raises:
        WeightsError: they are missing, torn, or not this model's.
    """
    path = Path(folder) / OWN_WEIGHTS_FILE
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from None
    wanted = dict(model.named_parameters())
    if state.keys() != wanted.keys():
        raise WeightsError(f"{path}: weights that one side has only: {sorted(state.keys() ^ wanted.keys())[:4]}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if parameter.shape != state[name].shape:
                shapes = f"{tuple(state[name].shape)} in the file, {tuple(parameter.shape)} in the model"
                raise WeightsError(f"{path}: {name} is of shape {shapes}")
            parameter.copy_(state[name])
