"""Child processes that die for real, without each of them spending seconds on imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

# Imports once, then forks for each request. It opens no connection itself, so its children share none.
PARENT = """
import json, os, signal, sys
exec(sys.argv[1])
for line in sys.stdin:
    request = json.loads(line)
    if not (child := os.fork()):
        os.dup2(2, 1)  # what it prints is no answer
        os.environ.update(request["environment"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        if request["kill_after_s"] is not None:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, request["kill_after_s"])
        call(*request["arguments"])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
PASSED_ON = ("MLFLOW_TRACKING_URI", "BERT_FOUNDRY_HOME")


class Mortals:
    """Runs `call(*arguments)` of a script, each time in a new process that may be killed by SIGKILL."""

    def __init__(self, script: str) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, script],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, kill_after_s: float | None = None) -> int:
        """The exit status: 0, or minus the signal that ended it. Arguments are JSON."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        environment = {name: os.environ[name] for name in PASSED_ON}
        request = {"environment": environment, "arguments": arguments, "kill_after_s": kill_after_s}
        self._parent.stdin.write(f"{json.dumps(request)}\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def __enter__(self) -> "Mortals":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(30)
