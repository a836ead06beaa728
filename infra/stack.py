"""The local stack: a Prefect server, an MLflow server and a Ray head on this machine, started once and found again.

`<home>/stack/stack.json` records what was started, right after it was started. `up` starts what does not live, `status`
looks, `down` stops what is recorded and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from infra import memory, processes, services
from infra.processes import ProcessRecord
from infra.services import DEFAULT_PORTS, EXTERNAL, Service
from tasks import artifacts

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
NAMES = ("prefect", "mlflow", "ray")
PORTS_OF = {"prefect": ("prefect",), "mlflow": ("mlflow",), "ray": ("ray", "dashboard")}


class StackError(RuntimeError):
    """The stack cannot be started, or does not answer; the message says which service, where its log is, what to do."""


@dataclass(frozen=True)
class Ports:
    """Ports asked for; None: the environment's (`BERT_FOUNDRY_PREFECT_PORT` …), then the last start's, then the default."""

    prefect: int | None = None
    mlflow: int | None = None
    ray: int | None = None
    dashboard: int | None = None

    def wanted(self, name: str) -> int | None:
        """The port that an argument or the environment names for a service."""
        variable = f"BERT_FOUNDRY_{name.upper()}_PORT"
        value: int | str | None = getattr(self, name)
        if value is None:
            value = os.environ.get(variable) or None
        if value is None:
            return None
        if not str(value).isdecimal() or not 1024 <= int(value) <= 65535:
            raise StackError(f"{name} port {value!r}: use a number from 1024 to 65535 (--{name}-port or {variable})")
        return int(value)


class Recorded(BaseModel):
    """A service that was started: its process and its ports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    process: ProcessRecord
    ports: dict[str, int]


@dataclass(frozen=True)
class Stack:
    """Where the three services are reached. Addresses are the user's own where the environment already named one."""

    home: Path
    prefect_api_url: str
    mlflow_tracking_uri: str
    ray_address: str
    pages: Mapping[str, str] = field(default_factory=dict)
    """What a person opens, by service: local ones only."""

    def environment(self) -> dict[str, str]:
        """Variables by which Prefect, MLflow and Ray clients reach this stack; `os.environ.update` takes them."""
        addresses = {
            "PREFECT_API_URL": self.prefect_api_url,
            "PREFECT_HOME": str(self.home / "prefect"),
            "MLFLOW_TRACKING_URI": self.mlflow_tracking_uri,
            "RAY_ADDRESS": self.ray_address,
        }
        if "prefect" in self.pages:
            addresses["PREFECT_UI_URL"] = self.pages["prefect"]
        return (services.common_environment() if self.pages else {}) | addresses

    def pids(self) -> list[int]:
        """Ids of all processes of the local services, for measuring."""
        return [pid for entry in _read(_folder(self.home)).values() for pid in processes.members(entry.process)]


@dataclass(frozen=True)
class ServiceStatus:
    """How one service is: "running", "not answering", "dead", "stopped" or "external"."""

    name: str
    state: str
    address: str
    page: str = ""
    pid: int | None = None
    pss_bytes: int = 0
    uptime_s: float = 0.0
    log: str = ""


Notify = Callable[[str], None]


def up(ports: Ports | None = None, *, timeout_s: float = START_TIMEOUT_S, notify: Notify = print) -> Stack:
    """Make sure that all services run and answer; what already does is left as it is.

    Raises:
        StackError: a port is taken or is not the one that a running service uses, a server died at its start or did not
            answer within `timeout_s`.
    """
    ports = ports or Ports()
    folder = _folder(artifacts.home())
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, timeout_s):
        recorded = _read(folder)
        wanted = _plan(folder, ports, recorded)
        missing = _missing(folder, wanted, recorded, ports, notify)
        _check_ports(missing)
        started = time.monotonic()
        for service in missing:
            recorded[service.name] = _start(folder, service, recorded)
            notify(f"starting {service.name}: {service.page}")
        _wait_ready(wanted, recorded, timeout_s, new={service.name for service in missing})
        if missing:
            notify(f"the stack is up after {time.monotonic() - started:.0f} s")
    return _stack(folder, wanted)


def status(ports: Ports | None = None) -> list[ServiceStatus]:
    """How each service is now; looks only, and answers within seconds even when a server hangs."""
    folder = _folder(artifacts.home())
    recorded = _read(folder)
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return list(pool.map(lambda name: _status_of(folder, name, ports or Ports(), recorded), NAMES))


def down(*, timeout_s: float = STOP_TIMEOUT_S, notify: Notify = print) -> None:
    """Stop every recorded service, with all processes that it started; nothing else is touched."""
    folder = _folder(artifacts.home())
    if not folder.exists():
        notify(f"nothing is recorded under {folder}: the stack is not up")
        return
    with _locked(folder, timeout_s):
        recorded = _read(folder)
        if not recorded:
            notify(f"nothing is recorded under {folder}: the stack is not up")
        with ThreadPoolExecutor(len(NAMES)) as pool:
            list(pool.map(lambda item: _stop(item[0], item[1], timeout_s, notify), recorded.items()))
        _record_file(folder).unlink(missing_ok=True)


def current() -> Stack:
    """The addresses of the stack as it is recorded, without looking whether it answers."""
    folder = _folder(artifacts.home())
    return _stack(folder, _plan(folder, Ports(), _read(folder)))


def _folder(home: Path) -> Path:
    return home / "stack"


def _record_file(folder: Path) -> Path:
    return folder / "stack.json"


@contextlib.contextmanager
def _locked(folder: Path, timeout_s: float) -> Iterator[None]:
    """Two commands at once would start everything twice."""
    try:
        with FileLock(folder / "stack.lock", timeout=timeout_s):
            yield
    except Timeout:
        raise StackError(
            f"waited {timeout_s:.0f} s for another `bert-foundry up` or `down` that holds {folder / 'stack.lock'}"
        ) from None


def _read(folder: Path) -> dict[str, Recorded]:
    file = _record_file(folder)
    try:
        data = json.loads(file.read_text("utf-8"))
        return {name: Recorded.model_validate(entry) for name, entry in data.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, ValidationError) as error:
        raise StackError(f"{file}: not a record of this program ({error}); remove it if nothing of it runs") from None


def _write(folder: Path, recorded: Mapping[str, Recorded]) -> None:
    data: dict[str, Any] = {name: entry.model_dump() for name, entry in recorded.items()}
    artifacts.write_json(_record_file(folder), data)


def _plan(folder: Path, ports: Ports, recorded: Mapping[str, Recorded]) -> dict[str, Service]:
    """The services that are ours, with the ports that they have or shall have; external ones are left out."""

    def chosen(name: str, port: str) -> int:
        last = recorded[name].ports[port] if name in recorded else None
        return ports.wanted(port) or last or DEFAULT_PORTS[port]

    plan = {
        "prefect": services.prefect(folder, chosen("prefect", "prefect")),
        "mlflow": services.mlflow(folder, chosen("mlflow", "mlflow")),
        "ray": services.ray(folder, chosen("ray", "ray"), chosen("ray", "dashboard")),
    }
    return {name: service for name, service in plan.items() if _external(service) is None}


def _external(service: Service) -> str | None:
    """The address that the user's environment names for a service, unless it is our own."""
    address = os.environ.get(EXTERNAL[service.name], "")
    return address if address and address.rstrip("/") != service.address else None


def _missing(
    folder: Path, wanted: Mapping[str, Service], recorded: dict[str, Recorded], ports: Ports, notify: Notify
) -> list[Service]:
    """The services to start; records of dead processes are dropped, with what those left behind."""
    missing = []
    for name, service in wanted.items():
        entry = recorded.get(name)
        if entry is not None and processes.alive(entry.process):
            _check_same_ports(name, service, entry)
            continue
        if entry is not None:
            notify(f"{name}: process {entry.process.pid} of the last start is gone; starting it again")
            processes.stop(entry.process, STOP_TIMEOUT_S)
            del recorded[name]
            _write(folder, recorded)
        missing.append(service)
    return missing


def _check_same_ports(name: str, service: Service, entry: Recorded) -> None:
    if dict(service.ports) != entry.ports:
        raise StackError(
            f"{name} already runs on {entry.ports}, and {dict(service.ports)} was asked for; "
            "`bert-foundry down` stops it, then `bert-foundry up` takes the new ports"
        )


def _check_ports(missing: list[Service]) -> None:
    taken = []
    for service in missing:
        for name, port in service.ports.items():
            if holder := processes.port_holder(port):
                variable = f"BERT_FOUNDRY_{name.upper()}_PORT"
                taken.append(
                    f"port {port} for {name} is taken by {holder}; choose another: --{name}-port or {variable}"
                )
    if taken:
        raise StackError("\n".join(taken))


def _start(folder: Path, service: Service, recorded: Mapping[str, Recorded]) -> Recorded:
    """Start one service; it is recorded before anything else happens, or it does not stay."""
    _prepare(folder, service)
    environment = os.environ | services.common_environment() | {"MALLOC_ARENA_MAX": "2", **service.environment}
    entry = None
    try:
        process = processes.spawn(service.command, environment, service.log)
        entry = Recorded(process=process, ports=dict(service.ports))
        _write(folder, {**recorded, service.name: entry})
    except BaseException:
        if entry is not None:
            processes.stop(entry.process, 0)
        raise
    return entry


def _prepare(folder: Path, service: Service) -> None:
    if service.name != "ray":
        return
    target = services.ray_folder(folder)
    shutil.rmtree(target, ignore_errors=True)  # the last session's sockets and logs
    target.mkdir(mode=0o700)  # fails when it is somebody else's: /tmp is shared
    link = folder / "ray"
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _wait_ready(
    wanted: Mapping[str, Service], recorded: Mapping[str, Recorded], timeout_s: float, new: set[str]
) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = dict(wanted)
    while True:
        for name, service in list(waiting.items()):
            if service.ready(5.0):
                del waiting[name]
            elif not processes.alive(recorded[name].process):
                raise StackError(
                    f"{name} ended while starting; the end of {service.log}:\n{processes.tail(service.log)}"
                )
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise StackError("\n".join(_unanswered(service, recorded, timeout_s) for service in waiting.values()))
        time.sleep(0.25)


def _unanswered(service: Service, recorded: Mapping[str, Recorded], timeout_s: float) -> str:
    pid = recorded[service.name].process.pid
    return (
        f"{service.name}: waited {timeout_s:.0f} s for {service.health}; process {pid} lives but does not answer. "
        f"`bert-foundry down` stops it. The end of {service.log}:\n{processes.tail(service.log)}"
    )


def _stack(folder: Path, wanted: Mapping[str, Service]) -> Stack:
    def address(name: str) -> str:
        return wanted[name].address if name in wanted else os.environ[EXTERNAL[name]]

    pages = {name: service.page for name, service in wanted.items()}
    return Stack(folder.parent, address("prefect"), address("mlflow"), address("ray"), pages)


def _status_of(folder: Path, name: str, ports: Ports, recorded: Mapping[str, Recorded]) -> ServiceStatus:
    service = _plan(folder, ports, recorded).get(name)
    entry = recorded.get(name)
    if service is None:
        return ServiceStatus(name, "external", os.environ[EXTERNAL[name]])
    if entry is None:
        return ServiceStatus(name, "stopped", service.address, service.page, log=str(service.log))
    state = "dead"
    if processes.alive(entry.process):
        state = "running" if service.ready(5.0) else "not answering"
    return ServiceStatus(
        name=name,
        state=state,
        address=service.address,
        page=service.page,
        pid=entry.process.pid,
        pss_bytes=memory.pss_bytes(processes.members(entry.process)),
        uptime_s=time.time() - entry.process.started_at if state != "dead" else 0.0,
        log=str(service.log),
    )


def _stop(name: str, entry: Recorded, timeout_s: float, notify: Notify) -> None:
    started = time.monotonic()
    if not processes.members(entry.process):
        notify(f"{name}: process {entry.process.pid} was gone already")
        return
    gently = processes.stop(entry.process, timeout_s)
    how = "stopped" if gently else f"killed after {timeout_s:.0f} s"
    notify(f"{name}: {how} ({time.monotonic() - started:.1f} s)")
