"""How a model is fine-tuned: what of it learns, and what its loss asks besides the task. Defaults change nothing."""

from __future__ import annotations

import string
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bert_core.config.base import Config


class FgmConfig(Config):
    """The fast gradient method (Miyato et al., 2017, arXiv:1605.07725): the loss, and that of the words moved along its
    gradient."""

    type: Literal["fgm"] = "fgm"
    epsilon: float = Field(0.1, gt=0, description="norm of each sequence's perturbation; that of a word is about 1")


class PgdConfig(Config):
    """Projected gradient descent (Madry et al., 2018, arXiv:1706.06083): `steps` moves along the gradient's direction;
    the loss, and that after the last of them."""

    type: Literal["pgd"] = "pgd"
    epsilon: float = Field(0.1, gt=0, description="norm of each sequence's perturbation at most")
    steps: int = Field(3, ge=1, le=20)
    step_size: float = Field(0.05, gt=0, description="norm of a move")


class FreeLbConfig(Config):
    """FreeLB (Zhu et al., 2020, arXiv:1909.11764, algorithm 1): from a random start, the mean of all steps' losses."""

    type: Literal["freelb"] = "freelb"
    epsilon: float = Field(0.1, gt=0, description="norm of each sequence's perturbation at most")
    steps: int = Field(2, ge=1, le=20)
    step_size: float = Field(0.05, gt=0, description="norm of a move")


Adversarial = Annotated[FgmConfig | PgdConfig | FreeLbConfig, Field(discriminator="type")]
LoraTarget = Literal["attention.qkv", "attention_output", "up", "down"]


class LoraConfig(Config):
    """Low-rank updates (Hu et al., 2021, arXiv:2106.09685) of the blocks' linear layers; these and the head learn."""

    rank: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1, description="updates are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[LoraTarget, ...] = Field(("attention.qkv",), min_length=1)


class PromptConfig(Config):
    """Prompt tuning (Lester et al., 2021, arXiv:2104.08691): embeddings behind [CLS]; they and the head learn."""

    tokens: int = Field(20, ge=1, le=256)


class PrefixConfig(Config):
    """Prefix tuning (Li and Liang, 2021, arXiv:2101.00190; for classifiers P-tuning v2, Liu et al., 2021,
    arXiv:2110.07602): learned keys and values in every layer; they and the head learn."""

    tokens: int = Field(20, ge=1, le=256)


class ClozeConfig(Config):
    """A class is a word that fits into a blank (PET: Schick and Schütze, 2021, arXiv:2001.07676, section 3)."""

    pattern: str = Field(description='with {text}, {mask} once, and {text_b} for pairs: "{text} It was {mask}."')
    verbalizer: dict[str, str] = Field(description="label -> word of one token of the vocabulary")

    @model_validator(mode="after")
    def _is_a_cloze(self) -> ClozeConfig:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(self.pattern) if name is not None]
        except ValueError as error:
            raise ValueError(f"pattern {self.pattern!r}: {error}") from None
        if fields.count("mask") != 1 or fields.count("text") != 1 or not {*fields} <= {"text", "text_b", "mask"}:
            raise ValueError(f"pattern {self.pattern!r}: {{text}} and {{mask}} once each, {{text_b}} for pairs alone")
        if len({*self.verbalizer.values()}) != len(self.verbalizer):
            raise ValueError(f"verbalizer {self.verbalizer}: every label needs a word of its own")
        return self


class MethodConfig(Config):
    """What of a model learns, and how, beside the optimizer (where `layer_decay` and `ema_decay` are)."""

    freeze_layers: Annotated[int, Field(ge=0)] | Literal["encoder"] | None = Field(
        None,
        description="n: the embeddings and the lowest n blocks stay as they are; encoder: all but the head",
    )
    reinit_layers: int = Field(
        0, ge=0, description="top blocks, and the pooler, that are drawn anew (Zhang et al., 2021, arXiv:2006.05987)"
    )
    unfreeze: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="share of the steps after each of which one block more learns, from the top down; first the head "
        "alone (Howard and Ruder, 2018, arXiv:1801.06146)",
    )
    adversarial: Adversarial | None = Field(None, description="words are moved to where the loss is higher")
    rdrop_alpha: float = Field(
        0.0,
        ge=0,
        description="R-Drop: weight of two passes' distance (Liang et al., 2021, arXiv:2106.14448)",
    )
    lora: LoraConfig | None = None
    prompt: PromptConfig | None = None
    prefix: PrefixConfig | None = None
    cloze: ClozeConfig | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> MethodConfig:
        given = {name: getattr(self, name) for name in ("lora", "prompt", "prefix")}
        added = [name for name, value in given.items() if value is not None]
        if len(added) > 1:
            raise ValueError(f"{' and '.join(added)}: each keeps the encoder as it is in its own way; set one of them")
        freezing = [
            name
            for name, is_set in (
                ("freeze_layers", self.freeze_layers is not None),
                ("unfreeze", self.unfreeze is not None),
                ("reinit_layers", self.reinit_layers > 0),
            )
            if is_set
        ]
        if added and freezing:
            raise ValueError(f"{added[0]} keeps the whole encoder as it is: leave out {', '.join(freezing)}")
        if self.freeze_layers == "encoder" and (self.unfreeze is not None or self.reinit_layers):
            raise ValueError("freeze_layers = 'encoder' leaves unfreeze and reinit_layers nothing to do")
        if self.cloze is not None and (added or self.reinit_layers):
            raise ValueError("cloze asks the pretrained model as it is: without lora, prompt, prefix and reinit_layers")
        return self

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings that are not the default, as JSON has them."""
        default = MethodConfig().model_dump(mode="json")
        return {name: value for name, value in self.model_dump(mode="json").items() if value != default[name]}

    @property
    def virtual_tokens(self) -> int:
        """Places that every sequence has behind its first token for what is learned instead of words."""
        return sum(each.tokens for each in (self.prompt, self.prefix) if each is not None)
