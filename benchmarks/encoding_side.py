"""One side of `encoding`: reads documents, writes tokens, prints its figures as JSON.

python benchmarks/encoding_side.py ours|map DOCUMENTS TOKENIZER OUT
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def ours(documents: Path, tokenizer: Path, out: Path) -> dict[str, Any]:
    os.environ["BERT_FOUNDRY_HOME"] = str(tokenizer.parent)
    from tasks.artifacts import Draft, code_hash
    from tasks.config.tokens import EncodeConfig, PretrainedTokenizer
    from tasks.text.encoding import encode
    from tasks.text.parts import Serial

    code_hash("tasks.text.encoding")  # a flow has it before any stage begins: it decides whether one runs

    config = EncodeConfig(tokenizer=PretrainedTokenizer(path=tokenizer.name))
    draft = Draft(out)
    started = time.process_time()
    encode(config, documents, (), draft, Serial(), lambda done, total: None)
    return {"cpu_s": time.process_time() - started, "load_s": 0, "tokens": sum(draft.facts["tokens"].values())}


def peer(documents: Path, tokenizer: Path, out: Path) -> dict[str, Any]:
    import datasets
    import pyarrow.compute as pc
    import transformers

    transformers.logging.set_verbosity_error()
    fast = transformers.AutoTokenizer.from_pretrained(tokenizer)
    fast.model_max_length = 10**9
    files = sorted(str(file) for file in (documents / "documents").glob("*.parquet"))
    started = time.process_time()
    table = datasets.Dataset.from_parquet(files, cache_dir=str(out), columns=["text"])
    loaded = time.process_time()
    encoded = table.map(
        lambda batch: fast(
            batch["text"], add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        ),
        batched=True,
        remove_columns=["text"],
    )
    ended = time.process_time()
    tokens = sum(pc.sum(pc.list_value_length(chunk)).as_py() for chunk in encoded.data.column("input_ids").chunks)
    return {"cpu_s": ended - loaded, "load_s": loaded - started, "tokens": tokens}


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    side, *paths = sys.argv[1:]
    arguments = [Path(path).resolve() for path in paths]
    arguments[2].mkdir()
    print(json.dumps((ours if side == "ours" else peer)(*arguments)))
