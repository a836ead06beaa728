"""The answers to the very examples that were asked, in their order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bert_core.intervals import EvaluationError

NAMED = 5  # ids that a message shows


def aligned(gold: pa.Table, answers: pa.Table) -> pa.Table:
    """`answers` in the order of `gold`.

    Raises:
        EvaluationError: a table lacks `id`, an id repeats, an example has no answer, or an answer no example; names
            the ids.
    """
    wanted, given = _ids(gold, "gold table"), _ids(answers, "answers")
    place = {one: row for row, one in enumerate(given)}
    if missing := [one for one in wanted if one not in place]:
        raise EvaluationError(f"{len(missing)} of {len(wanted)} examples have no answer: {_named(missing)}")
    if len(given) > len(wanted):
        known = set(wanted)
        strange = [one for one in given if one not in known]
        raise EvaluationError(f"{len(strange)} answers are to no example of the gold table: {_named(strange)}")
    return answers.take(pa.array([place[one] for one in wanted], pa.int64()))


def column(table: pa.Table, name: str, which: str) -> pa.ChunkedArray:
    """A column without nulls.

    Raises:
        EvaluationError: it is missing or has a null; names the first id that has one.
    """
    if name not in table.column_names:
        raise EvaluationError(f"the {which} has no column {name!r}; there are: {', '.join(table.column_names)}")
    found = table[name]
    if found.null_count:
        row = pc.index(pc.is_null(found), True).as_py()
        raise EvaluationError(f"{which}: {name} of {table['id'][row].as_py()!r} is null; every example needs one")
    return found


def numbers(table: pa.Table, name: str, which: str) -> NDArray[np.float64]:
    """A column (N,) of finite numbers.

    Raises:
        EvaluationError: it is missing, or a number is not finite; names the first id that has one.
    """
    found = column(table, name, which).to_numpy().astype(np.float64)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise EvaluationError(f"{which}: {name} of {table['id'][row].as_py()!r} is {found[row]}: not a finite number")
    return found


def probability_rows(table: pa.Table, width: int) -> NDArray[np.float64]:
    """`probabilities` of answers, (N, width) in [0, 1].

    Raises:
        EvaluationError: an example has another number of them, or one that is no probability; names its id.
    """
    found = column(table, "probabilities", "answers").combine_chunks()
    lengths = pc.list_value_length(found).to_numpy(zero_copy_only=False)
    if wrong := np.flatnonzero(lengths != width).tolist():
        name = table["id"][wrong[0]].as_py()
        raise EvaluationError(f"answers: {name!r} has {lengths[wrong[0]]} probabilities, expected {width}, one a label")
    flat = found.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, width)
    bad = np.flatnonzero(~((flat >= -1e-6) & (flat <= 1 + 1e-6)).all(axis=1))
    if bad.size:
        name = table["id"][int(bad[0])].as_py()
        raise EvaluationError(f"answers: probabilities of {name!r} are {flat[bad[0]].tolist()}: not all in [0, 1]")
    return np.clip(flat, 0.0, 1.0)


def ids_of(values: list[str], labels: tuple[str, ...], table: pa.Table, which: str) -> NDArray[np.int64]:
    """The place (N,) of each value among `labels`.

    Raises:
        EvaluationError: a value is none of them; names its id.
    """
    order = {name: place for place, name in enumerate(labels)}
    for row, value in enumerate(values):
        if value not in order:
            raise EvaluationError(
                f"{which}: label {value!r} of {table['id'][row].as_py()!r} is not one of the task's: {list(labels)}"
            )
    return np.array([order[value] for value in values], dtype=np.int64)


def _ids(table: pa.Table, which: str) -> list[str]:
    found = column(table, "id", which).to_pylist()
    if not found:
        raise EvaluationError(f"the {which} is empty: there is nothing to evaluate")
    if len(set(found)) != len(found):
        repeated = [one for one, count in Counter(found).items() if count > 1]
        raise EvaluationError(f"the {which} repeats {len(repeated)} ids: {_named(repeated)}")
    return found


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(repr(one) for one in ids[:NAMED]) + more
