"""The networks' parts against torch's own, and the vectors against their counts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tasks.classical.networks import WIDTHS, BiLstm, TextCnn
from tasks.classical.training import batches, padded
from tasks.classical.vectors import cooccurrences


def test_both_directions_are_those_of_packed_sequences() -> None:
    torch.manual_seed(0)
    ours, theirs = BiLstm(5, 3), nn.LSTM(5, 3, batch_first=True, bidirectional=True)
    for name, values in ours.ahead.named_parameters():
        getattr(theirs, name).data = values.data
    for name, values in ours.back.named_parameters():
        getattr(theirs, f"{name}_reverse").data = values.data
    words, lengths = torch.randn(4, 7, 5), torch.tensor([7, 1, 4, 6])
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=7)
    for row, length in enumerate(lengths.tolist()):
        assert torch.allclose(ours.states(words, lengths)[row, :length], wanted[row, :length], atol=1e-6)
        assert torch.allclose(ours(words, lengths)[row], wanted[row, :length].amax(dim=0), atol=1e-6)


def test_padding_changes_no_text() -> None:
    torch.manual_seed(0)
    network = TextCnn(5, 4)
    for convolution in network.convolutions:
        nn.init.ones_(convolution.bias)  # a window of padding alone would answer 1
    text = -torch.rand(1, 3, 5)
    longer = torch.cat([text, torch.zeros(1, 9, 5)], dim=1)
    lengths = torch.tensor([3])
    assert network(text, lengths).shape == (1, 4 * len(WIDTHS))
    assert torch.allclose(network(text, lengths), network(longer, lengths), atol=1e-6)


def test_batches_hold_every_row_once_and_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 1_000).tolist()
    found = batches(lengths, 32, (1, 1))
    assert sorted(row for batch in found for row in batch) == list(range(1_000))
    assert found == batches(lengths, 32, (1, 1)) != batches(lengths, 32, (1, 2))
    filled = sum(max(lengths[row] for row in batch) * len(batch) for batch in found)
    assert sum(lengths) / filled > 0.9
    ids, sizes = padded([np.array([1, 2]), np.array([3])])
    assert ids.tolist() == [[1, 2], [3, 0]]
    assert sizes.tolist() == [2, 1]


def test_cooccurrences_by_hand() -> None:
    counts = cooccurrences([["a", "b", "x", "a"], ["b"]], ["a", "b"], window=2)
    # a b at distance 1; b . a at distance 2; the second sentence does not touch the first.
    assert counts.tolist() == [[0, 1.5], [1.5, 0]]
