"""Labelled tables as tokens: transformers' own tokenizers say what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tiny_tasks import TASKS, WORDS, bpe, features, table, wordpiece
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

from bert_core.config import CausalTask, EmbeddingTask, PairTask, Seq2SeqTask, SequenceTask, SpanTask, TokenTask
from bert_core.features import FEATURES, Features, FeaturesError, encode, open_features, write_features
from bert_core.features.windows import contexts, windows
from bert_core.tokenizer import Tokenizer

TEXTS = ["ban kosh", "Élan! ¿qué? mirk.", "和 ruban 好", "мир телоrk", "  loban  ", "a" * 300, " ".join(WORDS * 4)]
KINDS = {"wordpiece": wordpiece, "bpe": bpe}
kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """transformers' tokenizers of the same files."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, make in KINDS.items():
        make().save(folder / name)
    return {name: AutoTokenizer.from_pretrained(folder / name) for name in KINDS} | {"folder": folder}


def sequence(held: Features, number: int) -> list[int]:
    return held.tokens[held.offsets[number] : held.offsets[number + 1]].tolist()


def one(**columns: Any) -> pa.Table:
    return pa.table({name: [value] for name, value in columns.items()})


# ----------------------------------------------------------------------------------------------- texts and pairs


@kind
def test_texts_are_transformers_own(kind: str, theirs: dict[str, Any]) -> None:
    held = encode(SequenceTask(labels=("x", "y")), pa.table({"text": TEXTS}), KINDS[kind](), 24)
    expected = [theirs[kind](text, truncation=True, max_length=24)["input_ids"] for text in TEXTS]
    assert [sequence(held, row) for row in range(len(TEXTS))] == expected
    whole = sum(len(theirs[kind](text)["input_ids"]) for text in TEXTS)
    assert held.counts["cut_tokens"] == whole - len(held.tokens) == sum(held.lost.values())
    assert held.ids == [str(row) for row in range(len(TEXTS))]
    assert np.isnan(held.targets).all()


@kind
@pytest.mark.parametrize("most", [8, 9, 15, 16, 33])
def test_pairs_are_transformers_own_the_longest_cut_first(kind: str, most: int, theirs: dict[str, Any]) -> None:
    tokenizer = KINDS[kind]()
    words = WORDS * 2
    pairs = [(" ".join(words[:a]), " ".join(words[b:])) for a in (1, 3, 7, 12, 30) for b in (59, 56, 50, 44, 20)]
    held = encode(
        PairTask(labels=("x", "y")), pa.table({"text": [a for a, _ in pairs], "text_b": [b for _, b in pairs]}),
        tokenizer, most,
    )  # fmt: skip
    for row, (a, b) in enumerate(pairs):
        expected = theirs[kind](a, b, truncation=True, max_length=most)
        assert sequence(held, row) == expected["input_ids"], (a, b)
        second = [place for place, owner in enumerate(expected.sequence_ids()) if owner == 1]
        assert held.b_starts[row] == second[0]
        if kind == "wordpiece":
            assert expected["token_type_ids"].index(1) == second[0]


def test_choices_are_pairs_of_stem_and_choice(theirs: dict[str, Any]) -> None:
    choices = [["ban", "kosh mirk"], ["rut", "telo", "loban ban ban"]]
    held = encode(
        TASKS["choice"],
        pa.table({"id": ["p", "q"], "text": ["ruban", ""], "choices": choices, "label": [1, None]}), wordpiece(), 16,
    )  # fmt: skip
    pairs = [("ruban", c) for c in choices[0]] + [("", c) for c in choices[1]]
    assert [sequence(held, n) for n in range(5)] == [theirs["wordpiece"](a, b)["input_ids"] for a, b in pairs]
    assert held.example_of.tolist() == [0, 0, 1, 1, 1]
    assert held.sequence_bounds.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(held.targets[:, 0], [0, 1, np.nan, np.nan, np.nan])


def test_an_embeddings_partners_are_those_without_a_score_or_with_the_highest() -> None:
    rows = {"text": ["ban", "kosh", "mirk"], "text_b": ["rut", "telo", "lot"], "negative": [None, "ban", ""]}
    held = encode(EmbeddingTask(), pa.table({**rows, "label": [1.0, 0.2, None]}), wordpiece(), 16)
    assert held.example_of.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert held.targets[held.sequence_bounds[:-1], 1].tolist() == [1, 0, 1]
    np.testing.assert_allclose(held.targets[held.sequence_bounds[:-1], 0], [1, 0.2, np.nan], rtol=1e-6)
    assert held.counts["pairs_without_partner"] == 1
    alone = encode(EmbeddingTask(), pa.table({"text": rows["text"]}), wordpiece(), 16)
    assert alone.example_of.tolist() == [0, 1, 2]


# --------------------------------------------------------------------------------------------------------- words


@kind
def test_words_are_transformers_own_and_first_pieces_carry_the_tags(kind: str, theirs: dict[str, Any]) -> None:
    rows = [["Ban", "koshmirk", ",", "¿qué?", "和好"], ["telo"], ["x.y", "élan", "-"]]
    tags = [["O", "B-X", "I-X", "O", "B-Y"], [None], ["O", "O", "I-Y"]]
    held = encode(TASKS["token"], pa.table({"tokens": rows, "tags": tags}), KINDS[kind](), 64)
    tokenizer = AutoTokenizer.from_pretrained(theirs["folder"] / kind)
    if kind == "bpe":  # what RobertaTokenizer makes of add_prefix_space, without which it refuses words
        tokenizer.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    for row, words in enumerate(rows):
        expected = tokenizer(words, is_split_into_words=True)
        assert sequence(held, row) == expected["input_ids"]
        a, b = held.position_offsets[row : row + 2]
        owners = expected.word_ids()
        assert held.positions[a:b].tolist() == [owners.index(word) for word in range(len(words))]
        wanted = [-1 if tag is None else TASKS["token"].labels.index(tag) for tag in tags[row]]  # type: ignore[union-attr]
        assert held.position_labels[a:b].tolist() == wanted


def test_words_that_yield_no_token_are_unknown_ones_and_keep_their_tags() -> None:
    words = ["ban", "\x00", "", "\u200b", "kosh"]
    held = encode(TASKS["token"], one(tokens=words, tags=["O", "B-X", "I-X", "B-Y", "I-Y"]), wordpiece(), 64)
    assert len(held.positions) == 5
    assert held.position_labels.tolist() == [0, 1, 2, 3, 4]
    assert [held.tokens[at] for at in held.positions[1:4]] == [wordpiece().unk_id] * 3


def test_a_sentence_longer_than_a_row_is_cut_between_words_and_keeps_them_all() -> None:
    words = [*WORDS, "q" * 400, *WORDS]
    tags = [TASKS["token"].labels[i % 5] for i in range(len(words))]  # type: ignore[union-attr]
    held = encode(TASKS["token"], one(tokens=words, tags=tags), bpe(), 16)
    assert held.lengths.max() <= 16
    assert held.num_sequences > 4
    assert len(held.positions) == len(words)
    assert held.position_labels.tolist() == [TASKS["token"].labels.index(tag) for tag in tags]  # type: ignore[union-attr]
    assert held.counts["cut_words"] == 1
    assert held.lost == {0: held.counts["cut_tokens"]}
    whole = encode(TASKS["token"], one(tokens=words), bpe(), 512)
    inner = [token for number in range(held.num_sequences) for token in sequence(held, number)[1:-1]]
    assert len(inner) + held.lost[0] == len(whole.tokens) - 2


# ------------------------------------------------------------------------------------------------------- windows


@kind
@pytest.mark.parametrize(("most", "stride"), [(32, 6), (24, 1), (64, 20), (20, 8)])
def test_windows_are_transformers_own(kind: str, most: int, stride: int, theirs: dict[str, Any]) -> None:
    held_table = table("span", 12)
    held = encode(SpanTask(stride=stride), held_table.drop_columns(["answers"]), KINDS[kind](), most)
    for row, example in enumerate(held_table.to_pylist()):
        question = example["question"]
        if len(theirs[kind](question, add_special_tokens=False)["input_ids"]) > (most - 3) // 2:
            continue  # ours cuts the question, theirs refuses
        expected = theirs[kind](
            question, example["context"], truncation="only_second", max_length=most, stride=stride,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        a, b = held.sequence_bounds[row : row + 2]
        room = most - held.b_starts[a] - 1
        if stride > room * 3 // 4 and b - a > 1:
            continue  # documented: windows share no more than that
        assert [sequence(held, number) for number in range(a, b)] == expected["input_ids"]
        (context,) = contexts(pa.table({"context": [example["context"]]}), KINDS[kind]())
        for number, window in enumerate(windows(len(context.ids), int(held.b_starts[a]), most, stride)):
            owners = expected.sequence_ids(number)
            offsets = [o for o, owner in zip(expected["offset_mapping"][number], owners, strict=True) if owner == 1]
            ours = context.offsets[window.first : window.first + window.tokens]
            assert [tuple(each) for each in ours.tolist()] == offsets


@kind
def test_answers_are_where_their_characters_are(kind: str) -> None:
    tokenizer = KINDS[kind]()
    held_table = table("span", 40)
    held = encode(SpanTask(stride=6), held_table, tokenizer, 40)
    found = 0
    for row, example in enumerate(held_table.to_pylist()):
        for number in range(*held.sequence_bounds[row : row + 2]):
            first, last = (int(target) for target in held.targets[number])
            assert (first == 0) == (last == 0)
            if first:
                found += 1
                said = tokenizer.backend.decode(sequence(held, number)[first : last + 1]).strip()
                assert said == example["answers"][0]["text"]
                assert first >= held.b_starts[number]
        if not example["answers"]:
            assert not held.targets[held.sequence_bounds[row] : held.sequence_bounds[row + 1]].any()
    assert found > 20


def test_an_answer_that_no_window_holds_is_counted_and_a_long_question_shortens_windows() -> None:
    context = " ".join(WORDS)
    answers = [{"text": context, "start": 0}]
    held = encode(
        SpanTask(stride=40), one(id="a", question=" ".join(WORDS), context=context, answers=answers), wordpiece(), 32
    )
    assert held.counts == {"cut_questions": 1, "answers_longer_than_windows": 1}
    assert 2 < held.num_sequences < 12
    assert not held.targets.any()


def test_an_enormous_context_is_read_to_its_end() -> None:
    context = " ".join(WORDS * 500)
    held = encode(SpanTask(stride=16), one(id="a", question="ban?", context=context), wordpiece(), 128)
    tokens = wordpiece().encode_batch([context])[0].ids
    assert sequence(held, held.num_sequences - 1)[-6:-1] == tokens[-5:].tolist()
    assert sum(held.lengths) > len(tokens)


# ----------------------------------------------------------------------------------------- generation, statistics


def test_what_is_predicted_after_a_prompt_and_in_parts_of_a_long_text() -> None:
    tokenizer = wordpiece()
    ids = tokenizer.encode_batch([" ".join(WORDS)])[0].ids.tolist()
    held = encode(CausalTask(), pa.table({"text": ["ban"], "target": ["kosh"]}), tokenizer, 16)
    (prompt, target) = (tokenizer.encode_batch([text])[0].ids.tolist() for text in ("ban", "kosh"))
    assert sequence(held, 0) == [tokenizer.cls_id, *prompt, *target, tokenizer.sep_id]
    assert held.positions.tolist() == list(range(len(prompt), len(prompt) + len(target) + 1))
    assert held.position_labels.tolist() == [*target, tokenizer.sep_id]
    long = encode(CausalTask(), pa.table({"text": [""], "target": [" ".join(WORDS)]}), tokenizer, 10)
    assert long.position_labels.tolist() == [*ids, tokenizer.sep_id]
    cut = encode(CausalTask(), pa.table({"text": ["ban"], "target": [" ".join(WORDS)]}), tokenizer, 10)
    assert cut.counts["cut_targets"] == 1
    assert tokenizer.sep_id not in cut.position_labels
    asked = encode(CausalTask(), pa.table({"text": ["ban"]}), tokenizer, 10)
    assert not len(asked.positions)


def test_sources_and_targets() -> None:
    task = Seq2SeqTask(max_target_tokens=6)
    held = encode(task, pa.table({"text": ["ban"], "target": [" ".join(WORDS)]}), wordpiece(), 16)
    assert held.lengths.tolist()[1] == 6
    assert held.counts == {"cut_targets": 1}


def test_statistics_are_of_the_known_targets() -> None:
    numbers = encode(TASKS["regression"], pa.table({"text": ["a"] * 3, "label": [-1.0, None, 5.0]}), wordpiece(), 16)
    assert numbers.statistics == {"mean": 2.0, "deviation": 3.0}
    labels = pa.table({"text": ["a"] * 4, "label": ["c", "a", None, "c"]})
    assert encode(TASKS["single"], labels, wordpiece(), 16).statistics == {"class_counts": [1, 0, 2]}
    many = pa.table({"text": ["a"] * 3, "label": [["a", "b"], [], ["b"]]})
    assert encode(TASKS["multi"], many, wordpiece(), 16).statistics == {"class_counts": [1, 2, 0]}
    tags = one(tokens=["ban", "kosh", "mirk"], tags=["O", None, "O"])
    assert encode(TASKS["token"], tags, wordpiece(), 16).statistics == {"class_counts": [2, 0, 0, 0, 0]}


# --------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", TASKS)
def test_features_are_the_same_after_a_file_and_so_are_its_bytes(name: str, tmp_path: Path) -> None:
    held = features(name)
    for folder in ("a", "b"):
        write_features(held, tmp_path / folder)
    assert (tmp_path / "a" / FEATURES).read_bytes() == (tmp_path / "b" / FEATURES).read_bytes()
    back = open_features(tmp_path / "a")
    for field in Features.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, field), getattr(held, field), err_msg=field)
    assert back.origin["tokenizer"] == wordpiece().fingerprint


@pytest.mark.parametrize("size", [0, 10, 500, -1, -8, -200])
def test_a_torn_file_is_refused_with_its_size(size: int, tmp_path: Path) -> None:
    write_features(features("token"), tmp_path)
    path = tmp_path / FEATURES
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FeaturesError, match=rf"{path.stat().st_size} bytes that are not whole features"):
        open_features(tmp_path)


def test_a_missing_file_and_another_arrow_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="no such file; the stage that encodes the examples has not run"):
        open_features(tmp_path)
    with pa.OSFile(str(tmp_path / FEATURES), "wb") as sink, pa.ipc.new_file(sink, table("single").schema) as writer:
        writer.write_table(table("single"))
    with pytest.raises(FeaturesError, match="not whole features"):
        open_features(tmp_path)


# ------------------------------------------------------------------------------------------------------ refusals

SINGLE, MULTI, NUMBER = TASKS["single"], TASKS["multi"], TASKS["regression"]
LONG = {"question": "ban?", "context": "ban kosh"}


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        (SINGLE, {"label": "a"}, r"no column 'text' among \['label'\]"),
        (SINGLE, {"text": None}, "example 0: text is None: expected a text"),
        (SINGLE, {"id": "x7", "text": " \t\n"}, r"example x7: text is ' \\t\\n': there is nothing in it to read"),
        (SINGLE, {"id": 7, "text": "ban"}, "row 0: id is 7: expected a text"),
        (SINGLE, {"text": "ban", "label": "z"}, r"example 0: label 'z' is not one of \['a', 'b', 'c'\]"),
        (SINGLE, {"text": "ban", "label": 1}, "label is 1: expected a text, one of"),
        (MULTI, {"text": "ban", "label": "a"}, "label is 'a': expected a list of texts"),
        (MULTI, {"text": "ban", "label": ["a", "z"]}, "label 'z' is not one of"),
        (NUMBER, {"text": "ban", "label": "4"}, "label is '4': expected a finite number"),
        (NUMBER, {"text": "ban", "label": float("inf")}, "label is inf: expected a finite number"),
        (TASKS["pair"], {"text": "ban"}, "no column 'text_b'"),
        (TASKS["token"], {"text": "ban"}, "no column 'tokens'"),
        (TASKS["token"], {"tokens": []}, "example 0: it has no tokens"),
        (TASKS["token"], {"tokens": "ban"}, "tokens is 'ban': expected a list of texts"),
        (TASKS["token"], {"tokens": ["ban", None]}, "tokens 1 is None: expected a text"),
        (TASKS["token"], {"tokens": ["ban"], "tags": ["O", "O"]}, "1 tokens and 2 tags: they must be as many"),
        (TASKS["token"], {"tokens": ["ban"], "tags": ["B-Q"]}, "tag 'B-Q' is not one of"),
        (TASKS["span"], {"question": "ban?"}, "no column 'context'"),
        (TASKS["span"], {"question": "", "context": "ban"}, "nothing in its question or context to read"),
        (
            TASKS["span"],
            {**LONG, "answers": [{"text": "kosh", "start": 3}]},
            "answer 'kosh' at 3, where the context has",
        ),
        (TASKS["span"], {**LONG, "answers": [{"text": " ", "start": 3}]}, "has no token of the context"),
        (TASKS["choice"], {"text": "ban"}, "no column 'choices'"),
        (TASKS["choice"], {"text": "ban", "choices": []}, "it has no choices"),
        (TASKS["choice"], {"text": "ban", "choices": ["a", "b"], "label": 2}, "label 2 is not one of its 2 choices"),
        (TASKS["in_batch"], {"text": "ban", "text_b": ""}, "text_b is '': there is nothing in it to read"),
    ],
)
def test_every_refusal_says_which_example_and_what_is_legal(task: Any, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(FeaturesError, match=message):
        encode(task, one(**columns), wordpiece(), 16)


def test_no_examples_two_of_one_id_and_rows_without_room_are_refused() -> None:
    with pytest.raises(FeaturesError, match="no examples"):
        encode(SINGLE, table("single")[:0], wordpiece(), 16)
    with pytest.raises(FeaturesError, match="id 'x' is there 2 times"):
        encode(SINGLE, pa.table({"id": ["x", "y", "x"], "text": ["ban"] * 3}), wordpiece(), 16)
    with pytest.raises(FeaturesError, match="at most 7 tokens: legal: 8 or more"):
        encode(SINGLE, table("single"), wordpiece(), 7)


def test_special_tokens_in_a_text_are_text(minilm: Path) -> None:
    from bert_core.tokenizer import load

    tokenizer: Tokenizer = load(minilm)
    held = encode(SINGLE, one(text="[SEP] a [MASK] b [PAD]"), tokenizer, 32)
    assert not set(sequence(held, 0)[1:-1]) & set(np.flatnonzero(tokenizer.is_special).tolist())
    tags = encode(TokenTask(labels=("O",)), one(tokens=["[SEP]", "x"]), tokenizer, 32)
    assert not set(sequence(tags, 0)[1:-1]) & set(np.flatnonzero(tokenizer.is_special).tolist())
