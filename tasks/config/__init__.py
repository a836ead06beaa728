"""Schemas of the recipe's sections, one for each stage. `flows/recipe.py` puts them together into a whole recipe."""

from tasks.config.clean import CleanConfig
from tasks.config.data import DataConfig
from tasks.config.dedup import DecontaminateConfig, DedupConfig
from tasks.config.extract import ExtractConfig, RecordSelector
from tasks.config.models import (
    PretrainConfig,
    RegisterConfig,
    StepsOnRayConfig,
    Workers,
)
from tasks.config.privacy import PrivacyConfig
from tasks.config.quality import NormaliseConfig, QualityConfig
from tasks.config.sources import (
    DatasetSource,
    FileBasedSource,
    FilesSource,
    PackageSource,
    Source,
    WarcSource,
    WikipediaSource,
)
from tasks.config.split import SplitConfig
from tasks.config.tokens import (
    BpeTokenizer,
    EncodeConfig,
    PretrainedTokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
)
from tasks.config.web import WebSource

__all__ = [
    "BpeTokenizer",
    "CleanConfig",
    "DataConfig",
    "DatasetSource",
    "DecontaminateConfig",
    "DedupConfig",
    "EncodeConfig",
    "ExtractConfig",
    "FileBasedSource",
    "FilesSource",
    "NormaliseConfig",
    "PackageSource",
    "PretrainConfig",
    "PretrainedTokenizer",
    "PrivacyConfig",
    "QualityConfig",
    "RecordSelector",
    "RegisterConfig",
    "Source",
    "SplitConfig",
    "StepsOnRayConfig",
    "Tokenizer",
    "UnigramTokenizer",
    "WarcSource",
    "WebSource",
    "WikipediaSource",
    "WordPieceTokenizer",
    "Workers",
]
