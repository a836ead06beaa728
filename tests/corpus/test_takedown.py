from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.text.documents import CorpusError
from tasks.text.takedown import Takedown, append


def written(path: Path, *entries: object) -> Path:
    path.write_text(
        "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries), "utf-8"
    )
    return path


def test_each_kind_of_entry(tmp_path: Path) -> None:
    path = written(
        tmp_path / "list.jsonl",
        {"url": "HTTPS://Example.org:443/a?b=2&a=1#top", "why": "asked", "who": "ann", "at": "2026-11-22"},
        {"pattern": r"^https?://[^/]*\.private\.example/"},
        {"id": "d41d8cd98f00b204"},
        {"url": "package!doc/file.html"},
    )
    takedown = Takedown.load(path)
    assert takedown.refusal("https://example.org/a?a=1&b=2", "x") == "takedown: url"
    assert takedown.refusal("https://example.org/a?a=1&b=3", "x") == ""
    assert takedown.refusal("http://www.private.example/x") == "takedown: pattern"
    assert takedown.refusal("http://private.example.org/x") == ""
    assert takedown.refusal("http://any.org/", "d41d8cd98f00b204") == "takedown: id"
    assert takedown.refusal("package!doc/file.html") == "takedown: url"


def test_no_list_refuses_nothing(tmp_path: Path) -> None:
    assert Takedown.load(tmp_path / "none.jsonl").refusal("http://a.org/", "1") == ""


def test_patterns_that_cannot_be_joined(tmp_path: Path) -> None:
    path = written(tmp_path / "list.jsonl", {"pattern": "(?P<a>x)1"}, {"pattern": "(?P<a>y)2"}, {"pattern": "(?i)Z3"})
    takedown = Takedown.load(path)
    assert [bool(takedown.refusal(f"http://h/{part}")) for part in ("x1", "y2", "z3", "x2")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"url": "http://a.org/"', "line 2: no JSON object"),
        ('["http://a.org/"]', "line 2: an object of texts"),
        ('{"url": 3}', "line 2: an object of texts"),
        ('{"why": "asked"}', "line 2: exactly one of .* it has none"),
        ('{"url": "http://a.org/", "id": "1"}', "line 2: exactly one of"),
        ('{"url": "http://a.org/", "reason": "x"}', r"line 2: unknown fields \['reason'\]; legal are"),
        ('{"pattern": "("}', "line 2: '\\(' is no regular expression"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        Takedown.load(written(tmp_path / "list.jsonl", {"id": "1"}, line))
    assert Takedown.load(written(tmp_path / "list.jsonl", {"id": "1"}, "", {"id": "2"})).ids == {"1", "2"}


def test_append_refuses_what_load_would(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="exactly one of"):
        append(tmp_path / "list.jsonl", {"why": "asked"})
    assert not (tmp_path / "list.jsonl").exists()


def test_the_same_entry_is_there_once(tmp_path: Path) -> None:
    for _ in range(2):
        append(tmp_path / "a" / "list.jsonl", {"id": "1", "why": "é"})
    assert (tmp_path / "a" / "list.jsonl").read_text("utf-8") == '{"id": "1", "why": "é"}\n'


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """They start at the same moment: without the lock each would write over what the other has just added."""
    code = (
        "import sys; from pathlib import Path; from tasks.text.takedown import append\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for n in range(100): append(Path(sys.argv[1]), {'id': sys.argv[2] + str(n)})"
    )
    path = tmp_path / "list.jsonl"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in running] == [0, 0]
    for process in running:
        process.communicate()
    assert Takedown.load(path).ids == {f"{name}{n}" for name in "ab" for n in range(100)}


def test_a_long_list_is_asked_fast(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text("".join(f'{{"id": "{n}"}}\n' for n in range(100_000)), "utf-8")
    takedown = Takedown.load(path)
    start = time.process_time()
    refused = sum(bool(takedown.refusal(f"http://a.org/{n}", str(n))) for n in range(99_000, 101_000))
    assert refused == 1_000
    assert time.process_time() - start < 1  # a search through the list would take minutes
