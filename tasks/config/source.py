"""What every source of text may be told, whatever its type."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bert_core.config import Config


def _type_of(values: dict[str, Any]) -> str:
    return str(values.get("type", ""))


class SourceConfig(Config):
    """Base of all sources. A subclass narrows `type` to one literal, by which a recipe tells them apart."""

    type: str
    name: str = Field(
        default_factory=_type_of,
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        max_length=40,
        description="unique within a recipe; by default the type",
    )
    weight: float = Field(1.0, gt=0, le=1000, description="share of the mix against the other sources")
    language: str = Field("", pattern=r"^([a-z]{2,3})?$", description="ISO 639 code where the source has one language")
