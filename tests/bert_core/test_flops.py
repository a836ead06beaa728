"""FLOPs against torch's counter, the textbook's formulas, and windows against counting pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bert_core import attention, flops
from bert_core.config import ModelConfig
from bert_core.flops import BatchShape, batch_shape, forward_flops, gpu_peak, mfu, training_flops
from bert_core.heads import PretrainingModel
from tests.bert_core.tiny_bert import documents, padded

TINY = ModelConfig(vocab_size=61, hidden_size=16, num_layers=3, num_heads=2, intermediate_size=24, max_positions=12)


def test_it_is_what_torch_s_counter_sees_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows without padding, dropout off; the head pads predictions to 64, so 64 are asked for."""
    for length in ("FUSED_LENGTH", "GROUPED_LENGTH"):  # the counter sees torch's attention alone
        monkeypatch.setattr(attention, length, 0)
    model = PretrainingModel(TINY, pairs=True).eval()
    B, T = 16, 12
    batch: Any = padded(documents(*[T] * B, vocab_size=TINY.vocab_size), predict=torch.randperm(B * T)[:64])
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # the counter does not know the CPU's fused attention
        output = model(batch)
        logits = output.mlm_logits
        forward = counter.get_total_flops()
        (logits.sum() + output.pair_logits.sum()).backward()
    shape = batch_shape(TINY, [T] * B, predicted=64, samples=B)
    pairs = 2 * B * TINY.hidden_size * 2  # the two scores of a pair, left out of the formula
    assert forward_flops(TINY, shape) == forward - pairs
    # No gradient is needed with respect to the embeddings' inputs, and all else has its two products.
    assert training_flops(TINY, shape) == counter.get_total_flops() - 3 * pairs


def test_for_long_rows_it_is_six_n_and_twelve_l_c_t() -> None:
    """With every position predicted: 6 N of the block's and head's matrices, and PaLM's 12 L C T for each token."""
    config = ModelConfig.model_validate({"size": "base"})
    T = 512
    shape = batch_shape(config, [T], predicted=T)
    C, L = config.hidden_size, config.num_layers
    N = L * 12 * C * C + C * C + C * config.vocab_size
    assert training_flops(config, shape) == T * (6 * N + 12 * L * C * T)


def test_a_gated_layer_has_three_matrices_and_windows_count_what_they_see() -> None:
    config = ModelConfig.model_validate({"family": "modernbert", "size": "tiny", "num_layers": 4})
    shape = batch_shape(config, [300], predicted=300)
    C = config.hidden_size
    blocks = 4 * 2 * 300 * (4 * C * C + 3 * C * config.intermediate_size)
    attention = 4 * C * (2 * 300 * 300 + 2 * shape.attended_locally)  # layers 0 and 3 are global
    head = 2 * 300 * (C * C + C * config.vocab_size)
    assert forward_flops(config, shape) == blocks + attention + head


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 64, 65, 200])
@pytest.mark.parametrize("window", [2, 8, 128])
def test_pairs_in_a_window_are_those_that_one_counts(n: int, window: int, causal: bool) -> None:
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    seen = (distance.abs() <= window // 2) & (distance >= 0 if causal else torch.tensor(True))
    assert flops._pairs_in_window(n, window, causal) == int(seen.sum())


def test_shared_layers_cost_as_much_as_others_and_factorised_embeddings_their_product() -> None:
    shape = batch_shape(TINY, [12, 7], predicted=3)
    shared = TINY.model_copy(update={"share_layers": True})
    assert forward_flops(shared, shape) == forward_flops(TINY, shape)
    narrow = TINY.model_copy(update={"embedding_size": 8})
    less = 2 * 3 * (16 * 16 + 16 * 61 - 16 * 8 - 8 * 61) - 2 * 19 * 8 * 16
    assert forward_flops(TINY, shape) - forward_flops(narrow, shape) == less


def test_shapes_add_up() -> None:
    whole = batch_shape(TINY, [12, 7, 3], predicted=5, samples=3)
    assert batch_shape(TINY, [12], 2, 1) + batch_shape(TINY, [7, 3], 3, 2) == whole
    assert whole == BatchShape(22, 5, 144 + 49 + 9, 0, 3)


def test_causal_documents_have_half_the_pairs_and_their_head_no_dense_layer() -> None:
    causal = TINY.model_copy(update={"causal": True})
    heads = [forward_flops(config, BatchShape(0, 1, 0)) for config in (TINY, causal)]
    assert heads[0] - heads[1] == 2 * 16 * 16
    assert batch_shape(causal, [10], predicted=10).attended == 55


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", None),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Tesla T4", 65e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_gpus_are_known_by_the_names_torch_gives_them(name: str, bf16: float | None) -> None:
    assert gpu_peak(name, "bf16") == bf16


def test_a_cpu_s_rate_is_measured_once_and_utilisation_is_a_share_of_it() -> None:
    cpu = torch.device("cpu")
    peak = flops.peak_flops(cpu, "fp32")
    assert peak is not None
    assert 1e9 < peak < 1e14
    assert flops.peak_flops(cpu, "fp32") == peak
    assert mfu(peak / 2, 1.0, peak) == 0.5
