"""Starts the nightly flow in this process, against the local stack or the servers that the environment names."""

from __future__ import annotations

import os

from flows.recipe import Recipe


def run_retrain(recipe: Recipe, *, as_of: str | None = None, ablate: bool = False) -> str:
    """The report of the run. The stack is started if it does not run; it stays up."""
    from infra import stack

    running = stack.up(notify=lambda line: print(line, flush=True))
    os.environ.update(running.environment())
    os.environ["BERT_FOUNDRY_RAY_PAGE"] = running.pages.get("ray", "")
    from flows.retrain import retrain  # only now: Prefect reads its addresses when it is imported
    from tasks.stage import Stage

    Stage.memory_roots = staticmethod(lambda: [os.getpid(), *running.pids()])
    report: str = retrain(recipe, as_of=as_of, ablate=ablate)
    stay = "\nThe servers stay up until `bert-foundry down`." if running.pages else ""
    return report + stay
