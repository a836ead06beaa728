"""The demonstration: serve the film-review site on loopback, and run its night. `make demo` calls it."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from flows.__main__ import main as bert_foundry
from tasks import artifacts

# Two nights of the season in which most of these films were reviewed. A night that was run is found, not run again.
NIGHTS = {1: "2002-10-04", 2: "2002-10-05"}
START_TIMEOUT_S = 30


class SiteError(RuntimeError):
    """The demonstration's site did not start."""


@contextlib.contextmanager
def review_site(day: int, port: int) -> Iterator[str]:
    """The site as it is on `day`, for as long as the block runs; what it served is in `<home>/site-day-<day>.log`."""
    log_path = artifacts.home() / f"site-day-{day}.log"
    command = [sys.executable, "-m", "infra.site", "--day", str(day), "--port", str(port)]
    with log_path.open("ab") as log:
        site = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    try:
        _wait(site, address, str(log_path))
        yield address
    finally:
        site.terminate()
        site.wait(10)


def _wait(site: subprocess.Popen[bytes], address: str, log: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if site.poll() is not None:
            raise SiteError(f"the site ended while starting; is the port of {address} taken? Its log: {log}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.1)
    raise SiteError(f"waited {START_TIMEOUT_S} s for {address}; the site's log: {log}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=__doc__)
    parser.add_argument("--day", type=int, choices=sorted(NIGHTS), default=1, help="1: about 60%% of the films; 2: all")
    parser.add_argument("--port", type=int, default=8400, help="of the site")
    parser.add_argument("--ablate", action="store_true", help="also fine-tune from random and from the given weights")
    parser.add_argument("overrides", nargs="*", help="changes of the recipe, such as train.epochs=1")
    options = parser.parse_args()
    with review_site(options.day, options.port) as address:
        host = address.removeprefix("http://").rstrip("/")
        overrides = [
            f'sources.site.seeds=["{address}"]',
            f'sources.site.allow_private_hosts=["{host}"]',
            *options.overrides,
        ]
        ablate = ["--ablate"] if options.ablate else []
        bert_foundry(["run", "film-reviews", "--as-of", NIGHTS[options.day], *ablate, *overrides])


if __name__ == "__main__":
    main()
