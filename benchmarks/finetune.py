"""Fine-tuning on the whole film-review corpus: ours against transformers, the same weights, data, machine and run.

It reads the corpus that `make demo` and `make demo DAY=2` left in the store (split by film, near-duplicates on one
side), and alternates, seed by seed:

    transformers      BertForSequenceClassification, 2 epochs, batch 32, length-bucketed, lr 1e-4, fp32
    transformers bf16 the same with products in bfloat16, as ours has them where the CPU has instructions for it
    ours              the recipe's fine-tuning from the same weights
    ours, pretrained  the recipe's fine-tuning from the night's continued pretraining (with --pretrained)

All have two threads in one process. Prints accuracy on the test side, seconds and their ratio; then logistic
regression on the same test side.

    python benchmarks/finetune.py [--seeds 13 14] [--pretrained] [finetune.epochs=2 …]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bert_core import train
from bert_core.config import SequenceObjective, TrainConfig
from bert_core.evaluate import paired_bootstrap
from bert_core.predict import Predictor
from flows.recipe import Recipe, load_recipe
from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.text.baselines import fit_baselines
from tasks.text.documents import read_documents
from tasks.text.predictions import labelled_side

sys.path.insert(0, str(Path(__file__).parent))
import finetune_transformers

THREADS = 2


def ours(recipe: Recipe, shards: ArtifactRef, weights: str, seed: int, test: Any, folder: Path) -> dict[str, Any]:
    """Seconds of training and the correctness of each test document."""
    steps = recipe.finetune
    torch.set_num_threads(THREADS)
    config = TrainConfig(
        name="finetune",
        seed=seed,
        init=weights,
        objective=SequenceObjective(labels=steps.labels),
        optimizer=steps.optimizer,
        batch=steps.batch,
        precision=steps.precision,
        steps=steps.steps,
        epochs=steps.epochs,
        keep=steps.keep,
        eval_every=steps.eval_every,
        checkpoint_every=10**9,
        train_data=str(shards / "train"),
        eval_data=str(shards / "validation"),
        tokenizer=str(shards / "tokenizer"),
    )
    summary = train.run(config, work_dir=folder, report=lambda line, checkpoint: None)
    said = [answer.label for answer in Predictor(folder / "model").predict(test["text"].to_pylist())]
    correct = np.array(said) == np.array(test["label"].to_pylist())
    return {"seconds": summary["seconds"], "correct": correct, "tokens_per_second": summary["tokens_per_second"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[13])
    parser.add_argument("--epochs", type=int, default=2, help="of the transformers side")
    parser.add_argument("--pretrained", action="store_true", help="also from the continued pretraining")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    recipe = load_recipe("film-reviews", options.overrides)
    found = {stage: artifacts.latest(stage, recipe.name) for stage in ("split", "encode", "pretrain")}
    if missing := [stage for stage, ref in found.items() if ref is None]:
        sys.exit(f"no {', '.join(missing)} in {artifacts.store()}: run `make demo` and `make demo DAY=2` first")
    split, shards, pretrained = (ref for ref in found.values() if ref is not None)
    documents = read_documents(split, ["id", "text", "label", "split"], labelled=True)
    test = labelled_side(documents, "test")
    given = str(artifacts.home() / str(recipe.pretrain.init))
    classical = fit_baselines(recipe.baselines, documents, recipe.finetune.labels, recipe.seed)["logistic_regression"]
    linear = dict(zip(classical.document_ids, classical.labels, strict=True))
    logistic = np.array([linear[name] for name in test["id"].to_pylist()]) == np.array(test["label"].to_pylist())
    starts = {"ours": given}
    if options.pretrained:
        starts["ours, pretrained"] = str(pretrained / "model")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("transformers", "transformers bf16", *starts)}
    for seed in options.seeds:
        for name in ("transformers", "transformers bf16"):
            peer = finetune_transformers.run(
                split / "documents",
                Path(given),
                epochs=options.epochs,
                seed=seed,
                threads=THREADS,
                bf16=name.endswith("bf16"),
            )
            rows[name].append({"seconds": peer["seconds"], "accuracy": peer["accuracy"][-1]})
        for name, weights in starts.items():
            with tempfile.TemporaryDirectory() as folder:
                result = ours(recipe, shards, weights, seed, test, Path(folder))
            rows[name].append(result | {"accuracy": float(result["correct"].mean())})
        print(
            json.dumps({name: {k: v for k, v in r[-1].items() if k != "correct"} for name, r in rows.items()}),
            flush=True,
        )
    print(f"\n{test.num_rows} test documents, seeds {options.seeds}, {THREADS} threads, {torch.__version__}")
    print(f"{'logistic regression':<20} accuracy {logistic.mean():.4f}")
    base = statistics.median(row["seconds"] for row in rows["transformers"])
    for name, results in rows.items():
        seconds = statistics.median(row["seconds"] for row in results)
        accuracy = statistics.mean(row["accuracy"] for row in results)
        line = f"{name:<20} accuracy {accuracy:.4f}  {seconds:6.1f} s  {seconds / base:.2f} of transformers' time"
        if "correct" in results[0]:
            gain = paired_bootstrap(np.mean([row["correct"] for row in results], axis=0), logistic)
            line += f"  over logistic regression {gain}"
        print(line)


if __name__ == "__main__":
    main()
