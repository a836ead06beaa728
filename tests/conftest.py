"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services import Ports, free_port, ray_folder
from infra.stack import Stack, down, up


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of real BERT weights and their tokenizer (all-MiniLM-L6-v2)."""
    data = Path(os.environ.get("BERT_FOUNDRY_DATA", ".foundry/data"))
    folder = Path(__file__).resolve().parents[1] / data / "all-minilm-l6-v2"
    if not (folder / "vocab.txt").exists():
        pytest.fail(f"{folder}: not there; `make data` fetches it")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the pinned public data: `film-reviews/`, `all-minilm-l6-v2/`, `chinese/`."""
    folder = Path(__file__).resolve().parents[1] / os.environ.get("BERT_FOUNDRY_DATA", ".foundry/data")
    if not (folder / "film-reviews").is_dir():
        pytest.fail(f"{folder}: not there; `make data` fetches it")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The one real stack of the suite, on free ports; clients reach it through the environment, children inherit it.

    `BERT_FOUNDRY_HOME` stays what it was: a flow under another home finds these servers as it would find a user's own.
    """
    ports = Ports(*(free_port() for _ in range(4)))
    home = tmp_path_factory.mktemp("stack-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_HOME", str(home))
        for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(variable, raising=False)
        try:
            found = up(ports)
            patch.undo()
            for variable, value in found.environment().items():
                patch.setenv(variable, value)
            yield found
        finally:
            patch.setenv("BERT_FOUNDRY_HOME", str(home))
            down()
            for session in Path("/tmp").glob(ray_folder(home / "stack").name + "*"):
                shutil.rmtree(session)


def pytest_configure() -> None:
    """One thread for each process, set before torch is imported: beside other work, two that wait for each other in
    tensors of a few hundred numbers took minutes for what takes seconds."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stack's own tests first: what they say of an idle stack is of one that has not run anything yet."""
    items.sort(key=lambda item: "tests/infra/" not in item.nodeid)
