"""Why a model says what it says, against exact attributions, fine sums, and transformers' own attention."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_tasks import CAUSAL, TASKS, table
from torch import Tensor
from transformers import AutoModel

from bert_core.answers import outputs
from bert_core.explain import (
    METHODS,
    ExplainError,
    Explanation,
    Passage,
    Word,
    as_html,
    as_json,
    attention_maps,
    attention_of,
    explain,
    integrated_gradients,
    rollout,
)
from bert_core.explain.methods import scorer
from bert_core.explain.targets import Target, targets_of
from bert_core.features import encode
from bert_core.predict import Predictor
from tests.bert_core.test_task_folders import exported

FAMILIES = ("bert", "roberta", "albert", "distilbert", "gpt2", "modernbert")
NAMES = [name for name in TASKS if name not in ("in_batch", "cosine")]


def predictor_of(family: str, name: str, folder: Path) -> Predictor:
    exported(family, name, folder)
    return Predictor(folder)


def asked(name: str, rows: int = 4) -> pa.Table:
    target = {"token": "tags", "span": "answers"}.get(name, "label")
    return table(name, rows).drop_columns([target])


def targets(predictor: Predictor, name: str, rows: int = 4) -> list[Target]:
    held = encode(predictor.task, asked(name, rows), predictor.tokenizer, predictor.max_tokens)
    said = outputs(predictor.model, held, predictor.max_tokens, predictor.tokenizer.pad_id)
    return list(targets_of(predictor, asked(name, rows), held, said, 2))


# ------------------------------------------------------------------------------------------ integrated gradients


@pytest.mark.parametrize("steps", [1, 3, 32])
def test_a_linear_score_is_attributed_exactly(steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, base, w = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(3))
    found = integrated_gradients(lambda points: (points * w).sum((1, 2)) + 3, x, base, steps)
    torch.testing.assert_close(found, ((x - base) * w).sum(-1))


def test_a_polynomial_and_a_fine_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    x, base, w = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(3))

    def cubic(points: Tensor) -> Tensor:
        return (points * w).sum((1, 2)) ** 3 + (points**2).sum((1, 2))

    two = integrated_gradients(cubic, x, base, 2)  # exact for slopes of degree 3
    torch.testing.assert_close(two.sum(), cubic(x[None])[0] - cubic(base[None])[0])
    total = torch.zeros_like(x)
    for k in range(4000):
        point = (base + (k + 0.5) / 4000 * (x - base)).requires_grad_()
        total += torch.autograd.grad(cubic(point[None]).sum(), point)[0] / 4000
    torch.testing.assert_close(two, (total * (x - base)).sum(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["single", "span"])
def test_a_models_gradients_equal_a_fine_riemann_sum(name: str, tmp_path: Path) -> None:
    predictor = predictor_of("bert", name, tmp_path)
    target = targets(predictor, name, 1)[0]
    words = predictor.model.encoder.embeddings.word
    x, base = words(target.tokens).detach(), words(torch.tensor(predictor.tokenizer.mask_id)).detach()
    base = base.expand_as(x)
    score = scorer(predictor.model, target)
    found = integrated_gradients(score, x, base, 100)
    total = torch.zeros_like(x)
    for part in ((torch.arange(2000) + 0.5) / 2000).split(100):
        points = (base + part[:, None, None] * (x - base)).requires_grad_()
        total += torch.autograd.grad(score(points).sum(), points)[0].sum(0) / 2000
    expected = (total * (x - base)).sum(-1)
    torch.testing.assert_close(found, expected, atol=5e-3 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_weights_sum_to_what_the_words_change(name: str, family: str, tmp_path: Path) -> None:
    if family == "gpt2" and name not in CAUSAL:
        return
    predictor = predictor_of(family, name, tmp_path)
    for each in explain(predictor, asked(name, 1), steps=64):
        assert each.gap is not None
        assert each.baseline_score is not None
        spread = sum(abs(word.weight) for word in each.words)
        assert abs(each.gap) < 0.02 * spread + 1e-3
        added = sum(word.weight for word in each.words)
        assert added == pytest.approx(each.score - each.baseline_score + each.gap, abs=1e-3 + 1e-4 * spread)
        for passage in each.passages:
            assert [passage.text[word.start : word.end] for word in passage.words] == [w.text for w in passage.words]
            read = "".join(word.text for word in passage.words)
            assert read in passage.text.replace(" ", "")
            assert len(read) == len(passage.text.replace(" ", "")) or name == "span"


# ------------------------------------------------------------------------------------------------- what is explained


def test_scores_and_labels_are_the_answers(tmp_path: Path) -> None:
    for name in NAMES:
        predictor = predictor_of("bert", name, tmp_path / name)
        answers = predictor.answer(asked(name)).to_pylist()
        found = explain(predictor, asked(name), "attention")
        assert [each.id for each in found] == sorted([each.id for each in found])
        by_id: dict[str, list[Explanation]] = {}
        for each in found:
            by_id.setdefault(each.id, []).append(each)
        for answer, row in zip(answers, asked(name).to_pylist(), strict=True):
            own = by_id[answer["id"]]
            first = own[0]
            if name in ("single", "pair"):
                p = max(answer["probabilities"])
                assert first.label == answer["label"]
                assert first.score == pytest.approx(np.log(p / (1 - p)), abs=1e-2)
                assert first.probability == pytest.approx(p)
            elif name == "multi":
                p = max(answer["probabilities"])
                assert 1 / (1 + np.exp(-first.score)) == pytest.approx(p, abs=1e-4)
            elif name == "regression":
                assert (first.label, first.probability) == ("value", None)
                assert first.score == pytest.approx(answer["value"], rel=1e-3, abs=1e-2)
            elif name == "choice":
                assert first.label == row["choices"][answer["choice"]]
                assert first.probability == pytest.approx(max(answer["probabilities"]), abs=1e-5)
                assert [passage.name for passage in first.passages] == ["text", "choice"]
            elif name == "span":
                assert first.label == answer["best_answer"]
            else:
                assert len(own) <= 3
                for each in own:
                    place = row["tokens"].index(each.about)
                    assert max(answer["confidences"]) > (each.probability or 1) - 1e-6
                    assert row["tokens"][place] == each.about


def test_a_long_contexts_answer_is_explained_in_its_window(tmp_path: Path) -> None:
    predictor = predictor_of("bert", "span", tmp_path)
    context = " ".join(f"ban kosh mirk {n}" for n in ["telo", "rut", "lot", "loban", "misht", "teshk"] * 5)
    (found,) = explain(predictor, pa.table({"id": ["a"], "question": ["ruban?"], "context": [context]}))
    passage = found.passages[1]
    assert len(passage.words) < 40 < len(context.split())
    read = context[passage.words[0].start : passage.words[-1].end]
    assert found.label in read
    assert read.replace(" ", "") == "".join(word.text for word in passage.words)


def test_words_of_a_cut_sentence_keep_their_places(tmp_path: Path) -> None:
    predictor = predictor_of("bert", "token", tmp_path)
    words = [f"{word}{n}" for n in range(40) for word in ("ban", "kosh")]
    found = explain(predictor, pa.table({"id": ["a"], "tokens": [words]}), "leave_one_out", tags=100)
    assert len(found) > 10
    seen = set()
    for each in found:
        (passage,) = each.passages
        assert passage.text == " ".join(words)
        assert all(passage.text[word.start : word.end] == word.text for word in passage.words)
        held = [word.text for word in passage.words]
        at = words.index(held[0])
        assert held == words[at : at + len(held)]
        assert each.about in held
        seen |= set(held)
    assert len(seen) > 60


# ----------------------------------------------------------------------------------------------------- leave one out


def test_leaving_a_word_out_is_asking_again_with_mask_in_its_place(tmp_path: Path) -> None:
    predictor = predictor_of("bert", "pair", tmp_path)
    (found,) = explain(predictor, asked("pair", 1), "leave_one_out")
    assert found.gap is None
    (target,) = targets(predictor, "pair", 1)
    pieces = [each for piece in target.pieces for each in piece.tokens]
    assert len(pieces) == len(found.words)
    for word, place in zip(found.words, pieces, strict=True):
        tokens = target.features.tokens.copy()
        tokens[place.start : place.stop] = predictor.tokenizer.mask_id
        batch = target.batch(1)
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        with torch.no_grad():
            asked_again = target.read(
                predictor.model.output(type(batch)(**{**batch.__dict__, "input_ids": ids})), batch
            )
        assert word.weight == pytest.approx(found.score - float(asked_again), abs=1e-4)


# --------------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_attention_maps_are_transformers_own(family: str, tmp_path: Path) -> None:
    predictor = predictor_of(family, "pair", tmp_path)
    target = max(targets(predictor, "pair", 6), key=lambda each: len(each.tokens))
    theirs = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    inputs = {"input_ids": target.tokens[None]}
    if predictor.model.config.type_vocab_size > 1:
        inputs["token_type_ids"] = target.batch(1).token_type_ids
    expected = torch.stack(theirs(**inputs, output_attentions=True).attentions)[:, 0]
    found = attention_maps(predictor.model, target)
    assert found.shape[0] == predictor.model.config.num_layers
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_attention_of_examples_names_their_tokens(tmp_path: Path) -> None:
    predictor = predictor_of("albert", "span", tmp_path)
    for each, answer in zip(
        attention_of(predictor, asked("span")), predictor.answer(asked("span")).to_pylist(), strict=True
    ):
        assert (each.id, each.label) == (answer["id"], answer["best_answer"])
        assert (each.tokens[0], each.tokens[-1]) == ("[CLS]", "[SEP]")
        assert each.weights.shape == (2, 4, len(each.tokens), len(each.tokens))
        np.testing.assert_allclose(each.weights.sum(-1), 1, atol=1e-5)


def test_rollout_is_the_product_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 5, 5, generator=generator).softmax(-1)
    expected = np.eye(5)
    for layer in maps.double().numpy():
        mixed = np.zeros((5, 5))
        for i in range(5):
            for j in range(5):
                mixed[i, j] = 0.5 * sum(head[i, j] for head in layer) / 2 + 0.5 * (i == j)
        expected = mixed @ expected
    found = rollout(maps.double()).numpy()
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(1), 1)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_attention_is_shares_of_what_is_read(family: str, tmp_path: Path) -> None:
    predictor = predictor_of(family, "single", tmp_path)
    for each in explain(predictor, asked("single"), "attention"):
        assert all(word.weight >= 0 for word in each.words)
        assert 0 < sum(word.weight for word in each.words) <= 1
        assert each.gap is None


# -------------------------------------------------------------------------------------------------------------- page


class Page(HTMLParser):
    """Tags, titles and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.titles: list[str] = []
        self.text = ""
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [tag] if tag != "br" else []
        self.titles += [value or "" for key, value in attrs if key == "title"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""


def made(text: str, weights: list[float], **more: Any) -> Explanation:
    words, at = [], 0
    for word, weight in zip(text.split(), weights, strict=True):
        at = text.index(word, at)
        words.append(Word(word, at, at + len(word), weight))
        at += len(word)
    base: dict[str, Any] = {
        "id": "7", "label": "fresh", "about": "", "score": 1.5, "probability": 0.8, "method": METHODS[0],
        "baseline_score": 0.2, "gap": 0.001, "passages": (Passage("text", text, tuple(words)),),
    }  # fmt: skip
    return Explanation(**{**base, **more})


def test_a_page_shows_every_word_escaped_with_its_figure() -> None:
    text = "<script>alert('x')</script>  was \"good\" & \u202efair"
    page = as_html([made(text, [-1.0, 0.0, 2.0, 0.5, 0.25], label="<b>")])
    read = Page(page)
    assert set(read.tags) == {"section", "style", "p", "i", "br", "article", "header", "b", "bdi"}
    assert text.replace("\u202e", "\ufffd") in read.text
    assert read.titles == ["<script>alert('x')</script>: -1.000", "was: 0.000", '"good": +2.000', "&: +0.500", "\ufffdfair: +0.250"]  # fmt: skip  # noqa: E501
    assert "script>alert" not in page.replace("&lt;", "").split("<style>")[0]
    assert "http" not in page
    assert page.count('class="f"') == 3 + 3
    assert page.count('class="a"') == 1 + 3
    assert 'style="--w:0.55" title="&quot;good&quot;' in page
    assert as_html([]) == as_html([])


def test_a_long_text_is_shown_around_what_was_read() -> None:
    text = "a" * 500 + " kosh " + "b" * 500
    page = as_html([made(text, [0, 1, 0])])
    assert page.count("…") == 0
    only = made(text, [0, 1, 0]).passages[0]
    page = as_html([made("x", [1], passages=(Passage("context", text, only.words[1:2]),))])
    assert 200 < len(Page(page).text) < 600
    assert page.count("…") == 2


def test_json_and_terminal_say_the_same() -> None:
    each = made("a good film", [0.1, 1.0, -0.5])
    (read,) = json.loads(as_json([each]))
    assert read["passages"][0]["words"][1] == {"text": "good", "start": 2, "end": 6, "weight": 1.0}
    assert {key: read[key] for key in ("id", "label", "score", "method", "gap")} == {
        "id": "7", "label": "fresh", "score": 1.5, "method": "integrated_gradients", "gap": 0.001,
    }  # fmt: skip
    lines = each.text().splitlines()
    assert lines[0] == "fresh: probability 80.0%, score +1.50, without words +0.20, not accounted for +0.001"
    assert lines[1].split() == ["good", "+1.000", "█" * 20]
    assert [line.split()[0] for line in lines[1:]] == ["good", "film", "a"]


# ---------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_explained_is_said(tmp_path: Path) -> None:
    predictor = predictor_of("bert", "single", tmp_path / "single")
    with pytest.raises(ExplainError, match="method 'lime': legal: integrated_gradients, leave_one_out, attention"):
        explain(predictor, asked("single"), "lime")
    with pytest.raises(ExplainError, match="steps 0: legal: 1 or more"):
        explain(predictor, asked("single"), steps=0)
    with pytest.raises(ExplainError, match="there is nothing in it to read"):
        explain(predictor, pa.table({"text": [" "]}))
    embeddings = predictor_of("bert", "in_batch", tmp_path / "in_batch")
    with pytest.raises(ExplainError, match=r"task\.type = 'embedding': explained are answers of sequence"):
        explain(embeddings, asked("in_batch"))
