"""What a process does that the tests kill: in a module of its own, so that it is imported once for all of them."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from tasks.artifacts import ArtifactRef, build, code_hash, find
from tasks.config.dedup import DedupConfig
from tasks.text.dedup import dedup
from tasks.text.ngrams import characters, ngrams
from tasks.text.parts import Serial

# Once for all processes that are forked from here: each of them is to be killed in the middle of its work.
code_hash("tasks.text.dedup.sketches")
ngrams(characters(["warm"]), 5)
pa.array(np.zeros(1))  # imports pandas


def run_in(store: str, documents: ArtifactRef, previous: ArtifactRef | None, name: str) -> None:
    """`run` in a process whose environment is another's."""
    os.environ["BERT_FOUNDRY_STORE"] = store
    run(documents, previous, name)


def run(documents: ArtifactRef, previous: ArtifactRef | None, name: str) -> ArtifactRef:
    """The dedup artifact of that name; what an attempt before it left is continued."""
    key = f"{name:0<64}"
    with build("dedup", "killed", key, config=None, resume=True) as out:
        dedup(DedupConfig(), documents, previous, (), out, Serial(), lambda done, total: None)
    ref = find("dedup", "killed", key)
    assert ref is not None
    return ref
