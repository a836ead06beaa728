"""python -m tasks.text.sources.pdf_text MAX_CHARACTERS: a PDF from stdin to JSON on stdout.

A process of its own, since a PDF is a program: its reader has no limit on time or memory, and a process can be killed.
"""

from __future__ import annotations

import io
import json
import logging
import resource
import sys

from pypdf import PdfReader

MAX_MEMORY = 2 << 30


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    logging.disable()
    try:
        result = read(sys.stdin.buffer.read(), int(sys.argv[1]))
    except Exception as error:  # pypdf raises whatever Python does for what it does not expect
        result = {"reason": "broken PDF", "detail": f"{type(error).__name__}: {error}"[:500]}
    json.dump(result, sys.stdout)


def read(data: bytes, max_characters: int) -> dict[str, object]:
    """The text of each page, the title and the date; or the reason why there is none."""
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"reason": "encrypted PDF", "detail": ""}
    pages: list[str] = []
    size = 0
    for page in reader.pages:
        text = page.extract_text().encode("utf-8", "replace").decode()  # half a surrogate pair is no text
        size += len(text)
        if size > max_characters:
            return {"reason": "record too large", "detail": f"more than {max_characters} characters of text"}
        pages.append(text)
    information = reader.metadata
    title = str(information.title or "") if information else ""
    date = information.creation_date if information else None
    return {"pages": pages, "title": title, "date": date.isoformat() if date else ""}


if __name__ == "__main__":
    main()
