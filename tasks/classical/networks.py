"""TextCNN and BiLSTM, small enough for one core.

Shapes: B texts, T tokens of the longest, D dimensions of a word, F features of a text, O outputs. What a text
gives does not depend on how far it is padded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (3, 4, 5)


class TextCnn(nn.Module):
    """Convolutions over words, the strongest answer of each filter (Kim, 2014, arXiv:1408.5882)."""

    def __init__(self, dimensions: int, filters: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(dimensions, filters, width, padding=width - 1) for width in WIDTHS)
        self.num_features = filters * len(WIDTHS)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, F)."""
        found = []
        for width, convolution in zip(WIDTHS, self.convolutions, strict=True):
            answers = torch.relu(convolution(words.transpose(1, 2)))  # (B, filters, T + width - 1)
            places = torch.arange(answers.shape[2])
            beyond = places >= (lengths + width - 1)[:, None]  # windows of padding alone
            found.append(answers.masked_fill(beyond[:, None], 0.0).amax(dim=2))
        return torch.cat(found, dim=1)


class BiLstm(nn.Module):
    """An LSTM in each direction; of a text, the largest value that each unit takes (Conneau et al., 2017).

    The second one reads each text turned round in its place, so that padding comes last for both: packed sequences do
    the same in three times the time, on one core with 100 tokens.
    """

    def __init__(self, dimensions: int, hidden_size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(dimensions, hidden_size, batch_first=True)
        self.back = nn.LSTM(dimensions, hidden_size, batch_first=True)
        self.num_features = 2 * hidden_size

    def states(self, words: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) of 1 or more -> (B, T, F), of which those of padding mean nothing."""
        turned = (lengths[:, None] - 1 - torch.arange(words.shape[1])).clamp(min=0)[:, :, None]
        back, _ = self.back(words.gather(1, turned.expand_as(words)))
        ahead, _ = self.ahead(words)
        return torch.cat([ahead, back.gather(1, turned.expand_as(back))], dim=2)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), (B,) -> (B, F)."""
        states = self.states(words, lengths)
        beyond = torch.arange(words.shape[1]) >= lengths[:, None]
        return states.masked_fill(beyond[:, :, None], -torch.inf).amax(dim=1)


class TextNetwork(nn.Module):
    """Outputs of a text; or of a pair, both read by the same encoder, through u, v, |u - v| and u * v."""

    def __init__(self, vectors: Tensor, encoder: TextCnn | BiLstm, num_texts: int, num_outputs: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors.clone(), freeze=False, padding_idx=0)
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(encoder.num_features * (1 if num_texts == 1 else 4), num_outputs)

    def forward(self, texts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """One or two of ((B, T) word ids, (B,) lengths) -> (B, O)."""
        read = [self.encoder(self.dropout(self.embedding(ids)), lengths) for ids, lengths in texts]
        if len(read) == 2:
            u, v = read
            read += [(u - v).abs(), u * v]
        outputs: Tensor = self.output(self.dropout(torch.cat(read, dim=1)))
        return outputs


class TaggingNetwork(nn.Module):
    """Outputs of each token, from its word, its last letters and how it is capitalised."""

    def __init__(
        self, vectors: Tensor, num_suffixes: int, num_shapes: int, hidden_size: int, num_outputs: int, dropout: float
    ):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors.clone(), freeze=False, padding_idx=0)
        self.suffix = nn.Embedding(num_suffixes, 20)
        self.shape = nn.Embedding(num_shapes, 8)
        self.encoder = BiLstm(vectors.shape[1] + 28, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.encoder.num_features, num_outputs)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, 3) ids of word, suffix and shape, (B,) -> (B, T, O)."""
        word, suffix, shape = tokens.unbind(dim=2)
        read = torch.cat([self.embedding(word), self.suffix(suffix), self.shape(shape)], dim=2)
        outputs: Tensor = self.output(self.dropout(self.encoder.states(self.dropout(read), lengths)))
        return outputs
