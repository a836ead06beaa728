"""XLNet: permutation language modelling with two-stream attention (Yang et al., 2019, arXiv:1906.08237).

transformers' own XLNetModel runs, behind the seam that `PretrainingModel` has: its two streams and relative positions
share nothing with the other families' blocks.

Shapes: B rows, T tokens in a row, C hidden size, V vocabulary, P predicted tokens, M the most of them in a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from bert_core.config import ModelConfig
from bert_core.heads import MlmHead, PretrainingInputs, PretrainingOutput

if TYPE_CHECKING:
    from transformers import XLNetModel

PREDICTIONS_STEP = 8
"""M is rounded up to a multiple: CPU kernels are built and kept for every size met."""


class PermutationInputs(PretrainingInputs, Protocol):
    """What an `XlnetPretrainingModel` reads of a `bert_core.data.Batch`."""

    @property
    def order(self) -> Tensor | None: ...  # (B, T) int64, rank of each token in its document's factorisation order


class XlnetPretrainingModel(nn.Module):
    """Predicts each token of `predict_positions` from its place and from what comes before it in the order.

    Tokens that are not predicted are context: seen by all of their document, and seeing no predicted one, as in the
    authors' code. Documents of one row never influence each other. Relative positions are differences, so that a
    document's place in its row changes nothing.

    Raises:
        ValueError: the config of another family, or pairs of segments.
    """

    pair_head: None = None

    def __init__(self, config: ModelConfig, *, pairs: bool = False) -> None:
        super().__init__()
        if config.family != "xlnet" or pairs:
            raise ValueError(f"family {config.family!r}, pairs {pairs}: legal: 'xlnet' without pairs of segments")
        self.config = config
        self.encoder = _encoder(config)
        self.mlm_head = MlmHead(config)

    def forward(self, batch: PermutationInputs) -> PretrainingOutput:
        """Scores of the predicted tokens, in the order of `predict_positions`.

        Raises:
            ValueError: a batch without an order: the objective is another.
        """
        if batch.order is None:
            raise ValueError("batch.order is None: XLNet is trained by the permutation objective only")
        rows, slots, mapping = _predictions(batch.predict_positions, batch.order)
        states = self.encoder(
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids,
            perm_mask=_unseen(batch.document_ids, batch.order, mapping).to(mapping.dtype),
            target_mapping=mapping,
            use_mems=False,
        ).last_hidden_state  # (B, M, C)
        return PretrainingOutput(states[rows, slots], self.encoder.word_embedding.weight, self.mlm_head.bias, None)


def _predictions(positions: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each predicted token its row and its place among the row's, both (P,); and which token that is: (B, M, T).

    `positions` (P,) are flat into B * T, each at most once, in any order.
    """
    B, T = order.shape
    rows = positions // T
    in_row = torch.nn.functional.one_hot(rows, B)  # (P, B)
    slots = (in_row.cumsum(0) - in_row).gather(1, rows[:, None])[:, 0]
    most = int(in_row.sum(0).max()) if len(positions) else 0
    M = max(1, -(-most // PREDICTIONS_STEP)) * PREDICTIONS_STEP
    mapping = torch.zeros(B, M, T, device=order.device)
    mapping[rows, slots, positions % T] = 1.0
    return rows, slots, mapping


def _unseen(document_ids: Tensor, order: Tensor, mapping: Tensor) -> Tensor:
    """(B, T, T) bool, True where token i (dim 1) does not see token j (dim 2).

    For both streams: XLNetModel lets the content stream of a token see that token, and the query stream not.
    """
    predicted = mapping.sum(1) > 0  # (B, T)
    rank = torch.where(predicted, order, -1)
    later = predicted[:, None, :] & (rank[:, :, None] <= order[:, None, :])
    return later | (document_ids[:, :, None] != document_ids[:, None, :])


def _encoder(config: ModelConfig) -> XLNetModel:
    import transformers  # only here: it takes seconds

    from bert_core.hf import exportable, their_config

    class XLNetModel(transformers.XLNetModel):
        @property
        def layers(self) -> nn.ModuleList:
            """Its blocks, by the name that `bert_core.parallel` knows."""
            return self.layer

    if faults := exportable(config):
        raise ValueError("; ".join(faults))
    return XLNetModel(transformers.XLNetConfig(**their_config(config)))
