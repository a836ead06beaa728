"""What the benchmarks measured, line by line: every run is a process of its own, and is not made twice.

A line of the JSONL is {"spec", "figures", "metrics", "answers", …} or {"spec", "error"}. What decides a run is its
spec: one that is there, without an error, is finished; a killed benchmark goes on behind it. The answers of each run to
the test side lie beside the file, so that intervals over examples can be had later.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from finetuning import ours, pretraining, sets
from finetuning.variants import variant

from bert_core import tokenizer as tokenizers
from bert_core.metrics import primary_metric, score
from tasks.classical import fit as fit_classical
from tasks.config.classical import ClassicalConfig

Spec = dict[str, Any]
Record = dict[str, Any]
RUN = Path(__file__).parent / "run.py"
MARK = "RESULT "
BASELINES = {
    "sequence": "logistic_regression",
    "pair": "logistic_regression",
    "token": "crf",
    "span": "lexical",
    "choice": "logistic_regression",
    "embedding": "tfidf",
    "seq2seq": "lexicon",
    "causal": "trigram",
}
BASELINE_BUDGET_S = 120.0


class Ledger:
    """The JSONL file, in memory and on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # a killed benchmark may have torn its last
        if len(whole) < len(lines):
            path.write_text("".join(whole), "utf-8")
        self.records: list[Record] = [json.loads(line) for line in whole]

    @property
    def folder(self) -> Path:
        """Where answers, weights and the log lie."""
        return self.path.with_suffix(".files")

    def find(self, spec: Spec) -> Record | None:
        """The finished run of this spec."""
        return next((each for each in self.records if each["spec"] == spec and "error" not in each), None)

    def append(self, record: Record) -> Record:
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return record

    def run(self, spec: Spec) -> Record | None:
        """The record of a spec, made in a process of its own where it is missing; None: it failed, which is noted."""
        spec = json.loads(json.dumps(spec))
        if found := self.find(spec):
            return found
        self.folder.mkdir(exist_ok=True)
        log = self.folder / "log.txt"
        with log.open("ab") as errors:
            done = subprocess.run(
                [sys.executable, str(RUN), "--side", json.dumps(spec), "--out", str(self.path)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        about = {"spec": spec, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": os.getloadavg()[0]}
        marked = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if done.returncode or not marked:
            tail = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
            self.append({**about, "error": f"ended with {done.returncode}: {tail[-1][:500] if tail else ''}"})
            print(f"  failed: {self.records[-1]['error']} (see {log})", flush=True)
            return None
        return self.append({**about, **json.loads(marked[-1].removeprefix(MARK))})


def key_of(spec: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def spec_of(chosen: sets.BenchmarkSet, kind: str, *, threads: int, **more: Any) -> Spec:
    """Args:
    kind: trainer, probe (a few of its steps), ours, pretraining or baseline.
    """
    spec = {"set": chosen.name, "kind": kind, "threads": threads, "settings": chosen.settings, **more}
    if kind == "pretraining":
        spec["pretraining"] = pretraining.SETTINGS
    if kind == "ours":
        how = variant(more["variant"])
        spec["changes"], spec["lr_factor"] = dict(how.changes), how.lr_factor
        if how.needs_pretraining:
            spec["pretraining"] = pretraining.SETTINGS
        if how.epochs_factor != 1:
            spec["epochs_factor"] = how.epochs_factor
        if how.examples:
            spec["examples"] = dict(how.examples)
        if auxiliary := how.examples.get("auxiliary"):
            spec["auxiliary"] = sets.EVERY[auxiliary["set"]].settings
    return spec


def side(spec: Spec, folder: Path) -> Record:
    """In the process of a run: do what the spec says."""
    chosen = _chosen(spec)
    prepared = sets.prepare(chosen)
    about = {"prepared": prepared.folder.name, "sha256": prepared.sha256}
    kind = spec["kind"]
    if kind == "baseline":
        return about | _baseline(spec, prepared, folder)
    with tempfile.TemporaryDirectory(prefix="bench-model-") as temporary:
        out = Path(temporary) / "model"
        if kind in ("trainer", "probe"):
            from finetuning import trainer_side  # ours is measured without transformers in memory

            trainer_side.prepare_process(spec["threads"], spec["precision"])
            how = {name: spec[name] for name in ("seed", "precision", "grouped")}
            figures = trainer_side.fit(chosen, prepared, out=out, max_steps=spec.get("max_steps"), **how)
            if kind == "probe":
                return about | {"figures": figures}
        else:
            ours.prepare_process(spec["threads"])
            if kind == "pretraining":
                weights = folder / f"weights-{key_of(spec)}"
                return about | {
                    "figures": pretraining.fit(chosen, prepared, precision=spec["precision"], out=weights),
                    "weights": weights.name,
                }
            start, masked = (folder / spec[name] if name in spec else None for name in ("weights", "masked_model"))
            figures = ours.fit(
                chosen,
                prepared,
                seed=spec["seed"],
                precision=spec["precision"],
                name=spec["variant"],
                out=out,
                weights=start,
                masked_model=masked,
            )
        found, seconds = ours.answers(out, prepared)
    return about | _answered(spec, prepared, found, folder) | {"figures": figures | {"answer_s": seconds}}


def _chosen(spec: Spec) -> sets.BenchmarkSet:
    """The set of a spec, sampled as it says: --limit and --full are not in the table."""
    most = [spec["settings"]["data"].get(f"max_{name}") for name in sets.SIDES]
    chosen = sets.EVERY[spec["set"]].sampled(*most)
    if json.loads(json.dumps(chosen.settings)) != spec["settings"]:
        raise ValueError(f"{spec['set']}: the set's settings are no longer those of this run; start a new --out")
    return chosen


def _answered(spec: Spec, prepared: sets.Prepared, found: pa.Table, folder: Path) -> Record:
    scores = score(prepared.task, prepared.side("test"), found)
    path = folder / f"{key_of(spec)}.parquet"
    pq.write_table(found, path, compression="zstd")
    return {
        "answers": path.name,
        "primary": sets.EVERY[spec["set"]].metric or primary_metric(prepared.task, scores.metrics),
        "metrics": scores.values(),
        "examples": {name: prepared.side(name).num_rows for name in sets.SIDES},
    }


def _baseline(spec: Spec, prepared: sets.Prepared, folder: Path) -> Record:
    name = spec["model"]
    started = time.perf_counter()
    settings = ClassicalConfig(models=(name,), budget_s=BASELINE_BUDGET_S)
    backend = tokenizers.load(prepared.tokenizer).backend
    found = fit_classical(
        settings,
        prepared.task,
        {each: prepared.side(each) for each in sets.SIDES},
        seed=13,
        count_tokens=lambda text: len(backend.encode(text, add_special_tokens=False).ids) + 1,
    )
    if name not in found:
        raise ValueError(f"{name}: {found.skipped[name]}")
    figures = {"seconds": time.perf_counter() - started}
    return {"figures": figures} | _answered(spec, prepared, found[name].answers, folder)


def baseline_of(task: Any) -> str:
    """The cheap classical model that a set is shown beside."""
    return "ridge" if getattr(task, "kind", "") == "regression" else BASELINES[task.type]
