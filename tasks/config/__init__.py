"""Schemas of the recipe's sections, one for each stage. `flows/recipe.py` puts them together into a whole recipe."""

from tasks.config.clean import CleanConfig, RecordSelector
from tasks.config.dedup import DedupConfig
from tasks.config.models import (
    BaselinesConfig,
    EvaluateConfig,
    FinetuneConfig,
    GateConfig,
    PretrainConfig,
    RegisterConfig,
    StepsConfig,
)
from tasks.config.sources import FilesSource, LinesFile, Source
from tasks.config.split import SplitConfig
from tasks.config.tokens import EncodeConfig, PretrainedTokenizer, Tokenizer, WordPieceTokenizer
from tasks.config.web import WebSource

__all__ = [
    "BaselinesConfig",
    "CleanConfig",
    "DedupConfig",
    "EncodeConfig",
    "EvaluateConfig",
    "FilesSource",
    "FinetuneConfig",
    "GateConfig",
    "LinesFile",
    "PretrainConfig",
    "PretrainedTokenizer",
    "RecordSelector",
    "RegisterConfig",
    "Source",
    "SplitConfig",
    "StepsConfig",
    "Tokenizer",
    "WebSource",
    "WordPieceTokenizer",
]
