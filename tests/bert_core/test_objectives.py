from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from real_shards import write_texts
from real_texts import chinese_reviews, film_reviews

from bert_core.config import BatchConfig, MlmObjective
from bert_core.data import PretrainingData
from bert_core.objectives import (
    Masked,
    SampleRandom,
    factorise,
    mask_tokens,
    next_tokens,
)
from bert_core.objectives.random import philox
from bert_core.tokenizer import Tokenizer, load, train_bpe

VOCAB_SIZE = 5000
CLS, SEP, MASK = 2, 3, 4
IS_SPECIAL = np.arange(VOCAB_SIZE) < 5


def samples(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = [np.concatenate([[CLS], rng.integers(5, VOCAB_SIZE, length), [SEP]]) for length in lengths]
    return np.concatenate(ids), np.array(lengths) + 2


def masked(
    ids: np.ndarray,
    lengths: np.ndarray,
    objective: MlmObjective,
    seed: int = 1,
    word_starts: np.ndarray | None = None,
) -> Masked:
    uniforms = np.random.default_rng(seed).random((4, len(ids)))
    return mask_tokens(ids, lengths, uniforms, objective, is_special=IS_SPECIAL, mask_id=MASK, word_starts=word_starts)


def words(ids: np.ndarray, seed: int = 5) -> np.ndarray:
    """Word starts: words of 1 to 6 tokens, 1.8 on average, none over a special token."""
    starts = np.random.default_rng(seed).random(len(ids)) < 0.55
    special = IS_SPECIAL[ids]
    return starts | special | np.roll(special, 1)


def test_masking_is_80_10_10() -> None:
    ids, lengths = samples([100] * 5000)
    result = masked(ids, lengths, MlmObjective())
    now, before = result.ids[result.positions], result.labels
    count = len(now)
    assert count == 15 * 5000
    shares = [(now == MASK).mean(), ((now != MASK) & (now != before)).mean(), (now == before).mean()]
    # Four standard errors at 75,000 draws; a random token equals the old one once in 5,000.
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=4 * np.sqrt(0.16 / count))
    np.testing.assert_array_equal(before, ids[result.positions])
    untouched = np.delete(np.arange(len(ids)), result.positions)
    np.testing.assert_array_equal(result.ids[untouched], ids[untouched])


def test_every_position_is_as_likely() -> None:
    ids, lengths = samples([20] * 20_000)
    hits = np.bincount(masked(ids, lengths, MlmObjective()).positions % 22, minlength=22)
    assert hits[0] == hits[21] == 0
    np.testing.assert_allclose(hits[1:21], 3 * 20_000 / 20, rtol=0.06)


def test_random_tokens_are_drawn_from_all_ordinary_ones_alike() -> None:
    ids, lengths = samples([200] * 1000)
    result = masked(ids, lengths, MlmObjective(mask_rate=0.9, mask_token_share=0.0, random_token_share=1.0))
    drawn = result.ids[result.positions]
    assert drawn.min() == 5
    assert drawn.max() == VOCAB_SIZE - 1
    np.testing.assert_allclose(np.histogram(drawn, bins=5)[0] / len(drawn), 0.2, atol=0.006)


@pytest.mark.parametrize(
    ("length", "rate", "count"), [(1, 0.15, 1), (3, 0.15, 1), (10, 0.15, 2), (9, 0.15, 1), (23, 0.15, 3), (10, 0.25, 3)]
)
def test_the_share_is_rounded_half_up_and_at_least_one(length: int, rate: float, count: int) -> None:
    ids, lengths = samples([length])
    assert len(masked(ids, lengths, MlmObjective(mask_rate=rate)).positions) == count


def test_special_tokens_are_neither_chosen_nor_put_in() -> None:
    ids, lengths = samples([50] * 200)
    ids[np.random.default_rng(2).random(len(ids)) < 0.3] = 1  # [UNK]
    result = masked(ids, lengths, MlmObjective(mask_rate=0.9, mask_token_share=0.0, random_token_share=0.5))
    assert not IS_SPECIAL[result.labels].any()
    assert not IS_SPECIAL[result.ids[result.positions]].any()
    available = np.add.reduceat(~IS_SPECIAL[ids], np.cumsum(lengths) - lengths)
    assert len(result.positions) == np.floor(available * 0.9 + 0.5).sum()


def test_a_sample_without_ordinary_tokens_predicts_nothing() -> None:
    ids, lengths = np.array([CLS, 1, 1, SEP, CLS, 7, SEP]), np.array([4, 3])
    assert masked(ids, lengths, MlmObjective()).positions.tolist() == [5]


def test_a_sample_is_masked_alike_alone_and_among_others() -> None:
    ids, lengths = samples([30, 50, 7])
    uniforms = np.random.default_rng(3).random((4, len(ids)))
    together = mask_tokens(ids, lengths, uniforms, MlmObjective(), is_special=IS_SPECIAL, mask_id=MASK)
    for start, end in pairwise([0, *np.cumsum(lengths).tolist()]):
        alone = mask_tokens(
            ids[start:end],
            np.array([end - start]),
            uniforms[:, start:end],
            MlmObjective(),
            is_special=IS_SPECIAL,
            mask_id=MASK,
        )
        np.testing.assert_array_equal(alone.ids, together.ids[start:end])


def test_philox_gives_the_numbers_of_its_authors() -> None:
    """Known answers of Random123, kat_vectors: philox4x32-10."""
    ones = 0xFFFFFFFF
    known = [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ones, ones, ones, ones), (ones, ones), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ]
    for counter, key, expected in known:
        words_ = philox(*(np.array([word], dtype=np.uint64) for word in counter), key=key)
        assert tuple(int(word[0]) for word in words_) == expected


def uniforms_of(random: SampleRandom, epoch: int, sample: int, length: int = 25) -> np.ndarray:
    return random.uniforms(np.array([epoch]), np.array([sample]), np.array([length]))


def test_random_numbers_depend_on_seed_epoch_sample_and_purpose_alone() -> None:
    random = SampleRandom(7, purpose=0)
    first = uniforms_of(random, 1, 2)
    others = [uniforms_of(random, *key) for key in ((0, 2), (1, 3), (2, 1), (1, 2**40))]
    others += [uniforms_of(SampleRandom(seed, purpose=0), 1, 2) for seed in (8, 7 + 2**32)]
    others += [uniforms_of(SampleRandom(7, purpose=1), 1, 2)]
    np.testing.assert_array_equal(uniforms_of(SampleRandom(7, purpose=0), 1, 2), first)
    assert len({value for numbers in [first, *others] for value in numbers.flatten().tolist()}) == 800
    among = random.uniforms(np.array([0, 1, 5]), np.array([9, 2, 9]), np.array([4, 25, 3]))
    np.testing.assert_array_equal(among[:, 4:29], first)
    assert first.min() >= 0
    assert first.max() < 1


def test_random_numbers_are_uniform() -> None:
    numbers = SampleRandom(3, purpose=0).uniforms(np.zeros(2000, int), np.arange(2000), np.full(2000, 50))
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 4000) ** 2 / 4000).sum()
    print(f"chi-square over 100 bins: {chi_square:.0f}")
    assert 50 < chi_square < 170  # mean 99, standard deviation 14
    assert abs(np.corrcoef(numbers)[np.triu_indices(4, 1)]).max() < 0.015


@pytest.mark.parametrize("unit", ["word", "span"])
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_words_are_hidden_whole_or_not_at_all(unit: str, rate: float) -> None:
    ids, lengths = samples([100, 7, 1, 400] * 200)
    ids[np.random.default_rng(2).random(len(ids)) < 0.02] = 1  # [UNK]
    starts = words(ids)
    result = masked(ids, lengths, MlmObjective(unit=unit, mask_rate=rate), word_starts=starts)  # type: ignore[arg-type]
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[result.positions] = True
    ordinary = ~IS_SPECIAL[ids]
    word = np.cumsum(starts) - 1
    hidden, size = np.bincount(word, weights=chosen), np.bincount(word, weights=ordinary)
    assert ((hidden == 0) | (hidden == size)).all()
    sample = np.repeat(np.arange(len(lengths)), lengths)
    predicted, available = np.bincount(sample[chosen], minlength=len(lengths)), np.bincount(sample[ordinary])
    assert ((predicted >= 1) | (available == 0)).all()
    long = lengths > 50
    assert (abs(predicted - available * rate) <= size.max() + 1)[long].all()
    print(f"{unit}: {predicted[long].sum() / available[long].sum():.4f} of the tokens are predicted, asked {rate}")
    assert abs(predicted[long].sum() / available[long].sum() - rate) < 0.01


def test_long_words_are_hidden_about_as_often_as_short_ones() -> None:
    ids, lengths = samples([60] * 4000)
    starts = words(ids)
    result = masked(ids, lengths, MlmObjective(unit="word"), word_starts=starts)
    word = np.cumsum(starts) - 1
    size = np.bincount(word, weights=~IS_SPECIAL[ids]).astype(int)
    hidden = np.bincount(word[result.positions], minlength=len(size)) > 0
    shares = [hidden[size == length].mean() for length in (1, 2, 3, 4)]
    print("share of words hidden, by tokens:", np.round(shares, 3))
    np.testing.assert_allclose(shares, 0.15, atol=0.015)  # exact in the limit of long samples


def test_span_lengths_are_geometric_and_spans_read_alike() -> None:
    ids, lengths = samples([20_000] * 20)
    objective = MlmObjective(unit="span", mask_rate=0.02)
    starts = words(ids)
    result = masked(ids, lengths, objective, word_starts=starts)
    word = np.unique((np.cumsum(starts) - 1)[result.positions])
    spans = np.split(word, np.flatnonzero(np.diff(word) > 1) + 1)
    found = np.bincount([min(len(span), 11) for span in spans], minlength=12)[1:]
    expected = 0.2 * 0.8 ** np.arange(10)
    expected /= expected.sum()
    shares = found / found.sum()
    print("words in a span:", np.round(shares, 3), "mean", round(float(np.mean([len(span) for span in spans])), 2))
    # The share cuts one of about 60 spans of each sample short, and a few touch.
    np.testing.assert_allclose(shares[:10], expected, atol=0.03)
    assert abs(np.mean([len(span) for span in spans]) - 3.8) < 0.15  # Joshi et al.: 3.8
    reads = np.where(
        result.ids[result.positions] == MASK, 0, np.where(result.ids[result.positions] == result.labels, 2, 1)
    )
    of_span = np.repeat(np.arange(len(spans)), [starts_of(span, starts) for span in spans])
    alike = np.array([len(set(reads[of_span == number])) == 1 for number in range(150)])
    assert alike.mean() > 0.95  # spans that touch are two
    np.testing.assert_allclose(np.bincount(reads, minlength=3) / len(reads), [0.8, 0.1, 0.1], atol=0.03)


def starts_of(span: np.ndarray, starts: np.ndarray) -> int:
    """Tokens of words `span`."""
    firsts = np.append(np.flatnonzero(starts), len(starts))
    return int(firsts[span[-1] + 1] - firsts[span[0]])


def test_spans_of_at_most_one_word_are_words() -> None:
    ids, lengths = samples([300] * 50)
    starts = words(ids)
    result = masked(ids, lengths, MlmObjective(unit="span", max_span=1), word_starts=starts)
    assert abs(len(result.positions) / (300 * 50) - 0.15) < 0.005


def test_the_next_token_is_asked_of_all_but_the_last() -> None:
    ids, lengths = samples([3, 1])
    positions, labels = next_tokens(ids, lengths)
    assert positions.tolist() == [0, 1, 2, 3, 5, 6]
    assert labels.tolist() == [*ids[1:5].tolist(), *ids[6:8].tolist()]


def test_a_factorisation_is_a_permutation_with_special_tokens_first_and_the_predicted_last() -> None:
    ids, lengths = samples([60, 1, 200, 12] * 30)
    ids[np.random.default_rng(2).random(len(ids)) < 0.05] = 1  # [UNK]
    rank, positions = factorise(ids, lengths, np.random.default_rng(1).random(len(ids)), 1 / 6, is_special=IS_SPECIAL)
    for start, end in pairwise([0, *np.cumsum(lengths).tolist()]):
        special = IS_SPECIAL[ids[start:end]]
        own = rank[start:end]
        assert sorted(own) == list(range(end - start))
        assert own[special].tolist() == list(range(special.sum()))
        predicted = positions[(positions >= start) & (positions < end)] - start
        available = int((~special).sum())
        assert len(predicted) == (max(1, int(available / 6 + 0.5)) if available else 0)
        assert sorted(own[predicted]) == list(range(end - start - len(predicted), end - start))
    assert not IS_SPECIAL[ids[positions]].any()
    offsets = (positions - np.repeat(np.cumsum(lengths) - lengths, lengths)[positions])[
        lengths.repeat(lengths)[positions] == 202
    ]
    assert np.histogram(offsets, bins=4, range=(1, 201))[0].min() > 0.2 * len(offsets)  # anywhere in the text


@pytest.mark.parametrize("unit", ["word", "span"])
@pytest.mark.parametrize("family", ["wordpiece", "bpe"])
def test_words_of_real_texts_are_never_split(
    family: str, unit: str, minilm: Path, data_folder: Path, tmp_path: Path
) -> None:
    """What a word is, is said by the pieces' spelling here, not by the stored word starts."""
    texts = [*film_reviews(data_folder, 250), *chinese_reviews(data_folder, 100)]
    tokenizer = load(minilm) if family == "wordpiece" else train_bpe(texts, 2000, 2)
    shards = write_texts(tmp_path / "shards", tokenizer, texts)
    objective = MlmObjective(unit=unit)  # type: ignore[arg-type]
    data = PretrainingData(shards.folder, tokenizer, objective, BatchConfig(row_length=128, rows=16), 13)
    goes_on = continues_word(tokenizer)
    inner = hidden = predicted = ordinary = 0
    for batch in data.eval_batches(0, 1):
        ids, documents = batch.input_ids.flatten().numpy().copy(), batch.document_ids.flatten().numpy()
        positions = batch.predict_positions.numpy()
        ids[positions] = batch.predict_labels.numpy()
        asked = np.isin(np.arange(len(ids)), positions)
        real = (documents > 0) & ~tokenizer.is_special[ids]
        linked = real[1:] & real[:-1] & goes_on(ids[:-1], ids[1:])
        assert (asked[1:] == asked[:-1])[linked].all()
        inner, hidden = inner + int(linked.sum()), hidden + int((linked & asked[1:]).sum())
        predicted, ordinary = predicted + len(positions), ordinary + int(real.sum())
    print(f"{family}: {hidden} of {inner} seams inside words are hidden, {predicted / ordinary:.3f} of all tokens")
    assert inner > 1000
    assert abs(hidden / inner - 0.15) < 0.03
    assert abs(predicted / ordinary - 0.15) < 0.02


def continues_word(tokenizer: Tokenizer) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Whether the second of two neighbouring tokens is of the first one's word."""
    tokens = tokenizer.tokens
    if tokenizer.type == "wordpiece":
        is_inner = np.array([token.startswith("##") for token in tokens])
        return lambda first, second: is_inner[second]
    ends = np.array([token[-1].isascii() and token[-1].isalpha() and "'" not in token for token in tokens])
    starts = np.array([token[0].isascii() and token[0].isalpha() for token in tokens])
    return lambda first, second: ends[first] & starts[second]
