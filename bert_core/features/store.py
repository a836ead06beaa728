"""The features of one side: arrays, and the Arrow IPC file from which they are mapped without a copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FEATURES = "features.arrow"
ABOUT = ("ids", "counts", "lost", "statistics", "origin")
"""Fields that are kept as JSON beside the columns."""
NO_POSITION = np.zeros((0, 2), dtype=np.int32)


class FeaturesError(ValueError):
    """Labelled examples that cannot be read as a task asks; the message names the example and what is legal."""


@dataclass(frozen=True)
class Features:
    """Tokenised examples in the order of their table; an example's sequences follow each other."""

    ids: list[str]
    """(E,): the examples' ids."""
    example_of: NDArray[np.int32]
    """(S,) ascending: the example that a sequence belongs to."""
    tokens: NDArray[np.int32]
    """(M,)"""
    offsets: NDArray[np.int32]
    """(S + 1,): where each sequence starts in M."""
    b_starts: NDArray[np.int32]
    """(S,): the sequence's first token of segment B; its length where there is none."""
    positions: NDArray[np.int32]
    """(P,): token of its sequence that a label belongs to, counted from the sequence's start."""
    position_labels: NDArray[np.int32]
    """(P,): class of each; -1: unknown, which is no part of a loss."""
    position_offsets: NDArray[np.int32]
    """(S + 1,): where each sequence starts in P."""
    targets: NDArray[np.float32]
    """(S, L): class, multi-hot labels, a number, first and last token of an answer; NaN: unknown."""
    counts: dict[str, int] = field(default_factory=dict)
    """What was cut and what it cost, such as `cut_examples` and `cut_tokens`."""
    lost: dict[int, int] = field(default_factory=dict)
    """Tokens that were cut off, by example."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """Of the targets: `mean` and `deviation` of numbers, `class_counts`."""
    origin: dict[str, Any] = field(default_factory=dict)
    """What they were made with: `tokenizer`, its fingerprint; `task`, its type, kind and labels."""

    @property
    def num_examples(self) -> int:
        return len(self.ids)

    @property
    def num_sequences(self) -> int:
        return len(self.example_of)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(S,) tokens of each sequence."""
        return np.diff(self.offsets).astype(np.int64)

    @cached_property
    def sequence_bounds(self) -> NDArray[np.int64]:
        """(E + 1,): where each example starts in S."""
        return np.searchsorted(self.example_of, np.arange(self.num_examples + 1)).astype(np.int64)


def write_features(features: Features, folder: str | Path) -> None:
    """One uncompressed Arrow IPC file in `folder`; equal features give equal bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "example": pa.array(features.example_of),
        "tokens": _lists(features.offsets, pa.array(features.tokens)),
        "b_start": pa.array(features.b_starts),
        "positions": _lists(features.position_offsets, pa.array(features.positions)),
        "position_labels": _lists(features.position_offsets, pa.array(features.position_labels)),
        "targets": pa.FixedSizeListArray.from_arrays(
            pa.array(features.targets.reshape(-1)), max(1, features.targets.shape[1])
        ),
    }
    about = {name: getattr(features, name) for name in ABOUT}
    batch = pa.record_batch(columns)
    metadata = {b"features": json.dumps(about, sort_keys=True, ensure_ascii=False).encode()}
    schema = batch.schema.with_metadata(metadata)
    with pa.OSFile(str(folder / FEATURES), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch.replace_schema_metadata(metadata))


def open_features(folder: str | Path) -> Features:
    """The features in `folder`, mapped into memory: nothing is read before it is needed.

    Raises:
        FeaturesError: there is no such file, or it is torn.
    """
    path = Path(folder) / FEATURES
    try:
        with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
            batch, about = reader.get_batch(0), json.loads(reader.schema.metadata[b"features"])
    except FileNotFoundError:
        raise FeaturesError(f"{path}: no such file; the stage that encodes the examples has not run") from None
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise FeaturesError(f"{path}: {path.stat().st_size} bytes that are not whole features: {error}") from None
    tokens, positions, labels = (batch[name] for name in ("tokens", "positions", "position_labels"))
    width = batch.schema.field("targets").type.list_size
    return Features(
        ids=about["ids"],
        example_of=batch["example"].to_numpy(),
        tokens=tokens.values.to_numpy(),
        offsets=tokens.offsets.to_numpy(),
        b_starts=batch["b_start"].to_numpy(),
        positions=positions.values.to_numpy(),
        position_labels=labels.values.to_numpy(),
        position_offsets=positions.offsets.to_numpy(),
        targets=batch["targets"].values.to_numpy().reshape(-1, width),
        counts=about["counts"],
        lost={int(example): tokens for example, tokens in about["lost"].items()},
        statistics=about["statistics"],
        origin=about["origin"],
    )


@dataclass
class FeaturesBuilder:
    """Collects sequences one after the other."""

    width: int
    """L: targets of a sequence."""
    ids: list[str] = field(default_factory=list)
    _example_of: list[int] = field(default_factory=list)
    _tokens: list[NDArray[np.int32]] = field(default_factory=list)
    _b_starts: list[int] = field(default_factory=list)
    _positions: list[NDArray[np.int32]] = field(default_factory=list)
    _targets: list[Sequence[float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _lost: dict[int, int] = field(default_factory=dict)

    def example(self, name: str) -> None:
        """The sequences that follow belong to this one."""
        self.ids.append(name)

    def sequence(
        self,
        tokens: NDArray[np.int32],
        *,
        b_start: int | None = None,
        positions: NDArray[np.int32] = NO_POSITION,
        targets: Sequence[float] = (),
    ) -> None:
        """Args:
        positions: (P, 2): token, and its class.
        """
        self._example_of.append(len(self.ids) - 1)
        self._tokens.append(tokens)
        self._b_starts.append(len(tokens) if b_start is None else b_start)
        self._positions.append(positions)
        self._targets.append(targets or [np.nan] * self.width)

    def count(self, what: str, number: int = 1) -> None:
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    def lose(self, tokens: int) -> None:
        """So many tokens of the last example were cut off."""
        self.count("cut_sequences", int(tokens > 0))
        self.count("cut_tokens", tokens)
        if tokens:
            last = len(self.ids) - 1
            self._lost[last] = self._lost.get(last, 0) + tokens

    def build(self) -> Features:
        pairs = np.concatenate([NO_POSITION, *self._positions])
        return Features(
            ids=self.ids,
            example_of=np.array(self._example_of, dtype=np.int32),
            tokens=np.concatenate([np.zeros(0, dtype=np.int32), *self._tokens]),
            offsets=_offsets(self._tokens),
            b_starts=np.array(self._b_starts, dtype=np.int32),
            positions=np.ascontiguousarray(pairs[:, 0]),
            position_labels=np.ascontiguousarray(pairs[:, 1]),
            position_offsets=_offsets(self._positions),
            targets=np.array(self._targets, dtype=np.float32).reshape(len(self._tokens), self.width),
            counts=dict(self.counts),
            lost=dict(self._lost),
        )


def described(features: Features, statistics: dict[str, Any], origin: dict[str, Any]) -> Features:
    return replace(features, statistics=statistics, origin=origin)


def _offsets(parts: Sequence[NDArray[Any]]) -> NDArray[np.int32]:
    sizes = np.cumsum([0, *(len(part) for part in parts)])
    if sizes[-1] > np.iinfo(np.int32).max:
        raise FeaturesError(f"{sizes[-1]:,} tokens in one side: more than 2**31 - 1; split the file")
    return sizes.astype(np.int32)


def _lists(offsets: NDArray[np.int32], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets), values)
