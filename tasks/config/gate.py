"""What a fine-tuned model must show before it is promoted, judged by the evidence report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from bert_core.config import Config

Asked = Annotated[float | None, BeforeValidator(lambda value: None if value == "off" else value)]
"""A limit that holds by default, and is None where a recipe says "off": TOML has no null."""


class EvidenceGate(Config):
    """Every rule is checked and named in the verdict. What a rule asks for and was not measured fails it.

    Two rules hold without being asked for: no worse than the best baseline, and at most 0.01 worse than the champion.
    """

    judge_by: Literal["bound", "estimate"] = Field(
        "bound",
        description="bound: the less favourable end of the interval over seeds and examples; estimate: the mean alone",
    )
    minimum: dict[str, float] = Field({}, description='by metric, at least this: { accuracy = 0.8, "f1/spam" = 0.9 }')
    maximum: dict[str, float] = Field({}, description="by metric of which less is better, at most: { perplexity = 30 }")
    min_class_f1: float | None = Field(None, ge=0, le=1, description="of every class, tag or entity type")
    slice_minimum: dict[str, float] = Field(
        {}, description='leading metric within a slice: { "source=forum" = 0.7, "length" = 0.6 }; a column: all of it'
    )
    slices_must_not_regress: tuple[str, ...] = Field(
        (), description='slices or columns in which the champion is not to be better: ["source=forum", "length"]'
    )
    max_slice_regression: float = Field(0.0, ge=0, description="of the leading metric, in those slices")
    min_gain_over_baseline: Asked = Field(
        0.0, description='of the leading metric, over the best baseline, paired; may be negative; "off": no such rule'
    )
    max_regression: Asked = Field(
        0.01, ge=0, description='of the leading metric, against the champion, paired; "off": no such rule'
    )
    max_ece: float | None = Field(None, ge=0, le=1, description="expected calibration error")
    max_model_mb: float | None = Field(None, gt=0)
    max_latency_ms: float | None = Field(None, gt=0, description="median of one text")
    min_test_examples: int = Field(100, ge=1)
    min_seeds: int = Field(1, ge=1, description="runs of the candidate; fewer than 3 tell little about luck")
    behaviour: dict[str, float] = Field({}, description='least pass rate by test; "*": of every one')
    bias: dict[str, float] = Field({}, description='greatest gap by group; "*": of every one')
    robustness: dict[str, float] = Field({}, description='greatest loss by disturbance; "*": of every one')

    @model_validator(mode="after")
    def _one_way(self) -> EvidenceGate:
        if both := sorted(set(self.minimum) & set(self.maximum)):
            raise ValueError(f"{both}: either in minimum or in maximum, not in both")
        return self
