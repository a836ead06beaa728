"""XLNet: what each prediction sees, packing against single documents, the paper's definition, and folders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_bert import SHAPE, Documents, documents, initialised, packed
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForCausalLM, XLNetLMHeadModel

from bert_core import hf
from bert_core.config import ModelConfig, RuntimeConfig
from bert_core.distributed import World
from bert_core.model import Encoder, init_weights
from bert_core.parallel import parallelize
from bert_core.xlnet import XlnetPretrainingModel

CONFIG = ModelConfig(family="xlnet", **SHAPE)
LENGTHS = (12, 5, 9)
PREDICTED = ((10, 2, 7), (0, 3), (4, 8, 1))
"""Of each document, in the order in which they are factorised: each sees those before it."""


@pytest.fixture
def model() -> XlnetPretrainingModel:
    return initialised(XlnetPretrainingModel(CONFIG), CONFIG)


def batch_of(*chosen: int, padding: int = 3) -> SimpleNamespace:
    """Documents `chosen`, in one row; context comes first in the order, then the predicted tokens."""
    docs, rows = documents(*LENGTHS, config=CONFIG), list(chosen)
    chosen_docs = Documents(docs.input_ids[rows], docs.token_type_ids[rows], docs.attention_mask[rows], CONFIG)
    batch = packed(chosen_docs, padding)
    order, positions, start = [], [], 0
    for i in chosen:
        ranked = [p for p in range(LENGTHS[i]) if p not in PREDICTED[i]] + list(PREDICTED[i])
        order += [ranked.index(p) for p in range(LENGTHS[i])]
        positions += [start + p for p in sorted(PREDICTED[i])]
        start += LENGTHS[i]
    batch.order = torch.tensor([order + [0] * padding])
    batch.predict_positions = torch.tensor(positions)
    return batch


def scores(model: XlnetPretrainingModel, batch: SimpleNamespace) -> dict[int, torch.Tensor]:
    """By the predicted token's place in the row."""
    logits = model(batch).mlm_logits
    return dict(zip(batch.predict_positions.tolist(), logits, strict=True))


def changed(batch: SimpleNamespace, position: int) -> SimpleNamespace:
    ids = batch.input_ids.clone()
    ids[0, position] = 6 + (ids[0, position] - 5) % 50
    return SimpleNamespace(**{**vars(batch), "input_ids": ids})


@torch.no_grad()
def test_packed_documents_equal_single_ones(model: XlnetPretrainingModel) -> None:
    together = model(batch_of(0, 1, 2)).mlm_logits
    alone = torch.cat([model(batch_of(i, padding=0)).mlm_logits for i in range(3)])
    assert alone.abs().mean() > 0.1
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


@torch.no_grad()
def test_several_rows_equal_single_ones(model: XlnetPretrainingModel) -> None:
    """Rows with different numbers of predictions, and positions in any order."""
    rows = [batch_of(0, 1, padding=2), batch_of(1, 0, padding=2)]
    both = SimpleNamespace(
        **{
            key: torch.cat([getattr(row, key) for row in rows])
            for key in ("input_ids", "token_type_ids", "document_ids", "order")
        },
        predict_positions=torch.cat([rows[0].predict_positions[:2], rows[1].predict_positions + 19]).flip(0),
    )
    expected = torch.cat([model(rows[0]).mlm_logits[:2], model(rows[1]).mlm_logits]).flip(0)
    rows[0].predict_positions = rows[0].predict_positions[:2]
    # What is not asked for becomes context, and the others see it: those of the same row are asked for again.
    expected[-2:] = model(rows[0]).mlm_logits.flip(0)
    torch.testing.assert_close(model(both).mlm_logits, expected, atol=1e-4, rtol=0)


def test_no_document_sees_another(model: XlnetPretrainingModel) -> None:
    """Not a bit of a document's scores or gradients moves when its neighbours, or the padding, do."""
    batch = batch_of(0, 1, 2)

    def of_second(batch: SimpleNamespace) -> list[torch.Tensor]:
        model.zero_grad()
        logits = model(batch).mlm_logits[3:5]
        logits.square().sum().backward()
        return [logits, *(p.grad.clone() for p in model.parameters())]

    before = of_second(batch)
    for position in (0, 2, 11, 17, 21, 28):
        batch = changed(batch, position)
    after = of_second(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(of_second(changed(batch, 13))[0], after[0])


@torch.no_grad()
@pytest.mark.parametrize("perturbed", range(12))
def test_a_prediction_sees_the_context_and_what_comes_before_it(model: XlnetPretrainingModel, perturbed: int) -> None:
    batch = batch_of(0, 1, 2)
    before, after = scores(model, batch), scores(model, changed(batch, perturbed))
    order = list(PREDICTED[0])  # 10, then 2, then 7
    for place, token in enumerate(order):
        sees = perturbed not in order or order.index(perturbed) < place
        assert torch.equal(before[token], after[token]) != sees, (perturbed, token)


def test_scores_and_gradients_equal_transformers_own_call(model: XlnetPretrainingModel, tmp_path: Path) -> None:
    """A single document, the masks written out by hand, through an exported folder."""
    hf.export_pretraining(model, CONFIG, tmp_path)
    theirs = XLNetLMHeadModel.from_pretrained(tmp_path).eval()
    batch = batch_of(1, padding=0)  # five tokens, of which 0 and then 3 are predicted
    unseen = torch.zeros(1, 5, 5)
    unseen[:, [1, 2, 4], 0] = unseen[:, [1, 2, 4], 3] = 1  # context sees neither
    unseen[:, 0, 0] = unseen[:, 0, 3] = unseen[:, 3, 3] = 1
    target = F.one_hot(torch.tensor([[0, 3]]), 5).float()
    call = theirs(batch.input_ids, perm_mask=unseen, target_mapping=target, token_type_ids=batch.token_type_ids)
    expected, found, labels = call.logits[0], model(batch).mlm_logits, torch.tensor([3, 9])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    for logits in (expected, found):
        F.cross_entropy(logits, labels).backward()
    gradients = hf.from_transformers({name: p.grad for name, p in theirs.named_parameters()}, "xlnet")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=0)


def test_folder_round_trip(model: XlnetPretrainingModel, tmp_path: Path) -> None:
    hf.export_pretraining(model, CONFIG, tmp_path / "a")
    theirs, info = AutoModelForCausalLM.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs.save_pretrained(tmp_path / "b")
    assert not AutoModel.from_pretrained(tmp_path / "a", output_loading_info=True)[1]["missing_keys"]
    for folder in (tmp_path / "a", tmp_path / "b"):
        back = XlnetPretrainingModel(hf.load_config(folder))
        report = hf.load_pretraining(folder, back)
        assert report.missing == report.unused == ()
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))
        assert hf.load_config(folder) == CONFIG
    theirs.transformer.save_pretrained(tmp_path / "bare")
    assert hf.load_pretraining(tmp_path / "bare", back).missing == ("mlm_head.bias",)


def test_every_parameter_learns_and_is_decided_by_the_seed() -> None:
    a, b, c = (XlnetPretrainingModel(CONFIG) for _ in range(3))
    for each, seed in ((a, 1), (b, 1), (c, 2)):
        init_weights(each, 0.02, torch.Generator().manual_seed(seed))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.encoder.mask_emb, c.encoder.mask_emb)
    a.mlm_head.start_from_frequencies(torch.arange(60))
    batch = batch_of(0, 1, 2)
    batch.token_type_ids = (batch.position_ids > 2).long()
    a(batch).mlm_logits.square().sum().backward()
    assert not [name for name, p in a.named_parameters() if p.grad is None or not p.grad.any()]


def test_no_predictions_give_zero_gradients(model: XlnetPretrainingModel) -> None:
    batch = batch_of(0, 1)
    batch.predict_positions = batch.predict_positions[:0]
    logits = model(batch).mlm_logits
    assert logits.shape == (0, 60)
    logits.sum().backward()
    assert not any(p.grad.any() for p in model.parameters())


def test_activations_computed_again_give_equal_gradients(model: XlnetPretrainingModel) -> None:
    def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
        model.zero_grad()
        module(batch_of(0, 1, 2)).mlm_logits.square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    expected = gradients(model)
    runtime = RuntimeConfig(activation_checkpointing=True)
    found = gradients(parallelize(model, lambda model, batch: model(batch), runtime, World(), "fp32").module)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_what_it_does_not_run_is_refused(model: XlnetPretrainingModel) -> None:
    batch = batch_of(0)
    batch.order = None
    with pytest.raises(ValueError, match=r"batch.order is None"):
        model(batch)
    with pytest.raises(ValueError, match="legal: 'xlnet' without pairs"):
        XlnetPretrainingModel(ModelConfig(**SHAPE))
    with pytest.raises(ValueError, match="pairs True"):
        XlnetPretrainingModel(CONFIG, pairs=True)
    with pytest.raises(ValueError, match=r"that model is in bert_core\.xlnet"):
        Encoder(CONFIG)
    with pytest.raises(ValueError, match=r"model.attention_dropout = 0.5: files of family 'xlnet' can express"):
        XlnetPretrainingModel(CONFIG.model_copy(update={"attention_dropout": 0.5}))
