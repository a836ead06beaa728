"""One extractor over a list of pages, in a process of its own; imports nothing of the project unless it is asked for.

python extraction_side.py ENGINE < JSON list of files > JSON {"cpu_s": ..., "texts": [...]}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Extractor = Callable[[bytes], str]


def ours(engine: str) -> Extractor:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tasks.config.extract import ExtractConfig
    from tasks.text.extraction import Extracted, extract

    config = ExtractConfig.model_validate({"engine": engine})

    def run(body: bytes) -> str:
        found = extract(body, config=config)
        return found.text if isinstance(found, Extracted) else ""

    return run


def trafilatura(_: str) -> Extractor:
    from trafilatura import extract

    return lambda body: extract(body, include_comments=False, deduplicate=False) or ""


def resiliparse(_: str) -> Extractor:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    def run(body: bytes) -> str:
        return str(extract_plain_text(bytes_to_str(body, detect_encoding(body)), main_content=True, alt_texts=False))

    return run


def readability(_: str) -> Extractor:
    from lxml import html
    from readability import Document

    return lambda body: html.fromstring(Document(body).summary()).text_content()


ENGINES: dict[str, tuple[Callable[[str], Extractor], str]] = {
    "ours": (ours, "auto"),
    "ours, fast alone": (ours, "fast"),
    "trafilatura": (trafilatura, ""),
    "trafilatura of datatrove": (trafilatura, ""),
    "resiliparse": (resiliparse, ""),
    "readability-lxml": (readability, ""),
}


def spent() -> float:
    """Processor seconds of this process and of its children that run."""
    try:
        import psutil
    except ImportError:
        return time.process_time()
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(each.cpu_times().user + each.cpu_times().system for each in children)


def safely(extract: Extractor, body: bytes) -> str:
    try:
        return extract(body)
    except Exception:  # a peer may raise anything on a page that it cannot read: it found nothing
        return ""


def main() -> None:
    make, argument = ENGINES[sys.argv[1]]
    extract = make(argument)
    bodies = [Path(file).read_bytes() for file in json.load(sys.stdin)]
    for body in bodies:  # what is loaded at the first page of a kind is loaded now
        safely(extract, body)
    started = spent()
    texts = [safely(extract, body) for body in bodies]
    json.dump({"cpu_s": spent() - started, "texts": texts}, sys.stdout)


if __name__ == "__main__":
    main()
