"""One attempt of a speedrun, in a process of its own: prints the curve of held-out loss against seconds as JSON.

Seconds are the wall clock of the training loop, loader and logging included, from the first step's beginning;
measuring the held-out loss stops the clock, and so does nothing else. Building the model and reading the corpus come
before the first step.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import torch
from heldout import HeldOut, Padded, held_out
from pretraining_texts import Corpus, prepare
from throughput import SHAPES

from bert_core.config import ModelConfig
from bert_core.heads import MlmHead

LENGTH, ROWS = 128, 32


class Clock:
    """Runs from `start`; stands while a measurement is made, and keeps what was measured."""

    def __init__(self, target: float | None) -> None:
        self._seconds = 0.0
        self._running: float | None = None
        self.target = target
        self.curve: list[dict[str, float]] = []

    def start(self) -> None:
        if self._running is None:
            self._running = time.perf_counter()

    def measure(self, tokens: int, loss: Callable[[], float]) -> bool:
        """Stop, measure, go on; True if the target is reached, before the first step never."""
        if self._running is not None:
            self._seconds += time.perf_counter() - self._running
        found = loss()
        self.curve.append({"seconds": self._seconds, "tokens": tokens, "loss": found})
        print(f"{self._seconds:8.1f} s {tokens:>10,} tokens  held-out {found:.4f}", file=sys.stderr, flush=True)
        if self._running is not None:
            self._running = time.perf_counter()
        return self.target is not None and self._running is not None and found <= self.target


def shape_of(size: str, corpus: Corpus, overrides: Mapping[str, Any]) -> ModelConfig:
    """The size's BERT with the corpus's vocabulary; `overrides` with a family start from that family instead."""
    base = SHAPES[size]
    vocabulary = corpus.load_tokenizer().vocab_size
    if "family" in overrides:
        of_size = {
            "num_layers": base.num_layers,
            "hidden_size": base.hidden_size,
            "num_heads": base.num_heads,
            "intermediate_size": base.intermediate_size * 2 // 3 // 8 * 8,
            "max_positions": 512,
        }
        return ModelConfig.model_validate({**of_size, **overrides, "vocab_size": vocabulary})
    return ModelConfig.model_validate({**base.model_dump(), **overrides, "vocab_size": vocabulary})


def trainer_trial(spec: Mapping[str, Any], corpus: Corpus, measured: HeldOut) -> Clock:
    """transformers' Trainer on its blocks of 128, `spec["steps"]` steps with linear warmup and decay.

    Its recipe starts the decoder's bias at zero; `spec["head_bias"]` "frequencies" gives it what our head starts with.
    """
    import pretraining_trainer
    from transformers import TrainerCallback

    pretraining_trainer.prepare_process(spec["threads"], spec["precision"])
    clock = Clock(None)
    every = max(1, spec["steps"] // spec["evaluations"])

    def loss(model: torch.nn.Module) -> float:
        return trainer_loss(model, measured)

    class Measured(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
            step = state.global_step
            if step % every == 0 or step == spec["steps"]:
                clock.measure(step * ROWS * LENGTH, lambda: loss(model))

    work = pretraining_trainer.trainer(
        corpus,
        shape_of(spec["size"], corpus, {}),
        form="blocks",
        grouped=False,
        precision=spec["precision"],
        rows=ROWS,
        length=LENGTH,
        callbacks=[Measured()],
        max_steps=spec["steps"],
        learning_rate=spec["lr"],
        warmup_steps=round(0.1 * spec["steps"]),
        lr_scheduler_type="linear",
    )
    if spec["head_bias"] == "frequencies":
        counts = torch.from_numpy(corpus.shards("train").token_counts())
        MlmHead.start_from_frequencies(
            work.model.cls.predictions, counts
        )  # it, too, has a bias and nothing else is set
    clock.measure(0, lambda: loss(work.model))
    work.train()
    return clock


@torch.inference_mode()
def trainer_loss(model: torch.nn.Module, measured: HeldOut) -> float:
    """By its own forward pass, padded, with an attention mask."""
    was_training = model.training
    model.eval()
    total = 0.0
    for batch in measured.batches():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        total += float(
            torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), reduction="sum")
        )
    model.train(was_training)
    return total / measured.asked


class _ReachedError(Exception):
    pass


def our_trial(spec: Mapping[str, Any], corpus: Corpus, measured: HeldOut) -> Clock:
    """`bert_core.train.run`, its evaluation put on the fixed set. Stops at the target."""
    import pretraining_ours

    pretraining_ours.prepare_process(spec["threads"])
    clock = Clock(spec.get("target"))

    def loss_hook(tokens: int, loss: Callable[[], float]) -> None:
        if clock.measure(tokens, loss):
            raise _ReachedError

    recipe = dict(spec["recipe"])
    if recipe.pop("head_bias", "frequencies") == "zeros":
        MlmHead.start_from_frequencies = lambda self, counts: None  # type: ignore[method-assign]
    shape = shape_of(spec["size"], corpus, recipe.pop("model", {}))
    settings = pretraining_ours.config(
        corpus,
        shape,
        eval_data=str(corpus.held_out),
        tokens=spec["tokens"],
        steps=None,
        eval_every_tokens=max(1, spec["tokens"] // spec["evaluations"]),
        log_every=10,
        **recipe,
    )
    with tempfile.TemporaryDirectory() as folder, suppress(_ReachedError):
        pretraining_ours.run_measured(
            settings, Path(folder), lambda: map(our_batch, measured.batches()), loss_hook, clock.start
        )
    return clock


def our_batch(padded: Padded) -> Any:
    """One sample a row, as our model reads it."""
    import pretraining_ours

    labels = padded.labels.flatten()
    asked = (labels >= 0).nonzero().squeeze(1)
    return pretraining_ours.batch_of_rows(padded.input_ids, padded.attention_mask, asked, labels[asked])


def main() -> None:
    spec = json.loads(sys.argv[1])
    corpus = prepare(spec["corpus"], Path(spec["folder"]) if spec.get("folder") else None)
    measured = held_out(corpus)
    trial = trainer_trial if spec["side"] == "trainer" else our_trial
    clock = trial(spec, corpus, measured)
    print("\n" + json.dumps({"curve": clock.curve, "sha256": measured.sha256, "asked": measured.asked}))


if __name__ == "__main__":
    main()
