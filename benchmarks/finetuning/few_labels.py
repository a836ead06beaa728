"""What helps where labels are few: changed copies, more labels for less work, other questions, an earlier end.

    python benchmarks/finetuning/few_labels.py [film-reviews-few sms-spam-few …] [--variants swap pseudo …]
                                               [--seeds 13 14 15] [--limit N] [--out FILE.jsonl]
    python benchmarks/finetuning/few_labels.py --report FILE.jsonl

Each set has 300 labelled examples, of which every seed gets the same; 100 more are its validation side. Seed by seed
plain fine-tuning and every variant take turns, each in a process of its own, all with as many optimizer steps: other
examples in them, not more of them. (with:SET makes as many of its own task, and the other set's beside them;
longer and stopped say what they make.) Gains are paired over test examples and drawn over seeds; seconds are those of
the training loops, a teacher's or an earlier round's and its answers included, evaluating too.

On film-reviews-few:
    swap, deletion, characters, synonyms, insertion, substitution: four changed copies of each example, by the named
        operation alone. Synonyms come from word vectors of the set's training texts. substitution asks the masked-word
        model of `pretraining.py`, which one run makes for all seeds.
    pretrained, cloze: from the weights of that run; cloze also asks them for a word, against pretrained without it.
    pseudo, all-labels: a plain model's answers to 2,700 further texts of which it is sure, as many of each class;
        against plain, and against the true labels of all of them.
    active-margin, active-random: 200 of the labels, then twice 200 of the other texts, by the margin of a model of
        those before, or at random: against each other.
    with:graded-sentiment: its regression on the same encoder, without what is a held-out film review.
    longer, stopped: three times the epochs; and the same but for what follows two epochs without a lower loss on the
        validation side, with the weights of the best: against each other.
On sms-spam-few, where one of eight is spam, and on reuters-r8-few, where two classes of eight have four fifths, by
macro F1: balanced, focal. reuters-r8-few is only measured where it is named.

The file of results is that of `run.py` and `methods.py`; runs that it has are not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).parent.parent)

from finetuning import report, sets, tables
from finetuning.methods import against_plain, pretraining_lines
from finetuning.results import Ledger
from finetuning.run import options_of, our_spec, told

VARIANTS: dict[str, list[str]] = {
    "film-reviews-few": [
        *("swap", "deletion", "characters", "synonyms", "insertion", "substitution"),
        *("pretrained", "cloze", "pseudo", "all-labels", "active-random", "active-margin"),
        *("with:graded-sentiment", "longer", "stopped"),
    ],
    "sms-spam-few": ["balanced", "focal"],
    "reuters-r8-few": ["balanced", "focal"],
}
DEFAULT = ["film-reviews-few", "sms-spam-few"]
BASES = {"cloze": "pretrained", "pseudo": "all-labels", "active-margin": "active-random", "stopped": "longer"}
"""What a variant is compared with beside the plain one."""


def compared(labels: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each variant with the plain one of its precision, and with that of `BASES`."""
    pairs = list(against_plain(labels))
    for label in labels:
        name, *precision = label.split(" ")
        base = " ".join([BASES.get(name, ""), *precision])
        if base in labels:
            pairs.append((base, label))
    return pairs


def lines_of_examples(ledger: Ledger) -> list[str]:
    """What each run learned from, where that was not the training side alone."""
    found = []
    for record in ledger.records:
        spec, facts = record["spec"], record.get("figures", {}).get("examples", {})
        if facts:
            told_of = ", ".join(f"{name} {number(value)}" for name, value in facts.items())
            found.append(f"{spec['set']} {spec['variant']} seed {spec['seed']}: {told_of}")
    return found


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(__doc__, arguments, DEFAULT)
    ledger = Ledger(options.out)
    if not options.report:
        for chosen in sets.chosen(options.names, full=options.full, limit=options.limit):
            print(f"{chosen.name}: {sets.prepare(chosen).side('train').num_rows:,} examples", flush=True)
            for seed in options.seeds:
                for name in dict.fromkeys(["plain", *(options.variants or VARIANTS.get(chosen.name, []))]):
                    wanted = our_spec(ledger, chosen, name, seed, options)
                    told(name, seed, None if wanted is None else ledger.run(wanted))
    lines = tables.methods_table([row for row in report.rows(ledger, compared) if row.name in sets.FEW_LABELS])
    if len(lines) > 1:
        print(f"\n{tables.plain(lines)}\n\n{tables.markdown(lines)}")
    print("\n".join([*lines_of_examples(ledger), *pretraining_lines(ledger), *report.failures(ledger)]))


if __name__ == "__main__":
    main()
