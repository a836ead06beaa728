"""The heads against transformers' BertForPreTraining."""

from __future__ import annotations

import torch
from tiny_bert import TINY, copy_weights, documents, initialised, packed, padded, random_weights, their_config
from transformers import BertForPreTraining

from bert_core.heads import PretrainingModel
from bert_core.hf import from_transformers


def pretraining_pair() -> tuple[BertForPreTraining, PretrainingModel]:
    theirs = BertForPreTraining(their_config()).eval()
    random_weights(theirs)
    ours = PretrainingModel(TINY, pairs=True).eval()
    copy_weights(theirs, ours)
    return theirs, ours


@torch.no_grad()
def test_pretraining_scores_equal_transformers() -> None:
    theirs, ours = pretraining_pair()
    docs = documents(12, 5, 9)
    expected = theirs(**docs.theirs)
    real = docs.attention_mask.bool()
    for batch in (padded(docs, real.flatten().nonzero()[:, 0]), packed(docs)):
        output = ours(batch)
        torch.testing.assert_close(output.mlm_logits, expected.prediction_logits[real], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(output.pair_logits, expected.seq_relationship_logits, atol=1e-4, rtol=1e-4)


def test_pretraining_gradients_equal_transformers() -> None:
    theirs, ours = pretraining_pair()
    docs = documents(12, 5, 9)
    predict = torch.tensor([1, 3, 12, 16, 30])
    labels, follows = torch.tensor([4, 8, 15, 16, 23]), torch.tensor([0, 1, 1])
    everywhere = torch.full(docs.input_ids.shape, -100).flatten().index_copy(0, predict, labels).view(3, 12)
    theirs(**docs.theirs, labels=everywhere, next_sentence_label=follows).loss.backward()

    output = ours(padded(docs, predict))
    loss = torch.nn.functional.cross_entropy(output.mlm_logits, labels)
    (loss + torch.nn.functional.cross_entropy(output.pair_logits, follows)).backward()

    expected = from_transformers({name: p.grad for name, p in theirs.named_parameters()})
    assert expected.keys() == {name for name, _ in ours.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_without_pairs_every_trained_parameter_gets_a_gradient() -> None:
    model = initialised(PretrainingModel(TINY, pairs=False)).train()
    output = model(packed(documents(5, 4)))
    assert output.pair_logits is None
    output.mlm_logits.sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not any(p.requires_grad for p in model.pooler.parameters())


def test_no_predictions_give_zero_gradients() -> None:
    model = initialised(PretrainingModel(TINY, pairs=False)).train()
    docs = documents(5, 4)
    output = model(padded(docs, torch.tensor([], dtype=torch.long)))
    assert output.mlm_logits.shape == (0, TINY.vocab_size)
    output.mlm_logits.sum().backward()
    assert not model.encoder.layers[0].up.weight.grad.any()
