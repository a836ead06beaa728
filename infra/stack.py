"""The local stack: a Prefect server, an MLflow server and a Ray head on this machine, started once and found again.

`<home>/stack/stack.json` records what was started, right after it was started. `up` starts what does not live, `status`
looks, `down` stops what is recorded and nothing else.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from infra import processes, records, services
from infra.records import StackError, Started
from infra.services import DEFAULT_PORTS, EXTERNAL, LOOPBACK, PortError, Ports, Service
from tasks import artifacts, memory

__all__ = ["Ports", "ServiceStatus", "Stack", "StackError", "current", "down", "status", "up"]

START_TIMEOUT_S = 180.0
"""Some 20 s on two idle cores; several times that when they are busy."""
STOP_TIMEOUT_S = 20.0
LEFTOVER_TIMEOUT_S = 4.0
"""For the children of a killed server: some of Ray's wait for their parent's word and ignore SIGTERM."""
PROBE_TIMEOUT_S = 5.0
NAMES = tuple(EXTERNAL)

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """Where the three services are reached. Addresses are the user's own where the environment already named one."""

    folder: Path
    """Logs, databases and the process record of the local services."""
    prefect_api_url: str
    mlflow_tracking_uri: str
    ray_address: str
    pages: Mapping[str, str] = field(default_factory=dict)
    """What a person opens, by service: local ones only."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Variables by which Prefect, MLflow and Ray clients reach this stack, for `os.environ.update` or a child.

        For a service of the user's own this holds its address only: its other settings are the user's.
        """
        return dict(self.variables)

    def pids(self) -> list[int]:
        """Ids of all processes of the local services now, for measuring."""
        return [pid for entry in records.read(self.folder).values() for pid in processes.members(entry.process)]


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


def up(ports: Ports | None = None, *, timeout_s: float = START_TIMEOUT_S, notify: Notify = print) -> Stack:
    """Make sure that all services run and answer; one that already does is left as it is.

    Raises:
        StackError: a port is taken or is not the one that a running service uses, a server died at its start or did not
            answer within `timeout_s`.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with records.locked(folder, timeout_s):
        started = records.read(folder)
        wanted = _plan(folder, ports or Ports(), started)
        begun = time.monotonic()
        missing = [service for service in wanted.values() if not _lives(service, started)]
        try:
            _start(folder, missing, started, wanted, notify)
            _wait_ready(folder, wanted, started, {service.name for service in missing}, timeout_s, notify)
        except KeyboardInterrupt:
            notify("interrupted; what was started is recorded: `bert-foundry down` stops it, `up` goes on with it")
            raise
        if missing:
            notify(f"the stack is up after {time.monotonic() - begun:.0f} s")
    return _stack(folder, wanted)


def status() -> list[ServiceStatus]:
    """How each service is now; looks only, and answers within seconds even when a server hangs."""
    folder = _folder()
    started = records.read(folder)
    wanted = _plan(folder, Ports(), started)
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return list(pool.map(lambda name: _status_of(name, wanted.get(name), started.get(name)), NAMES))


def down(*, timeout_s: float = STOP_TIMEOUT_S, notify: Notify = print) -> None:
    """Stop every recorded service, with all processes that it started; nothing else is touched."""
    folder = _folder()
    if not records.read(folder):
        notify(f"nothing is recorded in {records.record_file(folder)}: the stack is not up")
        return
    with records.locked(folder, timeout_s):
        started = records.read(folder)
        with ThreadPoolExecutor(len(NAMES)) as pool:
            list(pool.map(lambda name: _stop(name, started[name], timeout_s, notify), started))
        records.record_file(folder).unlink(missing_ok=True)


def current() -> Stack:
    """The stack's addresses as they are recorded (or would be chosen), without looking whether anything answers."""
    folder = _folder()
    return _stack(folder, _plan(folder, Ports(), records.read(folder)))


def _folder() -> Path:
    return artifacts.home() / "stack"


def _plan(folder: Path, ports: Ports, started: Mapping[str, Started]) -> dict[str, Service]:
    """The services that are ours, with the ports that they have or shall have; external ones are left out.

    External is what the environment names by another address than ours: `Stack.environment` sets ours there too.
    """
    last = DEFAULT_PORTS | {name: port for entry in started.values() for name, port in entry.ports.items()}
    try:
        chosen = {name: ports.wanted(name) or port for name, port in last.items()}
    except PortError as error:
        raise StackError(str(error)) from None
    plan = {}
    for before, service in zip(services.local(folder, last), services.local(folder, chosen), strict=True):
        named = os.environ.get(EXTERNAL[service.name], "").rstrip("/")
        if named in ("", before.address, service.address):
            plan[service.name] = service
    return plan


def _lives(service: Service, started: Mapping[str, Started]) -> bool:
    entry = started.get(service.name)
    if entry is None or not processes.alive(entry.process):
        return False
    if dict(service.ports) != entry.ports:
        raise StackError(
            f"{service.name} already runs on {entry.ports}, and {dict(service.ports)} was asked for; "
            "`bert-foundry down` stops it, then `bert-foundry up` takes the new ports"
        )
    return True


def _start(
    folder: Path, missing: list[Service], started: dict[str, Started], wanted: Mapping[str, Service], notify: Notify
) -> None:
    """Start services, each recorded before the next; what a dead one left behind is ended first."""
    for service in missing:
        if entry := started.pop(service.name, None):
            notify(f"{service.name}: process {entry.process.pid} of the last start is gone; starting it again")
            processes.stop(entry.process, LEFTOVER_TIMEOUT_S)
            records.write(folder, started)
    _check_ports(missing)
    for service in missing:
        notify(f"starting {service.name}: {service.page}")
        _prepare(folder, service)
        environment = os.environ | services.loopback_environment()
        if service.name == "ray":  # its workers inherit this, and may report to the others
            others = [other.clients for other in wanted.values() if other is not service]
            environment |= {key: value for clients in others for key, value in clients.items()}
        with records.uninterrupted():
            process = processes.spawn(service.command, environment | dict(service.environment), service.log)
            started[service.name] = Started(process=process, ports=dict(service.ports))
            records.write(folder, started)


def _check_ports(missing: list[Service]) -> None:
    asked = [(name, port) for service in missing for name, port in service.ports.items()]
    twice = Counter(port for _, port in asked)
    problems = [f"port {port} was asked for {count} times" for port, count in twice.items() if count > 1]
    for name, port in asked:
        if holder := processes.port_holder(LOOPBACK, port):
            options = services.port_options(name)
            problems.append(f"port {port} for {name} is taken by {holder}; choose another with {options}")
    if problems:
        raise StackError("\n".join(problems))


def _prepare(folder: Path, service: Service) -> None:
    """Ray's folder: empty and private, the one of the session before kept as `….1` for its logs."""
    if service.name != "ray":
        return
    target = services.ray_folder(folder)
    before = target.with_name(target.name + ".1")
    try:
        if target.exists():
            shutil.rmtree(before, ignore_errors=True)
            target.rename(before)
        target.mkdir(mode=0o700)
    except OSError as error:  # /tmp is shared: the name may be somebody else's
        raise StackError(f"ray: cannot make its folder {target}: {error}; remove it, or set another home") from None
    (folder / "ray").unlink(missing_ok=True)
    (folder / "ray").symlink_to(target)


def _wait_ready(
    folder: Path,
    wanted: Mapping[str, Service],
    started: dict[str, Started],
    new: set[str],
    timeout_s: float,
    notify: Notify,
) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = dict(wanted)
    while True:
        for name, service in list(waiting.items()):
            if service.ready(PROBE_TIMEOUT_S):
                del waiting[name]
            elif processes.alive(started[name].process):
                continue
            elif name in new:
                raise StackError(
                    f"{name} ended while it started; the end of {service.log}:\n{processes.tail(service.log)}"
                )
            else:  # it was about to die when we looked: one of its own processes had been killed
                new.add(name)
                _start(folder, [service], started, wanted, notify)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise StackError("\n".join(_unanswered(waiting[name], started[name], timeout_s) for name in waiting))
        time.sleep(0.25)


def _unanswered(service: Service, entry: Started, timeout_s: float) -> str:
    pid = entry.process.pid
    return (
        f"{service.name}: waited {timeout_s:.0f} s for {service.health}; process {pid} lives but does not answer. "
        f"`bert-foundry down` stops it. The end of {service.log}:\n{processes.tail(service.log)}"
    )


def _stack(folder: Path, wanted: Mapping[str, Service]) -> Stack:
    variables = {variable: os.environ[variable] for name, variable in EXTERNAL.items() if name not in wanted}
    for service in wanted.values():
        variables |= services.loopback_environment() | dict(service.clients)
    return Stack(
        folder=folder,
        prefect_api_url=variables["PREFECT_API_URL"],
        mlflow_tracking_uri=variables["MLFLOW_TRACKING_URI"],
        ray_address=variables["RAY_ADDRESS"],
        pages={name: service.page for name, service in wanted.items()},
        variables=variables,
    )


def _status_of(name: str, service: Service | None, entry: Started | None) -> ServiceStatus:
    if service is None:
        return ServiceStatus(name, "external", os.environ[EXTERNAL[name]])
    if entry is None:
        return ServiceStatus(name, "stopped", service.address, service.page, log=str(service.log))
    ready = service.ready(PROBE_TIMEOUT_S)
    alive = processes.alive(entry.process)  # asked last: what does not answer may have died meanwhile
    return ServiceStatus(
        name=name,
        state="dead" if not alive else "running" if ready else "not answering",
        address=service.address,
        page=service.page,
        pid=entry.process.pid,
        pss_bytes=memory.pss_bytes(processes.members(entry.process)),
        uptime_s=time.time() - entry.process.started_at if alive else 0.0,
        log=str(service.log),
    )


def _stop(name: str, entry: Started, timeout_s: float, notify: Notify) -> None:
    begun = time.monotonic()
    if not processes.members(entry.process):
        notify(f"{name}: process {entry.process.pid} was gone already")
        return
    gently = processes.stop(entry.process, timeout_s)
    how = "stopped" if gently else f"killed, for it had not stopped within {timeout_s:.0f} s"
    notify(f"{name}: {how} ({time.monotonic() - begun:.1f} s)")
