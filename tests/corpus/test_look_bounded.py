"""The bounded summaries against exact ones: what they promise, in any order and in any number of parts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from tasks.text.look.bounded import Draw, Lengths, Top, rank_of


def zipf(count: int) -> list[str]:
    draw = random.Random(5)
    return [f"host{int(draw.paretovariate(0.7))}" for _ in range(count)]


def test_top_is_exact_while_there_is_room() -> None:
    keys = [f"host{i % 50}" for i in range(1000)]
    top = Top(25)
    for key in keys:
        top.add(key, 1, 3)
    assert top.missed == 0
    assert {key: (n, 3 * n) for key, n in Counter(keys).items()} == top.entries


def test_top_misses_no_more_than_it_says() -> None:
    keys = zipf(20_000)
    true = Counter(keys)
    top = Top(64)
    for start in range(0, len(keys), 500):
        part = Top(64)
        for key in keys[start : start + 500]:
            part.add(key, 1, 1)
        top.merge(part)
    assert len(true) > 500
    assert top.missed > 0
    assert len(top.entries) <= 128
    for key, documents, _ in top.first(64):
        assert true[key] - top.missed <= documents <= true[key]
    assert [key for key, _, _ in top.first(5)] == [key for key, _ in true.most_common(5)]


def test_draw_depends_on_the_keys_alone_and_is_even() -> None:
    keys = [f"document {i}" for i in range(3000)]
    orders = [keys, keys[::-1], keys + keys]
    drawn = []
    for order in orders:
        whole: Draw[str] = Draw(300)
        for part in (order[::2], order[1::2]):
            draw: Draw[str] = Draw(300)
            for key in part:
                if draw.wants(rank := rank_of(key)):
                    draw.put(rank, key)
            whole.merge(draw)
        drawn.append(whole.drawn())
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(drawn[0])) == 300
    late = sum(int(key.split()[1]) >= 1500 for key in drawn[0])
    assert 110 < late < 190  # 150 ± 9 of a fair draw


def test_lengths_count_everything_once() -> None:
    values = np.array([0, 0, 1, 9, 10, 99, 100, 12_345, 10**8, 10**12])
    lengths = Lengths()
    lengths.add(values[:4])
    other = Lengths()
    other.add(values[4:])
    lengths.merge(other)
    assert lengths.counts.sum() == len(values)
    assert lengths.amounts.sum() == values.sum()
    assert lengths.counts[0] == 2
