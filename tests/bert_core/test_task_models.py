"""What the tasks' models are trained by, against plain torch and transformers, one example at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tiny_tasks import CAUSAL, TASKS, bpe, features, gradients, random_model, shape, table, wordpiece
from torch import Tensor
from torch.nn import functional as F

from bert_core.config import ConfigError, EmbeddingTask, SequenceTask, Task
from bert_core.data import Batch, pack_batch
from bert_core.features import Features, encode
from bert_core.segments import segment_fingerprints, segment_log_softmax, segment_mean
from bert_core.task_models import TaskModel, task_model

BERT = shape("bert", wordpiece())
FAMILIES = ("bert", "roberta", "albert", "distilbert", "gpt2", "modernbert")
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def batch_of(held: Features, examples: Any, row_length: int = 48, *, read_last: bool = False) -> Batch:
    return pack_batch(held, np.asarray(examples, dtype=np.int64), row_length, 0, read_last=read_last)


def whole(held: Features) -> Batch:
    return batch_of(held, range(held.num_examples))


def loss_and_count(model: TaskModel, batch: Batch) -> tuple[Tensor, Tensor, int]:
    (named,) = model.losses(batch).values()
    (count,) = model.counted(batch).values()
    return named.total, named.correct, count


def alone(model: TaskModel, held: Features) -> list[Tensor]:
    """The model's output for each example in a batch of its own."""
    return [model.output(batch_of(held, [row])) for row in range(held.num_examples)]


# ------------------------------------------------------------------------------------------------- plain losses


def plain_loss(name: str, task: Any, held: Features, row: int, output: Tensor, said: dict[str, Any]) -> Tensor | None:
    """Of one example, from its own outputs; None: it counts nothing."""
    label = said.get("tags" if name == "token" else "answers" if name == "span" else "label")
    if label is None and name != "in_batch":
        return None
    match name:
        case "single" | "pair":
            weight = torch.ones(len(task.labels))
            if task.class_weights == "balanced":
                known = [one for one in TABLES[name]["label"].to_pylist() if one is not None]
                weight = torch.tensor(
                    compute_class_weight("balanced", classes=np.array(task.labels), y=known), dtype=torch.float32
                )
            right = torch.tensor([task.labels.index(label)])
            loss = F.cross_entropy(output, right, label_smoothing=task.label_smoothing)
            p = output.softmax(-1)[0, right]
            return weight[right] * (1 - p) ** task.focal_gamma * loss
        case "multi":
            true = torch.tensor([[float(one in label) for one in task.labels]])
            p = torch.where(true > 0.5, output.sigmoid(), 1 - output.sigmoid())
            smooth = true * (1 - task.label_smoothing) + task.label_smoothing / 2
            each = F.binary_cross_entropy_with_logits(output, smooth, reduction="none")
            return ((1 - p) ** task.focal_gamma * each).mean()
        case "regression":
            known = [one for one in TABLES[name]["label"].to_pylist() if one is not None]
            standard = (label - np.mean(known)) / np.std(known)
            return F.mse_loss(output.squeeze(), torch.tensor(standard, dtype=torch.float32))
        case "token":
            right = torch.tensor([task.labels.index(tag) for tag in label])
            return F.cross_entropy(output, right, reduction="sum")
        case "choice":
            return F.cross_entropy(output.T, torch.tensor([label]))
        case "cosine":
            return (F.cosine_similarity(output[:1], output[1:2]) - label) ** 2
    raise AssertionError(name)


TABLES = {name: table(name, unknown=True) for name in TASKS}
VARIANTS = [
    ("single", {}),
    ("single", {"class_weights": "balanced"}),
    ("single", {"focal_gamma": 2.0}),
    ("single", {"label_smoothing": 0.2}),
    ("pair", {"class_weights": "balanced", "label_smoothing": 0.1, "focal_gamma": 1.5}),
    ("multi", {}),
    ("multi", {"focal_gamma": 2.0}),
    ("multi", {"label_smoothing": 0.2}),
    ("regression", {}),
    ("token", {}),
    ("choice", {}),
    ("cosine", {}),
]


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=str)
def test_losses_are_the_plain_ones_of_each_example_and_unknown_ones_count_nothing(
    name: str, more: dict[str, Any]
) -> None:
    task: Any = TASKS[name].model_copy(update=more)
    held = encode(task, TABLES[name], wordpiece(), 48)
    model = random_model(BERT, task, held.statistics)
    rows = zip(range(held.num_examples), alone(model, held), TABLES[name].to_pylist(), strict=True)
    each = [plain_loss(name, task, held, row, output, said) for row, output, said in rows]
    expected = torch.stack([one.squeeze() for one in each if one is not None]).sum()
    model.zero_grad()
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    total, _, count = loss_and_count(model, whole(held))
    torch.testing.assert_close(total, expected, **CLOSE)
    total.backward()
    for parameter, gradient in gradients(model).items():
        torch.testing.assert_close(
            gradient, wanted[parameter], atol=2e-4, rtol=1e-3, msg=lambda m, p=parameter: f"{p} {m}"
        )
    known = [said for said, one in zip(TABLES[name].to_pylist(), each, strict=True) if one is not None]
    assert count == (sum(len(said["tags"]) for said in known) if name == "token" else len(known))


def test_span_loss_is_cross_entropy_over_the_context_and_cls() -> None:
    held = encode(TASKS["span"], TABLES["span"], wordpiece(), 48)
    model = random_model(BERT, TASKS["span"])
    expected, windows = torch.zeros(()), 0
    for row, said in enumerate(TABLES["span"].to_pylist()):
        if said["answers"] is None:
            continue
        for number in range(*held.sequence_bounds[row : row + 2]):
            one = replace(held, **_only(held, number))
            output = model.output(batch_of(one, [0]))
            length, b = int(one.lengths[0]), int(one.b_starts[0])
            may = [0, *range(b, length)]
            for side in (0, 1):
                right = may.index(int(held.targets[number, side]))
                expected = expected + F.cross_entropy(output[may, side][None], torch.tensor([right])) / 2
            windows += 1
    total, correct, count = loss_and_count(model, whole(held))
    torch.testing.assert_close(total, expected, **CLOSE)
    assert count == windows
    assert 0 <= int(correct) <= windows


def _only(held: Features, number: int) -> dict[str, Any]:
    a, b = held.offsets[number : number + 2]
    return {
        "ids": ["x"], "example_of": np.zeros(1, np.int32), "tokens": held.tokens[a:b],
        "offsets": np.array([0, b - a], np.int32), "b_starts": held.b_starts[number : number + 1],
        "position_offsets": np.zeros(2, np.int32), "targets": held.targets[number : number + 1],
    }  # fmt: skip


def test_in_batch_negatives_are_those_of_multiple_negatives_ranking_loss() -> None:
    """sentence-transformers: cross-entropy over scale * cosine of each anchor to all positives and negatives."""
    held = features("in_batch", 10)
    model = random_model(BERT, TASKS["in_batch"])
    vectors = alone(model, held)
    anchors, positives, negatives = (torch.stack([one[i] for one in vectors]) for i in range(3))
    scores = 20.0 * F.cosine_similarity(anchors[:, None], torch.cat([positives, negatives])[None], dim=-1)
    expected = F.cross_entropy(scores, torch.arange(10), reduction="sum")
    total, correct, count = loss_and_count(model, whole(held))
    torch.testing.assert_close(total, expected, **CLOSE)
    assert count == 10
    assert int(correct) == int((scores.argmax(1) == torch.arange(10)).sum())


def test_an_equal_text_is_no_negative_whatever_dropout_makes_of_it_and_a_low_score_seeks_nothing() -> None:
    rows = {"text": ["ban", "kosh", "mirk", "telo"], "text_b": ["rut rut", "rut rut", "lot", "lot ban"]}
    held = encode(EmbeddingTask(), pa.table({**rows, "label": [None, 1.0, 1.0, 0.1]}), wordpiece(), 16)
    model = random_model(shape("bert", wordpiece(), hidden_dropout=0.4), EmbeddingTask()).train()
    batch = whole(held)
    torch.manual_seed(3)
    vectors = model.output(batch)
    a, b = vectors[::2], vectors[1::2]
    assert not torch.allclose(b[0], b[1], atol=1e-3)
    scores = 20 * a @ b.T
    scores[0, 1] = scores[1, 0] = -torch.inf
    expected = F.cross_entropy(scores[:3], torch.arange(3), reduction="sum")
    found = model.loss_of(vectors, batch)
    torch.testing.assert_close(found.total, expected, **CLOSE)
    assert model.count(batch) == 3


def test_in_batch_cosines_are_not_rounded_under_autocast() -> None:
    held = features("in_batch", 10)
    model = random_model(BERT, TASKS["in_batch"])
    batch = whole(held)
    vectors = model.output(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.loss_of(vectors, batch).total
    torch.testing.assert_close(rounded, model.loss_of(vectors, batch).total, atol=1e-5, rtol=0)


# ----------------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TASKS)
def test_packed_equals_unpadded_in_outputs_and_gradients(name: str, family: str) -> None:
    if family == "gpt2" and name not in CAUSAL:
        return
    tokenizer = bpe() if family in ("roberta", "gpt2") else wordpiece()
    config = shape(family, tokenizer)
    held = encode(TASKS[name], table(name, 12), tokenizer, 48)
    model = random_model(config, TASKS[name], held.statistics)
    weights = torch.randn(1000, 200, generator=torch.Generator().manual_seed(5))

    def scores(examples: list[int]) -> tuple[Tensor, list[Tensor]]:
        batch = batch_of(held, examples, read_last=config.causal)
        said = model.output(batch)
        if name == "span":
            assert batch.spans is not None
            said = torch.cat([said[a:b] for a, b in batch.spans.tolist()])
        sizes = [_items(name, held, row) for row in examples]
        return said, list(said.split(sizes))

    together, pieces = scores(list(range(12)))
    single = torch.cat([scores([row])[0] for row in range(12)])
    torch.testing.assert_close(together, single, **CLOSE)
    mixed = weights[: single.shape[0], : single.shape[1]]
    model.zero_grad()
    (single * mixed).sum().backward()
    expected = gradients(model)
    model.zero_grad()
    (torch.cat(pieces) * mixed).sum().backward()
    for parameter, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[parameter], atol=5e-4, rtol=1e-3)


def _items(name: str, held: Features, row: int) -> int:
    a, b = held.sequence_bounds[row : row + 2]
    if name == "token":
        return int(held.position_offsets[b] - held.position_offsets[a])
    return int(held.lengths[a:b].sum()) if name == "span" else int(b - a)


@pytest.mark.parametrize("name", TASKS)
def test_nothing_leaks_from_one_example_to_another(name: str) -> None:
    held = features(name, 8)
    model = random_model(BERT, TASKS[name], held.statistics)
    batch = whole(held)
    words = model.encoder.embeddings.word(batch.input_ids).detach().requires_grad_()
    output = model.output(batch, words)
    if name == "span":
        assert batch.spans is not None
        output = torch.cat([output[a:b] for a, b in batch.spans.tolist()])
    first = output[: _items(name, held, 0)]
    (gradient,) = torch.autograd.grad((first * torch.randn_like(first)).sum(), words)
    reached = gradient.abs().sum(-1).flatten() > 0
    assert batch.spans is not None
    assert batch.examples is not None
    own = torch.zeros_like(reached)
    for (a, b), example in zip(batch.spans.tolist(), batch.examples.tolist(), strict=True):
        own[a:b] |= example == 0
    assert not (reached & ~own).any()
    assert reached.any()


# ------------------------------------------------------------------------------------------------ special cases


@pytest.mark.parametrize("name", [name for name in TASKS if name != "in_batch"])
def test_a_batch_without_any_known_target_has_no_loss_and_finite_gradients(name: str) -> None:
    target = {"token": "tags", "span": "answers"}.get(name, "label")
    held = encode(TASKS[name], table(name, 5).drop_columns([target]), wordpiece(), 48)
    model = random_model(BERT, TASKS[name])
    total, correct, count = loss_and_count(model, whole(held))
    assert (total.item(), int(correct), count) == (0.0, 0, 0)
    total.backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


@pytest.mark.parametrize("name", ["regression", "cosine"])
def test_negative_numbers_are_targets_like_others(name: str) -> None:
    held = features(name)
    assert (held.targets[:, 0] < -0.5).sum() > 3
    assert loss_and_count(random_model(BERT, TASKS[name], held.statistics), whole(held))[2] == held.num_examples


@pytest.mark.parametrize("balanced", ["none", "balanced"])
def test_a_batch_of_one_class_is_learned_from(balanced: str) -> None:
    task: Any = TASKS["single"].model_copy(update={"class_weights": balanced})
    held = encode(task, pa.table({"text": ["ban", "kosh"], "label": ["b", "b"]}), wordpiece(), 16)
    total, _, count = loss_and_count(random_model(BERT, task, held.statistics), whole(held))
    assert count == 2
    assert total.isfinite()
    assert total > 0


@pytest.mark.parametrize("labels", [[4.0, 4.0, 4.0], [1e6, 1e6 + 1, 1e6 + 2], [-3e-3, 2e-3, 0.0]])
def test_numbers_of_any_scale_are_standardised(labels: list[float]) -> None:
    held = encode(TASKS["regression"], pa.table({"text": ["ban", "kosh", "mirk"], "label": labels}), wordpiece(), 16)
    model: Any = random_model(BERT, TASKS["regression"], held.statistics)
    center, spread = model.center_and_spread
    standard = (np.array(labels) - center) / spread
    assert abs(standard).max() < 3
    total, _, _ = loss_and_count(model, whole(held))
    outputs = torch.cat(alone(model, held)).squeeze(1).detach()
    expected = ((outputs - torch.tensor(standard, dtype=torch.float32)) ** 2).sum()
    torch.testing.assert_close(total.detach(), expected, atol=2e-2 if labels[0] > 1e5 else 1e-4, rtol=1e-3)


def test_a_head_that_gives_raw_numbers_is_standardised_and_back() -> None:
    statistics = {"mean": 100.0, "deviation": 40.0}
    for family in ("bert", "gpt2"):
        model: Any = random_model(shape(family, bpe()), TASKS["regression"], statistics)
        held = encode(TASKS["regression"], table("regression", 4), bpe(), 48)
        batch = batch_of(held, range(4), read_last=family == "gpt2")
        raw = model.output(batch)
        model.standardise_head()
        center, spread = model.center_and_spread
        torch.testing.assert_close(model.output(batch) * spread + center, raw, atol=1e-3, rtol=1e-4)


def test_accuracies_are_counts_of_right_answers() -> None:
    for name in ("single", "token", "choice"):
        held = encode(TASKS[name], TABLES[name], wordpiece(), 48)
        model = random_model(BERT, TASKS[name], held.statistics)
        right = 0
        for output, said in zip(alone(model, held), TABLES[name].to_pylist(), strict=True):
            label = said["tags" if name == "token" else "label"]
            if label is None:
                continue
            best = output.argmax(0 if name == "choice" else 1).flatten().tolist()
            labels = getattr(TASKS[name], "labels", ())
            wanted = (
                [labels.index(tag) for tag in label]
                if name == "token"
                else [label if name == "choice" else labels.index(label)]
            )
            right += sum(a == b for a, b in zip(best, wanted, strict=True))
        assert int(loss_and_count(model, whole(held))[1]) == right


@pytest.mark.parametrize(
    ("family", "task", "message"),
    [
        ("bert", SequenceTask(), "task.labels is empty: fill it in from the data first"),
        ("gpt2", TASKS["span"], "a gpt2 reads from left to right"),
        ("gpt2", TASKS["in_batch"], "it takes sequence, pair, choice, token and causal"),
    ],
)
def test_what_an_architecture_cannot_be_asked_is_said_before_training(family: str, task: Task, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_model(shape(family, bpe()), task)


@pytest.mark.parametrize(("labels", "message"), [(("a", "a"), "each once"), (("a",), "nothing to tell it from")])
def test_labels_are_several_and_different(labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceTask(labels=labels)


# ----------------------------------------------------------------------------------------------------- segments


def test_segments_are_the_loops_they_stand_for() -> None:
    generator = torch.Generator().manual_seed(0)
    segments = torch.tensor([0, 2, 1, 0, 2, 2, 3])
    scores = 50 * torch.randn(7, generator=generator)
    expected = torch.empty(7)
    for number in range(4):
        expected[segments == number] = scores[segments == number].log_softmax(0)
    torch.testing.assert_close(segment_log_softmax(scores, segments, 4), expected)
    states, spans = torch.randn(20, 3, generator=generator), torch.tensor([[12, 20], [0, 1], [3, 9]])
    torch.testing.assert_close(segment_mean(states, spans), torch.stack([states[a:b].mean(0) for a, b in spans]))


def test_fingerprints_tell_texts_apart_and_find_equal_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [
        torch.randint(0, 3, (int(n),), generator=generator) for n in torch.randint(1, 8, (3000,), generator=generator)
    ]
    lengths = torch.tensor([len(one) for one in texts])
    ends = lengths.cumsum(0)
    prints = segment_fingerprints(torch.cat(texts), torch.stack([ends - lengths, ends], 1)).tolist()
    distinct = {tuple(one.tolist()): found for one, found in zip(texts, prints, strict=True)}
    assert all(distinct[tuple(one.tolist())] == found for one, found in zip(texts, prints, strict=True))
    assert len(set(distinct.values())) == len(distinct)
