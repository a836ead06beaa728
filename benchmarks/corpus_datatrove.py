"""Documents a second and core from HTML to token shards: ours against datatrove 0.10, alternating, the same steps.

Extract, language, the rules of Gopher and C4, MinHash near-duplicates, tokens; on the same WARC files of the HTML of
three Debian sites, with the same language model and tokenizer, each side in a process of its own on one core.

    make corpora bench-env
    python benchmarks/corpus_datatrove.py [--sample 1000] [--rounds 3] [--cpu 0]

Prints seconds by stage, the ratio, and the agreement of the two sets of kept pages by what each side said of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from corpus_pages import page_files, pages, write_warcs
from measured import Usage, measure

from tasks.artifacts import home

TOKENIZER = "data/all-minilm-l6-v2"
HERE = Path(__file__).resolve().parent
PEER = "datatrove"
OURS = "bert-foundry"
KEPT = "kept"

Figures = dict[str, Any]


def run_side(side: str, warcs: Path, tokenizer: Path, folder: Path, cpu: int) -> tuple[Usage, Figures, dict[str, str]]:
    """One run: what the process cost, its own figures by stage, and what became of each page."""
    python, script = sys.executable, HERE / "corpus_ours.py"
    if side == PEER:
        python, script = str(home() / "bench-env" / "bin" / "python"), HERE / "corpus_datatrove_side.py"
    usage = measure([python, script, warcs, tokenizer, folder, "--cpu", str(cpu)], folder.with_suffix(".log"))
    lines = [json.loads(line) for line in (folder / "verdicts.jsonl").open()]
    return usage, json.loads((folder / "figures.json").read_text()), {line["url"]: line["verdict"] for line in lines}


def whole_tokenizer(folder: Path) -> Path:
    """The tokenizer without the truncation and padding that its model's file asks for: all tokens are wanted."""
    source = home() / TOKENIZER
    folder.mkdir()
    for file in source.iterdir():
        if file.suffix in (".json", ".txt"):
            (folder / file.name).write_bytes(file.read_bytes())
    model = json.loads((source / "tokenizer.json").read_text("utf-8"))
    model |= {"truncation": None, "padding": None}
    (folder / "tokenizer.json").write_text(json.dumps(model, ensure_ascii=False), "utf-8")
    return folder / "tokenizer.json"


def print_stages(side: str, runs: list[tuple[Usage, Figures]], documents: int) -> float:
    """Medians over the rounds; returns documents a core second."""
    print(f"\n{side}")
    print(f"  {'stage':<28}{'wall s':>9}{'core s':>9}{'ms/page':>9}")
    for number, stage in enumerate(runs[0][1]["stages"]):
        wall, cpu = (
            statistics.median(each["stages"][number][what] for _, each in runs) for what in ("wall_s", "cpu_s")
        )
        print(f"  {stage['stage']:<28}{wall:>9.2f}{cpu:>9.2f}{1000 * cpu / documents:>9.2f}")
        for step in stage.get("steps", []):
            print(f"    {step['name'].strip():<36}{step['own_s']:>9.2f} s of the first round")
    wall, cpu = (statistics.median(each[what] for _, each in runs) for what in ("wall_s", "cpu_s"))
    peak = max(usage.peak_bytes for usage, _ in runs)
    start = statistics.median(each["start_s"] for _, each in runs)
    print(f"  {'all':<28}{wall:>9.2f}{cpu:>9.2f}{1000 * cpu / documents:>9.2f}")
    print(
        f"  {documents / cpu:.1f} pages a core second; start and imports {start:.1f} s, not counted; peak memory",
        end=" ",
    )
    print(f"{peak / 2**20:,.0f} MB")
    return documents / cpu


def print_agreement(ours: dict[str, str], theirs: dict[str, str]) -> None:
    """Who kept what, and what the side that dropped a page said."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    both = sum(ours[url] == theirs[url] == KEPT for url in ours)
    only_ours = Counter(theirs[url] for url in ours if ours[url] == KEPT != theirs[url])
    only_theirs = Counter(ours[url] for url in ours if theirs[url] == KEPT != ours[url])
    neither = len(ours) - both - only_ours.total() - only_theirs.total()
    print(f"\nkept sets, {len(ours):,} pages: both keep {both:,}, both drop {neither:,}, ", end="")
    print(f"only ours keeps {only_ours.total():,}, only {PEER} keeps {only_theirs.total():,}")
    union = both + only_ours.total() + only_theirs.total()
    print(f"agreement {(both + neither) / len(ours):.3f}; Jaccard of the kept sets {both / max(1, union):.3f}")
    for title, counts in (
        (f"kept only by ours; {PEER} says", only_ours),
        (f"kept only by {PEER}; ours says", only_theirs),
    ):
        print(f"\n  {title}")
        for reason, count in counts.most_common():
            print(f"    {count:>6,}  {reason}")
    crossed = Counter((group(ours[url]), group(theirs[url])) for url in ours if ours[url] != KEPT != theirs[url])
    print(f"\n  dropped by both: ours says / {PEER} says")
    for (mine, other), count in crossed.most_common(12):
        print(f"    {count:>6,}  {mine} / {other}")


def print_causes(ours: dict[str, str], theirs: dict[str, str], exchanged: dict[str, str]) -> None:
    """Why the kept sets differ: `exchanged` is what the peer's filters say of the texts that ours extracted."""
    causes: Counter[tuple[str, str]] = Counter()
    for url in ours:
        if (ours[url] == KEPT) != (theirs[url] == KEPT):
            own_text = exchanged.get(url, "not extracted by ours")
            agrees = (own_text == KEPT) == (ours[url] == KEPT)
            cause = "the extracted text" if agrees else f"the rules: {own_text} by {PEER}"
            if not agrees and own_text == KEPT:
                cause = f"the rules: {ours[url]} by ours"
            causes["only ours" if ours[url] == KEPT else f"only {PEER}", cause] += 1
    print(f"\n  what makes the difference ({PEER}'s filters, run on the texts that ours extracted)")
    for (side, cause), count in causes.most_common():
        print(f"    {count:>6,}  kept by {side}: {cause}")
    print(f"    A word is a token of spaCy's to {PEER}, so that each mark and number is one, and what stands between")
    print("    blanks to ours; this moves Gopher's share of words with letters, lengths and n-grams.")


def group(verdict: str) -> str:
    """The rule's family: what stands before the colon."""
    return verdict.split(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, metavar="N", help="about N pages, evenly over the sites; default: all")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each side, alternating (default: %(default)s)")
    parser.add_argument("--cpu", type=int, default=0, help="processor that both sides run on (default: %(default)s)")
    parser.add_argument("--only", choices=(OURS, PEER), help="one side alone, for profiling")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all files of the runs here")
    options = parser.parse_args()
    every = max(1, len(page_files()) // options.sample) if options.sample else 1
    sides = [options.only] if options.only else [PEER, OURS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        warcs = folder / "pages"
        documents = write_warcs(pages(every), warcs)
        size = sum(file.stat().st_size for _, file in page_files(every))
        print(f"{documents:,} pages, {size / 1e6:.1f} MB of HTML; {options.rounds} rounds, processor {options.cpu}")
        tokenizer = whole_tokenizer(folder / "tokenizer")
        runs: dict[str, list[tuple[Usage, Figures]]] = {side: [] for side in sides}
        verdicts: dict[str, dict[str, str]] = {}
        for number in range(options.rounds):
            for side in sides:
                target = folder / f"{side}-{number}"
                usage, figures, verdicts[side] = run_side(side, warcs, tokenizer, target, options.cpu)
                runs[side].append((usage, figures))
        speeds = {side: print_stages(side, runs[side], documents) for side in sides}
        if len(sides) == 2:
            print(f"\n{speeds[OURS] / speeds[PEER]:.2f} times the pages a core second")
            print_agreement(verdicts[OURS], verdicts[PEER])
            last = folder / f"{OURS}-{options.rounds - 1}"
            _, _, exchanged = run_side(PEER, last / "texts", tokenizer, folder / "exchanged", options.cpu)
            print_causes(verdicts[OURS], verdicts[PEER], exchanged)


if __name__ == "__main__":
    main()
