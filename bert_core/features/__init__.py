"""Labelled examples as tokens: what a task's model reads of a table, and where its answers belong in that table.

E  examples (rows of the table)    S  sequences: one an example, or its windows, choices or texts
M  tokens of all sequences, special ones included    P  positions that carry a label    L  targets of a sequence
"""

from bert_core.features.encode import encode
from bert_core.features.store import FEATURES, Features, FeaturesError, open_features, write_features

__all__ = ["FEATURES", "Features", "FeaturesError", "encode", "open_features", "write_features"]
