"""Real servers. Most cases need one server only: the others are then named as the user's own, and are not started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from infra import commands, processes, records
from infra.services import Ports, free_port
from infra.stack import Stack, StackError, current, down, status, up

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which only MLflow is ours."""
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    monkeypatch.setenv("RAY_ADDRESS", "ray.example:6379")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
        down()


@pytest.fixture
def shared_home(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The suite's own stack, found by its home."""
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(stack.folder.parent))
    return stack


def recorded_pids(stack: Stack) -> dict[str, int]:
    return {name: entry.process.pid for name, entry in records.read(stack.folder).items()}


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_up_again_is_quick_and_starts_nothing(shared_home: Stack) -> None:
    pids = recorded_pids(shared_home)
    messages: list[str] = []
    started = time.monotonic()
    again = up(notify=messages.append)
    assert time.monotonic() - started < 1.0
    assert recorded_pids(shared_home) == pids
    assert again == shared_home
    assert messages == []


def test_status_tells_state_address_process_and_memory(shared_home: Stack) -> None:
    found = {entry.name: entry for entry in status()}
    assert {name: entry.state for name, entry in found.items()} == dict.fromkeys(
        ("prefect", "mlflow", "ray"), "running"
    )
    assert {name: entry.pid for name, entry in found.items()} == recorded_pids(shared_home)
    assert found["prefect"].address == os.environ["PREFECT_API_URL"]
    assert found["mlflow"].address == os.environ["MLFLOW_TRACKING_URI"]
    assert found["ray"].address == os.environ["RAY_ADDRESS"]
    for entry in found.values():
        assert entry.pss_bytes > 50_000_000
        assert 0 < entry.uptime_s < 3600
        with urllib.request.urlopen(entry.page, timeout=10) as page:
            assert b"<html" in page.read().lower()


def test_the_commands_print_what_status_says(shared_home: Stack) -> None:
    run = CliRunner().invoke(commands.status, ["--json"])
    assert [entry["name"] for entry in json.loads(run.output)] == ["prefect", "mlflow", "ray"]
    table = CliRunner().invoke(commands.status).output
    assert table.count("running") == 3
    assert "total" in table


def test_the_idle_stack_takes_less_than_1500_mb(shared_home: Stack) -> None:
    total = sum(entry.pss_bytes for entry in status())
    assert 500_000_000 < total < 1_500_000_000


def test_nothing_listens_beyond_loopback_even_while_ray_works(shared_home: Stack) -> None:
    driver = (
        "import json, ray, sys; from infra.processes import listening; from infra.stack import current\n"
        "ray.init(log_to_driver=False)\n"
        "@ray.remote\n"
        "def look(): return listening(current().pids())\n"
        "print(json.dumps(ray.get(look.remote())))"
    )
    run = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert {address for address, _ in found} <= LOOPBACK
    ports = {port for _, port in found}
    expected = [port for entry in records.read(shared_home.folder).values() for port in entry.ports.values()]
    assert ports.issuperset(expected)
    assert len(ports) > len(expected)  # Ray's inner ports were seen too


def test_a_killed_server_is_started_again_and_the_others_stay(shared_home: Stack) -> None:
    before = recorded_pids(shared_home)
    os.kill(before["mlflow"], signal.SIGKILL)
    wait_until(lambda: processes.birth(before["mlflow"]) is None)
    assert {entry.name: entry.state for entry in status()}["mlflow"] == "dead"
    messages: list[str] = []
    up(notify=messages.append)
    after = recorded_pids(shared_home)
    assert after["mlflow"] != before["mlflow"]
    assert (after["prefect"], after["ray"]) == (before["prefect"], before["ray"])
    assert f"mlflow: process {before['mlflow']} of the last start is gone; starting it again" in messages
    assert {entry.state for entry in status()} == {"running"}


def test_a_server_that_lives_and_does_not_answer_is_an_error_that_shows_its_log(shared_home: Stack) -> None:
    pid = recorded_pids(shared_home)["mlflow"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert {entry.name: entry.state for entry in status()}["mlflow"] == "not answering"
        with pytest.raises(StackError) as caught:
            up(timeout_s=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    message = str(caught.value)
    assert f"mlflow: waited 1 s for {shared_home.mlflow_tracking_uri}/api/" in message
    assert f"process {pid} lives but does not answer. `bert-foundry down` stops it" in message
    assert "Uvicorn running on" in message  # the end of its log
    assert recorded_pids(shared_home)["mlflow"] == pid


def test_other_ports_than_the_running_ones_are_refused(shared_home: Stack) -> None:
    with pytest.raises(StackError, match=r"prefect already runs on .* `bert-foundry down` stops it"):
        up(Ports(prefect=free_port()))


@pytest.mark.chaos
@pytest.mark.parametrize("program", ["raylet/raylet", "gcs/gcs_server", "ray start"])
def test_ray_is_started_again_whichever_of_its_processes_was_killed(shared_home: Stack, program: str) -> None:
    entry = records.read(shared_home.folder)["ray"]
    commands_of = {pid: " ".join(psutil.Process(pid).cmdline()) for pid in processes.members(entry.process)}
    victim = next(pid for pid, command in commands_of.items() if program in command)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: processes.birth(victim) is None)  # it takes a while on a busy machine: up would find it alive
    up()
    assert {entry.state for entry in status()} == {"running"}
    assert recorded_pids(shared_home)["ray"] != entry.process.pid
    assert processes.members(entry.process) == []


def test_services_of_the_users_own_are_not_started_and_down_leaves_no_process_and_no_port(home: Path) -> None:
    port = free_port()
    mine = up(Ports(mlflow=port))
    assert list(records.read(mine.folder)) == ["mlflow"]
    environment = mine.environment()
    assert environment["PREFECT_API_URL"] == "https://prefect.example/api"
    assert environment["RAY_ADDRESS"] == "ray.example:6379"
    assert environment["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{port}"
    assert "PREFECT_HOME" not in environment  # the user's profile and keys stay in force
    assert "RAY_AUTH_MODE" not in environment
    assert [entry.state for entry in status()] == ["external", "running", "external"]
    assert current() == mine

    pids = mine.pids()
    assert pids
    down()
    assert [pid for pid in pids if processes.birth(pid)] == []
    assert processes.port_holder("127.0.0.1", port) is None
    assert not records.record_file(mine.folder).exists()
    messages: list[str] = []
    down(notify=messages.append)
    assert "the stack is not up" in messages[0]


def test_a_taken_port_is_named_with_who_holds_it_and_how_to_choose_another(home: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        run = CliRunner().invoke(commands.up, ["--mlflow-port", str(port)])
    assert run.exit_code == 1
    assert f"port {port} for mlflow is taken by process {os.getpid()} (" in run.output
    assert "--mlflow-port or BERT_FOUNDRY_MLFLOW_PORT" in run.output
    assert not records.record_file(home / "stack").exists()


def test_a_port_that_cannot_be_one_and_one_that_is_asked_for_twice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_MLFLOW_PORT", "80")
    with pytest.raises(StackError, match=r"mlflow port '80': choose a number from 1024 to 65535 .*BERT_FOUNDRY_MLFLOW"):
        up()
    monkeypatch.delenv("PREFECT_API_URL")
    port = free_port()
    with pytest.raises(StackError, match=f"port {port} was asked for 2 times"):
        up(Ports(mlflow=port, prefect=port))


def test_a_record_of_dead_processes_is_cleaned_and_a_stranger_with_the_same_id_is_left_alone(home: Path) -> None:
    """The id in the record now belongs to another process, as after a reboot."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    port = free_port()
    try:
        record = processes.ProcessRecord(pid=stranger.pid, born="another-boot:1", started_at=0.0)
        (home / "stack").mkdir()
        records.write(home / "stack", {"mlflow": records.Started(process=record, ports={"mlflow": port})})
        assert [entry.state for entry in status()][1] == "dead"
        messages: list[str] = []
        up(notify=messages.append)
        assert f"mlflow: process {stranger.pid} of the last start is gone; starting it again" in messages
        assert records.read(home / "stack")["mlflow"].ports == {"mlflow": port}  # where it was, it is found again
        down()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_record_that_is_not_one_is_an_error(home: Path) -> None:
    (home / "stack").mkdir()
    file = records.record_file(home / "stack")
    file.write_text('{"mlflow": {"pid": 1')
    with pytest.raises(StackError, match=r"stack\.json: not a record of this program"):
        status()
    file.unlink()


def test_a_server_that_dies_at_its_start_is_shown_with_the_end_of_its_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    monkeypatch.setenv("PREFECT_SERVER_API_KEEPALIVE_TIMEOUT", "soon")
    with pytest.raises(StackError) as caught:
        up(Ports(prefect=free_port()))
    message = str(caught.value)
    assert f"prefect ended while it started; the end of {home / 'stack' / 'prefect.log'}:" in message
    assert "soon" in message


def test_ctrl_c_while_it_starts_leaves_a_record_that_down_stops(home: Path) -> None:
    program = "from infra.commands import up; up()"
    command = [sys.executable, "-c", program, "--mlflow-port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(records.record_file(home / "stack").exists)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted; what was started is recorded" in output
    entry = records.read(home / "stack")["mlflow"]
    assert processes.alive(entry.process)
    down()
    assert processes.members(entry.process) == []
