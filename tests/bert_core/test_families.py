"""Every family against transformers' own model: states, scores, gradients, packing, leaks, folders, sizes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tiny_bert import (
    FAMILIES,
    copy_weights,
    documents,
    encode,
    initialised,
    our_classifier,
    our_names,
    packed,
    padded,
    their_classifier,
    their_config,
    their_encoder,
    their_pretraining,
)
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.models.modernbert.modeling_modernbert import ModernBertRotaryEmbedding

from bert_core.attention import Rotary
from bert_core.config import ModelConfig
from bert_core.config.model import SIZES
from bert_core.heads import PretrainingModel
from bert_core.hf import exportable
from bert_core.model import Encoder
from bert_core.xlnet import XlnetPretrainingModel

PUBLISHED = {
    "bert": 110e6,  # Devlin et al., 2019, section 3
    "roberta": 125e6,  # Liu et al., 2019, its release's README
    "albert": 12e6,  # Lan et al., 2019, table 1, which rounds 11.7
    "distilbert": 66e6,  # Sanh et al., 2019, table 3
    "gpt2": 124e6,  # the release's README
    "modernbert": 149e6,  # Warner et al., 2024, section 2
    "xlnet": 117e6,  # XLNet-base, as listed by transformers' authors
}
"""Parameters of the base size."""
LENGTHS = (12, 5, 24, 1, 9)
TOLERANCE = {"atol": 1e-4, "rtol": 0}
family = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)


@family
@torch.no_grad()
def test_hidden_states_equal_transformers(config: ModelConfig) -> None:
    theirs, ours = their_encoder(config), Encoder(config).eval()
    copy_weights(theirs, ours)
    docs = documents(*LENGTHS, config=config)
    expected = theirs(**docs.theirs).last_hidden_state[docs.real]
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(encode(ours, padded(docs))[docs.real], expected, **TOLERANCE)
    torch.testing.assert_close(encode(ours, packed(docs))[0, : sum(LENGTHS)], expected, **TOLERANCE)


@pytest.mark.parametrize("theta", [10_000.0, 160_000.0])
def test_rotations_are_transformers_to_the_bit(theta: float) -> None:
    """An angle of 8,000 radians that is rounded in another way is another angle: states then differed by 1e-4."""
    config = their_config(ModelConfig(family="modernbert", size="base", rope_theta=theta))
    positions = torch.arange(8192)[None]
    cos, sin = ModernBertRotaryEmbedding(config)(torch.zeros(1), positions, "full_attention")
    ours = Rotary.of(positions, 64, theta)
    assert torch.equal(ours.cos[:, 0], cos)
    assert torch.equal(ours.sin[:, 0], sin)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_long_documents_equal_transformers(name: str) -> None:
    """Longer than ModernBERT's released window of 128."""
    config = FAMILIES[name].model_copy(update={"max_positions": 1000})
    theirs, ours = their_encoder(config), Encoder(config).eval()
    copy_weights(theirs, ours)
    lengths = (500, 129, 200)
    docs = documents(*lengths, config=config)
    expected = theirs(**docs.theirs).last_hidden_state[docs.real]
    torch.testing.assert_close(encode(ours, padded(docs))[docs.real], expected, **TOLERANCE)
    torch.testing.assert_close(encode(ours, packed(docs))[0, : sum(lengths)], expected, **TOLERANCE)


@family
@torch.no_grad()
def test_pretraining_scores_equal_transformers(config: ModelConfig) -> None:
    theirs, ours = their_pretraining(config), PretrainingModel(config, pairs=config.pooler).eval()
    copy_weights(theirs, ours)
    docs = documents(*LENGTHS, config=config)
    output = theirs(**docs.theirs)
    expected = output.prediction_logits if config.pooler else output.logits
    for batch in (padded(docs, docs.real.flatten().nonzero()[:, 0]), packed(docs)):
        found = ours(batch)
        torch.testing.assert_close(found.mlm_logits, expected[docs.real], **TOLERANCE)
        if config.pooler:
            pairs = output.get("seq_relationship_logits", output.get("sop_logits"))
            torch.testing.assert_close(found.pair_logits, pairs, **TOLERANCE)


@family
def test_pretraining_gradients_equal_transformers(config: ModelConfig) -> None:
    theirs, ours = their_pretraining(config), PretrainingModel(config, pairs=config.pooler).eval()
    copy_weights(theirs, ours)
    docs = documents(*LENGTHS, config=config)
    predict = torch.tensor([1, 3, 24, 28, 50, 60, 97])
    labels, follows = torch.tensor([4, 8, 15, 16, 23, 42, 5]), torch.tensor([0, 1, 1, 0, 1])
    output = theirs(**docs.theirs)
    logits = output.prediction_logits if config.pooler else output.logits
    loss = F.cross_entropy(logits.flatten(0, 1)[predict], labels)
    if config.pooler:
        loss = loss + F.cross_entropy(output.get("seq_relationship_logits", output.get("sop_logits")), follows)
    loss.backward()
    found = ours(padded(docs, predict))
    loss = F.cross_entropy(found.mlm_logits, labels)
    if config.pooler:
        loss = loss + F.cross_entropy(found.pair_logits, follows)
    loss.backward()
    expected = our_names(theirs, {name: p.grad for name, p in theirs.named_parameters()}, config)
    assert expected.keys() == {name for name, _ in ours.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], **TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")


@family
@torch.no_grad()
def test_classifier_scores_equal_transformers(config: ModelConfig) -> None:
    theirs, ours = their_classifier(config, 3), our_classifier(config, "a", "b", "c").eval()
    copy_weights(theirs, ours)
    docs = documents(*LENGTHS, config=config)
    expected = theirs(**docs.theirs).logits
    for batch in (padded(docs), packed(docs)):
        torch.testing.assert_close(ours.output(batch), expected, **TOLERANCE)


@family
@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["fused", "dropout"])
def test_no_document_sees_another(config: ModelConfig, dropout: float) -> None:
    """Not a bit of a document's states or gradients moves when its neighbours, or the padding, do."""
    config = config.model_copy(update={"hidden_dropout": dropout, "attention_dropout": dropout})
    model = initialised(Encoder(config), config).train()
    batch = packed(documents(7, 13, 11, config=config))
    before = _states_of_second_document(model, batch)
    batch.input_ids[0, :7] = 59 - batch.input_ids[0, :7]
    batch.input_ids[0, 20:] = 59 - batch.input_ids[0, 20:]
    after = _states_of_second_document(model, batch)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)
    batch.input_ids[0, 8] = 59 - batch.input_ids[0, 8]
    assert not torch.equal(_states_of_second_document(model, batch)[0], after[0])


def _states_of_second_document(model: Encoder, batch: SimpleNamespace) -> list[torch.Tensor]:
    """Of the second, and every gradient that it alone gives."""
    torch.manual_seed(3)
    model.zero_grad()
    states = encode(model, batch)[0, 7:20]
    states.square().sum().backward()
    return [states, *(p.grad.clone() for p in model.parameters())]


def _parameters(*modules: torch.nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module for p in module.parameters())


def _on_meta(config: ModelConfig) -> PretrainingModel | XlnetPretrainingModel:
    with torch.device("meta"):
        return XlnetPretrainingModel(config) if config.family == "xlnet" else PretrainingModel(config, pairs=False)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_family_in_every_size_has_transformers_parameters(name: str, size: str) -> None:
    config = ModelConfig(family=name, size=size)
    assert exportable(config) == []
    ours = _on_meta(config)
    kind = AutoModelForCausalLM if name in ("gpt2", "xlnet") else AutoModelForMaskedLM
    with torch.device("meta"):
        theirs = kind.from_config(their_config(config))
    assert _parameters(ours.encoder, ours.mlm_head) == _parameters(theirs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_base_sizes_are_the_published_ones(name: str) -> None:
    model = _on_meta(ModelConfig(family=name, size="base"))
    found = _parameters(model.encoder, getattr(model, "pooler", None))
    assert found == pytest.approx(PUBLISHED[name], rel=0.01 if name != "albert" else 0.03)
