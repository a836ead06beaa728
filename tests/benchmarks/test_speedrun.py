"""The table's rows are configs, and both sides are measured on the same tokens in the same way."""

from __future__ import annotations

import numpy as np
import pretraining_ours
import pytest
import run as speedrun
import torch
import trial
from heldout import RATE, HeldOut, Sample, held_out
from pretraining_texts import Corpus
from transformers import BertConfig, BertForMaskedLM

from bert_core.config import ModelConfig
from bert_core.heads import PretrainingModel
from bert_core.hf import from_transformers
from bert_core.step import losses
from bert_core.tokenizer import train_wordpiece
from tests.bert_core.random_shards import random_documents, write_documents

TEXT = "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    tokenizer = train_wordpiece([TEXT] * 3, 60, min_frequency=1, lowercase=True)
    tokenizer.save(folder / "tokenizer")
    for number, side in enumerate(("train", "held-out")):
        documents = random_documents(40, seed=number)
        for document in documents:
            document.tokens[:] = 5 + document.tokens % (tokenizer.vocab_size - 5)
        write_documents(folder / side, tokenizer, documents)
    return Corpus("random", folder / "tokenizer", folder / "train", folder / "held-out")


@pytest.mark.parametrize("row", speedrun.rows(), ids=lambda row: row["name"])
def test_every_row_is_a_config(row: dict[str, object], corpus: Corpus) -> None:
    recipe = speedrun.without_unset(row["recipe"])  # type: ignore[arg-type]
    assert recipe.pop("head_bias") in ("zeros", "frequencies")
    shape = trial.shape_of("4x256", corpus, recipe.pop("model", {}))
    settings = pretraining_ours.config(corpus, shape, tokens=100_000, steps=None, **recipe)
    assert settings.model is not None
    assert settings.model.num_layers == 4


def test_a_row_alone_keeps_what_those_before_it_set() -> None:
    (alone,) = speedrun.rows(only=["+ Muon"])
    assert alone == next(row for row in speedrun.rows() if row["name"] == "+ Muon")
    with pytest.raises(ValueError, match=r"no row \['Muon'\]; there are .*'\+ Muon'"):
        speedrun.rows(only=["Muon"])


def test_the_measure_is_the_same_every_time_and_hides_what_it_asks_for(corpus: Corpus) -> None:
    measured, again = held_out(corpus), held_out(corpus)
    assert measured.sha256 == again.sha256
    tokens = sum(len(sample.shown) - 2 for sample in measured.samples)
    assert measured.asked / tokens == pytest.approx(RATE, abs=0.03)
    tokenizer = corpus.load_tokenizer()
    shown = np.concatenate([sample.shown for sample in measured.samples])
    labels = np.concatenate([sample.labels for sample in measured.samples])
    assert (shown[labels >= 0] == tokenizer.mask_id).mean() == pytest.approx(0.8, abs=0.08)
    assert not tokenizer.is_special[labels[labels >= 0]].any()


@pytest.fixture
def twins(corpus: Corpus) -> tuple[BertForMaskedLM, PretrainingModel]:
    """The same weights on both sides."""
    shape = ModelConfig(
        vocab_size=corpus.load_tokenizer().vocab_size,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
        pooler=False,
    )
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=shape.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
    )
    theirs, ours = BertForMaskedLM(config).eval(), PretrainingModel(shape, pairs=False).eval()
    names = {name for name, _ in theirs.named_parameters()}
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name in names}
    ours.load_state_dict(from_transformers(state), strict=True)
    return theirs, ours


@torch.inference_mode()
def test_both_sides_measure_the_same_loss_with_the_same_weights(
    corpus: Corpus, twins: tuple[BertForMaskedLM, PretrainingModel]
) -> None:
    theirs, ours = twins
    measured = held_out(corpus)
    parts = [losses(ours, trial.our_batch(padded))["mlm"] for padded in measured.batches()]
    loss = sum(float(part.total) for part in parts) / measured.asked
    assert trial.trainer_loss(theirs, measured) == pytest.approx(loss, rel=1e-5)


def test_the_clock_stands_while_the_loss_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(trial.time, "perf_counter", lambda: now[0])

    def slow_loss() -> float:
        now[0] += 50
        return 2.0

    clock = trial.Clock(2.0)
    assert not clock.measure(0, slow_loss), "at the target, but nothing was trained"
    clock.start()
    now[0] += 3
    assert clock.measure(10, slow_loss)
    now[0] += 4
    clock.measure(20, slow_loss)
    assert [point["seconds"] for point in clock.curve] == [0, 3, 7]


def test_a_run_of_ours_stops_at_the_target_as_measured_on_the_fixed_set(corpus: Corpus) -> None:
    spec = {"threads": 1, "size": "2x128", "tokens": 4096, "evaluations": 4, "target": 1e9, "recipe": {}}
    spec["recipe"] = {"batch": {"rows": 4, "row_length": 128}}
    clock = trial.our_trial(spec, corpus, held_out(corpus))
    assert len(clock.curve) == 2, "before the first step, and at the target"
    clock = trial.our_trial(spec | {"target": 0.0}, corpus, held_out(corpus))
    assert [point["tokens"] > 0 for point in clock.curve] == [False, True, True, True, True]
    assert clock.curve[-1]["loss"] < clock.curve[0]["loss"] + 1


def test_a_longer_recipe_keeps_what_earlier_rows_set() -> None:
    base = {"batch": {"rows": 32, "row_length": 128}, "precision": "fp32"}
    merged = speedrun.merged(base, {"batch": {"rows": speedrun.UNSET, "tokens": 2048}})
    assert speedrun.without_unset(merged) == {"batch": {"row_length": 128, "tokens": 2048}, "precision": "fp32"}
    assert base["batch"] == {"rows": 32, "row_length": 128}


def test_samples_of_a_batch_are_padded_to_the_longest() -> None:
    rows = [Sample(np.arange(length), np.full(length, -100)) for length in (3, 7, 5)]
    (padded,) = HeldOut(rows, pad_id=9).batches()
    assert padded.input_ids.tolist() == [
        [0, 1, 2, 9, 9, 9, 9],
        [0, 1, 2, 3, 4, 9, 9],
        [0, 1, 2, 3, 4, 5, 6],
    ]
    assert padded.attention_mask.sum(dim=1).tolist() == [3, 5, 7]
