"""The nightly run on a schedule: a Prefect work pool, a deployment with a cron, and a worker that runs what is due."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks import artifacts

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import CronSchedule

    from infra.stack import Stack

POOL = "bert-foundry"


@click.command()
@click.argument("recipe", default="film-reviews")
@click.argument("overrides", nargs=-1)
@click.option("--cron", default="0 3 * * *", show_default=True, help="When to run.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name, such as Europe/Berlin.")
@click.option("--paused", is_flag=True, help="Create the schedule inactive; runs from the page or the API still work.")
@click.option("--worker/--no-worker", default=True, show_default=True, help="Stay, and run what is due.")
def deploy(recipe: str, overrides: Sequence[str], cron: str, timezone: str, paused: bool, worker: bool) -> None:
    """Schedule RECIPE's nightly run in Prefect, and work on what is due until Ctrl-C.

    A run can also be started from the deployment's page, or with:

      prefect deployment run retrain/film-reviews

    At most one run of a recipe is under way; one that is due meanwhile is cancelled, not queued. On a machine that
    already has a worker for the pool `bert-foundry` (a systemd unit, a container), use --no-worker.
    """
    from flows.recipe import load_recipe
    from infra import stack

    loaded = load_recipe(recipe, overrides)
    schedule(cron, timezone)  # a fault in it is told before servers are started
    running = stack.up(notify=lambda line: click.echo(line))
    environment = run_environment(running)
    os.environ.update(environment)
    parameters = {"recipe": loaded.model_dump(mode="json")}
    address = asyncio.run(create(loaded.name, parameters, environment, cron=cron, timezone=timezone, active=not paused))
    click.echo(f"deployed retrain/{loaded.name}: {cron} {timezone}{' (paused)' if paused else ''}\n  {address}")
    if worker:
        click.echo("working on what is due; Ctrl-C stops the worker and leaves the schedule")
        sys.exit(subprocess.call(worker_command()))


def run_environment(running: Stack) -> dict[str, str]:
    """Variables of a scheduled run's process: where the servers and this home are, whatever folder the worker is in."""
    folders = {"BERT_FOUNDRY_HOME": str(artifacts.home()), "BERT_FOUNDRY_STORE": str(artifacts.store())}
    return running.environment() | folders | {"BERT_FOUNDRY_RAY_PAGE": running.pages.get("ray", "")}


def schedule(cron: str, timezone: str) -> CronSchedule:
    """When the nightly run is due.

    Raises:
        click.BadParameter: `cron` is not a cron line, or `timezone` is not one.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        raise click.BadParameter(f"--cron {cron!r} --timezone {timezone!r}: {error.errors()[0]['msg']}") from None


async def create(
    name: str, parameters: dict[str, Any], environment: Mapping[str, str], *, cron: str, timezone: str, active: bool
) -> str:
    """Create or update pool and deployment; return the address of the deployment's page.

    Args:
        environment: variables that a run's process gets beside those of its worker.

    Raises:
        click.BadParameter: `cron` is not a cron line, or `timezone` is not one.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.exceptions import ObjectAlreadyExists

    from flows.retrain import retrain

    when = schedule(cron, timezone)
    async with get_client() as client:
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Nightly runs"))
    load: Any = retrain.from_source  # typed as if it were not always awaitable here
    source = await load(source=str(Path(__file__).parent.parent), entrypoint="flows/retrain.py:retrain")
    deployment_id = await source.deploy(
        name=name,
        work_pool_name=POOL,
        parameters=parameters,
        schedule=when,
        paused=not active,
        job_variables={"env": dict(environment)},
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        build=False,
        push=False,
        print_next_steps=False,
        ignore_warnings=True,
    )
    page = os.environ.get("PREFECT_UI_URL", "")
    return f"{page}/deployments/deployment/{deployment_id}" if page else str(deployment_id)


def worker_command() -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
