"""Both sides of the fine-tuning benchmarks read the same examples, and the figures are those of the runs."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from finetuning import (
    examples,
    few_labels,
    methods,
    ours,
    report,
    results,
    run,
    sets,
    tables,
    trainer_rows,
    trainer_side,
)
from finetuning.examples import ExamplesConfig
from finetuning.results import Ledger
from finetuning.variants import CLOZE, VARIANTS, Variant, merged, variant
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bert_core import hf
from bert_core.config import CausalTask, ModelConfig, Seq2SeqTask, SequenceTask, Task, TokenTask
from bert_core.features import encode
from bert_core.files import write_json
from bert_core.heads import PretrainingModel
from bert_core.intervals import Interval
from bert_core.metrics.metric import Metric, Scores
from bert_core.predict import Predictor
from tests.bert_core.tiny_bert import initialised
from tests.bert_core.tiny_tasks import TASKS, bpe, shape, table, text, wordpiece

ROW_LENGTH = 48
ANSWERED = ["single", "multi", "regression", "pair", "token", "span", "choice", "in_batch", "cosine"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    config = shape("bert", wordpiece())
    hf.export_pretraining(initialised(PretrainingModel(config, pairs=False), config), config, folder)
    hf.export_tokenizer(wordpiece(), config, folder)
    return folder


def a_table(name: str, rows: int, seed: int) -> pa.Table:
    if name not in ("choice", "seq2seq", "causal"):
        return table(name, rows, seed)
    rng, made = np.random.default_rng(seed), []
    for row in range(rows):
        more: dict[str, Any] = {"target": text(rng)}
        if name == "choice":  # transformers' collator wants as many for all
            more = {"choices": [text(rng) for _ in range(3)], "label": int(rng.integers(3))}
        made.append({"id": f"{name}-{seed}-{row}", "text": text(rng), **more})
    return pa.Table.from_pylist(made)


def task_of(name: str) -> Task:
    return {"seq2seq": Seq2SeqTask(max_target_tokens=24), "causal": CausalTask()}.get(name) or TASKS[name]


def a_set(name: str, weights: Path, folder: Path) -> tuple[sets.BenchmarkSet, sets.Prepared]:
    """A set of the task `name`: 24 training examples, two steps."""
    chosen = sets.BenchmarkSet(
        "trec", sets.SETS["trec"].data, task_of(name), row_length=ROW_LENGTH, epochs=1, batch=12, weights=str(weights)
    )
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (side, rows) in enumerate({"train": 24, "validation": 12, "test": 16}.items()):
        pq.write_table(a_table(name, rows, seed), folder / f"{side}.parquet")
    write_json(folder / "task.json", {"task": chosen.task.model_dump(mode="json")})
    return chosen, sets.Prepared(folder, chosen.task, weights, weights, None)


@pytest.mark.parametrize("name", [*ANSWERED, "seq2seq"])
def test_both_sides_read_the_same_tokens_for_the_same_targets(name: str, weights: Path) -> None:
    tokenizer, task, examples = AutoTokenizer.from_pretrained(weights), task_of(name), a_table(name, 30, 3)
    rows = trainer_rows.rows_of(task, examples, tokenizer, ROW_LENGTH)
    features = encode(task, examples, wordpiece(), ROW_LENGTH)
    mine = [part.tolist() for part in np.split(features.tokens, features.offsets[1:-1])]
    keys = {"choice": ["input_ids"], "seq2seq": ["input_ids", "labels"]}.get(
        name, ["input_ids", "b_input_ids", "negative_input_ids"]
    )
    theirs = [row[key] for row in rows for key in keys if key in row]
    if name == "choice":
        theirs = [ids for row in theirs for ids in row]
    if name == "seq2seq":
        mine[1::2] = [ids[1:] for ids in mine[1::2]]  # the decoder's first token is put in front by the model
    assert theirs == mine
    if name == "span":
        assert [(row["start_positions"], row["end_positions"]) for row in rows] == [
            tuple(target) for target in features.targets.astype(int).tolist()
        ]
        assert len(rows) > examples.num_rows, "no context was long enough for two windows"
    if name == "token":
        assert [label for row in rows for label in row["labels"] if label >= 0] == features.position_labels.tolist()


def test_a_causal_target_that_does_not_fit_goes_on_in_the_next_row(tmp_path: Path) -> None:
    bpe().save(tmp_path)
    tokenizer, rng = AutoTokenizer.from_pretrained(tmp_path), np.random.default_rng(0)
    examples = pa.table({"id": ["a", "b"], "text": ["", text(rng)], "target": [text(rng, 60, 61), text(rng)]})
    rows = trainer_rows.rows_of(CausalTask(), examples, tokenizer, ROW_LENGTH)
    features = encode(CausalTask(), examples, bpe(), ROW_LENGTH)
    labels = [token for row in rows for token in row["labels"] if token != trainer_rows.IGNORED]
    assert len(rows) == features.num_sequences > 2
    assert labels == features.position_labels.tolist()


@pytest.mark.parametrize("name", ANSWERED)
def test_trainers_folder_is_answered_by_our_predictor(name: str, weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set(name, weights, tmp_path / "set")
    torch.manual_seed(0)
    figures = trainer_side.fit(chosen, prepared, seed=1, precision="fp32", grouped=name == "single", out=tmp_path / "m")
    found, seconds = ours.answers(tmp_path / "m", prepared)
    assert found["id"].to_pylist() == prepared.side("test")["id"].to_pylist()
    assert figures["steps"] == 2
    assert 0 < figures["seconds"] < figures["whole_s"]
    assert seconds > 0


def test_trainers_encoder_decoder_and_gpt_train_and_answer(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("seq2seq", weights, tmp_path / "seq2seq")
    trainer_side.fit(chosen, prepared, seed=1, precision="fp32", grouped=False, out=tmp_path / "a")
    assert json.loads((tmp_path / "a/config.json").read_text("utf-8"))["model_type"] == "encoder-decoder"
    assert ours.answers(tmp_path / "a", prepared)[0].num_rows == 16
    chosen, prepared = a_random_gpt(weights, tmp_path)
    trainer_side.fit(chosen, prepared, seed=1, precision="fp32", grouped=False, out=tmp_path / "b")
    assert hf.load_config(tmp_path / "b").causal
    assert ours.answers(tmp_path / "b", prepared)[0].num_rows == 16


def a_random_gpt(weights: Path, folder: Path) -> tuple[sets.BenchmarkSet, sets.Prepared]:
    chosen, prepared = a_set("causal", weights, folder / "causal")
    bpe().save(folder / "bpe")
    model = ModelConfig(family="gpt2", size="tiny").for_tokenizer(
        vocab_size=bpe().vocab_size, pad_token_id=bpe().pad_id
    )  # type: ignore[call-arg]
    return chosen, sets.Prepared(prepared.folder, chosen.task, folder / "bpe", None, model)


def test_both_sides_start_from_the_same_random_weights_of_a_seed(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_random_gpt(weights, tmp_path)
    still = replace(chosen, lr=1e-12)
    trainer_side.fit(still, prepared, seed=1, precision="fp32", grouped=False, out=tmp_path / "theirs")
    for seed in (1, 2):
        ours.fit(still, prepared, seed=seed, precision="fp32", name="plain", out=tmp_path / f"{seed}")
    theirs, same, other = (load_file(tmp_path / each / "model.safetensors") for each in ("theirs", "1", "2"))
    assert set(theirs) == set(same)
    assert all(torch.allclose(theirs[name], same[name], atol=1e-8) for name in theirs)
    assert not torch.allclose(other["transformer.wte.weight"], same["transformer.wte.weight"], atol=1e-3)


def test_a_probe_times_steps_and_saves_nothing(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    out = tmp_path / "m"
    found = trainer_side.fit(chosen, prepared, seed=1, precision="bf16", grouped=False, out=out, max_steps=6)
    assert found["steps"] == 6
    assert found["step_s"] > 0
    assert not out.exists()


def test_ours_trains_as_many_steps_on_the_same_examples(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("pair", weights, tmp_path / "set")
    chosen = replace(chosen, batch=10, epochs=2)  # of 24 examples: Trainer's epochs end with a batch of 4
    theirs = trainer_side.fit(chosen, prepared, seed=1, precision="fp32", grouped=False, out=tmp_path / "theirs")
    figures = ours.fit(chosen, prepared, seed=1, precision="fp32", name="plain", out=tmp_path / "m")
    assert figures["steps"] == theirs["steps"] == 6
    assert 0 < figures["seconds"] < figures["whole_s"]
    assert Predictor(tmp_path / "m").task == prepared.task


def test_a_threshold_for_no_answer_is_chosen_on_validation_and_kept(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("span", weights, tmp_path / "set")
    ours.fit(chosen, prepared, seed=1, precision="fp32", name="plain", out=tmp_path / "m")
    ours.answers(tmp_path / "m", prepared)
    tuned = hf.read_task(tmp_path / "m")
    assert tuned is not None
    assert tuned.task.no_answer_threshold is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [*VARIANTS, "pretrained+rdrop+ema"])
def test_every_variant_is_a_config(name: str, weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("single", weights, tmp_path)
    if name == "cloze":
        prepared = replace(prepared, task=SequenceTask(labels=tuple(CLOZE["verbalizer"])))
    asked = ExamplesConfig.model_validate(variant(name).examples)
    watched = tmp_path if asked.validation else None
    made = ours.config(chosen, prepared, seed=1, precision="fp32", name=name, features=tmp_path, validation=watched)
    assert made.optimizer.lr == pytest.approx(chosen.lr * variant(name).lr_factor)
    assert (made.eval_data is None) is not asked.validation


def test_variants_add_up_and_an_unknown_one_is_named() -> None:
    both = variant("fgm+ema+lora")
    assert both.changes["optimizer"] == {"ema_decay": 0.99}
    assert set(both.changes["method"]) == {"adversarial", "lora"}
    assert variant("fgm").changes == {"method": {"adversarial": {"type": "fgm"}}}, "the table itself was changed"
    assert merged({"a": {"b": 1}}, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    with pytest.raises(ValueError, match="no variant 'emma'; there are plain, ema"):
        variant("ema+emma")


def test_operations_that_change_examples_add_up() -> None:
    both = variant("swap+deletion+ema")
    assert [method["type"] for method in both.examples["augment"]["methods"]] == ["swap", "deletion"]
    assert len(variant("swap").examples["augment"]["methods"]) == 1, "the table itself was changed"
    assert variant("swap+substitution").needs_pretraining
    assert not variant("swap").needs_pretraining


def test_with_names_the_set_that_is_learned_too() -> None:
    assert variant("with:newspaper-pos-zh").examples["auxiliary"]["set"] == "newspaper-pos-zh"
    with pytest.raises(ValueError, match=r"no set \['graded'\]; there are trec"):
        variant("with:graded")


def test_only_new_variants_have_new_keys_in_their_specs() -> None:
    def keys(name: str) -> set[str]:
        return set(results.spec_of(sets.SETS["trec"], "ours", threads=1, seed=1, precision="auto", variant=name))

    plain = {"set", "kind", "threads", "settings", "seed", "precision", "variant", "changes", "lr_factor"}
    assert keys("plain") == keys("rdrop+ema") == plain
    assert keys("pretrained") == {*plain, "pretraining"}
    assert keys("pseudo") == {*plain, "examples"}
    assert keys("longer") == {*plain, "epochs_factor"}
    assert keys("substitution") == {*plain, "examples", "pretraining"}
    assert keys("with:film-reviews") == keys("with:film-reviews+ema") == {*plain, "examples", "auxiliary"}


def test_substitution_asks_the_pretrained_model_and_starts_from_the_plain_one() -> None:
    class Made:
        def run(self, spec: Any) -> Any:
            assert spec["kind"] == "pretraining"
            return {"weights": "weights-1"}

    found = {
        name: run.our_spec(Made(), sets.FEW_LABELS["film-reviews-few"], name, 1, Namespace(precision="auto", threads=1))  # type: ignore[arg-type]
        for name in ("plain", "substitution", "cloze")
    }
    given = {name: {key: spec.get(key) for key in ("weights", "masked_model")} for name, spec in found.items() if spec}
    assert given == {
        "plain": {"weights": None, "masked_model": None},
        "substitution": {"weights": None, "masked_model": "weights-1"},
        "cloze": {"weights": "weights-1", "masked_model": None},
    }


def test_sets_of_few_labels_are_smaller_ones_of_the_same_files() -> None:
    for chosen in sets.chosen(list(few_labels.VARIANTS)):
        of = sets.SETS[chosen.name.removesuffix("-few")]
        assert (chosen.data.train, chosen.data.max_train) == (of.data.train, sets.FEW)
        assert "metric" not in chosen.settings
        spec = json.loads(json.dumps(results.spec_of(chosen, "pretraining", threads=1)))
        assert results._chosen(spec) == chosen
    assert [each.name for each in sets.chosen([])] == list(sets.SETS), "they are measured by name alone"


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 more examples than the training side, without files."""

    def larger(_: Any, prepared: sets.Prepared, times: int = examples.POOL) -> pa.Table:
        train, more = prepared.side("train"), a_table("single", 60, 9)
        ids = pa.array([f"more-{row}" for row in range(60)])
        return pa.concat_tables([train, more.set_column(more.column_names.index("id"), "id", ids)])

    monkeypatch.setattr(examples, "_pool", larger)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("all-labels", 84), ("active-random", 48), ("active-margin", 48), ("pseudo", None), ("swap", None)],
)
@pytest.mark.usefixtures("pool")
def test_more_examples_are_learned_from_in_as_many_steps(
    name: str, rows: int | None, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = merged(VARIANTS["pseudo"].examples, {"labels": {"threshold": 0.34, "class_balanced": False}})
    monkeypatch.setitem(VARIANTS, "pseudo", replace(VARIANTS["pseudo"], examples=unsure))
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    figures = ours.fit(chosen, prepared, seed=1, precision="fp32", name=name, out=tmp_path / "m")
    facts = figures["examples"]
    added = facts.get("pseudo-labels", 0) + facts.get("copies", 0)
    assert figures["steps"] == 2
    assert figures["rows"] == (rows or 24 + added) > 24
    if name == "pseudo":
        assert facts["asked"] == 60
        assert 0 <= facts["right"] <= 1
    assert ours.answers(tmp_path / "m", prepared)[0].num_rows == 16


@pytest.mark.usefixtures("pool")
def test_active_learning_starts_as_random_choice_does_and_asks_for_other_texts(weights: Path, tmp_path: Path) -> None:
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    taught: list[set[str]] = []

    def teach(table: pa.Table, model: Path) -> float:
        taught.append(set(table["id"].to_pylist()))
        if len(taught) == 1:  # one model is enough to be asked twice
            ours.fit(chosen, prepared, seed=1, precision="fp32", name="plain", out=tmp_path / "round-0")
        else:
            (tmp_path / "round-1").symlink_to(tmp_path / "round-0")
        return 1.0

    found = {}
    for strategy in ("margin", "random"):
        config = ExamplesConfig.model_validate({"labels": {"type": "active", "strategy": strategy}})
        made = examples.make(config, chosen, prepared, seed=5, teach=teach, folder=tmp_path)
        found[strategy] = set(made.table["id"].to_pylist())
        assert made.facts == {"examples": 48, "started with": 16, "rounds": 2}
    assert [len(ids) for ids in taught] == [16, 32]
    assert taught[0] < taught[1] < found["margin"]
    assert taught[0] < found["random"] != found["margin"]


def test_a_pool_without_its_training_side_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    monkeypatch.setattr(sets, "prepare", lambda _: prepared)  # ids of its test side are those of its training side
    with pytest.raises(ValueError, match="the pool lacks 0 training examples and has 16 held out"):
        examples._pool(chosen, prepared)


def test_an_auxiliary_task_learns_from_no_held_out_text(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    _, other = a_set("regression", weights, tmp_path / "other")
    table = other.side("train").to_pylist()
    table[3]["text"] = prepared.side("test")["text"][0].as_py()
    pq.write_table(pa.Table.from_pylist(table), other.folder / "train.parquet")
    monkeypatch.setattr(sets, "prepare", lambda _: other)
    figures = ours.fit(chosen, prepared, seed=1, precision="fp32", name="with:graded-sentiment", out=tmp_path / "m")
    assert figures["examples"]["dropped as held out"] >= 1
    assert figures["examples"]["auxiliary"] + figures["examples"]["dropped as held out"] == 24
    assert figures["steps"] == 4, "two of each task"
    assert Predictor(tmp_path / "m").task == prepared.task


def test_an_early_end_is_decided_by_the_validation_side(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = Variant("learns too fast", VARIANTS["stopped"].changes, 500, examples=VARIANTS["stopped"].examples)
    monkeypatch.setitem(VARIANTS, "stopped", worse)
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    chosen = replace(chosen, epochs=20, warmup_share=0.0)
    figures = ours.fit(chosen, prepared, seed=1, precision="fp32", name="stopped", out=tmp_path / "m")
    assert figures["examples"] == {"watched": 12}
    assert 6 <= figures["steps"] < 40, "three epochs at least, and not all"
    assert 0 < figures["seconds"] < figures["whole_s"]


@pytest.mark.usefixtures("pool")
def test_words_and_blanks_are_asked_of_the_masked_word_head(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [token for token in wordpiece().tokens if len(token) > 2 and token.isalpha()]
    cloze = {"pattern": "{text} {mask}.", "verbalizer": dict(zip("abc", tokens, strict=False))}
    monkeypatch.setitem(VARIANTS, "cloze", Variant("", {"method": {"cloze": cloze}}, pretrained=True))
    chosen, prepared = a_set("single", weights, tmp_path / "set")
    how = {"seed": 1, "precision": "fp32", "weights": weights, "masked_model": weights}
    ours.fit(chosen, prepared, name="cloze", out=tmp_path / "cloze", **how)  # type: ignore[arg-type]
    assert Predictor(tmp_path / "cloze").method.cloze is not None
    assert ours.answers(tmp_path / "cloze", prepared)[0].num_rows == 16
    figures = ours.fit(chosen, prepared, name="substitution", out=tmp_path / "m", **how)  # type: ignore[arg-type]
    assert figures["examples"]["copies"] > 0


def test_a_budget_is_part_of_what_a_run_is() -> None:
    (small,) = sets.chosen(["trec"], limit=40)
    (whole,) = sets.chosen(["trec"], full=True)
    assert (small.data.max_train, whole.data.max_train) == (40, None)
    assert small.settings != whole.settings != sets.SETS["trec"].settings
    for chosen in (small, whole, *sets.chosen([])):
        spec = json.loads(json.dumps(results.spec_of(chosen, "trainer", threads=1)))
        assert results._chosen(spec) == chosen
    with pytest.raises(ValueError, match=r"no set \['trek'\]; there are trec, "):
        sets.chosen(["trek"])


def test_finished_runs_are_not_made_again_and_failed_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    code = 1

    def answer(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, f'noise\n{results.MARK}{{"figures": {{"seconds": 1}}}}\n')

    monkeypatch.setattr(subprocess, "run", answer)
    ledger = Ledger(tmp_path / "results.jsonl")
    spec = results.spec_of(sets.SETS["trec"], "trainer", threads=1, seed=1, precision="fp32", grouped=False)
    assert ledger.run(spec) is None
    assert len(report.failures(ledger)) == 1
    code = 0
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"spec": {"set": "tr')  # killed while it wrote
    ledger = Ledger(tmp_path / "results.jsonl")
    assert ledger.run(spec) == ledger.run(spec)
    assert len(asked) == 2
    again = Ledger(tmp_path / "results.jsonl")
    assert [("error" in each) for each in again.records] == [True, False]
    assert not report.failures(again)
    assert again.run({**spec, "seed": 2}) is not None, "another seed is another run"
    assert len(asked) == 3


def a_record(ledger: Ledger, prepared: sets.Prepared, kind: str, seed: int, right: list[bool], seconds: float) -> None:
    """A run whose answer to test example i is right where `right[i]`."""
    gold, labels = prepared.side("test"), ("a", "b", "c")
    said = [
        label if is_right else labels[(labels.index(label) + 1) % 3]
        for label, is_right in zip(gold["label"].to_pylist(), right, strict=True)
    ]
    found = pa.table({"id": gold["id"], "label": said, "probabilities": [[1 / 3] * 3] * len(said)})
    more = {"variant": "plain"} if kind == "ours" else {"grouped": False}
    precision = "auto" if kind == "ours" else "fp32"
    spec = results.spec_of(sets.SETS["trec"], kind, threads=1, seed=seed, precision=precision, **more)
    ledger.folder.mkdir(exist_ok=True)
    figures = {"seconds": seconds, "whole_s": 2 * seconds, "tokenize_s": 1.0, "peak_bytes": 10, "steps": 2}
    about = {"prepared": prepared.folder.name, "sha256": prepared.sha256}
    made = results._answered(json.loads(json.dumps(spec)), prepared, found, ledger.folder)
    ledger.append({"spec": spec, **about, **made, "figures": figures | {"trained_parameters": 5}})


def test_the_table_has_means_paired_differences_and_medians_of_ratios(tmp_path: Path, weights: Path) -> None:
    _, prepared = a_set("single", weights, tmp_path / "prepared")
    ledger = Ledger(tmp_path / "results.jsonl")
    rng = np.random.default_rng(0)
    shares = {}
    for seed, factor in ((1, 0.5), (2, 0.7), (3, 0.1)):
        theirs = (rng.random(16) < 0.5).tolist()
        mine = [one or bool(rng.random() < 0.8) for one in theirs]
        a_record(ledger, prepared, "trainer", seed, theirs, 10.0)
        a_record(ledger, prepared, "ours", seed, mine, 10.0 * factor)
        shares[seed] = (np.mean(theirs), np.mean(mine))
    a_record(ledger, prepared, "trainer", 4, [True] * 16, 10.0)  # ours has no such seed: it is left out
    (row,) = report.rows(Ledger(ledger.path), run.against_trainer, samples=500, root=tmp_path)
    means = np.mean(list(shares.values()), axis=0)
    assert row.seeds == (1, 2, 3)
    assert (row.base_value.estimate, row.other_value.estimate) == pytest.approx(tuple(means))
    assert row.gain.estimate == pytest.approx(means[1] - means[0])
    assert row.gain.low < row.gain.estimate < row.gain.high
    assert row.ratio == row.whole_ratio == pytest.approx(0.5)
    assert row.is_as_good
    assert row.is_fast_enough
    printed = tables.markdown(tables.speed_table([row]))
    assert printed.count("reached") == 2
    assert len({line.count("|") for line in printed.splitlines()}) == 1
    (head, line) = tables.columns(tables.speed_table([row]), tables.FOR_README)
    assert (head[-1], line[-1]) == ("ratio", "0.50")
    pq.write_table(prepared.side("test")[1:], prepared.folder / "test.parquet")
    with pytest.raises(ValueError, match="not the examples"):
        report.rows(ledger, run.against_trainer, root=tmp_path)


def test_a_gain_is_positive_whichever_way_the_metric_points() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((40, 1)) + 1
    figures = {"seconds": 1.0, "whole_s": 1.0, "tokenize_s": 1.0, "peak_bytes": 1, "trained_parameters": 1}
    record = {"primary": "loss", "examples": {"train": 1, "test": 40}, "figures": figures}

    def scored(scale: float, is_higher_better: bool) -> Scores:
        metric = Metric("loss", values * scale, lambda sums: sums[..., 0] / 40, is_higher_better)
        return Scores({"loss": metric})

    for is_higher_better in (False, True):
        runs = [[scored(scale, is_higher_better)] for scale in (1.0, 0.8)]
        row = report._row("trec", ("a", "b"), [[record], [record]], runs, (1,), None, 200)
        assert row.gain.estimate == pytest.approx((-1) ** is_higher_better * 0.2 * values.mean())
        assert row.gain.low <= row.gain.estimate <= row.gain.high
        assert row.is_better is row.is_as_good is not is_higher_better


def test_labels_say_what_is_compared_with_what() -> None:
    labels = ["Trainer bf16", "plain", "ema", "plain fp32", "lora fp32"]
    assert list(methods.against_plain(labels)) == [("plain", "ema"), ("plain fp32", "lora fp32")]
    assert len(list(run.against_trainer(labels))) == 4
    few = few_labels.compared(["plain", "active-random", "active-margin", "cloze", "plain fp32", "pseudo fp32"])
    assert set(few) == {
        *(("plain", name) for name in ("active-random", "active-margin", "cloze")),
        ("plain fp32", "pseudo fp32"),
        ("active-random", "active-margin"),
    }
    assert tables.spread(Interval(0.0123, -0.001, 0.02), signed=True) == "+0.012 [-0.001, +0.020]"
    assert tables.spread(Interval(45.678, 40, 50)) == "45.68 [40.00, 50.00]"


def test_a_report_is_of_the_file_that_is_named(tmp_path: Path) -> None:
    given = tmp_path / "a.jsonl"
    assert run.options_of("", ["--report", str(given)]).out == given
    assert run.options_of("", ["trec", "--out", str(given), "--report"]).report is True
    assert run.options_of("", ["trec", "--out", str(given)]).report is None


def test_every_set_names_a_task_and_a_baseline() -> None:
    for chosen in sets.SETS.values():
        assert results.baseline_of(chosen.task)
    assert results.baseline_of(SequenceTask(kind="regression")) == "ridge"
    assert results.baseline_of(TokenTask()) == "crf"
