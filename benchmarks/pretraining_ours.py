"""Our side of the pretraining benchmarks: `bert_core.train.run` itself, loader included, stopped at gates.

The one place that knows how our loop is called: what the other benchmarks need of it goes through here.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from alternating import Gate, alive_s
from pretraining_texts import Corpus
from torch import Tensor

from bert_core import train, training_run
from bert_core.build import fresh_state
from bert_core.config import ModelConfig, TrainConfig, validate
from bert_core.data import Batch, Loader, PretrainingData, document_bounds
from bert_core.distributed import World
from bert_core.memory import peak_bytes
from bert_core.step import apply_gradients, measure_gradients

NEVER = 10**9


def config(corpus: Corpus, shape: ModelConfig, **more: Any) -> TrainConfig:
    """Masked language modelling on the corpus's training side, with nothing saved on the way; `more` overrides."""
    plain: dict[str, Any] = {
        "name": "bench",
        "model": shape.model_dump(mode="json"),
        "objective": {"type": "mlm"},
        "optimizer": {"lr": 1e-4},
        "batch": {"rows": 32, "row_length": 128},
        "steps": 10**6,
        "train_data": str(corpus.train),
        "tokenizer": str(corpus.tokenizer),
        "checkpoint_every": NEVER,
        "eval_every": NEVER,
        "log_every": 1,
    }
    return validate(TrainConfig, plain | more)


def prepare_process(threads: int) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


class Turns:
    """A `report` that stops at a gate after the warming step and then after every report."""

    def __init__(self, gate: Gate, steps: int, positions_a_step: int) -> None:
        self._gate, self._steps, self._positions = gate, steps, positions_a_step
        self._tokens, self._step = 0, 0
        self._started: float | None = None

    def __call__(self, line: dict[str, Any], _: Path | None) -> None:
        if line["kind"] != "train":
            return
        now = time.perf_counter()
        figures: dict[str, Any] = {"peak_bytes": peak_bytes(), "loss": line["loss"]}
        if self._started is None:
            figures["setup_s"] = alive_s()
        else:
            steps = line["step"] - self._step
            figures |= {"seconds": now - self._started, "tokens": line["tokens"] - self._tokens, "steps": steps}
            figures["positions"] = steps * self._positions
        self._tokens, self._step = line["tokens"], line["step"]
        self._gate.wait(figures)
        self._started = time.perf_counter()


def run_turns(spec: Mapping[str, Any], gate: Gate, corpus: Corpus, shape: ModelConfig) -> None:
    """Train without end, `spec["steps"]` steps a turn; the first step comes before the first gate."""
    prepare_process(spec["threads"])
    rows, length = spec["rows"], spec["length"]
    settings = config(
        corpus,
        shape,
        batch={"rows": rows, "row_length": length},
        precision=spec["precision"],
        log_every=spec["steps"],
        **spec.get("config", {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        turns = Turns(gate, spec["steps"], rows * length)
        train.run(settings, work_dir=Path(folder), report=turns)


class _EnoughError(Exception):
    """Raised in a report, to leave the loop without exporting a model."""


def loader_data(corpus: Corpus, rows: int, length: int) -> PretrainingData:
    """What the loop reads its batches from."""
    settings = config(corpus, ModelConfig(vocab_size=8), batch={"rows": rows, "row_length": length})
    found = train.build_data(settings, str(corpus.train))
    assert isinstance(found, PretrainingData)
    return found


def loading_seconds(
    corpus: Corpus, shape: ModelConfig, rows: int, length: int, steps: int
) -> tuple[list[float], list[float]]:
    """Of each step but the first: seconds in the loader, and in all, in the real loop."""
    loading: list[float] = []
    ends: list[float] = []
    original = Loader.micro_batches

    def timed(self: Loader, step: int) -> list[Batch]:
        started = time.perf_counter()
        found = original(self, step)
        loading.append(time.perf_counter() - started)
        return found

    def report(line: dict[str, Any], _: Path | None) -> None:
        ends.append(time.perf_counter())
        if len(ends) > steps:
            raise _EnoughError

    Loader.micro_batches = timed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder, suppress(_EnoughError):
            settings = config(corpus, shape, batch={"rows": rows, "row_length": length}, precision="auto")
            train.run(settings, work_dir=Path(folder), report=report)
    finally:
        Loader.micro_batches = original  # type: ignore[method-assign]
    return loading[1:], [after - before for before, after in itertools.pairwise(ends)]


def batch_of_rows(input_ids: Tensor, attention_mask: Tensor, positions: Tensor, labels: Tensor) -> Batch:
    """A batch of one document a row, (B, T) each, predicting `labels` at flat `positions`."""
    B, T = input_ids.shape
    bounds, longest = document_bounds(attention_mask)
    return Batch(
        input_ids=input_ids,
        token_type_ids=torch.zeros_like(input_ids),
        position_ids=torch.arange(T).expand(B, T) * attention_mask,
        document_ids=attention_mask,
        cls_positions=torch.arange(B) * T,
        predict_positions=positions,
        predict_labels=labels,
        sample_labels=torch.full((B,), -1),
        sample_ids=list(range(B)),
        num_tokens=int(attention_mask.sum()),
        cu_seqlens=bounds,
        max_seqlen=longest,
    )


def run_measured(
    settings: TrainConfig,
    work_dir: Path,
    batches: Callable[[], Iterator[Batch]],
    measure: Callable[[int, Callable[[], float]], None],
    start: Callable[[], None],
) -> None:
    """Train with the loop's own evaluation put on other `batches`.

    Args:
        batches: a fresh pass over them.
        measure: called at every evaluation, with the tokens trained on so far and what measures the loss in fp32.
        start: called after the first evaluation, before the first step.
    """
    original = training_run.evaluate

    def evaluate(state: Any, _: Any, **named: Any) -> dict[str, float]:
        found: dict[str, float] = {}

        def loss() -> float:
            found.update(original(state, batches(), **(named | {"precision": "fp32"})))
            return found["mlm_loss"]

        measure(state.tokens, loss)
        start()
        return found

    training_run.evaluate = evaluate
    try:
        train.run(settings, work_dir=work_dir, report=lambda line, _: None)
    finally:
        training_run.evaluate = original


def device_step(
    corpus: Corpus,
    shape: ModelConfig,
    rows: int,
    length: int,
    device: torch.device,
    count: int,
    *,
    compile: bool,
) -> tuple[Callable[[Batch], None], list[Batch]]:
    """Our step in bf16, and `count` of the loader's batches, on `device`. A step never waits for the device."""
    settings = config(
        corpus, shape, batch={"rows": rows, "row_length": length}, precision="bf16", runtime={"compile": compile}
    )
    world = World()
    data = loader_data(corpus, rows, length)
    state = fresh_state(settings, data, world, device, "bf16")

    def step(batch: Batch) -> None:
        figures = measure_gradients(
            state,
            [batch],
            precision="bf16",
            seed=settings.seed,
            world=world,
            device=device,
            beat=lambda *_: None,
        )
        apply_gradients(state, figures, lr=1e-4, optimizer=settings.optimizer)

    return step, [data.batch(number, 0, 1).to(device) for number in range(count)]


def loop_rate(
    corpus: Corpus, shape: ModelConfig, rows: int, length: int, steps: int, rounds: int, loader_workers: int
) -> float:
    """Tokens a second of the real loop on whatever device it finds: the median of `rounds` stretches of `steps`."""
    settings = config(
        corpus,
        shape,
        batch={"rows": rows, "row_length": length},
        precision="bf16",
        runtime={"loader_workers": loader_workers},
        log_every=steps,
    )
    seen: list[tuple[float, int]] = []

    def report(line: dict[str, Any], _: Path | None) -> None:
        if line["kind"] == "train":
            seen.append((time.perf_counter(), line["tokens"]))
        if len(seen) > rounds + 1:  # the first reports come after one step and after the warming stretch
            raise _EnoughError

    with tempfile.TemporaryDirectory() as folder, suppress(_EnoughError):
        train.run(settings, work_dir=Path(folder), report=report)
    stretches = list(itertools.pairwise(seen))[1:] or list(itertools.pairwise(seen))
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in stretches)
