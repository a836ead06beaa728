"""The report of a night with realistic figures, and of nights of which parts are missing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.cells import cell_len

from bert_core.config import SequenceTask
from tasks.config.gate import EvidenceGate
from tasks.evidence.gate import judge_evidence
from tasks.evidence.report import Draw, EvalReport, Evidence
from tasks.evidence.report import build_report as build_evidence
from tasks.evidence.schema import Costs
from tasks.evidence.wording import bounded, difference
from tasks.text.report.build import RunReport, build_report
from tasks.text.report.stages import ModelVersion, StageRun, unaccounted
from tasks.text.report.wording import duration, size

CLASSES = ("rotten", "fresh")
ADDRESSES = {"Prefect": "http://127.0.0.1:4200", "MLflow": "http://127.0.0.1:5000", "Ray": "http://127.0.0.1:8265"}


def evidence(accuracy: dict[str, float], size: int = 1_246) -> EvalReport:
    """Models that are right with a given probability; what is hard for one tends to be hard for all."""
    rng = np.random.default_rng(0)
    truth = rng.choice(CLASSES, size, p=[0.47, 0.53])
    hardness, ids = rng.random(size), [f"{i:032x}" for i in range(size)]

    def said(name: str, share: float) -> pa.Table:
        noisy = 0.6 * hardness + 0.4 * rng.random(size)
        right = noisy < np.quantile(noisy, share)
        fresh = np.where(right, truth == "fresh", truth != "fresh") | (name == "majority")
        return pa.table({"id": ids, "label": np.where(fresh, "fresh", "rotten").tolist()})

    return build_evidence(
        Evidence(
            task=SequenceTask(labels=CLASSES),
            gold=pa.table({"id": ids, "text": [f"text {i}" for i in range(size)], "label": truth.tolist()}),
            answers={
                name: [said(name, share) for _ in range(3 if name == "model" else 1)]
                for name, share in accuracy.items()
            },
            ablations=tuple(name for name in accuracy if name in ABLATIONS),
            costs={"model": Costs(size_mb=91.0, latency_ms=11.2)},
            draw=Draw(samples=500),
        )
    )


ABLATIONS = ("without_pretraining", "random_weights")
FIRST = {"majority": 0.53, "naive_bayes": 0.756, "logistic_regression": 0.753, "model": 0.841}
LATER = FIRST | {"champion": 0.832, "without_pretraining": 0.836, "random_weights": 0.702}


def manifest(stage: str, seconds: float, memory_gb: float, **parts: Any) -> dict[str, Any]:
    facts = {"as_of": "2026-11-22", "peak_memory_bytes": int(memory_gb * 1e9)} | parts.pop("facts", {})
    return {"stage": stage, "seconds": seconds, "rows": {}, "dropped": {}, "facts": facts, **parts}


def night() -> list[StageRun]:
    training = {"epochs": 2.0, "world_size": 2}
    return [
        StageRun(
            manifest(
                "scrape",
                71.3,
                1.42,
                rows={
                    "seen": 1_602,
                    "fetched": 611,
                    "not_modified": 902,
                    "redirected": 31,
                    "skipped": 44,
                    "failed": 14,
                    "new": 580,
                    "changed": 31,
                    "gone": 2,
                },
                dropped={"robots.txt": 41, "http 404": 12, "excluded": 3, "timeout": 2},
                facts={"requests": 1_561, "bytes": 9_431_002},
            )
        ),
        StageRun(
            manifest(
                "clean",
                38.0,
                1.91,
                rows={"seen": 13_902, "kept": 13_571},
                dropped={
                    "language not en": 118,
                    "shorter than 10 characters": 97,
                    "too few letters": 61,
                    "boilerplate": 35,
                    "label not legal": 20,
                },
            )
        ),
        StageRun(
            manifest(
                "dedup",
                12.4,
                1.66,
                rows={"seen": 13_571, "kept": 13_402},
                dropped={"exact duplicate": 88, "near duplicate": 74, "exact duplicate, other label": 7},
            )
        ),
        StageRun(
            manifest(
                "split",
                1.1,
                1.5,
                rows={
                    "seen": 13_402,
                    "kept": 13_398,
                    "train": 11_062,
                    "train/fresh": 6_017,
                    "train/rotten": 4_184,
                    "validation": 1_413,
                    "validation/fresh": 699,
                    "validation/rotten": 606,
                    "test": 923,
                    "test/fresh": 430,
                    "test/rotten": 395,
                },
                dropped={"near-duplicate across the split": 4},
            )
        ),
        StageRun(
            manifest(
                "encode",
                4.9,
                1.6,
                facts={
                    "tokens": {"train": 412_338, "validation": 51_950, "test": 50_106},
                    "documents": {"train": 11_062, "validation": 1_413, "test": 1_344},
                    "unknown_rate": 0.00021,
                    "fertility": 1.213,
                    "vocab_size": 30_522,
                    "tokenizer": "9f3ac1d06b7e4c21",
                },
            ),
            cached=True,
        ),
        StageRun(
            manifest(
                "pretrain",
                181.7,
                4.21,
                config={"pretrain": {"batch": {"row_length": 128, "rows": 32}}},
                facts=training
                | {
                    "steps": 300,
                    "samples": 12_480,
                    "tokens": 873_201,
                    "tokens_per_second": 4_911.0,
                    "padding_share": 0.0031,
                    "eval_before": {"loss": 8.114, "mlm_loss": 8.114, "mlm_accuracy": 0.061},
                    "eval_after": {"loss": 2.871, "mlm_loss": 2.871, "mlm_accuracy": 0.482},
                },
            )
        ),
        StageRun(manifest("baselines", 3.1, 1.71)),
        StageRun(
            manifest(
                "train-task",
                142.2,
                4.05,
                config={"train": {"batch": {"row_length": 128, "samples": 32}}},
                facts=training
                | {
                    "steps": 638,
                    "samples": 10_201,
                    "tokens": 632_114,
                    "tokens_per_second": 4_702.0,
                    "padding_share": 0.021,
                    "eval_before": {"loss": 0.694, "sequence_loss": 0.694, "sequence_accuracy": 0.531},
                    "eval_after": {"loss": 0.402, "sequence_loss": 0.402, "sequence_accuracy": 0.839},
                },
            )
        ),
        StageRun(manifest("evidence", 6.3, 1.9)),
        StageRun({"stage": "register", "seconds": 5.2}, peak_memory_bytes=1_800_000_000),
        StageRun({"stage": "gate", "seconds": 0.8}),
        StageRun({"stage": "promote", "seconds": 0.4}),
    ]


def report(
    accuracy: dict[str, float] = LATER, *, min_accuracy: float = 0.8, aliases: tuple[str, ...] = ()
) -> RunReport:
    found = evidence(accuracy)
    policy = EvidenceGate(
        minimum={"accuracy": min_accuracy},
        min_class_f1=0.75,
        min_gain_over_baseline=0.03,
        max_regression=0.03,
        max_model_mb=120,
    )
    return build_report(
        "film-reviews",
        night(),
        as_of="2026-11-22",
        evidence=found,
        verdict=judge_evidence(policy, found),
        version=ModelVersion("film-reviews", "2", aliases, "version 1 is @previous"),
        addresses=ADDRESSES,
        seconds=471.0,
        peak_memory_bytes=4_730_000_000,
    )


def test_the_report_of_a_night_shows_every_figure_that_matters() -> None:
    text = report(aliases=("candidate", "champion")).text()
    first = text.splitlines()[2]
    assert first.strip() == "✓ PROMOTED   film-reviews version 2 is the champion"
    for figure in [
        "1,602", "902", "robots.txt 41", "580 new, 31 changed, 2 gone",  # pages
        "13,902", "language not en 118", "near-duplicate across the split 4",  # documents
        "6,017 (59%)", "861", "412,338", "1.21 tokens a word",  # split and tokens
        "0.3%", "72.7%",  # padding: packed, and with one text a row
        "8.114", "2.871", "17.7", "3,340.9", "-5.243",  # held-out loss and perplexity
        "majority", "naive bayes", "logistic regression", "champion", "without pretraining", "this model",
        "no regression against champion", "gain over best baseline",
        "@candidate  @champion", "version 1 is @previous",
        "3 min 02 s", "4.21 GB", "(4.9 s)", "cached", "7 min 51 s",
        *ADDRESSES.values(),
    ]:  # fmt: skip
        assert figure in text, figure


def test_no_line_of_the_terminal_report_is_longer_than_100_columns() -> None:
    for kind in (report(), report(FIRST), report(min_accuracy=0.9)):
        assert max(cell_len(line) for line in kind.text().splitlines()) <= 100


def test_figures_in_the_report_are_those_of_the_evidence() -> None:
    found = evidence(FIRST)
    text = build_report("film-reviews", [], evidence=found).text()
    for name, model in found.models.items():
        assert bounded(model.metrics["accuracy"].interval, "share") in text, name
    lead = found.models["naive_bayes"].leads["accuracy"]
    assert difference(lead.interval, "share") in text
    verdict = judge_evidence(EvidenceGate(min_gain_over_baseline=0.0), found)
    gain = next(rule for rule in verdict.rules if rule.name == "gain over best baseline")
    assert gain.value == pytest.approx(lead.interval.low), "gate and report rest on one interval"


def test_a_refused_candidate_is_the_first_thing_that_is_read() -> None:
    lines = report(min_accuracy=0.9).text().splitlines()
    assert lines[2].strip().startswith("✗ REFUSED   film-reviews version 2 failed 1 of 8 rules")
    assert lines[3].strip().startswith("✗ accuracy at least 0.9: 0.8")


def test_a_candidate_that_passed_and_was_not_promoted_says_so() -> None:
    assert "may be promoted, and is not the champion yet" in report(aliases=("candidate",)).text()


def test_documents_that_disappear_are_named_in_the_head() -> None:
    leaky = StageRun(manifest("clean", 1.0, 1.0, rows={"seen": 100, "kept": 90}, dropped={"too short": 7}))
    assert unaccounted([leaky]) == ["clean: 100 seen, but 90 kept + 7 dropped"]
    assert "✗ clean: 100 seen, but 90 kept + 7 dropped" in build_report("r", [leaky]).text().split("──")[0]
    assert unaccounted(night()) == []


def test_what_did_not_run_is_not_shown() -> None:
    assert build_report("film-reviews", []).text().strip() == "BERT Foundry · film-reviews\n\n NOTHING RAN"
    only_clean = build_report("film-reviews", [stage for stage in night() if stage.stage == "clean"])
    assert [section.title for section in only_clean.sections] == ["Documents", "Stages"]


def test_markdown_has_one_well_formed_table_row_for_each_row() -> None:
    markdown = report().markdown()
    tables = [block for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 8
    for table in tables:
        bars = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(bars) == 1, table
    assert "●" not in markdown, "pictures made of characters are for terminals"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (268, "4 min 28 s"), (3_780, "1 h 03 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_read_well() -> None:
    assert [size(n) for n in (12, 9_000, 312_400_000, 1_240_000_000)] == ["12 B", "9 kB", "312 MB", "1.24 GB"]
