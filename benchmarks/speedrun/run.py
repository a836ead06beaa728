"""Time to the held-out loss that transformers' Trainer reaches in ten minutes: one table, each row a change.

First Trainer trains for --minutes with the BERT recipe of its run_mlm.py (blocks of 128, AdamW, linear warmup and
decay), in the precision that is fastest here; the loss that it has at the end, on the fixed set of `heldout`, is the
target. Then each row of `rows.toml` looks for the smallest budget of tokens that reaches the target, and gives the
seconds at which it did. A schedule must know its end, so a budget is a run of its own; the next budget is a quarter
smaller or a third larger than the one before. README.md has the rules.

    python benchmarks/speedrun/run.py prose [--minutes 10] [--rows 3] [--size 4x256] [--out table.json]
    python benchmarks/speedrun/run.py prose --trainer-head frequencies      # a target below the frequencies of words
    python benchmarks/speedrun/run.py prose --trainer-from table.json --only "+ Muon"     # without Trainer's minutes
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import throughput
from alternating import Side
from pretraining_texts import TEXTS, prepare

FOLDER = Path(__file__).parent
UNSET = "unset"
"""In rows.toml: the key goes back to its default."""
SMALLER, LARGER = 0.75, 4 / 3
MOST = 1.5
"""Budgets above this share of Trainer's tokens are not tried."""
POSITIONS = throughput.ROWS * throughput.LENGTH


def rows(limit: int | None = None, only: list[str] | None = None) -> list[dict[str, Any]]:
    """name, about and the whole recipe of each row, or of those named in `only`.

    Raises:
        ValueError: a name that no row has.
    """
    found, kept = [], {}
    for row in tomllib.loads((FOLDER / "rows.toml").read_text())["row"][:limit]:
        recipe = merged(kept, row.get("set", {}))
        found.append({"name": row["name"], "about": row.get("about", ""), "recipe": recipe})
        if not row.get("fork", False):
            kept = recipe
    names = {row["name"] for row in found}
    if unknown := set(only or ()) - names:
        raise ValueError(f"no row {sorted(unknown)}; there are {sorted(names)}")
    return [row for row in found if only is None or row["name"] in only]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def without_unset(recipe: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_unset(value) if isinstance(value, dict) else value
        for key, value in recipe.items()
        if value != UNSET
    }


def fastest_precision(common: dict[str, Any], log: Path) -> tuple[str, float]:
    """Of Trainer's precisions, and its seconds a step."""
    found = {}
    for precision in throughput.TRAINER_PRECISIONS:
        spec = common | {"side": "trainer", "form": "blocks", "precision": precision, "rows": throughput.ROWS}
        side = Side(throughput.__file__, spec | {"length": throughput.LENGTH, "steps": 4}, log)
        side.turn()
        turn = side.turn()
        side.close()
        found[precision] = turn["seconds"] / turn["steps"]
    best = min(found, key=found.__getitem__)
    return best, found[best]


def trial(spec: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "trial.py"), json.dumps(spec)],
        stdout=subprocess.PIPE,
        text=True,
        stderr=sys.stderr,
    )
    if done.returncode:
        raise RuntimeError(f"the trial ended with {done.returncode}: {json.dumps(spec)}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def baseline(common: dict[str, Any], options: argparse.Namespace, log: Path) -> dict[str, Any]:
    """Trainer's run; of several --lr the one that ends lowest."""
    precision, step_s = fastest_precision(common, log)
    steps = max(4, round(60 * options.minutes / step_s))
    runs = []
    for lr in options.lr:
        spec = common | {"side": "trainer", "precision": precision, "steps": steps, "lr": lr}
        spec["head_bias"] = options.trainer_head
        found = trial(spec | {"evaluations": 10})
        runs.append({"name": "Trainer", **spec, "tokens": steps * POSITIONS, **found["curve"][-1], **found})
    best = min(runs, key=lambda run: run["loss"])
    for run in runs:
        print(f"Trainer, {precision}, lr {run['lr']:g}: {run['loss']:.4f} after {run['seconds']:.0f} s", flush=True)
    return best


def earlier(table: Path, common: dict[str, Any]) -> dict[str, Any]:
    """Trainer's row of a table.

    Raises:
        ValueError: it is of another corpus or size, or had other threads.
    """
    found: dict[str, Any] = json.loads(table.read_text())[0]
    for key in ("corpus", "size", "threads"):
        if found.get(key) != common[key]:
            raise ValueError(f"{table}: Trainer's {key} was {found.get(key)!r}, here it is {common[key]!r}")
    return found


def time_to(
    target: float, recipe: dict[str, Any], common: dict[str, Any], budget: float, most: float, tries: int
) -> tuple[dict[str, Any] | None, float]:
    """The quickest run that reaches the target: its point of the curve and its budget in tokens; None: none did."""
    reached, best_budget, failed = None, 0.0, set()
    for _ in range(tries):
        spec = common | {"side": "ours", "recipe": without_unset(recipe), "tokens": int(budget), "target": target}
        curve = trial(spec | {"evaluations": 20})["curve"]
        last = curve[-1]
        if last["loss"] <= target:
            if reached is None or last["seconds"] < reached["seconds"]:
                reached, best_budget = last, budget
            if any(budget * SMALLER <= other * 1.01 for other in failed):
                break
            budget *= SMALLER
        else:
            failed.add(budget)
            if reached is not None or budget >= most:
                break
            budget = min(most, budget * LARGER)
    return reached, best_budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=[*TEXTS])
    parser.add_argument("--minutes", type=float, default=10, help="of Trainer's run")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3], help="of Trainer; of several the best counts")
    parser.add_argument(
        "--trainer-head",
        choices=("zeros", "frequencies"),
        default="zeros",
        help="bias of Trainer's decoder at the start: its recipe's zeros, or the frequencies that ours starts from",
    )
    parser.add_argument("--trainer-from", type=Path, metavar="TABLE", help="Trainer's row of an earlier --out")
    parser.add_argument("--size", choices=throughput.SHAPES, default="4x256")
    parser.add_argument("--rows", type=int, help="only the first so many rows of rows.toml")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rows; each keeps what those before it set")
    parser.add_argument("--tries", type=int, default=4, help="budgets tried for a row")
    parser.add_argument("--first", type=float, default=0.4, help="first budget, as a share of Trainer's tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="of the tokenized corpora; default: bench in the home folder")
    parser.add_argument("--out", type=Path, help="JSON with the curves")
    options = parser.parse_args()
    chosen = rows(options.rows, options.only)
    corpus = prepare(options.corpus, Path(options.folder) if options.folder else None)
    common = {"corpus": options.corpus, "folder": options.folder, "size": options.size, "threads": options.threads}
    if options.trainer_from:
        theirs = earlier(options.trainer_from, common)
    else:
        with tempfile.TemporaryDirectory() as folder:
            theirs = baseline(common, options, Path(folder) / "log")
    vocabulary = corpus.load_tokenizer().vocab_size
    print(f"\n{options.corpus}, {options.size} with {vocabulary} words; {theirs['asked']} tokens asked, "
          f"set {theirs['sha256'][:12]}; target {theirs['loss']:.4f}\n")  # fmt: skip
    print(f"{'':<28} {'tokens':>11} {'seconds':>8} {'faster':>7} {'gained':>7}")
    print(f"{'Trainer':<28} {theirs['tokens']:>11,} {theirs['seconds']:>8.0f} {1:>7.2f}", flush=True)
    results: list[dict[str, Any]] = [theirs]
    before, budget = theirs["seconds"], options.first * theirs["tokens"]
    for row in chosen:
        most = MOST * theirs["tokens"]
        point, found = time_to(theirs["loss"], row["recipe"], common, budget, most, options.tries)
        results.append({**row, "reached": point, "budget": found})
        if point is None:
            print(f"{row['name']:<28} not reached", flush=True)
            continue
        faster, gained = theirs["seconds"] / point["seconds"], before / point["seconds"]
        print(
            f"{row['name']:<28} {point['tokens']:>11,} {point['seconds']:>8.0f} {faster:>7.2f} {gained:>7.2f}",
            flush=True,
        )
        before, budget = point["seconds"], found
    if options.out:
        options.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    sys.exit(main())
