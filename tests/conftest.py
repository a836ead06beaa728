"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of real BERT weights and their tokenizer (all-MiniLM-L6-v2)."""
    data = Path(os.environ.get("BERT_FOUNDRY_DATA", ".foundry/data"))
    folder = Path(__file__).resolve().parents[1] / data / "all-minilm-l6-v2"
    if not (folder / "vocab.txt").exists():
        pytest.fail(f"{folder}: not there; `make data` fetches it")
    return folder
