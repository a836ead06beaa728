"""The peer of the pretraining benchmarks: BertForMaskedLM in transformers' own Trainer, set up as well as it can be.

Its attention is sdpa, its optimizer fused AdamW, denormals are flushed; special_tokens_mask is given, so that its
collator need not look for special tokens; nothing is saved or logged. Two forms of its data:

    blocks      documents with [CLS] and [SEP], joined and cut into blocks of 128 (group_texts of run_mlm.py)
    documents   one a row, padded to the longest of the batch (run_mlm.py --line_by_line); with `grouped`, rows of
                similar length are put together (train_sampling_strategy="group_by_length")

and three precisions: fp32; bf16, its own flag, which is torch.autocast; and bf16 products, torch's setting that rounds
the inputs of fp32 matrix products, which is not a flag of Trainer but is open to its users.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from alternating import Gate, alive_s
from numpy.typing import NDArray
from pretraining_texts import Corpus
from torch.utils.data import Dataset
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from bert_core.config import ModelConfig
from bert_core.memory import peak_bytes

SEED = 13
FOREVER = 10**6  # steps: the parent ends the process


class Rows(Dataset[dict[str, list[int]]]):
    """Token ids and which of them are special, as lists: what `datasets` gives the collator, without its decoding."""

    def __init__(self, rows: Sequence[NDArray[np.int64]], specials: Sequence[int]) -> None:
        self.input_ids = [row.tolist() for row in rows]
        self.special = [np.isin(row, specials).astype(int).tolist() for row in rows]

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.input_ids[index], "special_tokens_mask": self.special[index]}


class CountingCollator(DataCollatorForLanguageModeling):
    """Remembers how many tokens of each batch are not padding: a batch is collated before the step that uses it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tokens: deque[int] = deque()
        self.positions: deque[int] = deque()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        batch = super().__call__(*arguments, **named)
        self.tokens.append(int(batch["attention_mask"].sum()))
        self.positions.append(batch["input_ids"].numel())
        return batch


class Turns(TrainerCallback):
    """Stops at a gate before the first step and after every `steps`."""

    def __init__(self, gate: Gate, collator: CountingCollator, steps: int, setup: Mapping[str, Any]) -> None:
        self._gate, self._collator, self._steps, self._setup = gate, collator, steps, setup
        self._tokens = self._positions = 0
        self._started: float | None = None

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self._started is None:
            self._gate.wait(self._setup | {"peak_bytes": peak_bytes()})
            self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tokens += self._collator.tokens.popleft()
        self._positions += self._collator.positions.popleft()
        if state.global_step % self._steps == 0 and self._started is not None:
            seconds = time.perf_counter() - self._started
            figures = {"seconds": seconds, "tokens": self._tokens, "positions": self._positions, "steps": self._steps}
            self._gate.wait(figures | {"peak_bytes": peak_bytes()})
            self._tokens = self._positions = 0
            self._started = time.perf_counter()


def blocks(documents: Sequence[NDArray[np.int64]], cls_id: int, sep_id: int, length: int) -> list[NDArray[np.int64]]:
    """group_texts of run_mlm.py: all joined, cut into blocks; the rest is dropped."""
    joined = np.concatenate([np.concatenate([[cls_id], document, [sep_id]]) for document in documents])
    return list(joined[: len(joined) // length * length].reshape(-1, length))


def rows_of(corpus: Corpus, form: str, length: int) -> list[NDArray[np.int64]]:
    tokenizer = corpus.load_tokenizer()
    if form == "blocks":
        return blocks(list(corpus.documents("train")), tokenizer.cls_id, tokenizer.sep_id, length)
    ends = [tokenizer.cls_id], [tokenizer.sep_id]
    return [np.concatenate([ends[0], sample, ends[1]]) for sample in corpus.samples("train", length - 2)]


def bert(shape: ModelConfig, implementation: str = "sdpa") -> BertForMaskedLM:
    return BertForMaskedLM(
        BertConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            intermediate_size=shape.intermediate_size,
            max_position_embeddings=shape.max_positions,
            hidden_dropout_prob=shape.hidden_dropout,
            attention_probs_dropout_prob=shape.attention_dropout,
            attn_implementation=implementation,
        )
    )


def prepare_process(threads: int, precision: str) -> None:
    """What must be set before any product: denormals are flushed in the threads that are made after this."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if precision == "bf16 products":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]


def trainer(
    corpus: Corpus,
    shape: ModelConfig,
    *,
    form: str,
    grouped: bool,
    precision: str,
    rows: int,
    length: int,
    callbacks: Sequence[TrainerCallback] = (),
    **arguments: Any,
) -> Trainer:
    """A Trainer over the corpus's training side; `arguments` go to TrainingArguments."""
    set_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(corpus.tokenizer)
    data = Rows(rows_of(corpus, form, length), tokenizer.all_special_ids)
    collator = CountingCollator(tokenizer, mlm_probability=0.15)
    defaults: dict[str, Any] = {
        "max_steps": FOREVER,
        "learning_rate": 1e-4,
        "weight_decay": 0.01,
        "warmup_steps": 100,
    }
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="bench-trainer-"),
        use_cpu=not torch.cuda.is_available(),
        per_device_train_batch_size=rows,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        max_grad_norm=1.0,
        train_sampling_strategy="group_by_length" if grouped else "random",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=SEED,
        **(defaults | arguments),
    )
    return Trainer(
        model=bert(shape), args=settings, train_dataset=data, data_collator=collator, callbacks=list(callbacks)
    )


def run_turns(spec: Mapping[str, Any], gate: Gate, corpus: Corpus, shape: ModelConfig) -> None:
    """Train without end, `spec["steps"]` steps a turn."""
    prepare_process(spec["threads"], spec["precision"])
    work = trainer(
        corpus,
        shape,
        form=spec["form"],
        grouped=spec.get("grouped", False),
        precision=spec["precision"],
        rows=spec["rows"],
        length=spec["length"],
    )
    setup = {"setup_s": alive_s()}
    work.add_callback(Turns(gate, work.data_collator, spec["steps"], setup))
    work.train()
