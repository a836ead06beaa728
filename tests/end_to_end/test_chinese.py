"""The second recipe: Chinese reviews and newspaper text, from random weights and a vocabulary of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from infra.stack import Stack
from tasks.evidence.schema import EvalReport
from tests.nights import Foundry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
# Enough to see that it learns; the README has what the whole recipe reaches.
SHORTER = (
    "pretrain.steps=120",
    "train.epochs=1",
    "seeds=[13]",
    "gate.minimum={ accuracy = 0.6 }",
    "gate.min_class_f1=0.5",
)


def test_from_scratch_in_chinese(stack: Stack, data_folder: Path, tmp_path: Path) -> None:
    foundry = Foundry(tmp_path / "home", "")
    foundry.home.mkdir()
    (foundry.home / "data").symlink_to(data_folder)
    command = foundry.command("run", "chinese-reviews", "--as-of", "1998-01-31", *SHORTER)
    log = tmp_path / "log"
    with log.open("wb") as out:
        environment = foundry.environment_of_process()
        done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, timeout=3000)
    assert done.returncode == 0, log.read_text()[-6000:]
    print(log.read_text())
    store = foundry.home / "store"
    (vocabulary,) = store.glob("encode/chinese-reviews-*/tokenizer/vocab.txt")
    assert "的" in vocabulary.read_text("utf-8").split("\n")
    (summary,) = (json.loads(path.read_text()) for path in store.glob("pretrain/chinese-reviews-*/summary.json"))
    before, after = summary["eval_before"], summary["eval_after"]
    assert before["mlm_loss"] < 7  # it begins with the characters' frequencies; by chance it would be 8.7
    assert after["mlm_loss"] < before["mlm_loss"] - 0.2
    assert after["pairs_loss"] < 0.75
    (report,) = store.glob("evidence/chinese-reviews-*/report.json")
    found = EvalReport.model_validate_json(report.read_text())
    accuracy = {name: model.metrics["accuracy"].interval.estimate for name, model in found.models.items()}
    assert accuracy["model"] > accuracy["majority"] + 0.1, accuracy
