"""Words replaced by a masked language model: a tiny one that has learnt two sentences, and folders that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from bert_core.casing import match_case
from bert_core.mlm_substitution import MlmSubstitution
from bert_core.tokenizer import train_wordpiece

ANIMALS, VERBS = ["cat", "dog", "horse", "mouse"], ["sees", "hears", "likes"]
SENTENCES = [f"the {one} {verb} the {other}" for one in ANIMALS for verb in VERBS for other in ANIMALS]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of transformers, trained on the sentences until it knows which words stand where."""
    path = tmp_path_factory.mktemp("mlm")
    tokenizer = train_wordpiece(SENTENCES, 60, 1, True)
    tokenizer.save(path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        pad_token_id=tokenizer.pad_id,
    )
    model = BertForMaskedLM(config)
    rows = torch.tensor([[tokenizer.cls_id, *e.ids, tokenizer.sep_id] for e in tokenizer.encode_batch(SENTENCES)])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(150):
        masked = rows.clone()
        masked[torch.arange(len(rows)), 1 + (torch.arange(len(rows)) + step) % 5] = tokenizer.mask_id
        labels = torch.where(masked == tokenizer.mask_id, rows, -100)
        model(input_ids=masked, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    model.save_pretrained(path)
    return path


def test_words_give_way_to_words_of_their_kind(folder: Path) -> None:
    substitute = MlmSubstitution(folder, rate=0.2, top_k=3)
    changed = substitute(SENTENCES * 4, rng())
    kinds = [{"the"}, set(ANIMALS), set(VERBS), {"the"}, set(ANIMALS)]
    fitting = differing = 0
    for before, after in zip(SENTENCES * 4, changed, strict=True):
        pairs = list(zip(before.split(), after.split(), kinds, strict=True))
        other = [(new, kind) for old, new, kind in pairs if old != new]
        assert len(other) == 1, "a fifth of five words, and never by itself"
        if other[0][1] != {"the"}:
            differing += 1
            fitting += other[0][0] in other[0][1]
    assert differing > 80
    assert fitting > 0.8 * differing, (fitting, differing)


def test_case_marks_blanks_and_kept_words_stay(folder: Path) -> None:
    substitute = MlmSubstitution(folder, rate=1.0, top_k=2, keep=["likes"])
    text = "  The CAT likes,\tthe  Dog! It's 3D, don't\n"
    for seed in range(5):
        (after,) = substitute([text], rng(seed))
        one, two = after.split("likes")
        assert one.startswith("  ")
        assert one.split()[0].istitle()
        assert one.split()[1].isupper()
        assert two.startswith(",\t")
        assert two.endswith("! It's 3D, don't\n")
        assert two.split("!")[0].split()[-1].istitle()
        assert after != text


def test_it_is_a_function_of_the_texts_and_the_generator(folder: Path) -> None:
    substitute = MlmSubstitution(folder, rate=0.4)
    assert substitute(SENTENCES, rng(1)) == substitute(SENTENCES, rng(1)) != substitute(SENTENCES, rng(2))


def test_texts_without_words_empty_texts_and_long_ones(folder: Path) -> None:
    substitute = MlmSubstitution(folder, rate=1.0)
    long = "the cat sees the dog " * 50
    empty, marks, changed = substitute(["", "?! 12 …", long], rng())
    assert (empty, marks) == ("", "?! 12 …")
    assert changed.split()[:14] != long.split()[:14]
    assert changed.split()[14:] == long.split()[14:], "16 positions, two of them special"
    assert substitute([], rng()) == []


def test_a_word_of_several_pieces_goes_as_a_whole(folder: Path) -> None:
    substitute = MlmSubstitution(folder, rate=1.0)
    word = "seeshorsecat"
    for seed in range(5):
        (after,) = substitute([word], rng(seed))
        assert after != word
        assert after.isalpha()


def test_folders_that_cannot_do_it_are_refused(folder: Path, minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no masked-word head"):
        MlmSubstitution(minilm)
    theirs = BertForSequenceClassification(BertConfig.from_pretrained(folder))
    theirs.save_pretrained(tmp_path)
    for file in folder.iterdir():
        if not (tmp_path / file.name).exists():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match="no masked-word head"):
        MlmSubstitution(tmp_path)
    with pytest.raises(ValueError, match="rate"):
        MlmSubstitution(folder, rate=0)


@pytest.mark.parametrize(
    ("word", "like", "expected"),
    [("film", "Movie", "Film"), ("film", "MOVIE", "FILM"), ("film", "movie", "film"), ("film", "A", "Film")],
)
def test_match_case(word: str, like: str, expected: str) -> None:
    assert match_case(word, like) == expected
    assert match_case("影", like) == "影"
