"""A look at a corpus: its numbers against a plain count, and what it does with texts that want to be markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.artifacts import ArtifactRef, Draft, build, find
from tasks.text.documents import DOCUMENT_SCHEMA, REJECT_SCHEMA, document_id, rows_table, write_table
from tasks.text.look import CorpusLook, look, page, summary_markdown
from tasks.text.look.checks import checks
from tasks.text.look.counting import DROPPED_SAMPLES, HEAD_CHARACTERS, KEPT_SAMPLES
from tasks.text.look.waterfall import steps
from tasks.text.parts import Part

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\n\"quotes' & \x00\x1b[31m \u202eoverride </pre></main>"
EVIL_URL = 'javascript:alert(3)//"><svg onload=alert(4)>'
REASONS = ("too short", "wrong language", "<b>odd & reason</b>")
CLUSTERS = pa.schema(
    [*((name, pa.string()) for name in ("id", "url", "source", "duplicate_of", "kept_url", "reason")),
     ("similarity", pa.float64())]
)  # fmt: skip
LEAKS = pa.schema([(n, pa.string()) for n in ("document_id", "url", "evaluation_set", "evaluation_row", "ngram")])
INDEX = pa.schema([*((n, pa.string()) for n in ("document_id", "url", "source", "split")), ("tokens", pa.int32())])

Row = tuple[object, ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


def publish(stage: str, fill: Callable[[Draft], None], *inputs: ArtifactRef, name: str = "test") -> ArtifactRef:
    with build(stage, name, "a" * 64, config={"limit": "<i>"}, inputs=inputs, code="c" * 64) as out:
        fill(out)
    ref = find(stage, name, "a" * 64)
    assert ref is not None
    return ref


def write(out: Draft, table: str, rows: Sequence[Row], schema: pa.Schema, parts: int = 3) -> None:
    for number in range(parts):
        write_table(Part(out.path, number).file(table), rows_table(rows[number::parts], schema))


def document(number: int) -> dict[str, Any]:
    """One of a corpus with several hosts, languages and lengths; every tenth is nasty."""
    text = NASTY if number % 10 == 0 else f"document {number} " + "word " * (number % 50) ** 2
    url = EVIL_URL if number == 20 else f"https://host{number % 7}.example/{number}"
    return {
        "id": document_id("page", url, text), "url": url, "source": f"source{number % 3}", "fetched_at": "",
        "date": "", "language": ("en", "de", "zh")[number % 3], "title": "<u>title</u>", "text": text,
        "levels": [0], "kind": "page", "label": None, "group": url, "sentences": [0], "meta": "{}",
        "cluster": "c", "split": ("train", "train", "validation", "test")[number % 4],
    }  # fmt: skip


DOCUMENTS = [document(number) for number in range(200)]
REJECTS: list[Row] = [
    ("", f"https://gone.example/{i}", "source0", "page", REASONS[i * i % 3], NASTY, f"reject {i} " + "x" * 500, None)
    for i in range(90)
]
DUPLICATES: list[Row] = [
    (f"d{i}", f"https://copy.example/{i}", "s", "kept0" if i < 30 else f"kept{i}", EVIL_URL, "near duplicate", 0.82)
    for i in range(40)
]


def rows(schema: pa.Schema, documents: Sequence[dict[str, Any]] = DOCUMENTS) -> list[Row]:
    return [tuple(each[name] for name in schema.names) for each in documents]


def stage(
    name: str, *inputs: ArtifactRef, kept: pa.Schema = DOCUMENT_SCHEMA, gone: Sequence[Row] = (), **tables: Any
) -> ArtifactRef:
    """A stage that keeps all of `DOCUMENTS` and drops `gone`."""

    def fill(out: Draft) -> None:
        write(out, "documents", rows(kept), kept)
        write(out, "rejects", gone, REJECT_SCHEMA)
        for table, (found, schema) in tables.items():
            write(out, table, found, schema)
        for row in gone:
            out.drop(str(row[4]))
        out.rows |= {"seen": len(DOCUMENTS) + len(gone), "kept": len(DOCUMENTS)}
        out.rows |= Counter(str(each["split"]) for each in DOCUMENTS) if name == "split" else {}
        if name == "clean":
            out.facts |= {"redacted": {"email": 7}, "lines_removed": {"boilerplate": 3}}

    return publish(name, fill, *inputs)


def corpus() -> dict[str, ArtifactRef]:
    clustered = DOCUMENT_SCHEMA.append(pa.field("cluster", pa.string()))
    sides = clustered.append(pa.field("split", pa.string()))
    pages = pa.table(
        {"url": ["https://a/", "https://b/", "https://c/"], "outcome": ["fetched", "skipped", "redirected"],
         "reason": ["", "robots.txt", ""]}
    )  # fmt: skip

    def crawl(out: Draft) -> None:
        pq.write_table(pages, out.path / "pages.parquet")
        out.rows |= {"seen": 3, "fetched": 1, "not_modified": 0, "redirected": 1, "skipped": 1, "failed": 0}
        out.drop("robots.txt")

    def encode(out: Draft) -> None:
        index = [(each["id"], each["url"], each["source"], each["split"], 10) for each in DOCUMENTS]
        write(out, "index", index, INDEX)
        languages = {"en": {"fertility": 1.2, "unknown_rate": 0.2, "tokens": 700, "documents": 70}}
        out.facts |= {"tokens": {"train": 1000, "validation": 500, "test": 500}, "vocab_size": 99, "tokenizer": "f" * 9}
        out.facts |= {"fertility": 1.25, "unknown_rate": 0.001, "languages": languages}
        out.rows["seen"] = len(DOCUMENTS)

    refs = {"source web": publish("scrape", crawl, name="web")}
    refs["extract"] = stage("extract", refs["source web"], gone=REJECTS[:9])
    refs["clean"] = stage("clean", refs["extract"], gone=REJECTS)
    refs["dedup"] = stage("dedup", refs["clean"], kept=clustered, clusters=(DUPLICATES, CLUSTERS))
    leaked = [(each["id"], each["url"], "film <test>", str(i), NASTY) for i, each in enumerate(DOCUMENTS[:5])]
    refs["decontaminate"] = stage("decontaminate", refs["dedup"], kept=clustered, leaks=(leaked, LEAKS))
    refs["split"] = stage("split", refs["decontaminate"], kept=sides)
    refs["encode"] = publish("encode", encode, refs["split"])
    return refs


def marks(found: CorpusLook) -> dict[str, str]:
    return {check.title: check.mark for check in checks(found)}


def test_numbers_are_those_of_a_plain_count() -> None:
    found = look(corpus())
    characters = sum(len(each["text"]) for each in DOCUMENTS)
    assert (found.final, found.documents, found.characters, found.tokens) == ("split", 200, characters, 2000)
    assert found.hosts
    assert found.languages
    assert found.lengths
    assert found.tokens_per_document
    assert found.sides
    plain: Counter[str] = Counter()
    for each in DOCUMENTS:
        plain[each["language"]] += len(each["text"])
    assert {entry.name: entry.characters for entry in found.languages.entries} == plain
    expected = Counter(each["url"].split("/")[2] for each in DOCUMENTS if each["url"] != EVIL_URL)
    hosts = {entry.name: entry.documents for entry in found.hosts.entries}
    assert hosts == {**expected, "(source2)": 1}  # the address without a host counts for its source
    assert {entry.tokens for entry in found.hosts.entries} == {10 * count for count in hosts.values()}
    assert {e.name: e.documents for e in found.sides.entries} == Counter(each["split"] for each in DOCUMENTS)
    for bar in found.lengths.bars:
        inside = [n for each in DOCUMENTS if bar.low <= (n := len(each["text"])) < (bar.high or 10**9)]
        assert (bar.documents, bar.amount) == (len(inside), sum(inside))
    ordered = sorted(len(each["text"]) for each in DOCUMENTS)
    for share, value in found.lengths.quantiles.items():
        true = ordered[round(share * 200) - 1]
        assert abs(value - true) <= 0.13 * true
    assert found.tokens_per_document.amount == 2000


def test_reasons_samples_and_checks() -> None:
    found = look(corpus())
    clean = found.stage("clean")
    assert clean is not None
    assert {reason.reason: reason.documents for reason in clean.reasons} == Counter(str(row[4]) for row in REJECTS)
    for reason in clean.reasons:
        assert len(reason.samples) == DROPPED_SAMPLES
        assert all(len(sample.text) == HEAD_CHARACTERS for sample in reason.samples)
        heads = {str(row[6])[:HEAD_CHARACTERS] for row in REJECTS if row[4] == reason.reason}
        assert {sample.text for sample in reason.samples} <= heads
    assert len(found.samples) == KEPT_SAMPLES
    assert (found.redacted, found.lines_removed) == ({"email": 7}, {"boilerplate": 3})
    assert found.leaks is not None
    assert (found.leaks.found, found.leaks.by_set) == (5, (("film <test>", 5),))
    assert marks(found) == {
        "Accounting": "pass", "Hand-over": "attention", "Lineage": "pass", "Sources": "attention", "Rules": "pass",
        "Duplicates": "pass", "Hosts": "pass", "Languages": "pass", "Personal data": "pass",
        "Evaluation data": "attention", "Split": "pass", "Vocabulary": "attention",
    }  # fmt: skip
    # clean saw 290 where extract kept 200; the leaks stayed; 1 of 3 pages was skipped; 20% unknown in English
    assert checks(found)[1].details == ("extract kept 200, clean saw 290",)


def test_addresses_that_the_recipe_leaves_out_are_not_lost() -> None:
    def crawl(out: Draft) -> None:
        rows = [("https://a/", "fetched", ""), *((f"https://a/{n}", "skipped", "excluded") for n in range(8))]
        table = pa.table(dict(zip(("url", "outcome", "reason"), map(list, zip(*rows, strict=True)), strict=True)))
        pq.write_table(table, out.path / "pages.parquet")
        out.rows |= {"seen": 9, "fetched": 1, "not_modified": 0, "redirected": 0, "skipped": 8, "failed": 0}
        out.drop("excluded", 8)

    found = look({**corpus(), "source web": publish("scrape", crawl, name="other")})
    (sources,) = [check for check in checks(found) if check.title == "Sources"]
    assert (sources.mark, sources.details) == ("pass", ())
    assert "0 of 1 records skipped or failed" in sources.figure
    assert "8 left out, as the recipe asks" in sources.figure


def test_a_lost_document_and_a_foreign_input_ask_for_attention() -> None:
    refs = corpus()

    def lose(out: Draft) -> None:
        write(out, "documents", rows(DOCUMENT_SCHEMA)[:-1], DOCUMENT_SCHEMA)
        out.rows |= {"seen": 200, "kept": 200}

    refs["clean"] = publish("clean", lose, refs["extract"], name="other")
    found = {check.title: check for check in checks(look(refs))}
    assert found["Accounting"].details == ("clean: says 200 kept, its files hold 199",)
    assert found["Lineage"].mark == "attention"
    assert found["Lineage"].details[0].startswith("dedup was built from clean ")


def test_clusters_are_counted_exactly_and_bounded() -> None:
    found = look(corpus()).clusters
    assert (found[0].id, found[0].dropped, found[0].url, len(found[0].members)) == ("kept0", 30, EVIL_URL, 8)
    assert [cluster.dropped for cluster in found[1:]] == [1] * 10
    assert found[0].by_reason == {"near duplicate": 30}


def test_waterfall_ends_where_the_corpus_begins() -> None:
    found = steps(look(corpus()))
    totals = [step.documents for step in found if step.kind == "total"]
    assert totals == [209, 200, 200, 200, 200, 200]
    assert found[0].left == 209
    assert [step.left for step in found if step.stage == "extract" and step.kind == "drop"][-1] == 200


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        self.attributes.update(name for name, _ in attrs)
        for name, value in attrs:
            assert name != "href" or (value or "").startswith("#"), value


def test_no_text_of_the_corpus_becomes_markup() -> None:
    written = page(look(corpus()), "<script>title</script>")
    tags = Tags()
    tags.feed(written)
    assert not tags.found.keys() & {"script", "img", "iframe", "link", "object", "b", "i", "u", "form", "base"}
    assert not [name for name in tags.attributes if name.startswith("on") or name in ("src", "action")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", written)
    assert "␀" in written
    assert "⟨U+202E⟩" in written
    assert "default-src 'none'" in written.replace("&#x27;", "'")
    written.encode()


def test_the_same_corpus_gives_the_same_page_whoever_reads_it() -> None:
    refs = corpus()

    class Backwards:
        """As Ray may: results in any order."""

        def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
            yield from ((i, function(items[i])) for i in reversed(range(len(items))))

    first = page(look(refs), "corpus")
    assert page(look(dict(reversed(refs.items())), Backwards()), "corpus") == first


@pytest.mark.parametrize("missing", ["source web", "extract", "clean", "dedup", "decontaminate", "split", "encode"])
def test_any_stage_may_be_missing(missing: str) -> None:
    found = look({title: ref for title, ref in corpus().items() if title != missing})
    assert found.documents == 200
    assert 'id="checks"' in page(found, "corpus")
    assert summary_markdown(found).count("| check |") == 1


def test_nothing_and_a_source_alone_are_pages_too() -> None:
    assert "no stage has run" in page(look({}), "nothing")
    assert "robots.txt" in page(look({"source web": corpus()["source web"]}), "crawl")


def test_the_page_does_not_grow_with_the_corpus() -> None:
    sizes = []
    for count in (200, 3000):

        def fill(out: Draft, count: int = count) -> None:
            write(out, "documents", rows(DOCUMENT_SCHEMA, [document(i) for i in range(count)]), DOCUMENT_SCHEMA)
            write(out, "rejects", REJECTS * (count // 100), REJECT_SCHEMA)

        found = look({"clean": publish("clean", fill, name=f"of-{count}")})
        assert found.documents == count
        sizes.append(len(page(found, "corpus")))
    assert sizes[1] < 1.05 * sizes[0]


def test_summary_is_a_table_of_the_checks_without_markup() -> None:
    written = summary_markdown(look(corpus()))
    assert "**200 documents" in written
    assert len(written) < 6000
    assert "<b>odd" not in written.replace("\\", "\\\\").replace("\\\\<", "")


def test_personal_data_that_nobody_looked_for_asks_for_attention() -> None:
    def of(privacy: dict[str, Any], name: str) -> CorpusLook:
        with build("clean", name, "b" * 64, config={"clean": {"privacy": privacy}}) as out:
            out.facts["redacted"] = {}
        ref = find("clean", name, "b" * 64)
        assert ref is not None
        return look({"clean": ref})

    some = of({"email": True, "names": False, "replacement": ""}, "some")
    assert (some.redacted, some.not_redacted, marks(some)["Personal data"]) == ({"email": 0}, ("name",), "pass")
    assert marks(of({"email": False, "names": False}, "none"))["Personal data"] == "attention"


def test_documents_repeated_by_weight_are_accounted_for() -> None:
    def weigh(out: Draft) -> None:
        write(out, "documents", rows(DOCUMENT_SCHEMA, [*DOCUMENTS, *DOCUMENTS[:30]]), DOCUMENT_SCHEMA)
        out.rows |= {"seen": 200, "kept": 200, "repeated by weight": 30}

    def encode(out: Draft) -> None:
        out.rows["seen"] = 230

    split = publish("split", weigh)
    found = look({"split": split, "encode": publish("encode", encode, split)})
    assert {marks(found)[title] for title in ("Accounting", "Hand-over")} == {"pass"}
    assert [(step.kind, step.documents) for step in steps(found)] == [("total", 200), ("repeat", 30), ("total", 230)]


def test_rejects_that_say_their_size_fill_the_waterfall() -> None:
    gone = [("", "u", "s", "page", "too short", "", "x", 40), ("", "v", "s", "page", "odd", "", "y", 7)]

    def fill(out: Draft) -> None:
        write(out, "documents", rows(DOCUMENT_SCHEMA), DOCUMENT_SCHEMA)
        write(out, "rejects", gone, REJECT_SCHEMA)
        out.dropped |= {"too short": 1, "odd": 1}
        out.rows |= {"seen": 202, "kept": 200}

    def before(out: Draft) -> None:
        wordy = {**DOCUMENTS[1], "text": "w" * 100}
        write(out, "documents", rows(DOCUMENT_SCHEMA, [*DOCUMENTS, wordy, wordy]), DOCUMENT_SCHEMA)
        out.rows |= {"seen": 202, "kept": 202}

    found = steps(look({"extract": publish("extract", before), "clean": publish("clean", fill)}))
    sizes = {step.title: step.characters for step in found if step.kind != "total"}
    assert sizes == {"too short": 40, "odd": 7, "taken out of documents that stay": 200 - 47}
