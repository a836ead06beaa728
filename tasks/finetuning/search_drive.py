"""Runs a search's driver, a process of its own, until it is done, its time is up, or somebody stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bert_core.files import write_json
from tasks.finetuning.trial import Job, read_result, write_result

POLL_S = 0.5
NOTE_EVERY_S = 5.0
"""Between two notes of how long a search has taken: what a kill can make it forget."""
STOP_WAIT_S = 30.0
"""For Tune to write down where it is."""

Look = Callable[[float | None], None]
"""Called twice a second with the seconds that are left, if there is a limit."""


class DriverError(RuntimeError):
    """The driver died; what its trials found stays, and the same command continues."""


def drive(job: Job, minutes: float | None, look: Look) -> bool:
    """Carry the search on; True when all trials are done, False when `minutes` of all attempts together are over.

    Raises:
        DriverError: with the end of its log.
        KeyboardInterrupt: Ctrl-C, when Tune has written down where it is.
    """
    folder = Path(job.work_dir)
    clock = _Clock(folder / "spent.json", minutes)
    if clock.is_over:
        return False
    write_json(folder / "job.json", job.model_dump(mode="json"))
    log = folder / "driver.log"
    with log.open("ab") as out:
        driver = subprocess.Popen(
            [sys.executable, "-m", "tasks.tune_driver", str(folder / "job.json")],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C is for us, who pass it on
        )
        try:
            while driver.poll() is None and not clock.is_over:
                look(clock.left_s)
                clock.note()
                time.sleep(POLL_S)
            is_done = driver.poll() is not None
            if not is_done:
                _stop(driver)
            elif driver.returncode:
                text = log.read_text("utf-8", "replace")[-3000:]
                raise DriverError(
                    f"the driver of the search ended with {driver.returncode}; what its trials found stays, "
                    f"and the same command continues:\n{text}\n(whole log: {log})"
                )
        except KeyboardInterrupt:
            _stop(driver)
            raise
        finally:
            clock.note(now=True)
            if driver.stdin:
                driver.stdin.close()
            driver.kill()
            driver.wait()
    if is_done:
        _give_up(folder)
    look(clock.left_s)
    return is_done


def _give_up(folder: Path) -> None:
    """Tune is done, so it has also given up the trials without a result: their workers died, again and again."""
    for trial in sorted((folder / "trials").glob("*")):
        if read_result(trial) is None:
            failure = trial / "failure.json"
            reason = json.loads(failure.read_text("utf-8"))["reason"] if failure.exists() else "its worker died"
            write_result(trial, "failed", reason=reason)


def _stop(driver: subprocess.Popen[bytes]) -> None:
    print("search: stopping", file=sys.stderr, flush=True)
    driver.send_signal(signal.SIGINT)
    try:
        driver.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        print(f"search: its driver does not stop within {STOP_WAIT_S:.0f} s, and is killed", file=sys.stderr)


class _Clock:
    """Seconds of all attempts together, kept in a file."""

    def __init__(self, path: Path, minutes: float | None) -> None:
        self._path, self._limit_s = path, None if minutes is None else 60 * minutes
        self._before = json.loads(path.read_text())["seconds"] if path.exists() else 0.0
        self._began = time.monotonic()
        self._noted = 0.0

    @property
    def spent_s(self) -> float:
        return float(self._before + time.monotonic() - self._began)

    @property
    def left_s(self) -> float | None:
        return None if self._limit_s is None else max(0.0, self._limit_s - self.spent_s)

    @property
    def is_over(self) -> bool:
        return self.left_s == 0.0

    def note(self, *, now: bool = False) -> None:
        if now or self.spent_s - self._noted >= NOTE_EVERY_S:
            self._noted = self.spent_s
            write_json(self._path, {"seconds": round(self.spent_s, 3)})
