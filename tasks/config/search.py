"""The section [search] of a fine-tuning recipe: which settings are tried, in what order, and how long."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from bert_core.config import HOW_IT_RUNS, Config

SECTIONS = ("train", "method", "task")
"""Of a recipe, those whose keys may be searched."""
FIXED = {
    "train.batch.row_length": "features are made once for all trials, and it decides how long their sequences are",
    "train.batch.rows": "fine-tuning counts samples",
    "train.batch.tokens": "fine-tuning counts samples",
    "train.batch.phases": "fine-tuning has rows of one length",
    "train.batch.warmup": "fine-tuning has batches of one size",
    "train.init": "trials start from the same weights, with one tokenizer: search once for each of them",
    "train.model": "trials train a model of the same shape: search once for each of them",
    "train.tokenizer": "features are made once for all trials",
    "task.type": "the task is what the data is for",
    "task.kind": "the task is what the data is for",
    "task.labels": "the task is what the data is for",
    "task.scheme": "the task is what the data is for",
    "task.stride": "features are made once for all trials, and it decides their windows",
    "task.no_answer": "the task is what the data is for",
    "task.max_target_tokens": "features are made once for all trials, and it decides how long their targets are",
    "method.cloze": "features are made once for all trials, and it decides their patterns",
    **dict.fromkeys(
        ("train.workers", "train.mirror", "train.eval_every", "train.eval_every_tokens"),
        "it decides no weight",
    ),
    **{f"train.{key}": "it decides no weight" for key in HOW_IT_RUNS},
}
"""Keys that no search changes (with all below them), and why."""
DEFAULT_TRIALS = 20


class Range(Config):
    """Numbers from `low` to `high`, both included; whole ones if both are written so."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="drawn evenly over orders of magnitude")
    step: int | float | None = Field(None, gt=0, description="only low, low + step, …")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low}: log needs numbers above 0")
        if self.log and self.step is not None:
            raise ValueError("log and step: set one of them")
        if self.step is not None and self.low + self.step > self.high:
            raise ValueError(f"step = {self.step} leads beyond high = {self.high} at once")
        return self

    @property
    def is_whole(self) -> bool:
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))


def _kind(value: Any) -> str:
    return "choices" if isinstance(value, list | tuple) else "range"


Choices = Annotated[tuple[Any, ...], Field(min_length=1)]
Dimension = Annotated[Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)]


class SearchConfig(Config):
    """Trials over `space`, each a training of one seed that is measured on the validation side; test stays unseen."""

    algorithm: Literal["grid", "random", "asha", "bayes"] = Field(
        "random",
        description="grid: every combination; random: different ones, drawn; bayes: drawn where earlier ones were good "
        "(tree-structured Parzen estimators: Bergstra et al., 2011); asha: drawn as `sampling` says, and those that "
        "fall behind are stopped (Li et al., 2020, arXiv:1810.05934)",
    )
    sampling: Literal["random", "bayes"] = Field("random", description="of asha")
    space: dict[str, Dimension] = Field(
        min_length=1, description="dotted key of the recipe -> list of choices, or { low, high, log } or with step"
    )
    trials: int | None = Field(None, ge=1, description=f"None: {DEFAULT_TRIALS}; of grid every combination")
    minutes: float | None = Field(None, gt=0, description="of the whole search, all attempts together; None: no limit")
    concurrent: int = Field(1, ge=1, description="trials at a time; they share the machine's cores")
    metric: Literal["primary", "loss"] = Field(
        "primary", description="of the validation side: the task's leading metric, or the held-out loss"
    )
    grace_share: float = Field(0.125, gt=0, lt=1, description="asha: of a run; no trial is stopped before it")
    reduction_factor: float = Field(
        3.0, ge=2, description="asha: one of so many goes on behind grace_share, and behind so many times that"
    )
    seed: int = Field(7, ge=0, description="of what is drawn; trials train with the recipe's first seed")

    @model_validator(mode="after")
    def _keys_may_change(self) -> SearchConfig:
        for key in self.space:
            if key.partition(".")[0] not in SECTIONS or "." not in key:
                legal = ", ".join(f"{section}.…" for section in SECTIONS)
                raise ValueError(f"space: {key!r} is not a key below {legal}")
            for fixed, why in FIXED.items():
                if f"{key}.".startswith(f"{fixed}."):
                    raise ValueError(f"space: {key!r} cannot be searched: {why}")
                if fixed.startswith(f"{key}."):
                    raise ValueError(f"space: {key!r} holds {fixed!r}, which cannot be searched: name keys below it")
        for inner in self.space:
            outer = [key for key in self.space if inner.startswith(f"{key}.")]
            if outer:
                raise ValueError(f"space: {inner!r} lies within {outer[0]!r}, which is searched as a whole")
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> SearchConfig:
        for key, values in self.space.items():
            if not isinstance(values, Range) and len({json.dumps(value, sort_keys=True) for value in values}) < len(
                values
            ):
                raise ValueError(f"space: {key!r} = {list(values)}: each choice once")
        ranges = [key for key, values in self.space.items() if isinstance(values, Range)]
        if self.algorithm == "grid" and ranges:
            raise ValueError(f"algorithm = 'grid' needs lists; {ranges[0]!r} is a range: list its values, or draw them")
        if self.algorithm == "grid" and self.trials is not None:
            raise ValueError("algorithm = 'grid' tries every combination: leave trials out, or take 'random'")
        if self.algorithm != "asha" and self.sampling != "random":
            raise ValueError(f"sampling = {self.sampling!r} is of asha; algorithm = {self.algorithm!r} has its own")
        of_task = [key for key in self.space if key.startswith("task.")]
        if self.metric == "loss" and of_task:
            raise ValueError(f"metric = 'loss': {of_task[0]!r} changes what the loss is; compare trials by 'primary'")
        return self

    @property
    def is_model_based(self) -> bool:
        """Whether what is tried depends on what was found."""
        return self.algorithm == "bayes" or (self.algorithm == "asha" and self.sampling == "bayes")

    @property
    def rungs(self) -> tuple[float, ...]:
        """Shares of a run at which a trial may be stopped, lowest first; without ASHA none."""
        if self.algorithm != "asha":
            return ()
        found: list[float] = []
        while (share := self.grace_share * self.reduction_factor ** len(found)) < 1 - 1e-9:
            found.append(share)
        return tuple(found)
