"""How gradients become weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bert_core.config.base import Config


class OptimizerConfig(Config):
    """AdamW or Muon, and a learning rate that warms up linearly and then follows a schedule."""

    type: Literal["adamw", "muon"] = Field("adamw", description="muon: for the blocks' matrices; AdamW for the rest")
    lr: float = Field(1e-4, gt=0, le=1, description="of AdamW at its highest")
    muon_lr: float = Field(0.02, gt=0, le=1, description="of Muon at its highest")
    muon_momentum: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    stable: bool = Field(False, description="AdamW's update is clipped for each tensor, as in StableAdamW")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of all steps")
    schedule: Literal["linear", "cosine", "wsd", "constant"] = Field(
        "linear", description="wsd: level after the warmup, and at last a decay by 1 - sqrt over `decay_share`"
    )
    decay_share: float = Field(0.1, gt=0, le=1, description="wsd: share of all steps")
    final_lr_share: float = Field(0.0, ge=0, lt=1, description="learning rate after the last step, of the highest")
    clip_norm: float = Field(1.0, gt=0, description="global gradient norm is clipped to this")
    layer_decay: float = Field(1.0, gt=0, le=1, description="learning rate factor per layer below the head")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="keep an average of the weights and ship it")

    @model_validator(mode="after")
    def _phases_fit(self) -> OptimizerConfig:
        if self.schedule == "wsd" and self.warmup_share + self.decay_share > 1:
            raise ValueError(f"warmup_share {self.warmup_share} + decay_share {self.decay_share} must be at most 1")
        return self
