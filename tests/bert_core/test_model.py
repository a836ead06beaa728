"""The encoder against transformers' BertModel, packing against single documents, and initialisation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_bert import TINY, documents, encode, initialised, packed, padded, random_weights, their_config
from torch import nn
from transformers import BertModel

from bert_core.attention import AttentionMask
from bert_core.dropout import Dropout
from bert_core.heads import Pooler, PretrainingModel
from bert_core.hf import from_transformers, load_config, load_encoder
from bert_core.model import Encoder, init_weights


def encoders() -> tuple[BertModel, Encoder]:
    theirs = BertModel(their_config(), add_pooling_layer=False).eval()
    random_weights(theirs)
    ours = Encoder(TINY).eval()
    state = from_transformers({f"bert.{name}": tensor for name, tensor in theirs.named_parameters()})
    ours.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in state.items()})
    return theirs, ours


@torch.no_grad()
def test_hidden_states_equal_transformers() -> None:
    theirs, ours = encoders()
    for lengths in [(9, 9, 9), (12, 5, 1), (24,)]:
        docs = documents(*lengths)
        expected = theirs(**docs.theirs).last_hidden_state
        real = docs.attention_mask.bool()
        torch.testing.assert_close(encode(ours, padded(docs))[real], expected[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_packed_documents_equal_single_ones() -> None:
    theirs, ours = encoders()
    docs = documents(7, 3, 11)
    expected = torch.cat([theirs(docs.input_ids[i : i + 1, :n], token_type_ids=docs.token_type_ids[i : i + 1, :n])
                          .last_hidden_state[0] for i, n in enumerate((7, 3, 11))])  # fmt: skip
    hidden = encode(ours, packed(docs, padding=3))
    torch.testing.assert_close(hidden[0, :21], expected, atol=1e-5, rtol=1e-5)
    assert hidden.isfinite().all()


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["fused", "dropout"])
def test_no_document_sees_another(dropout: float) -> None:
    """Not a bit of a document's states or gradients moves when its neighbours, or the padding, do."""
    model = Encoder(TINY.model_copy(update={"hidden_dropout": dropout, "attention_dropout": dropout})).train()
    initialised(model).train()
    batch = packed(documents(7, 3, 11))
    before = _states_of_second_document(model, batch)
    batch.input_ids[0, :7] = 59 - batch.input_ids[0, :7]
    batch.input_ids[0, 10:] = 59 - batch.input_ids[0, 10:]
    after = _states_of_second_document(model, batch)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)
    batch.input_ids[0, 8] = 59 - batch.input_ids[0, 8]
    assert not torch.equal(_states_of_second_document(model, batch)[0], after[0])


def _states_of_second_document(model: Encoder, batch: SimpleNamespace) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    model.zero_grad()
    states = encode(model, batch)[0, 7:10]
    states.square().sum().backward()
    return states, model.layers[0].attention.qkv.weight.grad.clone()


@torch.no_grad()
def test_rows_longer_than_a_kernels_block() -> None:
    """Whole blocks of keys are masked for a query, and its states stay finite and right."""
    model = initialised(Encoder(TINY))
    docs = documents(*[20] * 60)
    hidden = encode(model, packed(docs, padding=100))
    assert hidden.isfinite().all()
    torch.testing.assert_close(hidden[0, :1200], encode(model, padded(docs)).flatten(0, 1))


def test_selected_positions_equal_the_whole() -> None:
    model = initialised(Encoder(TINY))
    batch = packed(documents(7, 3, 11))
    positions = torch.tensor([0, 20, 7, 7])
    torch.testing.assert_close(encode(model, batch, positions), encode(model, batch)[0, positions])
    assert encode(model, batch, torch.tensor([], dtype=torch.long)).shape == (0, TINY.hidden_size)


def test_gradients_equal_transformers() -> None:
    theirs, ours = encoders()
    docs = documents(12, 5, 8)
    theirs(**docs.theirs).last_hidden_state[docs.attention_mask.bool()].pow(3).sum().backward()
    encode(ours, padded(docs))[docs.attention_mask.bool()].pow(3).sum().backward()
    expected = from_transformers({f"bert.{name}": p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[f"encoder.{name}"], atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_real_weights_give_transformers_states(minilm: Path) -> None:
    theirs = BertModel.from_pretrained(minilm).eval()
    config = load_config(minilm)
    ours, pooler = Encoder(config).eval(), Pooler(config)
    report = load_encoder(minilm, ours, pooler)
    assert report.missing == report.unused == ()
    docs = documents(40, 17, 3, vocab_size=config.vocab_size)
    expected = theirs(**docs.theirs)
    real = docs.attention_mask.bool()
    assert (encode(ours, padded(docs))[real] - expected.last_hidden_state[real]).abs().max() < 1e-4
    assert (encode(ours, packed(docs))[0, :60] - expected.last_hidden_state[real]).abs().max() < 1e-4
    batch = padded(docs)
    assert (pooler(encode(ours, batch, batch.cls_positions)) - expected.pooler_output).abs().max() < 1e-4


def mask_of(*rows: list[int], **kind: object) -> AttentionMask:
    """Rows as document ids, positions restarting in each."""
    ids = torch.tensor(rows)
    starts = torch.ones_like(ids, dtype=torch.bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    cu = torch.cat([starts.flatten().nonzero()[:, 0], torch.tensor([ids.numel()])]).int()
    first = torch.where(starts, torch.arange(ids.shape[1]), 0).cummax(1).values
    return AttentionMask(ids, torch.arange(ids.shape[1]) - first, cu, int(cu.diff().max()), **kind)


def test_mask_is_skipped_only_when_every_row_is_one_document() -> None:
    assert mask_of([1, 1], [2, 2], [0, 0]).allowed is None
    mask = mask_of([1, 1, 2], [1, 0, 0]).allowed
    assert mask[0, 0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert mask[1, 0].tolist() == [[True, False, False], [False, True, True], [False, True, True]]


def test_causal_and_windowed_masks() -> None:
    assert mask_of([1, 1, 2], causal=True).allowed[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]
    assert mask_of([1, 1, 1, 1], window=2).allowed[0, 0].tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, True],
        [False, False, True, True],
    ]
    assert mask_of([1, 1, 1, 1], window=8).allowed is None  # as wide as the document


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(torch.ones(2, 3), "float32"), (torch.ones(3, dtype=torch.long), r"shape \(3,\): expected integers of shape")],
)
def test_wrong_document_ids_are_named(wrong: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AttentionMask(wrong, wrong, torch.tensor([0, 6], dtype=torch.int32), 6)


def test_cpu_attention_with_dropout_has_the_fused_kernels_mean() -> None:
    """Averaged over many draws, dropout attention is attention without dropout."""
    config = TINY.model_copy(update={"attention_dropout": 0.3})
    attention = initialised(Encoder(config)).layers[0].attention
    row = [1, 1, 1, 2, 2, 0]
    hidden = torch.randn(1, 6, TINY.hidden_size, generator=torch.Generator().manual_seed(5))
    expected = attention.eval()(hidden, mask_of(row))
    torch.manual_seed(0)
    mean = attention.train()(hidden.expand(4000, -1, -1), mask_of(*[row] * 4000)).mean(0, keepdim=True)
    torch.testing.assert_close(mean, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_rate_scale_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 997, requires_grad=True)
    y = Dropout(p).train()(x)
    y.sum().backward()
    dropped = (y == 0).float().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert torch.equal(x.grad, y.detach())
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - p)), rtol=1e-4)
    draws = (y.detach() == 0).float() - dropped
    for lag in (1, 2, 3, 4):  # four draws share 64 random bits
        assert abs((draws.flatten()[lag:] * draws.flatten()[:-lag]).mean()) < 5 * p * (1 - p) / x.numel() ** 0.5
    assert Dropout(p).eval()(x) is x


def test_dropout_repeats_with_the_generator_state() -> None:
    layer = Dropout(0.2).train()
    state = torch.get_rng_state()
    first = layer(torch.ones(50))
    torch.set_rng_state(state)
    assert torch.equal(layer(torch.ones(50)), first)
    assert not torch.equal(layer(torch.ones(50)), first)


def test_initial_weights_follow_the_table() -> None:
    config = TINY.model_copy(update={"hidden_size": 128, "intermediate_size": 256, "initializer_range": 0.02})
    model = PretrainingModel(config, pairs=True)
    init_weights(model, config.initializer_range, torch.Generator().manual_seed(0))
    assert not model.encoder.embeddings.word.weight[config.pad_token_id].any()
    for name, parameter in model.named_parameters():
        if "norm.weight" in name:
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.08), name
            assert abs(parameter.mean().item()) < 0.002, name


def test_initial_weights_are_decided_by_the_seed() -> None:
    a, b, c = (PretrainingModel(TINY, pairs=True) for _ in range(3))
    for model, seed in ((a, 1), (b, 1), (c, 2)):
        init_weights(model, 0.02, torch.Generator().manual_seed(seed))
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)
    assert not torch.equal(a.pair_head.weight, c.pair_head.weight)


def test_a_parameter_without_a_distribution_is_an_error() -> None:
    with pytest.raises(KeyError, match="Conv1d"):
        init_weights(nn.Conv1d(1, 1, 1), 0.02, torch.Generator())
