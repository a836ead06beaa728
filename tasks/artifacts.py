"""Content-addressed stage outputs: where they live, what decides their identity, and whether they are complete.

An artifact is a folder `<store>/<stage>/<name>-<key>/` with data files and `manifest.json`. It is built in
`…-<key>.partial` and published by one rename, manifest last, so an artifact that exists under its own name is whole.

Two hashes, because reuse needs both (as in Nix's input- and content-addressed paths):

- the *key* says what was asked for: the stage's resolved config, its code, and the content hashes of its inputs;
- the *content hash* says what came out. The next stage's key is made of it, so a crawl that ran again and found nothing
  new rebuilds nothing downstream.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bert_core.files import file_sha256, sync, write_json

MANIFEST = "manifest.json"
MANIFEST_KEYS = {"stage", "name", "key", "content", "created_at", "rows", "dropped", "facts", "files"}
SOURCES = ("scrape", "collect")
PROJECT_PACKAGES = ("bert_core", "tasks")
# Schemas (tasks.config) are hashed by value, and these only carry bytes: an edit there must not rebuild the world.
PLUMBING = {
    "bert_core",
    "bert_core.config",
    "bert_core.files",
    "tasks",
    "tasks.text",
    "tasks.text.web",
    "tasks.text.sources",
    "tasks.text.parts",
    "tasks.artifacts",
    "tasks.stage",
    "tasks.memory",
}


class ArtifactError(RuntimeError):
    """An artifact is missing, incomplete, or not the bytes that its manifest lists."""


class ArtifactRef(BaseModel):
    """A reference to a published artifact: what tasks pass to each other instead of data."""

    model_config = ConfigDict(frozen=True)

    stage: str
    name: str
    key: str
    content: str
    path: str

    def __truediv__(self, file: str) -> Path:
        return Path(self.path) / file

    @property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(Path(self.path))


@dataclass
class Draft:
    """An artifact while it is built. Write files under `path`; fill in what the manifest shall say."""

    path: Path
    rows: dict[str, int] = field(default_factory=dict)
    """Row counts by what they count, for example {"seen": 10, "kept": 9}."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Drop counts by reason."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else a report or a later stage wants to know (JSON)."""
    volatile: set[str] = field(default_factory=set)
    """Files (relative, posix) whose bytes differ between equal runs, such as logs: listed, not part of the content."""

    def drop(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count


def home() -> Path:
    """The folder that holds data, store and stack: `BERT_FOUNDRY_HOME`, by default `.foundry` in the working folder."""
    return Path(os.environ.get("BERT_FOUNDRY_HOME", ".foundry")).resolve()


def store() -> Path:
    return Path(os.environ.get("BERT_FOUNDRY_STORE", home() / "store")).resolve()


def stage_key(
    stage: str, config: BaseModel | Mapping[str, Any] | None, inputs: Sequence[ArtifactRef | None], code: str
) -> str:
    """sha256 over the stage's name, resolved config, code hash and its inputs' content hashes, in order."""
    resolved = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    identity = [stage, resolved, code, [ref and [ref.stage, ref.content] for ref in inputs]]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def artifact_path(stage: str, name: str, key: str) -> Path:
    return store() / stage / f"{name}-{key[:16]}"


def find(stage: str, name: str, key: str) -> ArtifactRef | None:
    """The published artifact of this key, or None; sizes are checked, and one that does not match is an error."""
    path = artifact_path(stage, name, key)
    if not (path / MANIFEST).exists():
        return None
    manifest = read_manifest(path)
    for file, entry in manifest["files"].items():
        target = path / file
        if not target.exists() or target.stat().st_size != entry["bytes"]:
            found = f"{target.stat().st_size} bytes" if target.exists() else "nothing"
            raise ArtifactError(
                f"{target}: the manifest lists {entry['bytes']} bytes and the disk holds {found}; "
                f"remove {path} to have it built again"
            )
    return ArtifactRef(stage=stage, name=name, key=key, content=manifest["content"], path=str(path))


def every(stage: str, name: str | None = None) -> Iterator[ArtifactRef]:
    """All published artifacts of a stage, of one name or of all, in the order of their paths."""
    for path in sorted((store() / stage).glob(f"*/{MANIFEST}")):
        if path.parent.suffix == ".partial":
            continue
        manifest = read_manifest(path.parent)
        if name is None or manifest["name"] == name:
            yield ArtifactRef(
                stage=stage,
                name=manifest["name"],
                key=manifest["key"],
                content=manifest["content"],
                path=str(path.parent),
            )


def latest(stage: str, name: str, before: str | None = None) -> ArtifactRef | None:
    """The newest published artifact of a stage and name, by the `as_of` fact; only those earlier than `before`."""
    found = [(_age(ref), ref) for ref in every(stage, name)]
    fitting = [each for each in found if before is None or each[0][0] < before]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def upstream(ref: ArtifactRef) -> dict[str, ArtifactRef]:
    """What an artifact was made from, directly or not, by stage; `source <name>` for sources. Itself included.

    Earlier artifacts of the same stage, which a night builds on, are left out; so is what is no longer in the store.
    """
    found: dict[str, ArtifactRef] = {}
    waiting = [ref]
    while waiting:
        each = waiting.pop(0)
        name = f"source {each.name.removeprefix(f'{ref.name}-')}" if each.stage in SOURCES else each.stage
        if name not in found:
            found[name] = each
            inputs = (find(entry["stage"], entry["name"], entry["key"]) for entry in each.manifest["inputs"])
            waiting += [one for one in inputs if one is not None and one.stage != each.stage]
    return dict(reversed(found.items()))


def _age(ref: ArtifactRef) -> tuple[str, float]:
    manifest = ref.manifest
    return str(manifest["facts"].get("as_of", "")), manifest["created_at"]


def verify(ref: ArtifactRef) -> None:
    """Read every file and compare it with the manifest.

    Raises:
        ArtifactError: names the first file that is gone or whose bytes changed.
    """
    for file, entry in ref.manifest["files"].items():
        if not (ref / file).exists():
            raise ArtifactError(
                f"{ref / file}: gone, and the manifest lists it; remove {ref.path} to have it built again"
            )
        actual = file_sha256(ref / file)
        if actual != entry["sha256"]:
            raise ArtifactError(
                f"{ref / file}: sha256 is {actual[:16]}…, the manifest lists {entry['sha256'][:16]}…; "
                f"remove {ref.path} to have it built again"
            )


@contextmanager
def build(
    stage: str,
    name: str,
    key: str,
    *,
    config: BaseModel | Mapping[str, Any] | None,
    inputs: Sequence[ArtifactRef | None] = (),
    code: str = "",
    resume: bool = False,
) -> Iterator[Draft]:
    """A draft folder to fill; published when the block ends without an error, left in `.partial` when it does not.

    Args:
        resume: keep what an earlier, killed attempt left in the partial folder (training); otherwise it is emptied.
    """
    path = artifact_path(stage, name, key)
    partial = path.with_name(path.name + ".partial")
    if partial.exists() and not resume:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    draft = Draft(partial)
    started = time.time()
    yield draft
    files = {
        file.relative_to(partial).as_posix(): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        for file in sorted(partial.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    manifest = {
        "stage": stage,
        "name": name,
        "key": key,
        "content": _content_hash(files, draft.volatile),
        "created_at": time.time(),
        "seconds": round(time.time() - started, 3),
        "config": config.model_dump(mode="json") if isinstance(config, BaseModel) else config,
        "code": code,
        "inputs": [ref.model_dump(exclude={"path"}) for ref in inputs if ref is not None],
        "rows": draft.rows,
        "dropped": dict(sorted(draft.dropped.items())),
        "facts": draft.facts,
        "files": files,
        "environment": _environment(),
    }
    write_json(partial / MANIFEST, manifest)
    if path.exists():  # incomplete, or another process was first: only a whole one may stay
        if (path / MANIFEST).exists():
            shutil.rmtree(partial)
            return
        shutil.rmtree(path)
    os.rename(partial, path)
    sync(path.parent)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the artifact at `path`.

    Raises:
        ArtifactError: there is none, or it is not what `build` wrote.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no {MANIFEST}, so this is not a complete artifact") from None
    except ValueError as error:
        raise ArtifactError(f"{path / MANIFEST}: not JSON ({error}); remove {path} to have it built again") from None
    if not isinstance(manifest, dict) or (missing := MANIFEST_KEYS - manifest.keys()):
        lacks = f"it lacks {', '.join(sorted(missing))}" if isinstance(manifest, dict) else "it is not an object"
        raise ArtifactError(f"{path / MANIFEST}: {lacks}; remove {path} to have it built again")
    return manifest


def folder_content(path: Path) -> str:
    """Content hash of a folder that is not an artifact, such as downloaded weights."""
    if not path.is_dir():
        raise ArtifactError(
            f"{path}: no such folder; `make data` fetches the data that the recipes of this project use"
        )
    files = {
        file.relative_to(path).as_posix(): {"sha256": file_sha256(file)}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    return _content_hash(files, set())


@cache
def code_hash(module: str) -> str:
    """sha256 of the code of `module` and of all of this project's modules that it imports, directly or not.

    Comments, formatting and docstrings do not count, except in C: only what can change an output does.
    """
    digest = hashlib.sha256()
    for name in sorted(_modules_behind(module)):
        digest.update(f"{name}\n{ast.dump(_without_docstrings(_syntax_tree(name)))}\n".encode())
        if _file(name).name == "__init__.py":
            for source in sorted(_file(name).parent.glob("*.[ch]")):
                digest.update(source.read_bytes())
    return digest.hexdigest()


def _modules_behind(module: str) -> set[str]:
    modules: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in modules and name not in PLUMBING and not name.startswith("tasks.config"):
            modules.add(name)
            waiting += _project_imports(name)
    return modules


def _syntax_tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text("utf-8"))


def _file(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return Path(spec.origin)


def _project_imports(module: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(_syntax_tree(module)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] in PROJECT_PACKAGES and _is_module(name)]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # `package.module.attribute`: its parent is a module, not a package
        return False


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                child
                for child in node.body
                if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
            ]
    return tree


def _content_hash(files: Mapping[str, Mapping[str, Any]], volatile: set[str]) -> str:
    lines = [f"{entry['sha256']}  {name}" for name, entry in sorted(files.items()) if name not in volatile]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _environment() -> dict[str, str]:
    packages = ("torch", "transformers", "tokenizers", "pyarrow", "ray", "prefect", "mlflow", "spacy", "numpy")
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        **{name: version(name) for name in packages},
    }
