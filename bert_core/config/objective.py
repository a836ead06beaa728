"""What a model is asked while it is pretrained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bert_core.config.base import Config


class MlmObjective(Config):
    """Masked language modelling, on request with pairs of segments (BERT paper, section 3.1)."""

    type: Literal["mlm"] = "mlm"
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of tokens that are predicted")
    mask_token_share: float = Field(0.8, ge=0, le=1, description="of those, replaced by [MASK]")
    random_token_share: float = Field(0.1, ge=0, le=1, description="of those, replaced by a random token")
    unit: Literal["token", "word", "span"] = Field(
        "token", description="what is chosen whole: tokens, words (by the stored word starts), or spans of words"
    )
    span_p: float = Field(0.2, gt=0, le=1, description="spans: lengths are geometric with this p (SpanBERT)")
    max_span: int = Field(10, ge=1, description="spans: words at most")
    static: bool = Field(False, description="the same masks in every epoch, instead of new ones")
    nsp: bool = Field(False, description="also pair segments and predict whether B follows A")
    sop: bool = Field(False, description="also pair segments and predict whether they were swapped (ALBERT)")

    @model_validator(mode="after")
    def _shares_sum(self) -> MlmObjective:
        if self.mask_token_share + self.random_token_share > 1:
            raise ValueError("mask_token_share + random_token_share must be at most 1; the rest keeps its token")
        if self.nsp and self.sop:
            raise ValueError("nsp and sop: a pair of segments answers one question; set one of them")
        return self

    @property
    def pairs(self) -> Literal["nsp", "sop"] | None:
        """What is asked of a pair of segments, if samples are pairs."""
        return "nsp" if self.nsp else "sop" if self.sop else None


class CausalObjective(Config):
    """Each token is predicted from those before it (Radford et al., 2018)."""

    type: Literal["causal"] = "causal"


class PermutationObjective(Config):
    """Tokens are predicted in a random order of factorisation (XLNet, arXiv:1906.08237, sections 2.2 and 2.3)."""

    type: Literal["permutation"] = "permutation"
    predict_rate: float = Field(1 / 6, gt=0, lt=1, description="share of tokens, last in the order, that are predicted")


Objective = Annotated[MlmObjective | CausalObjective | PermutationObjective, Field(discriminator="type")]
