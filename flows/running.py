"""Starts a flow in this process, against the local stack or the servers that the environment names."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from bert_core.config import TrainConfig
from flows.finetune_recipe import FinetuneRecipe
from flows.recipe import CorpusRecipe, PretrainRecipe, Recipe
from infra import stack
from tasks.config import Workers


class ServerGone(RuntimeError):
    """The Prefect server went away during a run, and stayed away for longer than its client waits."""


def run_retrain(recipe: Recipe, *, as_of: str | None = None, ablate: bool = False) -> str:
    """The report of a whole night."""

    def night() -> str:
        from flows.retrain import retrain

        report: str = retrain(recipe, as_of=_night(as_of), ablate=ablate)
        return report

    return _run(night)


def run_corpus(recipe: CorpusRecipe, *, as_of: str | None = None) -> str:
    """The report of a corpus."""

    def night() -> str:
        from flows.corpus import corpus

        report: str = corpus(recipe, as_of=_night(as_of))
        return report

    return _run(night)


def run_pretrain(recipe: PretrainRecipe, *, as_of: str | None = None) -> str:
    """The report of a corpus and its pretraining."""

    def night() -> str:
        from flows.training import pretrain

        report: str = pretrain(recipe, as_of=_night(as_of))
        return report

    return _run(night)


def run_train(config: TrainConfig, *, workers: Workers, mirror: str | None, experiment: str | None) -> str:
    """The report of one training."""

    def training() -> str:
        from flows.training import train

        report: str = train(config, workers=workers, mirror=mirror, experiment=experiment)
        return report

    return _run(training)


def run_finetune(recipe: FinetuneRecipe, *, as_of: str | None = None) -> str:
    """The report of a fine-tuning."""

    def night() -> str:
        from flows.finetune import finetune

        report: str = finetune(recipe, as_of=_night(as_of))
        return report

    return _run(night)


def run_search(recipe: FinetuneRecipe, *, text: str, output: Path, as_of: str | None = None) -> str:
    """The trials of a search, and where the best recipe lies."""

    def night() -> str:
        from flows.search import search

        found: str = search(recipe, text=text, output=str(output.resolve()), as_of=_night(as_of))
        return found

    return _run(night)


def _night(as_of: str | None) -> str:
    """Today in UTC where nobody says otherwise: named here, so that the run's page shows it."""
    return as_of or datetime.now(UTC).date().isoformat()


def _run(flow: Callable[[], str]) -> str:
    """What the flow returns. The stack is started if it does not run; it stays up."""
    running = stack.up(notify=lambda line: print(line, flush=True))
    os.environ.update(running.environment())
    os.environ["BERT_FOUNDRY_RAY_PAGE"] = running.pages.get("ray", "")
    from prefect import tags  # only now: Prefect reads its addresses when it is imported

    mark_crashed()
    with tags(process_tag(os.getpid())):
        try:
            report = flow()
        except Exception as error:
            if _answers(running.prefect_api_url):
                raise
            raise ServerGone(
                f"the Prefect server at {running.prefect_api_url} does not answer ({type(error).__name__}). "
                "What is done stays: `bert-foundry up` starts the server again, and the same command continues"
            ) from error
    stay = "\nThe servers stay up until `bert-foundry down`." if running.pages else ""
    return report + stay


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def process_tag(pid: int) -> str:
    """Names a process, with its start as ids are used again: others on this host can see whether it lives."""
    return f"process:{socket.gethostname()}:{pid}:{int(psutil.Process(pid).create_time())}"


def mark_crashed() -> list[str]:
    """Runs that Prefect believes to be running, though their process on this host is gone, become Crashed; their names.

    Nobody tells the server when a flow is killed with -9: its page would say Running for ever.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Crashed

    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    crashed = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=active):
            if any(_is_gone(tag) for tag in run.tags):
                state: State[Any] = Crashed(message="its process was killed; the same command continues it")
                client.set_flow_run_state(run.id, state, force=True)
                crashed.append(run.name)
    return crashed


def _is_gone(tag: str) -> bool:
    kind, host, pid, started = ([*tag.split(":"), "", "", ""])[:4]
    if kind != "process" or host != socket.gethostname():
        return False
    try:
        return int(psutil.Process(int(pid)).create_time()) != int(started)
    except psutil.NoSuchProcess:
        return True
