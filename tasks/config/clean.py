"""From raw text to documents."""

from __future__ import annotations

from pydantic import Field

from bert_core.config import Config
from tasks.config.privacy import PrivacyConfig
from tasks.config.quality import NormaliseConfig, QualityConfig


class CleanConfig(Config):
    """Spelling, boilerplate, language, quality, personal data, sentences. What is dropped is counted by its reason."""

    languages: tuple[str, ...] = Field(("en",), description="ISO 639 codes that are kept; empty: all")
    min_language_score: float = Field(0.5, ge=0, le=1, description="of the language identification")
    labels: tuple[str, ...] = Field((), description="legal labels; a record with another one is dropped")
    boilerplate_pages: int = Field(20, ge=2, description="a line on this many pages of a host is boilerplate")
    sentences: bool = Field(True, description="find sentences (spaCy's rules); without, a document is one sentence")
    normalise: NormaliseConfig = NormaliseConfig()
    quality: QualityConfig = QualityConfig()
    privacy: PrivacyConfig = PrivacyConfig()
