"""The process that a guard starts: reads a request and its page, writes one line of JSON, again and again."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tasks.config.extract import ExtractConfig
from tasks.text.extraction import page, peer


def answer(request: dict[str, Any], body: bytes) -> Any:
    if request["task"] == "page":
        config = ExtractConfig.model_validate_json(request["config"])
        found = page.extract_here(body, request["charset"], request["url"], config, request["want_lines"])
        return page.to_json(found)
    if request["task"] == "trafilatura":
        return peer.trafilatura_lines(body, request["url"], tables=request["tables"])
    return peer.searched_date(body, request["url"])


def main() -> None:
    import trafilatura  # noqa: F401  # now, so that its 0.3 s are no page's

    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    answers.write(b"{}\n")
    answers.flush()
    while line := requests.readline():
        request = json.loads(line)
        result = answer(request, requests.read(request["size"]))
        answers.write(json.dumps(result).encode() + b"\n")  # ASCII: lone surrogates pass
        answers.flush()


if __name__ == "__main__":
    main()
