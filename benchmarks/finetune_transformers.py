"""The peer in the fine-tuning benchmark: transformers' BertForSequenceClassification, fine-tuned plainly but well.

Two epochs of batches of 32 texts of similar length, fused AdamW, learning rate 1e-4 with 10% linear warmup and linear
decay, two threads: what a careful person writes who uses transformers and PyTorch alone. `run` gives the figures, so
that a driver can alternate it with ours in one process; the command line prints them as JSON:

    python benchmarks/finetune_transformers.py .foundry/store/split/…/documents .foundry/data/all-minilm-l6-v2
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

BATCH = 32
LEARNING_RATE = 1e-4
WARMUP_SHARE = 0.1
MAX_TOKENS = 128
POOL = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class Side:
    tokens: list[list[int]]
    labels: list[int]


def run(
    documents: Path,
    weights: Path,
    *,
    epochs: int,
    seed: int,
    threads: int,
    bf16: bool = False,
    limit: int | None = None,
) -> dict[str, Any]:
    """Fine-tune on the labelled documents of the train split, and measure on those of the test split after each epoch.

    Args:
        documents: Parquet, a file or a folder of parts, with columns text, label (null: not used) and split.
        weights: a transformers folder.
        bf16: products in bfloat16 (`torch.autocast`), as CPUs with instructions for it do them fastest.
        limit: use only this many documents of each side.

    Returns:
        seconds (training alone: no tokenizing, no evaluation), accuracy (one for each epoch), and what was trained on.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # Without this, denormals make the backward matrix products of a confident model ten times slower.
    torch.set_flush_denormal(True)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    labels, (train, test) = _read(documents, tokenizer, limit)
    model = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=len(labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    total_steps = epochs * math.ceil(len(train.labels) / BATCH)
    schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP_SHARE * total_steps), total_steps)
    rng, seconds, tokens, accuracy = random.Random(seed), 0.0, 0, []
    for _ in range(epochs):
        model.train()
        started = time.perf_counter()
        for rows in _buckets(train.tokens, rng):
            batch = _padded([train.tokens[row] for row in rows], tokenizer.pad_token_id)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model(**batch, labels=torch.tensor([train.labels[row] for row in rows])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            tokens += int(batch["attention_mask"].sum())
        seconds += time.perf_counter() - started
        accuracy.append(_accuracy(model, test, tokenizer.pad_token_id))
    return {
        "peer": "transformers",
        "seconds": round(seconds, 1),
        "accuracy": [round(value, 4) for value in accuracy],
        "steps": total_steps,
        "tokens_per_second": round(tokens / seconds, 1),
        "train_documents": len(train.labels),
        "test_documents": len(test.labels),
        "epochs": epochs,
        "seed": seed,
        "threads": threads,
        "bf16": bf16,
    }


@torch.inference_mode()
def _accuracy(model: torch.nn.Module, side: Side, pad: int) -> float:
    model.eval()
    order = sorted(range(len(side.tokens)), key=lambda row: len(side.tokens[row]))
    hits = 0
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        predicted = model(**_padded([side.tokens[row] for row in rows], pad)).logits.argmax(dim=1).tolist()
        hits += sum(guess == side.labels[row] for guess, row in zip(predicted, rows, strict=True))
    return hits / len(order)


def _read(path: Path, tokenizer: Any, limit: int | None) -> tuple[list[str], list[Side]]:
    table = pq.read_table(path, columns=["text", "label", "split"]).to_pylist()
    labels = sorted({row["label"] for row in table if row["label"] is not None})
    sides = []
    for name in ("train", "test"):
        rows = [row for row in table if row["split"] == name and row["label"] is not None][:limit]
        if not rows:
            raise ValueError(f"{path}: no labelled document of split {name!r}")
        encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
        sides.append(Side(encoded, [labels.index(row["label"]) for row in rows]))
    return labels, sides


def _buckets(tokens: Sequence[Sequence[int]], rng: random.Random) -> Iterator[list[int]]:
    """Batches of rows of similar length, in random order: each pool of batches is shuffled, then sorted by length."""
    rows = list(range(len(tokens)))
    rng.shuffle(rows)
    batches = []
    for start in range(0, len(rows), POOL * BATCH):
        pool = sorted(rows[start : start + POOL * BATCH], key=lambda row: len(tokens[row]))
        batches += [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
    rng.shuffle(batches)
    yield from batches


def _padded(tokens: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    length = max(len(each) for each in tokens)
    return {
        "input_ids": torch.tensor([[*each, *[pad] * (length - len(each))] for each in tokens]),
        "attention_mask": torch.tensor([[1] * len(each) + [0] * (length - len(each)) for each in tokens]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path, help="documents/ of a split artifact")
    parser.add_argument("weights", type=Path, help="transformers folder")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16")
    parser.add_argument("--limit", type=int, help="documents of each side, for a quick look")
    arguments = vars(parser.parse_args())
    print(json.dumps(run(arguments.pop("documents"), arguments.pop("weights"), **arguments), indent=2))


if __name__ == "__main__":
    main()
