"""The three servers of the local stack: how each is started, where it answers, and when it is ready.

All are bound to loopback: they have no passwords. Their data lies in `<home>/stack`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
DEFAULT_PORTS = {"prefect": 24200, "mlflow": 25000, "ray": 26379, "dashboard": 28265}
"""The tools' own ports + 20000, to stand beside servers that already use those; below 32768, where Linux begins to give
out ports to outgoing connections."""
EXTERNAL = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI", "ray": "RAY_ADDRESS"}
"""The variable that names a service of the user's own, which is then used instead of ours."""
OBJECT_STORE_BYTES = 150_000_000
"""The pipeline hands paths through Ray, not data; Ray's default is 30% of the machine's memory."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach our loopback


class PortError(ValueError):
    """A port that cannot be one."""


@dataclass(frozen=True)
class Ports:
    """Ports asked for; None: the environment's (`BERT_FOUNDRY_PREFECT_PORT`), the last start's, the default."""

    prefect: int | None = None
    mlflow: int | None = None
    ray: int | None = None
    dashboard: int | None = None

    def wanted(self, name: str) -> int | None:
        """The port that an argument or the environment names for a service.

        Raises:
            PortError: it is not a number from 1024 to 65535.
        """
        value = getattr(self, name) or os.environ.get(port_variable(name)) or None
        if value is None:
            return None
        if not str(value).isdecimal() or not 1024 <= int(value) <= 65535:
            raise PortError(f"{name} port {value!r}: choose a number from 1024 to 65535 ({port_options(name)})")
        return int(value)


def port_variable(name: str) -> str:
    return f"BERT_FOUNDRY_{name.upper()}_PORT"


def port_options(name: str) -> str:
    return f"--{name}-port or {port_variable(name)}"


@dataclass(frozen=True)
class Service:
    """One server: everything that is needed to start it, reach it and tell whether it works."""

    name: str
    ports: Mapping[str, int]
    command: list[str]
    environment: Mapping[str, str]
    """The server's own variables."""
    clients: Mapping[str, str]
    """Variables by which a client reaches it."""
    log: Path
    page: str
    """What a person opens."""
    health: str
    """An address that answers 200 only when the server does its work, its database included."""

    @property
    def address(self) -> str:
        """What the service's own variable, such as PREFECT_API_URL, holds for clients."""
        return self.clients[EXTERNAL[self.name]]

    def ready(self, timeout_s: float) -> bool:
        """Whether it answers as a working server does."""
        try:
            with _DIRECT.open(self.health, timeout=timeout_s) as answer:
                body = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        return self.name != "ray" or _ray_works(body, self.ports["ray"])


def local(folder: Path, ports: Mapping[str, int]) -> tuple[Service, ...]:
    """All three, on the ports of these names."""
    return (
        prefect(folder, ports["prefect"]),
        mlflow(folder, ports["mlflow"]),
        ray(folder, ports["ray"], ports["dashboard"]),
    )


def prefect(folder: Path, port: int) -> Service:
    page = f"http://{LOOPBACK}:{port}"
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_UI_API_URL": f"{page}/api",  # the page asks port 4200 without it
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_CLI_PROMPT": "false",
    }
    private = {
        "PREFECT_HOME": str(folder.parent / "prefect"),  # no settings or profiles of the user's other servers
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    return Service(
        name="prefect",
        ports={"prefect": port},
        command=[_program("prefect"), "server", "start", "--host", LOOPBACK, "--port", str(port)],
        environment=environment | private,
        clients=private | {"PREFECT_API_URL": f"{page}/api", "PREFECT_UI_URL": page},
        log=folder / "prefect.log",
        page=page,
        health=f"{page}/api/health",
    )


def mlflow(folder: Path, port: int) -> Service:
    """MLflow's application under uvicorn, as `mlflow server --workers 1 --artifacts-destination …` would start it.

    That command stays as a second process of 200 MB that only waits, and imports everything twice. The variables are
    those by which it hands its options to the application (mlflow 3.17, `mlflow/server/constants.py`).
    """
    page = f"http://{LOOPBACK}:{port}"
    database = f"sqlite:///{folder / 'mlflow.db'}"
    environment = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "mlflow-artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{LOOPBACK}:{port},localhost:{port}",  # else any web page could rebind to it
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else seven more processes of 250 MB
    }
    telemetry = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "uvicorn", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    return Service(
        name="mlflow",
        ports={"mlflow": port},
        command=[*command, "--no-access-log", "mlflow.server.fastapi_app:app"],
        environment=environment | telemetry,
        clients=telemetry | {"MLFLOW_TRACKING_URI": page},
        log=folder / "mlflow.log",
        page=page,
        health=f"{page}/api/2.0/mlflow/experiments/get?experiment_id=0",
    )


def ray(folder: Path, port: int, dashboard_port: int) -> Service:
    page = f"http://{LOOPBACK}:{dashboard_port}"
    command = [_program("ray"), "start", "--head", "--block", "--disable-usage-stats", "--include-dashboard", "true"]
    command += ["--node-ip-address", LOOPBACK, "--port", str(port)]
    command += ["--dashboard-host", LOOPBACK, "--dashboard-port", str(dashboard_port)]
    # Ports that nobody needs to know: with Ray's fixed ones a second Ray on the machine would not start.
    command += ["--dashboard-agent-listen-port", "0", "--ray-client-server-port", str(free_port())]
    command += ["--num-cpus", str(os.cpu_count() or 1), "--object-store-memory", str(OBJECT_STORE_BYTES)]
    command += ["--temp-dir", str(ray_folder(folder)), "--log-style", "record", "--log-color", "false"]
    shared = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Nothing but loopback listens. Unset, Ray would write ~/.ray/auth_token and change other clusters' behaviour.
        "RAY_AUTH_MODE": "disabled",
        # Despite its name: without it Ray turns 127.0.0.1 into the machine's own address and listens on all of them.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    environment = {
        "AUTOSCALER_METRIC_PORT": "0",
        "DASHBOARD_METRIC_PORT": "0",
        "GLOO_SOCKET_IFNAME": _interface(),
        # At SIGTERM the head would wait 30 s for requests in flight to be served elsewhere: there is no elsewhere.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    return Service(
        name="ray",
        ports={"ray": port, "dashboard": dashboard_port},
        command=command,
        environment=environment | shared,
        clients=shared | {"RAY_ADDRESS": f"{LOOPBACK}:{port}"},
        log=folder / "ray.log",
        page=page,
        health=f"{page}/nodes?view=summary",
    )


def ray_folder(folder: Path) -> Path:
    """Ray's own folder, in /tmp: it makes sockets some 70 characters deeper, and a socket's path may have 107."""
    return Path("/tmp") / f"bert-foundry-{hashlib.sha256(str(folder).encode()).hexdigest()[:10]}"


def loopback_environment() -> dict[str, str]:
    """Keeps clients from asking a proxy for our loopback, whatever proxy the user has set."""
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    missing = [host for host in (LOOPBACK, "localhost") if host not in hosts.split(",")]
    joined = ",".join([*filter(None, [hosts]), *missing])
    return {"NO_PROXY": joined, "no_proxy": joined}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    """The tool that is installed beside this Python, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def _ray_works(nodes: bytes, port: int) -> bool:
    """Whether the control server and the node's raylet accept connections.

    The dashboard alone does not tell: it calls a node alive for seconds after its raylet was killed.
    """
    try:
        raylets = [node["raylet"] for node in json.loads(nodes)["data"]["summary"]]
        living = [raylet["nodeManagerPort"] for raylet in raylets if raylet.get("state") == "ALIVE"]
    except (ValueError, KeyError):
        return False
    return bool(living) and all(_accepts(each) for each in (port, *living))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _interface() -> str:
    """The loopback interface's name: gloo, torch's collective library, else listens on what the host name means."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == LOOPBACK for address in addresses):
            return name
    return "lo"
