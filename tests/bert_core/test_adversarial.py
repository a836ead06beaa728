"""FGM, PGD, FreeLB and R-Drop: their norms and losses by hand, and runs that continue bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_core.build import build_data, build_model
from bert_core.config import (
    Adversarial,
    ChoiceTask,
    EmbeddingTask,
    FgmConfig,
    FreeLbConfig,
    MethodConfig,
    PairTask,
    PgdConfig,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
    TrainConfig,
)
from bert_core.data import Batch, ExampleData
from bert_core.methods.objective import divergence, task_losses, twice
from bert_core.methods.passes import Pass, passes, sequence_norms, sequence_of
from bert_core.step import TrainState, measure_gradients
from bert_core.task_models import TaskModel, task_model
from tests.bert_core.method_runs import TASK, config, corpus, files, lines, run, run_cut, shape, tokenizer_of

__all__ = ["corpus"]
FGM, PGD, FREELB = {"type": "fgm"}, {"type": "pgd", "steps": 2}, {"type": "freelb", "steps": 3}


def model_and_batch(corpus: Path, **changes: Any) -> tuple[TaskModel, Batch, TrainConfig]:
    asked = config(corpus, **changes)
    data = build_data(asked, asked.train_data)
    model = build_model(asked, data)
    assert isinstance(model, TaskModel)
    return model.eval(), data.batch(0, 0, 1), asked


def walk(model: TaskModel, batch: Batch, how: Adversarial) -> list[tuple[Pass, float]]:
    """The passes over `batch`, each with its loss."""
    walked = []
    for each in passes(how, batch, model.config.hidden_size, torch.Generator().manual_seed(1)):
        (loss,) = task_losses(model, each).values()
        assert each.delta is not None
        (each.delta.grad,) = torch.autograd.grad(loss.total, [each.delta])
        walked.append((each, float(loss.total.detach())))
    return walked


def norms(values: Tensor, batch: Batch) -> Tensor:
    """Sequence by sequence, by their spans."""
    assert batch.spans is not None
    return torch.stack([values.flatten(0, 1)[a:b].norm() for a, b in batch.spans.tolist()])


def test_norms_are_of_sequences_wherever_packing_put_them(corpus: Path) -> None:
    _, batch, _ = model_and_batch(corpus)
    assert batch.spans is not None
    assert len(batch.input_ids) < len(batch.spans)  # packed
    values = torch.randn(*batch.input_ids.shape, 5, generator=torch.Generator().manual_seed(0))
    owners, real = sequence_of(batch)
    torch.testing.assert_close(sequence_norms(values, owners, real, len(batch.spans)), norms(values, batch))
    assert int(real.sum()) == batch.num_tokens
    for number, (start, end) in enumerate(batch.spans.tolist()):
        assert owners[start:end].eq(number).all()


def test_fgm_moves_every_sequence_by_epsilon_along_its_gradient_and_the_loss_rises(corpus: Path) -> None:
    model, batch, _ = model_and_batch(corpus)
    (clean, before), (moved, after) = walk(model, batch, FgmConfig(epsilon=0.5))
    assert clean.delta is not None
    assert moved.delta is not None
    assert not clean.delta.any()
    torch.testing.assert_close(norms(moved.delta, batch), torch.full((len(batch.cls_positions),), 0.5))
    gradient = clean.delta.grad
    assert gradient is not None
    cosines = F.cosine_similarity(moved.delta.flatten(), gradient.flatten(), dim=0)
    assert float(cosines.detach()) > 0
    assert batch.spans is not None
    for start, end in batch.spans.tolist():  # of each sequence exactly
        mine, its = moved.delta.flatten(0, 1)[start:end].flatten(), gradient.flatten(0, 1)[start:end].flatten()
        assert float(F.cosine_similarity(mine, its, dim=0)) == pytest.approx(1, abs=1e-5)
    assert after > before
    assert not moved.delta.flatten(0, 1)[batch.document_ids.flatten() == 0].any()


def test_an_examples_perturbation_does_not_depend_on_its_neighbours(corpus: Path) -> None:
    asked = config(corpus)
    data = build_data(asked, asked.train_data)
    assert isinstance(data, ExampleData)
    model = build_model(asked, data)
    assert isinstance(model, TaskModel)
    model.eval()

    def perturbation(batch: Batch, sequence: int) -> Tensor:
        (_, _), (moved, _) = walk(model, batch, FgmConfig())
        assert batch.spans is not None
        assert moved.delta is not None
        start, end = batch.spans[sequence].tolist()
        return moved.delta.flatten(0, 1)[start:end]

    import numpy as np

    together, alone = data.assemble(np.arange(8)), data.assemble(np.array([5]))
    torch.testing.assert_close(perturbation(together, 5), perturbation(alone, 0), rtol=1e-3, atol=1e-5)


def test_pgd_climbs_within_epsilon_and_one_step_of_all_of_it_is_fgm(corpus: Path) -> None:
    model, batch, _ = model_and_batch(corpus)
    walked = walk(model, batch, PgdConfig(epsilon=0.5, steps=4, step_size=0.2))
    assert len(walked) == 5
    assert [each.learns for each, _ in walked] == [True, False, False, False, True]
    assert [each.is_adversarial for each, _ in walked] == [False, False, False, False, True]
    lengths = [norms(each.delta, batch).max() for each, _ in walked if each.delta is not None]
    torch.testing.assert_close(torch.stack(lengths), torch.tensor([0.0, 0.2, 0.4, 0.5, 0.5]), rtol=0.02, atol=1e-6)
    losses = [loss for _, loss in walked]
    assert losses == sorted(losses)
    one = walk(model, batch, PgdConfig(epsilon=0.5, steps=1, step_size=0.5))[-1]
    fgm = walk(model, batch, FgmConfig(epsilon=0.5))[-1]
    assert one[0].delta is not None
    assert fgm[0].delta is not None
    assert torch.equal(one[0].delta, fgm[0].delta)


def test_freelb_starts_at_random_below_epsilon_and_learns_from_the_mean_of_its_steps(corpus: Path) -> None:
    model, batch, _ = model_and_batch(corpus)
    walked = walk(model, batch, FreeLbConfig(epsilon=0.3, steps=3, step_size=0.2))
    first = walked[0][0].delta
    assert first is not None
    assert (norms(first, batch) > 0).all()
    for each, _ in walked:
        assert each.delta is not None
        assert (norms(each.delta, batch) <= 0.3 + 1e-5).all()
        assert (each.weight, each.learns) == (pytest.approx(1 / 3), True)
    assert walked[-1][1] > walked[0][1]
    again = walk(model, batch, FreeLbConfig(epsilon=0.3, steps=3, step_size=0.2))[0][0].delta
    assert again is not None
    assert torch.equal(again, first)


def gradients(asked: TrainConfig, how: MethodConfig, micro_rows: int | None = None) -> dict[str, Tensor]:
    """Of step 0, as the loop measures them; dropout as in `asked`."""
    from bert_core.build import fresh_state
    from bert_core.distributed import World

    data = build_data(asked, asked.train_data)
    device = torch.device("cpu")
    state: TrainState = fresh_state(asked.model_copy(update={"method": how}), data, World(), device, "fp32")
    batches = data.micro_batches(0, 0, 1, micro_rows)
    measure_gradients(
        state,
        batches,
        precision="fp32",
        seed=3,
        world=World(),
        device=device,
        beat=lambda step, stage: None,
        method=how,
    )
    return {name: p.grad.clone() for name, p in state.model.named_parameters() if p.grad is not None}


def without_dropout(corpus: Path) -> TrainConfig:
    changes = {"hidden_dropout": 0.0, "attention_dropout": 0.0}
    return config(corpus, model=shape(tokenizer_of(corpus / "tokenizer"), **changes).model_dump())


def test_gradients_of_the_clean_and_the_moved_words_add_up_and_do_not_depend_on_micro_batches(corpus: Path) -> None:
    asked = without_dropout(corpus)
    data = build_data(asked, asked.train_data)
    model = build_model(asked, data)
    assert isinstance(model, TaskModel)
    batch = data.batch(0, 0, 1)
    words = model.encoder.embeddings.word(batch.input_ids).detach().requires_grad_(True)
    loss = model.loss_of(model.output(batch, words), batch).total / batch.num_labelled
    (gradient,) = torch.autograd.grad(loss, [words])
    scale = torch.zeros(batch.input_ids.numel(), 1)
    assert batch.spans is not None
    for start, end in batch.spans.tolist():
        scale[start:end] = 0.7 / gradient.flatten(0, 1)[start:end].norm()
    delta = gradient * scale.view(*batch.input_ids.shape, 1)
    for moved in (0.0, delta):
        words = model.encoder.embeddings.word(batch.input_ids) + moved
        (model.loss_of(model.output(batch, words), batch).total / batch.num_labelled).backward()
    method = MethodConfig(adversarial=FgmConfig(epsilon=0.7))
    for micro_rows in (None, 1):
        found = gradients(asked, method, micro_rows)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_rdrop_is_the_mean_loss_and_half_alpha_times_the_symmetric_divergence(corpus: Path) -> None:
    model, batch, _ = model_and_batch(corpus)
    model.train()
    torch.manual_seed(5)
    named = task_losses(model, batch, rdrop_alpha=3.0)
    torch.manual_seed(5)
    p, q = (half.log_softmax(-1) for half in model.output(twice(batch)).chunk(2))
    assert not torch.equal(p, q)  # another dropout
    labels = batch.sample_labels
    cross = (F.nll_loss(p, labels, reduction="sum") + F.nll_loss(q, labels, reduction="sum")) / 2
    kl = sum(F.kl_div(a, b, log_target=True, reduction="sum") for a, b in ((p, q), (q, p))) / 2
    assert set(named) == {"sequence", "rdrop"}
    torch.testing.assert_close(named["sequence"].total, cross)
    torch.testing.assert_close(named["rdrop"].total, 3.0 / 2 * kl)
    assert set(task_losses(model.eval(), batch, rdrop_alpha=3.0)) == {"sequence"}  # none in evaluation


TASKS: dict[str, Task] = {
    "sequence": TASK,
    "pair": PairTask(labels=("a", "b", "c")),
    "multi": SequenceTask(kind="multi", labels=("a", "b", "c")),
    "regression": SequenceTask(kind="regression"),
    "token": TokenTask(labels=("O", "B-X", "I-X")),
    "span": SpanTask(),
    "choice": ChoiceTask(),
    "embedding": EmbeddingTask(),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_read_twice_gives_every_tasks_output_twice_and_no_distance_without_dropout(
    corpus: Path, task: str
) -> None:
    from dataclasses import replace

    from bert_core.model import init_weights

    asked = TASKS[task]
    _, batch, _ = model_and_batch(corpus)
    assert batch.spans is not None
    count = len(batch.spans)
    half = (batch.position_ids > 3).long() * (batch.document_ids > 0)
    batch = replace(
        batch,
        token_type_ids=half,
        predict_positions=batch.spans[:, 0] + 1,
        predict_labels=torch.zeros(count, dtype=torch.int64),
        examples=torch.arange(count) // 2,
        sample_ids=list(range(-(-count // 2))),
    )
    model = task_model(shape(tokenizer_of(corpus / "tokenizer")), asked)
    init_weights(model, 0.2, torch.Generator().manual_seed(0))
    model.eval()
    once, both = model.output(batch), model.output(twice(batch))
    torch.testing.assert_close(both, torch.cat([once, once]), rtol=1e-4, atol=1e-5)
    assert float(divergence(model, once, once.clone(), batch)) == pytest.approx(0, abs=1e-6)
    model.train()
    drawn = model.output(twice(batch))
    distance = divergence(model, drawn[: len(once)], drawn[len(once) :], batch)
    distance.backward()
    assert float(distance.detach()) > 0
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


CASES: dict[str, dict[str, Any]] = {
    "fgm": {"adversarial": FGM},
    "pgd": {"adversarial": PGD},
    "freelb": {"adversarial": FREELB},
    "rdrop": {"rdrop_alpha": 1.0},
    "freelb-rdrop": {"adversarial": FREELB, "rdrop_alpha": 1.0},
}


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_run_again_is_bit_identical(corpus: Path, tmp_path: Path, case: str) -> None:
    asked = config(
        corpus,
        method=CASES[case],
        steps=6,
        precision="bf16" if case in ("fgm", "rdrop") else "fp32",
        optimizer={"lr": 3e-3, "ema_decay": 0.9},
        runtime={"micro_rows": 3},
    )
    run(asked, tmp_path / "whole")
    run_cut(asked, tmp_path / "cut", 4)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    line = lines(tmp_path / "whole")[-1]
    added = [name for name in ("adversarial_loss", "rdrop_loss") if name in line]
    assert added == {"fgm": ["adversarial_loss"], "pgd": ["adversarial_loss"], "freelb": []}.get(case, ["rdrop_loss"])
    assert line["loss"] == pytest.approx(sum(v for k, v in line.items() if k.endswith("_loss")))


@pytest.mark.parametrize("method", [{"adversarial": {"type": "fgm", "epsilon": 0.1}}, {"rdrop_alpha": 1.0}])
def test_it_learns(corpus: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    summary = run(config(corpus, method=method, steps=60), tmp_path)
    assert summary["eval_after"]["sequence_loss"] < summary["eval_before"]["sequence_loss"] * 0.6
    assert set(summary["eval_after"]) == {"loss", "sequence_loss", "sequence_accuracy"}
