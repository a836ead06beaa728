"""The MLflow server: which one, and what to do while it does not answer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
import urllib3
from mlflow import MlflowClient

T = TypeVar("T")

PATIENCE_S = 120.0
# MLflow's own retries answer for a blip inside one request; with its defaults a dead server holds a call for four
# minutes, so `insist` could not keep its promise. What the user has set wins.
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the message names the model, the version or the address."""


class RegistryUnreachable(RegistryError):
    """The MLflow server did not answer for as long as we were willing to wait."""


def address() -> str:
    """The tracking server's address, from the variable that MLflow itself reads.

    Raises:
        RegistryError: it is not set, for MLflow would then quietly write into the working folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise RegistryError(
            "MLFLOW_TRACKING_URI is not set, so there is no registry: start the local stack with `bert-foundry up`, "
            "or set the variable to the address of your MLflow server"
        )
    return uri.rstrip("/")


def client() -> MlflowClient:
    for name, value in CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    return MlflowClient(tracking_uri=address(), registry_uri=address())


def insist(step: Callable[[], T], *, what: str, timeout_s: float = PATIENCE_S) -> T:
    """The result of `step`, which is tried again, with backoff, while the server does not answer.

    `step` must be idempotent: the server may have done its work before the answer was lost.

    Raises:
        RegistryUnreachable: the server did not answer for `timeout_s`; names `what` and the address.
        Exception: any error of `step` that is not the connection's passes through at once.
    """
    deadline = time.monotonic() + timeout_s
    for attempt, wait_s in enumerate(_backoff()):
        try:
            return step()
        except Exception as error:
            if not _is_connection_error(error) and answers():
                raise
            if attempt == 0:
                logging.getLogger(__name__).warning(
                    "%s: the MLflow server at %s does not answer; waiting for it, %g s at most",
                    what,
                    address(),
                    timeout_s,
                )
            if not _answers_before(deadline, wait_s):
                raise RegistryUnreachable(
                    f"{what}: the MLflow server at {address()} did not answer for {timeout_s:g} s ({_root(error)}). "
                    "Nothing is lost: start it again (`bert-foundry up`) and run the same command"
                ) from error
    raise AssertionError("the backoff does not end")


def answers() -> bool:
    """Whether the server's health page answers; a database instead of a server always does."""
    if not address().startswith(("http://", "https://")):
        return True
    try:
        return requests.get(f"{address()}/health", timeout=5).ok
    except requests.RequestException:
        return False


def _answers_before(deadline: float, wait_s: float) -> bool:
    """Wait `wait_s`, then until the server answers; False if the deadline comes first."""
    while (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(wait_s, left_s))
        if answers():
            return True
    return False


def _backoff() -> Iterator[float]:
    wait_s = 0.5
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, 8.0)


def _is_connection_error(error: BaseException) -> bool:
    """MLflow wraps the connection's errors, and its upload threads keep only their text."""
    kinds = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, ConnectionError)
    # A failed upload lists its causes as text; "API request to" is how MLflow begins each of them
    text = ("Max retries exceeded", "Connection refused", "Connection aborted", "failed with timeout exception")
    return any(isinstance(link, kinds) or any(part in str(link) for part in text) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _root(error: BaseException) -> str:
    return type(list(_chain(error))[-1]).__name__
