"""Tokens a second of masked-language-model steps: ours against transformers, alternating, medians; padding not counted.

Both train a 6 x 384 BERT (vocabulary 30,522, dropout 0.1, fused AdamW) on rows of 128 tokens: BertForMaskedLM
of transformers with sdpa on full rows (its best case), ours on rows packed with documents that do not see each other.

    python benchmarks/throughput.py [--threads 2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from bert_core.config import ModelConfig
from bert_core.data import Batch
from bert_core.heads import PretrainingModel
from bert_core.model import init_weights
from bert_core.train import set_precision

ROWS, LENGTH, DOCUMENT = 16, 128, 32
MASKED = 0.15


def packed_batch(generator: torch.Generator) -> Batch:
    """Rows of four documents of 32 tokens each, 15% of the tokens masked."""
    ids = torch.randint(1000, 30_522, (ROWS, LENGTH), generator=generator)
    position = torch.arange(LENGTH)
    masked = torch.rand(ROWS * LENGTH, generator=generator).lt(MASKED).nonzero().squeeze(1)
    return Batch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        position_ids=(position % DOCUMENT).expand(ROWS, -1),
        document_ids=(position // DOCUMENT + 1).expand(ROWS, -1),
        cls_positions=torch.arange(0, ROWS * LENGTH, DOCUMENT),
        predict_positions=masked,
        predict_labels=ids.flatten()[masked],
        sample_labels=torch.full((ROWS * LENGTH // DOCUMENT,), -1),
        sample_ids=list(range(ROWS * LENGTH // DOCUMENT)),
        num_tokens=ROWS * LENGTH,
    )


def stepper(model: torch.nn.Module, loss: Callable[[Batch], Tensor]) -> Callable[[Batch], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def ours() -> Callable[[Batch], None]:
    model = PretrainingModel(ModelConfig(), nsp=False)
    init_weights(model, 0.02, torch.Generator().manual_seed(0))
    return stepper(
        model, lambda batch: torch.nn.functional.cross_entropy(model(batch).mlm_logits, batch.predict_labels)
    )


def peer() -> Callable[[Batch], None]:
    shape = ModelConfig()
    model = BertForMaskedLM(
        BertConfig(
            hidden_size=shape.hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            intermediate_size=shape.intermediate_size,
            attn_implementation="sdpa",
        )
    ).train()

    def loss(batch: Batch) -> Tensor:
        labels = torch.full((ROWS * LENGTH,), -100)
        labels[batch.predict_positions] = batch.predict_labels
        return model(input_ids=batch.input_ids, labels=labels.view(ROWS, LENGTH)).loss

    return stepper(model, loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    generator = torch.Generator().manual_seed(1)
    sides = {
        "transformers, fp32": ("fp32", peer()),
        "transformers, bf16 products": ("bf16", peer()),
        "ours, fp32": ("fp32", ours()),
        "ours, bf16 products": ("bf16", ours()),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):
        for name, (precision, step) in sides.items():
            set_precision(precision)
            batch = packed_batch(generator)
            started = time.perf_counter()
            step(batch)
            if number:  # the first warms up
                rates[name].append(batch.num_tokens / (time.perf_counter() - started))
    base = statistics.median(rates["transformers, fp32"])
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"{name:<28} {middle:7,.0f} tokens/s ({min(found):,.0f} to {max(found):,.0f})  {middle / base:.2f}")


if __name__ == "__main__":
    main()
