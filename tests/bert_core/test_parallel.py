"""Strategies on real process groups: the weights of one process, bit for bit after a resume, in any other world."""

from __future__ import annotations

import copy
import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from bert_core.distributed import World
from tests.bert_core.ranks import ROWS, TINY, Trainer, batch_of, on_ranks

pytestmark = pytest.mark.timeout(900)  # six processes; five minutes on a crowded machine
STRATEGIES = ("replicate", "ddp", "fsdp")
OPTIMIZERS: dict[str, dict[str, Any]] = {"adamw": {}, "stable": {"stable": True}, "muon": {"type": "muon"}}
DROPOUT = {"hidden_dropout": 0.1, "attention_dropout": 0.1}
CASES = {
    f"{strategy}-{optimizer}-{micro}": (strategy, optimizer, micro)
    for strategy in STRATEGIES
    for optimizer, micro in (("adamw", None), ("adamw", 2), ("stable", 2), ("muon", 2))
}
FAMILIES: dict[str, dict[str, Any]] = {
    "shared": {"share_layers": True, "embedding_size": 8},
    "modern": {"positions": "rope", "norm_first": True, "activation": "geglu", "bias": False, "local_window": 4},
}
SAVED_BY = {f"{strategy}-{optimizer}": (strategy, optimizer) for strategy in STRATEGIES for optimizer in OPTIMIZERS}


def runtime(strategy: str, micro_rows: int | None = None, **more: Any) -> dict[str, Any]:
    return {"parallel": strategy, "micro_rows": micro_rows, **more}


def note(folder: Path, name: str, world: World, work: Callable[[], Any]) -> None:
    """Save what `work` gives on rank 0, or the trace of its failure on any."""
    try:
        found = work()
        if world.rank == 0:
            torch.save(found, folder / f"{name}.pt")
    except Exception:
        (folder / f"{name}.failed").write_text(traceback.format_exc())
        raise


def noted(folder: Path, name: str) -> Any:
    for failed in [*folder.glob(f"{name}.failed"), *folder.glob("error-*")]:
        if not (folder / f"{name}.pt").exists():
            pytest.fail(failed.read_text())
    return torch.load(folder / f"{name}.pt", weights_only=False)


def two(world: World, folder: Path) -> None:
    """Everything that is asked of two ranks."""
    for name, (strategy, optimizer, micro) in CASES.items():

        def several(strategy: str = strategy, optimizer: str = optimizer, micro: int | None = micro) -> Any:
            trainer = Trainer(world, runtime(strategy, micro), OPTIMIZERS[optimizer]).train(range(4))
            return trainer.state()[0], trainer.norms

        note(folder, name, world, several)
    for name, (strategy, optimizer) in SAVED_BY.items():
        start = Trainer(world, runtime(strategy), OPTIMIZERS[optimizer])
        note(folder, f"saved-{name}", world, start.train(range(3)).state)
    for strategy in STRATEGIES:
        note(folder, f"resumed-{strategy}", world, lambda strategy=strategy: resumed(world, strategy))
        note(folder, f"recomputed-{strategy}", world, lambda strategy=strategy: recomputed(world, strategy))
        note(folder, f"evaluated-{strategy}", world, lambda strategy=strategy: evaluated(world, strategy))
        for family in FAMILIES:
            start = Trainer(world, runtime(strategy, 2), {}, **FAMILIES[family])
            note(folder, f"{family}-{strategy}", world, lambda start=start: start.train(range(3)).state()[0])
    note(folder, "split", world, lambda: shares(world))


def resumed(world: World, strategy: str, micro_rows: int = 2) -> Any:
    """Weights after six steps with dropout, at once and in two halves."""
    asked = runtime(strategy, micro_rows)
    whole = Trainer(world, asked, {}, **DROPOUT).train(range(6)).state()
    half = copy.deepcopy(Trainer(world, asked, {}, **DROPOUT).train(range(3)).state())
    return whole, Trainer(world, asked, {}, **DROPOUT).load(half).train(range(3, 6)).state()


def recomputed(world: World, strategy: str) -> Any:
    """Weights with dropout, activations kept and computed again."""
    return [
        Trainer(world, runtime(strategy, activation_checkpointing=again), {}, **DROPOUT).train(range(3)).state()[0]
        for again in (False, True)
    ]


def evaluated(world: World, strategy: str) -> Any:
    """Logits of the weights themselves, of others swapped in, and of the weights again; and a step after that."""
    trainer = Trainer(world, runtime(strategy), {}).train(range(2))
    others = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train(range(2, 3))

    def logits() -> Tensor:
        trainer.model.eval()
        with torch.inference_mode():
            found: Tensor = trainer.parallel.module(batch_of(9, 0, 2))[1].clone()
        trainer.model.train()
        return found

    before = logits()
    with trainer.parallel.swapped(others):
        within = logits()
    return before, within, logits(), trainer.train(range(3, 4)).state()[0]


def shares(world: World) -> Any:
    """Per rank, the elements of parameters and of optimizer state that it holds under fsdp."""
    trainer = Trainer(world, runtime("fsdp"), {}).train(range(1))
    parameters = list(trainer.model.parameters())
    assert all(isinstance(p, DTensor) for p in parameters)
    state = [value for one in trainer.optimizer.state.values() for value in (one["exp_avg"], one["exp_avg_sq"])]
    held = [sum(p.to_local().numel() for p in group) for group in (parameters, state)]  # type: ignore[attr-defined]
    return world.gather(held), sum(p.numel() for p in parameters)


def four(world: World, folder: Path) -> None:
    """Three more steps from what two ranks saved, under another strategy."""
    for saved, strategy in RESHARDED:
        optimizer = SAVED_BY[saved][1]
        state = torch.load(folder / f"saved-{saved}.pt") if world.rank == 0 else ({}, {})
        start = Trainer(world, runtime(strategy), OPTIMIZERS[optimizer])
        note(
            folder,
            f"{saved}-to-{strategy}",
            world,
            lambda start=start, state=state: start.load(state).train(LATER).state()[0],
        )

    note(folder, "resumed-ddp-on-four", world, lambda: resumed(world, "ddp", 1))


LATER = range(3, 6)
RESHARDED = [(f"{a}-adamw", b) for a in STRATEGIES for b in STRATEGIES if a != b]
RESHARDED += [
    (f"{a}-{optimizer}", b) for optimizer in ("stable", "muon") for a, b in (("ddp", "fsdp"), ("fsdp", "ddp"))
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks noted, and then four."""
    folder = tmp_path_factory.mktemp("ranks")
    if on_ranks(2, two, folder) == [0, 0]:
        on_ranks(4, four, folder)
    return folder


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[dict[str, Tensor], list[float]]]:
    """Weights of one process after 4 steps, by optimizer and rows of a micro batch."""
    found = {}
    for name, (_, optimizer, micro) in CASES.items():
        trainer = Trainer(World(), runtime("replicate", micro), OPTIMIZERS[optimizer]).train(range(4))
        found[name.partition("-")[2]] = (trainer.state()[0], trainer.norms)
    return found


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], optimizer: str = "adamw") -> None:
    assert found.keys() == expected.keys()
    atol = 1e-3 if optimizer == "muon" else 1e-5  # it rounds to bf16, and moves a weight by about 1e-2 here
    for name, values in expected.items():
        torch.testing.assert_close(
            found[name], values, rtol=1e-4, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_of_any_strategy_land_where_one_process_does(case: str, ranks: Path, alone: Any) -> None:
    weights, norms = noted(ranks, case)
    expected, expected_norms = alone[case.partition("-")[2]]
    assert norms == pytest.approx(expected_norms, rel=1e-4)
    assert_close(weights, expected, CASES[case][1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_layers_that_share_weights_and_modern_ones_do_too(family: str, strategy: str, ranks: Path) -> None:
    expected = Trainer(World(), runtime("replicate"), {}, **FAMILIES[family]).train(range(3)).state()[0]
    assert_close(noted(ranks, f"{family}-{strategy}"), expected)


@pytest.mark.parametrize("run", [*STRATEGIES, "ddp-on-four"])
def test_two_halves_are_bit_for_bit_the_whole(run: str, ranks: Path) -> None:
    """Two summands make one sum in any order; from three on the order of DDP's buckets shows."""
    whole, halves = noted(ranks, f"resumed-{run}")
    for a, b in zip(whole, halves, strict=True):
        assert a.keys() == b.keys()
        for name, values in a.items():
            assert torch.equal(values, b[name]), name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_activations_computed_again_have_the_same_dropout(strategy: str, ranks: Path) -> None:
    kept, again = noted(ranks, f"recomputed-{strategy}")
    for name, values in kept.items():
        assert torch.equal(values, again[name]), name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_other_weights_can_be_evaluated_and_training_goes_on(strategy: str, ranks: Path, alone: Any) -> None:
    before, within, after, weights = noted(ranks, f"evaluated-{strategy}")
    assert torch.equal(before, after)
    assert (before - within).abs().max() > 1e-3
    assert_close(weights, alone["adamw-None"][0])


def test_under_fsdp_a_rank_holds_its_share_of_weights_and_optimizer_state(ranks: Path) -> None:
    held, total = noted(ranks, "split")
    assert sum(parameters for parameters, _ in held) == total
    for parameters, state in held:
        assert state == 2 * parameters
        assert parameters == pytest.approx(total / 2, rel=0.05)


@pytest.mark.parametrize(("saved", "strategy"), RESHARDED)
def test_what_two_ranks_saved_continues_on_four(saved: str, strategy: str, ranks: Path) -> None:
    optimizer = SAVED_BY[saved][1]
    assert_close(noted(ranks, f"{saved}-to-{strategy}"), six_steps(optimizer), optimizer)


@pytest.mark.parametrize("saved", SAVED_BY)
def test_what_two_ranks_saved_continues_in_one_process(saved: str, ranks: Path) -> None:
    optimizer = SAVED_BY[saved][1]
    for strategy in STRATEGIES:  # alone there is nothing to spread, whatever is asked for
        trainer = Trainer(World(), runtime(strategy), OPTIMIZERS[optimizer]).load(noted(ranks, f"saved-{saved}"))
        assert_close(trainer.train(LATER).state()[0], six_steps(optimizer), optimizer)


@functools.cache
def six_steps(optimizer: str) -> dict[str, Tensor]:
    return Trainer(World(), runtime("replicate"), OPTIMIZERS[optimizer]).train(range(6)).state()[0]


def test_another_model_s_state_is_refused_by_name() -> None:
    trainer = Trainer(World(), runtime("replicate"), {})
    model, state = trainer.train(range(1)).state()
    with pytest.raises(KeyError, match=r"mlm_head\.bias"):
        trainer.load(({name: values for name, values in model.items() if name != "mlm_head.bias"}, state))
    wide = model | {"mlm_head.bias": torch.zeros(TINY.vocab_size + 1)}
    with pytest.raises(RuntimeError, match=r"mlm_head\.bias: shape \(62,\) given, \(61,\) needed"):
        trainer.load((wide, state))


@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_give_the_same_weights(recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and split into forward and backward as always, and run by torch instead of code made by a C++ compiler."""
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend="aot_eager"))
    asked = runtime("replicate", compile=True, activation_checkpointing=recompute)
    names = list(Trainer(World(), runtime("replicate"), {}).state()[0])
    trainer = Trainer(World(), asked, {}).train(range(2))
    weights = trainer.state()[0]
    assert list(weights) == names
    assert_close(weights, Trainer(World(), runtime("replicate"), {}).train(range(2)).state()[0])


compile_ = torch.compile


def test_micro_batches_add_up_to_the_batch(alone: Any) -> None:
    assert ROWS % 2 == 0
    assert_close(alone["adamw-2"][0], alone["adamw-None"][0])
