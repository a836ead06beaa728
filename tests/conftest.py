"""What all tests share."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.services import Ports, free_port, ray_folder
from infra.stack import Stack, down, up

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is under what a shell starts in the background. All that tests start would inherit it, and no Ctrl-C arrive.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


USERS = {"stack": re.compile(r"\bstack: Stack\b"), "mlflow": re.compile(r"\bmlflow_server\b")}
"""What the files have in them whose tests need a server that is one for the suite."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: a server's files run in one process, one after the other; any other file is wherever there is time.

    xdist's own `loadgroup` does nothing under pytest 9, which ignores the names that it gives to tests.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(config.rootpath, nodeid.partition("::")[0])

    return ByServer(config, log)


@cache
def group(root: Path, file: str) -> str:
    text = (root / file).read_text("utf-8")
    return next((name for name, pattern in USERS.items() if pattern.search(text)), file)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The stack's own tests first: what they say of an idle stack is of one that has not run anything yet.

    Then what else needs it, the longest group, so that the other process does not wait for it in the end.
    """

    def place(item: pytest.Item) -> tuple[bool, bool]:
        file = item.nodeid.partition("::")[0]
        return "tests/infra/test_stack" not in file, group(config.rootpath, file) != "stack"

    items.sort(key=place)
