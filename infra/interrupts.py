"""Ctrl-C that nobody loses."""

from __future__ import annotations

import os
import signal
import sys
import threading

AGAIN_AFTER_S = 0.1
"""By then the finalizer that swallowed the interrupt has ended."""


def keep_interrupts() -> None:
    """From here on an interrupt that a finalizer swallows is sent again.

    Python raises KeyboardInterrupt wherever the main thread is. Within a finalizer, such as that of a connection pool
    which a poll of MLflow or Prefect leaves behind, nobody can catch it: Python prints it, forgets it, and the program
    goes on as if nobody had pressed a key (`sys.unraisablehook` in Python's documentation).
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        again = threading.Timer(AGAIN_AFTER_S, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
