"""What data-parallel training should give on 8, 64 and 256 GPUs: measured bytes over published link speeds.

A ring all-reduce of S bytes among n ranks sends and receives 2 (n - 1) / n S bytes on every rank (Patarasuk and Yuan,
2009, Bandwidth optimal all-reduce algorithms, J. Parallel Distrib. Comput. 69), so at a bandwidth of b bytes a second
in each direction it takes

    t(n) = 2 (n - 1) / n * S / b

Within a node of 8 GPUs b is NVLink's; among nodes each GPU has a network adapter of its own, and the hierarchy is:
reduce within the node, all-reduce an eighth of the bytes among nodes on every GPU, gather within the node:

    t(n) = 2 * 7/8 * S / b_nvlink + 2 (m - 1) / m * (S / 8) / b_network        m = n / 8 nodes

It runs while the backward pass is still computing, of which it can hide behind `overlap` of the step's compute time c
(gradients of the first layers come last: what is left of them is bare), so a step takes c + max(0, t - overlap * c) and

    efficiency = c / (c + max(0, t - overlap * c)),    speed-up = n * efficiency

Weak scaling: every GPU keeps its batch. Latency, stragglers and the loader are left out, so this is an upper bound.

Bandwidths, one direction: NVLink 4, 18 links of 25 GB/s: 450 GB/s (NVIDIA H100 and H200 data sheets: 900 GB/s in both
directions together); InfiniBand NDR, 400 Gb/s: 50 GB/s a GPU (NVIDIA ConnectX-7 data sheet; DGX H100 has one for each
of its 8 GPUs). Neither is reached whole in practice: `ATTAINED`, 80% of both, is our assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

NVLINK_BYTES_S = 450e9
NETWORK_BYTES_S = 400e9 / 8
ATTAINED = 0.8
GPUS_A_NODE = 8
OVERLAP = 0.5
"""Share of a step's compute that can hide communication: the backward pass is two thirds, its last layers aside."""


@dataclass(frozen=True)
class Estimate:
    gpus: int
    reduction_s: float
    step_s: float
    efficiency: float

    @property
    def speedup(self) -> float:
        return self.gpus * self.efficiency


def ring_seconds(payload: float, ranks: int, bytes_a_second: float) -> float:
    """Of a ring all-reduce of `payload` bytes; 0 for one rank."""
    return 2 * (ranks - 1) / ranks * payload / bytes_a_second


def reduction_seconds(payload: float, gpus: int) -> float:
    """Of an all-reduce among GPUs in nodes of 8, by the formula above.

    Raises:
        ValueError: more than one node, and the last is not full.
    """
    nvlink, network = ATTAINED * NVLINK_BYTES_S, ATTAINED * NETWORK_BYTES_S
    if gpus <= GPUS_A_NODE:
        return ring_seconds(payload, gpus, nvlink)
    if gpus % GPUS_A_NODE:
        raise ValueError(f"{gpus} GPUs: more than {GPUS_A_NODE} come in full nodes of {GPUS_A_NODE}")
    within = ring_seconds(payload, GPUS_A_NODE, nvlink)
    return within + ring_seconds(payload / GPUS_A_NODE, gpus // GPUS_A_NODE, network)


def estimate(payload: float, compute_s: float, gpus: int, overlap: float = OVERLAP) -> Estimate:
    """Of a step whose gradients have `payload` bytes and whose compute takes `compute_s` on one GPU."""
    reduction = reduction_seconds(payload, gpus)
    step = compute_s + max(0.0, reduction - overlap * compute_s)
    return Estimate(gpus, reduction, step, compute_s / step)


def table(payload: float, compute_s: float, counts: tuple[int, ...] = (8, 64, 256)) -> list[str]:
    lines = []
    for each in (estimate(payload, compute_s, gpus) for gpus in counts):
        bare = estimate(payload, compute_s, each.gpus, overlap=0.0)
        lines.append(
            f"{each.gpus:>4} GPUs: all-reduce of {payload / 1e6:,.0f} MB {each.reduction_s * 1e3:6.2f} ms; step "
            f"{each.step_s * 1e3:7.1f} ms; {each.speedup:6.1f} x ({each.efficiency:.0%}; without overlap "
            f"{bare.efficiency:.0%})"
        )
    return lines
