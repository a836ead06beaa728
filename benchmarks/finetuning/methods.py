"""What each method of fine-tuning gains over plain fine-tuning, and what it costs: same sets, seeds and examples.

    python benchmarks/finetuning/methods.py trec tweet-ner [--variants ema rdrop fgm pretrained pretrained+rdrop+ema]
                                            [--seeds 13 14 15] [--limit N] [--out FILE.jsonl]
    python benchmarks/finetuning/methods.py --report FILE.jsonl

A variant is one of `variants.py`, `a+b` or `with:SET`, a further set learned on the same encoder.
Seed by seed plain and every variant take turns, each in a process of its own. Gains are paired over test examples and
drawn over seeds; time is that of the fine-tuning loop (continued pretraining is told apart, one run for all seeds).
The file of results is that of `run.py`: a plain run that it has is not made again, and the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).parent.parent)

from finetuning import report, sets, tables
from finetuning.results import Ledger
from finetuning.run import options_of, our_spec, told

DEFAULT = ["ema", "llrd", "rdrop", "fgm", "pretrained", "pretrained+rdrop+ema", "lora"]


def against_plain(labels: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each variant with the plain one of its precision."""
    ours = [label for label in labels if not label.startswith("Trainer")]
    bases = {label.removeprefix("plain"): label for label in ours if label.split(" ")[0] == "plain"}
    return [
        (bases[ending], label)
        for label in ours
        if label not in bases.values() and (ending := label.removeprefix(label.split(" ")[0])) in bases
    ]


def pretraining_lines(ledger: Ledger) -> list[str]:
    return [
        f"continued pretraining of {each['spec']['set']}: {each['figures']['tokens']:,} tokens of "
        f"{each['figures']['texts']:,} examples in {each['figures']['seconds']:.0f} s"
        for each in ledger.records
        if each["spec"]["kind"] == "pretraining" and "figures" in each
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(__doc__, arguments)
    ledger = Ledger(options.out)
    if not options.report:
        for chosen in sets.chosen(options.names, full=options.full, limit=options.limit):
            print(f"{chosen.name}: {sets.prepare(chosen).side('train').num_rows:,} examples", flush=True)
            for seed in options.seeds:
                for name in dict.fromkeys(["plain", *(options.variants or DEFAULT)]):
                    wanted = our_spec(ledger, chosen, name, seed, options)
                    told(name, seed, None if wanted is None else ledger.run(wanted))
    lines = tables.methods_table(report.rows(ledger, against_plain))
    if len(lines) > 1:
        print(f"\n{tables.plain(lines)}\n\n{tables.markdown(lines)}")
    print("\n".join([*pretraining_lines(ledger), *report.failures(ledger)]))


if __name__ == "__main__":
    main()
