"""Model versions in MLflow: register once for each artifact, find, download, and the three aliases.

A version is an MLflow run (metrics, evidence), a logged model (models-from-code: safetensors, JSON and Python source,
no pickle) and a registry entry. They are made in this order, and each is found again by the tag `artifact` before it is
made, so a rerun after a crash continues where the last one stopped and never publishes a second version.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Literal

import mlflow
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric, Run
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

import bert_core
from bert_core.config import SequenceTask
from bert_core.hf import read_task
from tasks.artifacts import folder_content, store
from tasks.config import RegisterConfig
from tasks.registry.server import PATIENCE_S, RegistryError, client, insist
from tasks.registry.signatures import example, signature

Alias = Literal["candidate", "champion", "previous"]

# What bert_core imports to answer a request, and the server that calls it
REQUIRED = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "tokenizers", "torch")


@dataclass(frozen=True)
class ModelVersion:
    """A registered version, as the registry knew it when it was asked."""

    name: str
    version: str
    run_id: str
    model_uri: str
    """Where MLflow keeps the logged model, `models:/m-…`."""
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    created_at: datetime

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Aliases:
    """Version numbers by alias; None: the alias is not set."""

    candidate: str | None = None
    champion: str | None = None
    previous: str | None = None


def register(
    config: RegisterConfig,
    model_folder: Path,
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    evidence: Path | None,
    run_name: str,
    timeout_s: float = PATIENCE_S,
) -> ModelVersion:
    """The one version of `tags["artifact"]`, made if it does not exist yet, with the alias @candidate.

    A version that is the champion does not become the candidate again.

    Args:
        model_folder: a transformers folder: config.json, model.safetensors, tokenizer.json.
        tags: lineage; `artifact` names what was trained, by content, and decides what "the same" is.
        evidence: a folder of pictures and reports to keep with the run.
        timeout_s: how long to wait, in each step, for a server that does not answer.

    Raises:
        RegistryError: the folder is not a model, or `artifact` is missing.
        RegistryUnreachable: the server stayed away; the same call continues later.
    """
    artifact = _checked_artifact(tags)
    _check_folder(model_folder)
    tags = {**tags, "model_content": folder_content(model_folder)}

    def step(what: str) -> str:
        return f"registering {config.model_name}, {what}"

    def publish() -> ModelVersion:
        return find(config.model_name, artifact) or _create_version(config.model_name, run, logged, tags)

    found = insist(lambda: find(config.model_name, artifact), what=step("looking for it"), timeout_s=timeout_s)
    if found is None:
        run = insist(lambda: _run(config, artifact, tags, run_name), what=step("its run"), timeout_s=timeout_s)
        insist(lambda: _log_evidence(run, metrics, evidence), what=step("its evidence"), timeout_s=timeout_s)
        logged = insist(
            lambda: _logged_model(config, run, artifact, model_folder),
            what=step("its model"),
            timeout_s=timeout_s,
        )
        found = insist(publish, what=step("its version"), timeout_s=timeout_s)
    if "champion" not in found.aliases:
        set_alias(config.model_name, "candidate", found.version, timeout_s=timeout_s)
    return get(config.model_name, found.version, timeout_s=timeout_s)


def find(model_name: str, artifact: str) -> ModelVersion | None:
    """The version that was registered for `artifact`, or None."""
    found = client().search_model_versions(f"name = '{model_name}' and tags.artifact = '{artifact}'")
    # Aliases are not filled in by a search
    return _version(client().get_model_version(model_name, found[0].version)) if found else None


def get(model_name: str, version: str, *, timeout_s: float = PATIENCE_S) -> ModelVersion:
    """The version of this number.

    Raises:
        RegistryError: there is none; names those that there are.
    """
    if not re.fullmatch(r"[0-9]+", version):
        raise RegistryError(f"{model_name}: a version is a number, got {version!r}")
    try:
        return _version(
            insist(
                lambda: client().get_model_version(model_name, version),
                what=f"looking for {model_name} version {version}",
                timeout_s=timeout_s,
            )
        )
    except MlflowException as error:
        if not _missing(error):
            raise
    known = sorted((found.version for found in client().search_model_versions(f"name = '{model_name}'")), key=int)
    raise RegistryError(f"{model_name}: no version {version}; there are: {', '.join(known) or 'none'}")


def champion(model_name: str) -> ModelVersion | None:
    """The version in production, or None if there is none yet."""
    version = aliases(model_name).champion
    return get(model_name, version) if version else None


def model_names() -> list[str]:
    """All registered models."""
    found = insist(lambda: client().search_registered_models(), what="listing the registered models")
    return sorted(model.name for model in found)


def every() -> list[ModelVersion]:
    """All versions of all models, oldest first."""
    found = insist(lambda: client().search_model_versions(), what="listing the model versions")
    numbers = sorted((version.name, int(version.version)) for version in found)
    return [get(name, str(number)) for name, number in numbers]


def aliases(model_name: str, *, timeout_s: float = PATIENCE_S) -> Aliases:
    """The three aliases of a model; all None if there is no such model yet."""
    try:
        model = insist(
            lambda: client().get_registered_model(model_name),
            what=f"reading the aliases of {model_name}",
            timeout_s=timeout_s,
        )
    except MlflowException as error:
        if _missing(error):
            return Aliases()
        raise
    return Aliases(**{name: str(model.aliases[name]) for name in Aliases.__annotations__ if name in model.aliases})


def set_alias(model_name: str, alias: Alias, version: str | None, *, timeout_s: float = PATIENCE_S) -> None:
    """Point `@alias` at `version`, or take it away if that is None; to do it twice is to do it once."""

    def step() -> None:
        if version is not None:
            client().set_registered_model_alias(model_name, alias, version)
        else:
            client().delete_registered_model_alias(model_name, alias)

    insist(step, what=f"setting {model_name}@{alias} to version {version}", timeout_s=timeout_s)


def download(version: ModelVersion) -> Path:
    """The version's transformers folder on this disk, byte for byte what was registered; fetched once.

    Raises:
        RegistryError: what came is not what was registered.
    """
    target = store() / "models" / version.name / version.version
    content = version.tags.get("model_content")
    if target.is_dir() and folder_content(target) == content:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{version.version}-") as scratch:
        fetched = insist(lambda: _fetch(version, Path(scratch)), what=f"downloading {version.uri}")
        if (actual := folder_content(fetched)) != content:
            raise RegistryError(
                f"{version.uri}: its files' content hash is {actual[:16]}…, and {str(content)[:16]}… was registered: "
                "the artifact store was changed behind the registry's back. Register the model again"
            )
        shutil.rmtree(target, ignore_errors=True)
        fetched.rename(target)
    return target


def requirements() -> list[str]:
    """What serving needs, pinned to what is installed; a build's local suffix (`+cpu`) is not on package indexes."""
    return [f"{name}=={installed_version(name).partition('+')[0]}" for name in REQUIRED]


def _run(config: RegisterConfig, artifact: str, tags: Mapping[str, str], run_name: str) -> Run:
    """The run of this artifact: the one that an earlier attempt began, or a new one."""
    experiment_id = _experiment(config.experiment)
    found = client().search_runs([experiment_id], f"tags.artifact = '{artifact}'", max_results=1)
    return found[0] if found else client().create_run(experiment_id, tags=dict(tags), run_name=run_name)


def _experiment(name: str) -> str:
    experiment = client().get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    try:
        return client().create_experiment(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return _experiment(name)  # another process was first


def _log_evidence(run: Run, metrics: Mapping[str, float], evidence: Path | None) -> None:
    # Time and step are fixed, so MLflow takes a metric that is sent twice for one and the same
    at = run.info.start_time
    client().log_batch(run.info.run_id, metrics=[Metric(name, float(v), at, 0) for name, v in sorted(metrics.items())])
    if evidence is not None:
        client().log_artifacts(run.info.run_id, str(evidence), "evidence")


def _logged_model(config: RegisterConfig, run: Run, artifact: str, folder: Path) -> LoggedModel:
    """The run's complete model; what an earlier attempt left half-uploaded is removed first."""
    earlier = client().search_logged_models([run.info.experiment_id], f"tags.artifact = '{artifact}'")
    for model in earlier:
        if model.status == LoggedModelStatus.READY:
            return model
        client().delete_logged_model(model.model_id)
    tuned = read_task(folder)
    task = SequenceTask() if tuned is None else tuned.task
    with mlflow.start_run(run_id=run.info.run_id):
        info = mlflow.pyfunc.log_model(
            name=config.model_name.replace(".", "-"),  # MLflow refuses dots here, and takes them in a registered name
            python_model=str(Path(__file__).with_name("serving_model.py")),
            artifacts={"model": str(folder)},
            code_paths=[str(Path(bert_core.__file__).parent)],
            pip_requirements=requirements(),
            signature=signature(task),
            input_example=example(task),
            tags={"artifact": artifact},
        )
    return client().get_logged_model(info.model_id)


def _create_version(model_name: str, run: Run, logged: LoggedModel, tags: Mapping[str, str]) -> ModelVersion:
    try:
        client().create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    created = client().create_model_version(
        model_name, logged.model_uri, run_id=run.info.run_id, tags=dict(tags), model_id=logged.model_id
    )
    return _version(created)


def _fetch(version: ModelVersion, scratch: Path) -> Path:
    root = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{version.uri}/artifacts", dst_path=str(scratch)))
    folders = [path.parent for path in root.rglob("config.json")]
    if len(folders) != 1:
        raise RegistryError(f"{version.uri}: expected one transformers folder in it, found {len(folders)}")
    return folders[0]


def _version(found: MlflowVersion) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        model_uri=found.source or "",
        tags=dict(found.tags),
        aliases=tuple(sorted(found.aliases)),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )


def _checked_artifact(tags: Mapping[str, str]) -> str:
    artifact = tags.get("artifact", "")
    if not re.fullmatch(r"[A-Za-z0-9._/-]+", artifact):
        raise RegistryError(f"tags['artifact'] must name what was trained, such as a content hash; got {artifact!r}")
    return artifact


def _check_folder(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise RegistryError(f"{folder}: not a model folder to register: it has no {name}")


def _missing(error: MlflowException) -> bool:
    return error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
