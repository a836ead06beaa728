"""Nights of a small recipe, run as a user runs them: the command line, in a process of its own, on real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parent / "end_to_end" / "small.toml"


@dataclass
class Foundry:
    """A home folder, a site's address, and the command line over them."""

    home: Path
    site: str
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "flows", *arguments]

    def night(self, as_of: str, *overrides: str) -> list[str]:
        host = self.site.removeprefix("http://")
        where = [f'sources.site.seeds=["{self.site}/"]', f'sources.site.allow_private_hosts=["{host}"]']
        return self.command("run", str(RECIPE), "--as-of", as_of, *where, *overrides)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            return subprocess.Popen(command, env=self.environment_of_process(), stdout=out, stderr=subprocess.STDOUT)

    def run(self, command: list[str], *, text: str | None = None, timeout_s: float = 280) -> str:
        """What the command printed; a failure shows all of it."""
        done = subprocess.run(
            command, env=self.environment_of_process(), input=text, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def manifests(self, stage: str) -> list[dict[str, Any]]:
        """Of a stage's published artifacts, the oldest first."""
        found = [json.loads(path.read_text()) for path in (self.home / "store" / stage).glob("small-*/manifest.json")]
        return sorted(found, key=lambda manifest: manifest["created_at"])

    def environment_of_process(self) -> dict[str, str]:
        return {**os.environ, "BERT_FOUNDRY_HOME": str(self.home), **self.environment}
