"""Fine-tuning, ours against transformers' Trainer: the same weights, examples, epochs, batches, rate and seeds.

    python benchmarks/finetuning/run.py [NAMES …] [--seeds 13 14 15] [--precision auto] [--variants plain]
                                        [--grouped] [--full] [--out FILE.jsonl]
    python benchmarks/finetuning/run.py --report FILE.jsonl

Seed by seed Trainer and ours take turns, each run in a process of its own with --threads threads. Seconds are those of
the training loops with tokenised data ready: `Trainer.train()`, and `bert_core.train.run` from the end of its set-up to
its last step; "whole" is their ratio with loading weights and saving. Both models answer the test side through the same
code, `bert_core.predict`, in fp32. Quality is reached where the difference lies inside or above its 95% interval
over examples and seeds, time where ours takes at most 0.6 of Trainer's.

An epoch of Trainer's ends with a batch that is not full, ours do not: for as many steps ours read up to a batch more
in an epoch.
--precision auto gives each side its fastest: ours decides by the CPU; of Trainer's, a few steps of each are timed.
--grouped gives Trainer its length grouping too. Every run is appended to the file at once; those that it has already
are not made again, and failed ones are tried once more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).parent.parent)

from finetuning import report, results, sets, tables
from finetuning.results import Ledger, Record, Spec, spec_of
from finetuning.variants import variant

from bert_core.precision import multiplies_bf16_fast

PRECISIONS = ("auto", "fp32", "bf16", "bf16 products")
PROBE_STEPS = 10
DEFAULT_OUT = "bench/finetuning/results.jsonl"


def options_of(
    description: str | None, arguments: Sequence[str] | None, names: Sequence[str] = tuple(sets.SETS)
) -> argparse.Namespace:
    """The command line of this benchmark, of `methods.py` and of `few_labels.py`.

    Args:
        names: sets that are measured where the command line names none.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"sets; default: {', '.join(names)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[13, 14, 15])
    parser.add_argument("--variants", nargs="+", help="of variants.py; a+b is both")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--grouped", action="store_true", help="Trainer puts rows of similar length together")
    parser.add_argument("--full", action="store_true", help="all examples instead of samples")
    parser.add_argument("--limit", type=int, help="so many examples of each side, for a quick look")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-baseline", action="store_true", help="without the classical model")
    parser.add_argument("--out", type=Path, help=f"JSONL of results (default: {DEFAULT_OUT} in the home folder)")
    parser.add_argument(
        "--report", type=Path, nargs="?", const=True, metavar="FILE", help="measure nothing, print the tables of FILE"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args(arguments)
    options.names = options.names or list(names)
    given = options.report if isinstance(options.report, Path) else options.out
    options.out = given or sets.home() / DEFAULT_OUT
    for name in options.variants or ():
        variant(name)
    return options


def trainer_precision(ledger: Ledger, chosen: sets.BenchmarkSet, options: argparse.Namespace) -> str | None:
    """Of Trainer's precisions the one whose step is quickest here; None: none runs."""
    if options.precision != "auto":
        return str(options.precision)
    candidates = ("fp32", "bf16", "bf16 products") if multiplies_bf16_fast() else ("fp32",)
    if len(candidates) == 1:
        return candidates[0]
    found: dict[str, float] = {}
    for precision in candidates:
        spec = spec_of(
            chosen,
            "probe",
            threads=options.threads,
            seed=13,
            precision=precision,
            grouped=options.grouped,
            max_steps=PROBE_STEPS,
        )
        if record := ledger.run(spec):
            found[precision] = record["figures"]["step_s"]
    print("  Trainer's step: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in found.items()), flush=True)
    return min(found, key=found.__getitem__) if found else None


def our_spec(
    ledger: Ledger, chosen: sets.BenchmarkSet, name: str, seed: int, options: argparse.Namespace
) -> Spec | None:
    """The spec of a variant's run; continued pretraining that it starts from is made first. None: that failed."""
    precision = "bf16" if options.precision == "bf16 products" else options.precision
    how = variant(name)
    more: Spec = {}
    if how.needs_pretraining:
        made = ledger.run(spec_of(chosen, "pretraining", threads=options.threads, precision=precision))
        if made is None:
            return None
        more = {"weights": made["weights"]} if how.pretrained else more
        more |= {"masked_model": made["weights"]} if how.substitutes else {}
    return spec_of(chosen, "ours", threads=options.threads, seed=seed, precision=precision, variant=name, **more)


def measure(options: argparse.Namespace, ledger: Ledger) -> None:
    for chosen in sets.chosen(options.names, full=options.full, limit=options.limit):
        prepared = sets.prepare(chosen)
        print(f"{chosen.name}: {prepared.side('train').num_rows:,} examples", flush=True)
        precision = trainer_precision(ledger, chosen, options)
        for seed in options.seeds:
            if precision is not None:
                spec = spec_of(
                    chosen,
                    "trainer",
                    threads=options.threads,
                    seed=seed,
                    precision=precision,
                    grouped=options.grouped,
                )
                told("Trainer", seed, ledger.run(spec))
            for name in options.variants or ["plain"]:
                wanted = our_spec(ledger, chosen, name, seed, options)
                told(name, seed, None if wanted is None else ledger.run(wanted))
        if not options.no_baseline:
            model = results.baseline_of(prepared.task)
            ledger.run(spec_of(chosen, "baseline", threads=options.threads, model=model))


def told(name: str, seed: int, record: Record | None) -> None:
    if record is not None:
        primary, figures = record["primary"], record["figures"]
        line = f"  seed {seed}  {name:<20} {primary} {tables.figure(record['metrics'][primary])}"
        print(f"{line}  {figures['seconds']:.1f} s  {figures['steps']} steps", flush=True)


def against_trainer(labels: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each of Trainer's with each of ours."""
    trainers = [label for label in labels if label.startswith("Trainer")]
    return [(trainer, label) for trainer in trainers for label in labels if label not in trainers]


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(__doc__, arguments)
    if options.side:
        spec = json.loads(options.side)
        print(f"\n{results.MARK}{json.dumps(results.side(spec, Ledger(options.out).folder))}")
        return
    ledger = Ledger(options.out)
    if not options.report:
        measure(options, ledger)
    if lines := tables.speed_table(report.rows(ledger, against_trainer))[1:]:
        table = [tables.speed_table([])[0], *lines]
        print(f"\n{tables.plain(table)}\n\n{tables.markdown(tables.columns(table, tables.FOR_README))}")
    print("\n".join(report.failures(ledger)))


if __name__ == "__main__":
    main()
