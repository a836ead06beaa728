"""What a family's config.json says of a model's shape, what of a shape it can say, and both translations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bert_core.config import ModelConfig
from bert_core.hf.config_tables import KEYS
from bert_core.tokenizer import Tokenizer


class WeightsError(ValueError):
    """A folder that holds no model this project can load; the message names the file, what it has and what is legal."""


def their_config(config: ModelConfig) -> dict[str, Any]:
    """`config` in the words of its family's config.json."""
    keys = KEYS[config.family]
    return {
        "model_type": config.family,
        "tie_word_embeddings": True,
        **{key: values[0] for key, values in keys.legal.items()},
        **{theirs: getattr(config, ours) for ours, theirs in keys.same.items()},
        **keys.write(config),
    }


def our_values(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `ModelConfig` that a family's config.json says.

    Raises:
        ValueError: a family or a value that this project cannot run, or a key is absent.
    """
    family = theirs.get("model_type")
    if family not in KEYS:
        raise ValueError(f"model_type = {family!r}: legal here: {_listed(KEYS)}")
    keys = KEYS[family]
    classifies = any(name.endswith("ForSequenceClassification") for name in theirs.get("architectures") or ())
    for key, legal in {**keys.legal, **(keys.classifier_legal if classifies else {})}.items():
        if theirs.get(key, legal[0]) not in legal:
            raise ValueError(f"{key} = {theirs[key]!r}: legal here: {_listed(legal)}")
    said = {key: value for key, value in theirs.items() if value is not None}
    if missing := [key for key in keys.same.values() if key not in said and key not in keys.absent]:
        raise ValueError(f"lacks {', '.join(missing)}")
    complete = {**keys.absent, **said}
    same = {ours: complete[key] for ours, key in keys.same.items()}
    return {**same, **keys.read(complete), "family": family}


def exportable(config: ModelConfig, tokenizer: Tokenizer | None = None) -> list[str]:
    """Why files of `config`'s family cannot express it, with the coordinate and its legal values; empty: they can.

    To be asked before training, so that an hour of it does not end in this error. With `tokenizer`, also why the two
    would not work together in transformers: RoBERTa's positions count what is not padding, and GPT-2's classifier reads
    the last token that is not.
    """
    keys = KEYS[config.family]
    faults = [
        f"model.{name} = {getattr(config, name)!r}: files of family {config.family!r} can express "
        f"{'1 or more' if isinstance(legal, range) else _listed(legal)}"
        for name, legal in keys.shape.items()
        if getattr(config, name) not in legal
    ]
    faults += [f"model.{fault}" for fault in keys.faults(config)]
    if tokenizer is not None and config.family in ("roberta", "gpt2") and config.pad_token_id != tokenizer.pad_id:
        faults.append(f"model.pad_token_id = {config.pad_token_id}: the tokenizer pads with {tokenizer.pad_id}")
    return faults


def _listed(values: Any) -> str:
    return ", ".join(map(repr, values))
