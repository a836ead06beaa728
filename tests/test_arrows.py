"""The arrows of the design: flows -> tasks -> bert_core, and each framework only where it belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bert_core", "tasks", "flows", "infra")
FORBIDDEN = {
    "bert_core": {"tasks", "flows", "infra", "prefect", "ray", "mlflow", "requests", "httpx"},
    "tasks/text": {"flows", "infra", "prefect", "ray", "mlflow"},
    **{
        f"tasks/{name}": {"flows", "infra", "prefect", "ray", "mlflow"}
        for name in ("augment", "behaviour", "classical", "evidence", "labelled", "selection")
    },
    "tasks/registry": {"flows", "infra", "prefect", "ray"},
    "tasks": {"flows"},
    "infra": {"flows", "prefect", "mlflow", "ray"},
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if name in FORBIDDEN[folder]
    ]
    assert not wrong


def test_ray_is_imported_by_its_drivers_alone() -> None:
    users = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if "ray" in imports(file)
    }
    assert users == {"tasks/ray_driver.py", "tasks/tune_driver.py", "tasks/workers.py"}


def test_nothing_loads_pickles() -> None:
    unsafe = ("pickle.load", "torch.load(", "yaml.load(", "shell=True")
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text("utf-8")
            assert not [word for word in unsafe if word in text], file
