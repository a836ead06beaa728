"""What a large corpus costs on a cluster, on paper, from the measured figures of a small one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import Any

Figures = dict[str, dict[str, Any]]
"""Stage -> its figures; and `input` -> pages, html_bytes, warc_bytes."""

ORDER = ("extract", "clean", "dedup", "split", "encode")


@dataclass(frozen=True)
class Cluster:
    """The assumptions. Each is an option of the same name."""

    terabytes: float = 1.0
    nodes: int = 100
    cores: int = 32
    """Of a node, each as fast as the one that was measured."""
    price: float = 1.5
    """Of a node hour, in any currency."""
    busy: float = 0.8
    """Share of the core time that does work."""
    gigabits: float = 10.0
    """A second, between a node and the storage."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        for each in fields(cls):
            kind = type(each.default)
            parser.add_argument(f"--{each.name}", type=kind, default=each.default, help="of the estimate: %(default)s")

    @classmethod
    def of(cls, options: argparse.Namespace) -> Cluster:
        return cls(**{each.name: getattr(options, each.name) for each in fields(cls)})


def documents_into(stage: str, figures: Figures) -> int:
    """How many documents a stage reads: what the one before kept."""
    found = int(figures["input"]["pages"])
    for each in ORDER[: ORDER.index(stage)] if stage in ORDER else ():
        found = figures[each]["rows"].get("kept", found)
    return found


def print_estimate(figures: Figures, cluster: Cluster) -> None:
    """Core hours, time, money and bytes of `cluster.terabytes` of HTML such as the figures are of."""
    measured = figures["input"]
    scale = cluster.terabytes * 1e12 / measured["html_bytes"]
    cores = cluster.nodes * cluster.cores
    print(f"\n{cluster.terabytes:g} TB of HTML on {cluster.nodes} nodes of {cluster.cores} cores, on paper:")
    size = measured["html_bytes"] / measured["pages"] / 1000
    print(f"{scale * measured['pages'] / 1e6:,.1f} million pages of {size:.1f} kB, as in the larger run above")
    print(f"{'stage':<9}{'documents/s/core':>17}{'core hours':>12}{'minutes':>9}{'GB written':>12}")
    total_s = 0.0
    for stage in ORDER:
        each = figures[stage]
        cpu_s = each["cpu_s"] * scale
        total_s += cpu_s
        speed = documents_into(stage, figures) / max(each["cpu_s"], 1e-9)
        minutes = cpu_s / cores / cluster.busy / 60
        print(f"{stage:<9}{speed:>17,.0f}{cpu_s / 3600:>12,.1f}{minutes:>9.1f}{each['bytes'] * scale / 1e9:>12,.0f}")
    hours = total_s / cores / cluster.busy / 3600
    node_hours = hours * cluster.nodes
    print(f"{'all':<9}{'':>17}{total_s / 3600:>12,.1f}{hours * 60:>9.1f}")
    print(f"{node_hours:,.1f} node hours, {node_hours * cluster.price:,.2f} at {cluster.price:.2f} a node hour")
    _print_assumptions(cluster, measured["warc_bytes"] * scale)


def _print_assumptions(cluster: Cluster, warc_bytes: float) -> None:
    read_s = warc_bytes * 8 / cluster.nodes / (cluster.gigabits * 1e9)
    rate = f"{read_s:,.0f} s at {cluster.gigabits:g} Gbit/s a node"
    print(
        f"Assumed: {cluster.busy:.0%} of the core time does work; every stage's cost grows with its documents (see core"
    )
    print("ms above); what dedup does at the end on one node takes the memory stated above per million documents; the")
    print(f"input is {warc_bytes / 1e9:,.0f} GB of gzipped WARC in object storage, read beside the work in {rate}.")
