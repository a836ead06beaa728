"""`bert-foundry up | status | down`."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.console import Console
from rich.table import Table

from infra import stack
from infra.services import DEFAULT_PORTS
from infra.stack import Ports, ServiceStatus, StackError


@click.command()
@click.option("--prefect-port", type=int, help=f"Prefect's page and API [default: {DEFAULT_PORTS['prefect']}]")
@click.option("--mlflow-port", type=int, help=f"MLflow's page and API [default: {DEFAULT_PORTS['mlflow']}]")
@click.option("--ray-port", type=int, help=f"what RAY_ADDRESS names [default: {DEFAULT_PORTS['ray']}]")
@click.option("--dashboard-port", type=int, help=f"Ray's dashboard [default: {DEFAULT_PORTS['dashboard']}]")
@click.option("--timeout", default=stack.START_TIMEOUT_S, show_default=True, help="seconds to wait for the servers")
def up(
    prefect_port: int | None, mlflow_port: int | None, ray_port: int | None, dashboard_port: int | None, timeout: float
) -> None:
    """Start Prefect, MLflow and Ray on this machine, or find them running.

    Ports also come from BERT_FOUNDRY_PREFECT_PORT, …_MLFLOW_PORT, …_RAY_PORT and …_DASHBOARD_PORT. A service that
    PREFECT_API_URL, MLFLOW_TRACKING_URI or RAY_ADDRESS already names is used as it is and not started.
    """
    try:
        stack.up(Ports(prefect_port, mlflow_port, ray_port, dashboard_port), timeout_s=timeout, notify=click.echo)
        _print_table(stack.status())
    except StackError as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="for programs")
def status(as_json: bool) -> None:
    """Show each server's state, address, process and memory."""
    try:
        found = stack.status()
    except StackError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    else:
        _print_table(found)


@click.command()
def down() -> None:
    """Stop the servers that `up` started; their data stays."""
    try:
        stack.down(notify=click.echo)
    except StackError as error:
        raise click.ClickException(str(error)) from None


COMMANDS: tuple[click.Command, ...] = (up, status, down)


def _print_table(found: list[ServiceStatus]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("service", "state", "page or address"):
        table.add_column(column, overflow="fold")
    for column in ("pid", "memory", "up for"):
        table.add_column(column, justify="right")
    for entry in found:
        color = {"running": "green", "external": "cyan", "stopped": "dim"}.get(entry.state, "red")
        table.add_row(
            entry.name,
            f"[{color}]{entry.state}[/]",
            entry.page or entry.address,
            str(entry.pid or ""),
            f"{entry.pss_bytes / 1e6:.0f} MB" if entry.pss_bytes else "",
            _duration(entry.uptime_s) if entry.uptime_s else "",
        )
    table.add_row("", "", "", "total", f"{sum(entry.pss_bytes for entry in found) / 1e6:.0f} MB", "")
    Console().print(table)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" * bool(days), f"{hours} h" * bool(hours), f"{minutes} min" * bool(minutes), f"{rest} s"]
    return " ".join([part for part in parts if part][:2])
