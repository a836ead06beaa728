"""Continued pretraining: masked words of a set's own training text, before it is fine-tuned (Gururangan et al., 2020,
arXiv:2004.10964).

The text is that of all training examples of the files, also of those beyond the sample that is fine-tuned on: labels
are dear, text is not. Nothing of the validation and test sides is in it; the split is made before the sample.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from finetuning.ours import NEVER, Clock
from finetuning.sets import TEXTS, BenchmarkSet, Prepared, prepare

from bert_core import tokenizer as tokenizers
from bert_core import train
from bert_core.config import TrainConfig, validate
from bert_core.shards import TokenizedDocument, write_shards
from bert_core.tokenizer import Tokenizer

EPOCHS, MOST_TOKENS = 3, 1_000_000
SETTINGS: dict[str, Any] = {
    "seed": 13,
    "objective": {"type": "mlm"},
    "optimizer": {"lr": 2e-4, "warmup_share": 0.06},
    "batch": {"rows": 32, "row_length": 128},
    "epochs": EPOCHS,
    "tokens": MOST_TOKENS,
}
"""What ends first counts. One run serves all seeds of the fine-tuning."""


def texts_of(table: pa.Table) -> list[str]:
    """Each text of a side once."""
    found = [text for name in TEXTS if name in table.column_names for text in table[name].to_pylist()]
    if "tokens" in table.column_names:
        found += [" ".join(tokens) for tokens in table["tokens"].to_pylist()]
    return list(dict.fromkeys(text for text in found if text and text.strip()))


def fit(chosen: BenchmarkSet, prepared: Prepared, *, precision: str, out: Path) -> dict[str, Any]:
    """Pretrain from the set's weights on its training text, and write the folder of weights to `out`.

    Raises:
        ValueError: the set has no weights to go on with, or its model reads from left to right.
    """
    if prepared.weights is None:
        raise ValueError(f"{chosen.name}: starts from random weights: there is nothing to continue")
    tokenizer, clock = tokenizers.load(prepared.tokenizer), Clock()
    table = prepare(chosen.whole()).side("train")
    with tempfile.TemporaryDirectory(prefix="bench-pretraining-") as folder:
        shards = Path(folder) / "shards"
        documents = _documents(texts_of(table), tokenizer)
        write_shards(shards, documents, vocab_size=tokenizer.vocab_size, fingerprint=tokenizer.fingerprint)
        where = {"init": str(prepared.weights), "tokenizer": str(prepared.tokenizer), "train_data": str(shards)}
        how = {"name": "bench", "precision": precision, "log_every": 50, "checkpoint_every": NEVER}
        settings = validate(TrainConfig, {**SETTINGS, **where, **how})
        summary = train.run(settings, work_dir=Path(folder) / "run", report=clock.report)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(Path(folder) / "run/model", out)
    return {"seconds": summary["seconds"], "tokens": summary["tokens"], "texts": table.num_rows}


def _documents(texts: list[str], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    for number, found in enumerate(tokenizer.backend.encode_batch(texts, add_special_tokens=False)):
        owners = np.array([-1 if word is None else word for word in found.word_ids])
        if len(owners):
            yield TokenizedDocument(
                document_id=str(number),
                tokens=np.array(found.ids),
                sentence_starts=np.array([0]),
                word_starts=np.diff(owners, prepend=-2) != 0,
            )
