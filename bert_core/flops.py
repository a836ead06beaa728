"""Floating-point operations of a training step, and the rate at which a device could do them at best.

Counted is what the algorithm needs (model FLOPs, as in PaLM, Chowdhery et al., 2022, arXiv:2204.02311, appendix B):
matrix products alone, two operations for each multiplication and addition, the backward pass twice the forward pass.
Activations that are computed again are not counted, and neither are padding, pairs of tokens that do not see each
other, look-ups, norms, softmax and dropout. So padding and masked-out scores lower the utilisation, as they should.
XLNet's relative positions and second stream are not counted either.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from bert_core.config import ModelConfig
from bert_core.data import Batch


@dataclass(frozen=True)
class BatchShape:
    """What the FLOPs of a global batch depend on; shapes of micro batches or ranks add up with `+`."""

    tokens: int
    """Padding not counted."""
    predicted: int
    """Positions at which the vocabulary is scored."""
    attended: int
    """Pairs (query, key) that see each other in a layer without a window, summed over documents."""
    attended_locally: int = 0
    """And in a layer with one."""
    samples: int = 0
    """States that go through a pooler: of pairs of segments, or of what is classified."""

    def __add__(self, other: BatchShape) -> BatchShape:
        return BatchShape(
            self.tokens + other.tokens,
            self.predicted + other.predicted,
            self.attended + other.attended,
            self.attended_locally + other.attended_locally,
            self.samples + other.samples,
        )


def batch_shape(config: ModelConfig, lengths: Sequence[int], predicted: int, samples: int = 0) -> BatchShape:
    """The shape of a batch of documents of these `lengths`, in tokens."""
    attended = local = 0
    for n in lengths:
        attended += n * (n + 1) // 2 if config.causal else n * n
        local += _pairs_in_window(n, config.local_window, config.causal) if config.local_window else 0
    return BatchShape(sum(lengths), predicted, attended, local, samples)


def shape_of(config: ModelConfig, batches: Iterable[Batch]) -> BatchShape:
    """The shape of micro batches together; they must be on the host."""
    total = BatchShape(0, 0, 0)
    for batch in batches:
        starts = batch.cu_seqlens[:-1].long()
        lengths = batch.cu_seqlens.diff()[batch.document_ids.flatten()[starts] > 0].tolist()
        total += batch_shape(config, lengths, batch.num_predictions, batch.num_labelled)
    return total


def forward_flops(config: ModelConfig, shape: BatchShape) -> int:
    """FLOPs of a forward pass over a batch.

    With C hidden_size, I intermediate_size, E embedding_size, V vocab_size and L layers, each of which counts whether
    or not it shares its weights with others:
        block     2 tokens (4 C² + m C I), m = 2, or 3 for a GeGLU
        attention 4 C pairs: the scores, and the weighted sum of values; in a layer with a window its pairs only
        head      2 predicted (C E + E V), the dense layer and the scores; a causal model has no dense layer
        pooler    2 samples C²; likewise
        embedding 2 tokens E C where E is not C
    The last block computes its feed-forward layer and output projection at the predicted positions (and samples)
    alone, and only these are counted for it.

    In tokens of sequences of T, forward and backward, this is Kaplan et al.'s (2020, arXiv:2001.08361) 6 N of N
    parameters and PaLM's 12 L C T, except for the embeddings, of which N leaves out the look-ups.
    """
    C, inner, layers = config.hidden_size, config.intermediate_size, config.num_layers
    E = config.embedding_size or C
    outputs = min(shape.tokens, shape.predicted + shape.samples)  # rows of the last block after its attention
    qkv = 2 * shape.tokens * 3 * C * C * layers
    rest_of_block = 2 * (C * C + (3 if config.activation == "geglu" else 2) * C * inner)
    after_attention = rest_of_block * (shape.tokens * (layers - 1) + outputs)
    local_layers = sum(config.window(layer) is not None for layer in range(layers))
    pairs = shape.attended * (layers - local_layers) + shape.attended_locally * local_layers
    dense = not config.causal
    head = 2 * shape.predicted * (C * E * dense + E * config.vocab_size)
    pooler = 2 * shape.samples * C * C * dense
    embedding = 2 * shape.tokens * E * C if E != C else 0
    return qkv + after_attention + 4 * C * pairs + head + pooler + embedding


def training_flops(config: ModelConfig, shape: BatchShape) -> int:
    """FLOPs of forward and backward pass over a global batch: three forward passes."""
    return 3 * forward_flops(config, shape)


def mfu(flops: float, seconds: float, peak: float) -> float:
    """Model FLOPs utilisation: the share of `peak` FLOP/s, of all devices together, that did `flops` in `seconds`."""
    return flops / (seconds * peak)


# Dense FLOP/s of matrix products with fp32 sums, from the makers' data sheets (which often print twice that, "with
# sparsity"). fp32: products of fp32 numbers outside of tensor cores, as torch does them by default.
# H200, H100: NVIDIA data sheets of 2024 and 2023. A100: data sheet of 2021. L40S, L4: 2023. A10: 2021. T4: 2019
# (fp16: it has no bf16). V100: 2020 (fp16). B200: HGX data sheet of 2025.
GPU_PEAKS: tuple[tuple[str, dict[str, float]], ...] = (  # the first name that is part of the device's
    ("B200", {"bf16": 2250e12, "fp32": 75e12}),
    ("H200", {"bf16": 989e12, "fp32": 67e12}),
    ("H100 NVL", {"bf16": 835e12, "fp32": 60e12}),
    ("H100 PCIe", {"bf16": 756e12, "fp32": 51e12}),
    ("H100", {"bf16": 989e12, "fp32": 67e12}),
    ("A100", {"bf16": 312e12, "fp32": 19.5e12}),
    ("L40S", {"bf16": 362e12, "fp32": 91.6e12}),
    ("L4", {"bf16": 121e12, "fp32": 30.3e12}),
    ("A10", {"bf16": 125e12, "fp32": 31.2e12}),
    ("T4", {"bf16": 65e12, "fp32": 8.1e12}),
    ("V100", {"bf16": 125e12, "fp32": 15.7e12}),
)


def gpu_peak(name: str, precision: Literal["fp32", "bf16"]) -> float | None:
    """FLOP/s of the GPU that torch calls `name`; None for one that the table lacks."""
    words = name.replace("-", " ").split()
    for model, peaks in GPU_PEAKS:
        if all(part in words for part in model.split()):
            return peaks[precision]
    return None


def peak_flops(device: torch.device, precision: Literal["fp32", "bf16"]) -> float | None:
    """FLOP/s of one device at best: a GPU's by its data sheet, a CPU's as measured with the threads torch has now.

    None for a GPU that the table lacks: then utilisation is unknown.
    """
    if device.type == "cuda":
        return gpu_peak(torch.cuda.get_device_name(device), precision)
    return measured_cpu_peak(precision, torch.get_num_threads())


@functools.cache
def measured_cpu_peak(precision: Literal["fp32", "bf16"], threads: int, *, seconds: float = 0.3) -> float:
    """FLOP/s of a product of square matrices of 1,024, the fastest of those that fit into `seconds`; once a process.

    Raises:
        ValueError: torch has another number of threads than `threads`.
    """
    if threads != torch.get_num_threads():
        raise ValueError(f"threads {threads}: torch has {torch.get_num_threads()}")
    size = 1024
    a, b = (torch.full((size, size), 0.5, dtype=torch.bfloat16 if precision == "bf16" else torch.float32) for _ in "ab")
    product = a @ b
    fastest, until = float("inf"), time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        torch.mm(a, b, out=product)
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def _pairs_in_window(n: int, window: int, causal: bool) -> int:
    """Pairs of positions below n at most window // 2 apart, the key not behind the query if `causal`."""
    reach = min(window // 2, n - 1)
    behind = reach * n - reach * (reach + 1) // 2  # pairs with the key before the query
    return n + behind * (1 if causal else 2)
