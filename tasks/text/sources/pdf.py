"""PDF files to text, each in a process with caps on time and memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from tasks.text.sources.compressed import read_capped
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unreadable

_HYPHEN = re.compile(r"(?<=[a-zà-öø-ÿ])-\n(?=[a-zà-öø-ÿ])")
_OPEN_LINE = re.compile(r"(?<![.!?:;…。！？\n])\n(?=[a-zà-öø-ÿ,;(])")


def pdf_document(piece: Piece) -> Record:
    """The text of all pages; a file that is broken, encrypted, without text or too slow is told."""
    data = read_capped(piece.expanded(), piece.limits.max_record_bytes)
    found = _read(data, piece.limits.max_record_bytes, piece.limits.pdf_timeout_s)
    if "reason" in found:
        return Unreadable(piece.name, found["reason"], found["detail"])
    text = flowing("\n".join(found["pages"]))
    if not text:
        return Unreadable(piece.name, "no text in PDF", f"{len(found['pages'])} pages, perhaps of pictures")
    return piece.whole(text=text, title=found["title"], date=found["date"])


def flowing(text: str) -> str:
    """Lines of a page joined where the sentence goes on in lower case, words where they were cut by a hyphen."""
    lines = "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)
    return _OPEN_LINE.sub(" ", _HYPHEN.sub("", lines))


def _read(data: bytes, max_characters: int, timeout_s: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tasks.text.sources.pdf_text", str(max_characters)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"reason": "PDF took too long", "detail": f"more than {timeout_s:g} s"}
    if done.returncode:
        return {"reason": "broken PDF", "detail": done.stderr.decode("utf-8", "replace")[-500:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found
