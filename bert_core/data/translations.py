"""Sources and targets, each packed in rows of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.data.examples import ExampleData
from bert_core.seq2seq_batch import Seq2SeqBatch, SpecialTokens, seq2seq_batch


class TranslationData(ExampleData):
    """`ExampleData` whose examples are two sequences, what is read and what is to be written.

    Args:
        tokens: the tokenizer of both.
    """

    def __init__(self, *arguments: Any, tokens: SpecialTokens, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._specials = tokens

    def assemble(self, examples: NDArray[np.int64]) -> Seq2SeqBatch:  # type: ignore[override]
        """The batch of these examples, in this order."""
        features = self.features
        first = features.sequence_bounds[examples]
        sources, targets = (
            [features.tokens[features.offsets[s] + 1 : features.offsets[s + 1] - 1] for s in first + side]
            for side in (0, 1)
        )
        return seq2seq_batch(sources, targets, self._specials, self._row_length, examples.tolist())
