"""Generation against transformers' `generate`, caches against the whole forward pass, drawing against its chances."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from test_seq2seq import TARGETS, TOKENS, pairs, seq2seq
from tiny_bert import FAMILIES, SHAPE, TINY, copy_weights, initialised, random_weights, their_config
from torch import Tensor
from transformers import EncoderDecoderConfig, EncoderDecoderModel, GPT2LMHeadModel
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from bert_core.config import ModelConfig
from bert_core.config.task import Generation
from bert_core.data.batch import DataError
from bert_core.generation import (
    CausalReader,
    Seq2SeqReader,
    generate,
    generate_from_sources,
    one_by_one,
    run,
    score,
    score_targets,
)
from bert_core.heads import PretrainingModel
from bert_core.seq2seq import Seq2SeqModel
from bert_core.seq2seq_batch import packed_rows, seq2seq_batch

END = 3
GPT2 = FAMILIES["gpt2"].model_copy(update={"max_positions": 48})
CAUSAL = {
    "learned": GPT2,
    "rope": ModelConfig(family="gpt2", **SHAPE, positions="rope"),
    "windows": ModelConfig(family="modernbert", **{**SHAPE, "num_layers": 4}, local_window=4, causal=True),
    "post-norm": ModelConfig(**SHAPE, causal=True),
    "shared": ModelConfig(family="gpt2", **SHAPE, share_layers=True),
}
PROMPTS, _ = pairs((7, 0), (1, 0), (12, 0), (4, 0), (7, 0), seed=4)
SETTINGS = {
    "greedy": Generation(max_new_tokens=20),
    "greedy-min": Generation(max_new_tokens=20, min_new_tokens=8),
    "beams-2": Generation(max_new_tokens=16, beams=2),
    "beams-4": Generation(max_new_tokens=16, beams=4),
    "beams-5-long": Generation(max_new_tokens=16, beams=5, length_penalty=1.5),
    "beams-3-short": Generation(max_new_tokens=16, beams=3, length_penalty=0.0),
    "beams-3-negative": Generation(max_new_tokens=16, beams=3, length_penalty=-0.5),
    "beams-4-min": Generation(max_new_tokens=12, beams=4, min_new_tokens=5),
    "beams-2-one-token": Generation(max_new_tokens=1, beams=2),
}
settings = pytest.mark.parametrize("generation", SETTINGS.values(), ids=SETTINGS)
INFLATED_END = {1: 1.5, 2: 2.0, 3: 2.5, 10: 1.0, 13: 2.5, 16: 1.5}
"""By seed: added to the end's scores, so that some texts end on their own, early and late, and some do not."""


def causal(config: ModelConfig = GPT2, seed: int = 1) -> Any:
    return initialised(PretrainingModel(config, pairs=False), config, seed)


def theirs_and_ours(seed: int) -> tuple[Any, PretrainingModel]:
    torch.manual_seed(seed)
    theirs = GPT2LMHeadModel(their_config(GPT2, bos_token_id=2, eos_token_id=END))
    random_weights(theirs, seed)
    with torch.no_grad():  # along the bias of what it is multiplied with
        theirs.transformer.wte.weight[END] += theirs.transformer.ln_f.bias * INFLATED_END[seed]
    ours = PretrainingModel(GPT2, pairs=False)
    copy_weights(theirs, ours)
    return theirs.eval(), ours


def their_settings(generation: Generation) -> dict[str, Any]:
    return {
        "max_new_tokens": generation.max_new_tokens,
        "min_new_tokens": generation.min_new_tokens or None,
        "num_beams": generation.beams,
        "length_penalty": generation.length_penalty,
        "do_sample": False,
        "eos_token_id": END,
        "pad_token_id": 0,
    }


def without_end(ids: Tensor) -> list[int]:
    found: list[int] = ids.tolist()
    return found[: found.index(END)] if END in found else found


# ------------------------------------------------------------------------------------------------------- transformers


@settings
def test_a_causal_model_goes_on_as_in_transformers(generation: Generation) -> None:
    ended = 0
    for seed in INFLATED_END:
        theirs, ours = theirs_and_ours(seed)
        found = generate(ours, PROMPTS, generation, end_id=END)
        for prompt, text in zip(PROMPTS, found, strict=True):
            ids = torch.tensor([prompt])
            expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **their_settings(generation))
            assert text == without_end(expected[0, len(prompt) :])
            ended += len(text) < generation.max_new_tokens
    assert ended  # the settings are met, not only the limit


@settings
def test_an_encoder_decoder_generates_as_in_transformers(generation: Generation) -> None:
    sources, _ = pairs((7, 0), (1, 0), (12, 0), (18, 0), seed=6)
    ended = 0
    for seed in INFLATED_END:
        theirs, ours = encoder_decoders(seed)
        found = generate_from_sources(ours, sources, TOKENS, generation)
        for source, text in zip(sources, found, strict=True):
            ids = torch.tensor([[2, *source, 3]])
            more = {**their_settings(generation), "decoder_start_token_id": 2}
            expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **more)
            assert text == without_end(expected[0, 1:])
            ended += len(text) < generation.max_new_tokens
    assert ended


def encoder_decoders(seed: int) -> tuple[Any, Seq2SeqModel]:
    from bert_core.hf.encoder_decoder import modules_of, their_names

    config = EncoderDecoderConfig.from_encoder_decoder_configs(their_config(TINY), their_config(TINY))
    torch.manual_seed(seed)
    theirs = EncoderDecoderModel(config)
    random_weights(theirs, seed)
    with torch.no_grad():
        theirs.decoder.cls.predictions.bias[END] += INFLATED_END[seed]
    ours = Seq2SeqModel(TINY, TINY)
    state, modules = theirs.state_dict(), modules_of(ours)
    ours.load_state_dict(
        {name: torch.cat([state[part] for part in their_names(name, modules)]) for name, _ in ours.named_parameters()}
    )
    return theirs.eval(), ours.eval()


# -------------------------------------------------------------------------------------------------------------- caches


@torch.inference_mode()
@pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL)
def test_cached_scores_of_a_causal_model_equal_the_whole_forward_pass(config: ModelConfig) -> None:
    """While rows are reordered, repeated and dropped."""
    model = causal(config)
    reader = CausalReader(model, PROMPTS, 8)
    texts = [list(prompt) for prompt in PROMPTS]
    scores = reader.begin()
    generator = torch.Generator().manual_seed(0)
    for rows in ([0, 1, 2, 3, 4], [0, 0, 2, 2, 4, 4], [1, 0, 2, 3, 5, 4], [2, 3], [1, 0], [0, 1], [1]):
        torch.testing.assert_close(scores, whole(model, texts), atol=1e-4, rtol=1e-5)
        tokens = torch.randint(4, 60, (len(rows),), generator=generator)
        texts = [[*texts[row], token] for row, token in zip(rows, tokens.tolist(), strict=True)]
        scores = reader.advance(torch.tensor(rows), tokens)
    torch.testing.assert_close(scores, whole(model, texts), atol=1e-4, rtol=1e-5)


def whole(model: PretrainingModel, texts: list[list[int]]) -> Tensor:
    """The scores after each text's last token, by the pass that training takes."""
    rows = packed_rows(texts, 0, 128)
    states = model.mlm_head(model.encoder(rows, rows.starts + rows.lengths - 1))
    return torch.nn.functional.linear(states, model.encoder.embeddings.word.weight, model.mlm_head.bias)


@torch.inference_mode()
def test_cached_scores_of_targets_equal_the_whole_forward_pass() -> None:
    model = seq2seq()
    sources, _ = pairs((7, 0), (1, 0), (12, 0), seed=4)
    reader = Seq2SeqReader(model, sources, TOKENS, 8)
    texts: list[list[int]] = [[], [], []]
    scores = reader.begin()
    generator = torch.Generator().manual_seed(0)
    of = [0, 1, 2]
    for rows in ([0, 1, 2], [0, 0, 1, 1, 2, 2], [1, 0, 2, 2, 5, 4], [3, 2, 5, 4], [2, 3], [0, 1], [0, 0]):
        torch.testing.assert_close(scores, whole_targets(model, [sources[i] for i in of], texts), atol=1e-4, rtol=1e-5)
        tokens = torch.randint(4, 60, (len(rows),), generator=generator)
        texts = [[*texts[row], token] for row, token in zip(rows, tokens.tolist(), strict=True)]
        of = [of[row] for row in rows]
        scores = reader.advance(torch.tensor(rows), tokens)
    torch.testing.assert_close(scores, whole_targets(model, [sources[i] for i in of], texts), atol=1e-4, rtol=1e-5)


def whole_targets(model: Seq2SeqModel, sources: list[list[int]], texts: list[list[int]]) -> Tensor:
    batch = seq2seq_batch(sources, texts, TOKENS, 24)
    return model(batch).logits[batch.target.lengths.cumsum(0) - 1]


# ------------------------------------------------------------------------------------------------------------- drawing


class Fixed:
    """A model that always gives the same scores."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def begin(self) -> Tensor:
        return self.scores.clone()

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        self.scores = self.scores[rows]
        return self.scores.clone()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 5, 1.0), (1.0, 0, 0.6), (1.3, 7, 0.5), (1.0, 0, 1e-6)],
)
def test_tokens_are_drawn_with_transformers_chances(temperature: float, top_k: int, top_p: float) -> None:
    scores = torch.randn(1, 12, generator=torch.Generator().manual_seed(2)) * 2
    warped = TemperatureLogitsWarper(temperature)(torch.zeros(1, 1), scores.clone()) if temperature != 1 else scores
    warped = TopKLogitsWarper(top_k)(torch.zeros(1, 1), warped) if top_k else warped
    chances = TopPLogitsWarper(top_p)(torch.zeros(1, 1), warped).softmax(-1)[0]
    count = 4000
    generation = Generation(max_new_tokens=1, temperature=temperature, top_k=top_k, top_p=top_p)
    texts = one_by_one(Fixed(scores.expand(count, -1)), generation, -1, range(count))
    drawn = Counter(token for text in texts for token in text)
    assert {token for token, chance in enumerate(chances.tolist()) if chance == 0}.isdisjoint(drawn)
    for token, chance in enumerate(chances.tolist()):
        assert abs(drawn[token] / count - chance) < 4.5 * (chance * (1 - chance) / count) ** 0.5 + 1e-9


def test_what_is_drawn_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = causal()
    generation = Generation(max_new_tokens=12, temperature=1.0, top_p=0.9)
    together = generate(model, PROMPTS, generation, end_id=END)
    alone = [generate(model, [p], generation, end_id=END, example_ids=[i])[0] for i, p in enumerate(PROMPTS)]
    turned = generate(model, PROMPTS[::-1], generation, end_id=END, example_ids=range(4, -1, -1))
    assert together == alone == turned[::-1]
    monkeypatch.setattr(run, "TOKENS_AT_ONCE", 30)
    assert generate(model, PROMPTS, generation, end_id=END) == together
    other = generation.model_copy(update={"seed": 14})
    assert generate(model, PROMPTS, other, end_id=END) != together
    same = generate(model, [PROMPTS[0]] * 2, generation, end_id=END, example_ids=["a", "b"])
    assert same[0] != same[1]


def test_beams_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = encoder_decoders(13)
    sources, _ = pairs(*((1 + 5 * i % 17, 0) for i in range(9)))
    together = generate_from_sources(model, sources, TOKENS, Generation(max_new_tokens=12, beams=3))
    assert len({len(text) for text in together}) > 1
    monkeypatch.setattr(run, "TOKENS_AT_ONCE", 1)
    assert together == generate_from_sources(model, sources, TOKENS, Generation(max_new_tokens=12, beams=3))


# ------------------------------------------------------------------------------------------------------------- scoring


@torch.inference_mode()
@pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL)
def test_the_likelihood_of_texts_is_the_product_of_their_tokens(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = causal(config)
    targets = [[5, 6, END], [7], [], [8, 9, 10, 11, END], [END]]
    for tokens_at_once in (8192, 10):
        monkeypatch.setattr("bert_core.generation.scoring.TOKENS_AT_ONCE", tokens_at_once)
        found = score(model, PROMPTS, targets)
        assert [each.num_tokens for each in found] == [3, 1, 0, 5, 1]
        for prompt, target, each in zip(PROMPTS, targets, found, strict=True):
            steps = [whole(model, [[*prompt, *target[:i]]]).log_softmax(-1)[0, token] for i, token in enumerate(target)]
            assert each.log_likelihood == pytest.approx(float(sum(steps)), abs=1e-4)


@torch.inference_mode()
def test_the_likelihood_of_targets_counts_their_end() -> None:
    model = seq2seq()
    sources, _ = pairs((7, 0), (14, 0), (2, 0), (9, 0), (1, 0))
    for source, target, each in zip(sources, TARGETS, score_targets(model, sources, TARGETS, TOKENS), strict=True):
        logits = model(seq2seq_batch([source], [target], TOKENS, 24)).logits
        expected = logits.log_softmax(-1).gather(1, torch.tensor([[*target, 3]]).T).sum()
        assert each.log_likelihood == pytest.approx(float(expected), abs=1e-4)
        assert each.num_tokens == len(target) + 1
    with pytest.raises(DataError, match="1 sources and 0 targets"):
        score_targets(model, [[5]], [], TOKENS)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_what_cannot_go_on_is_said() -> None:
    model = causal()
    with pytest.raises(ValueError, match=r"family 'bert', causal = False: only a causal model"):
        generate(initialised(PretrainingModel(TINY, pairs=False)), PROMPTS, Generation(), end_id=END)
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        generate(model, [[5], []], Generation(max_new_tokens=4), end_id=END)
    with pytest.raises(ValueError, match="needs 56 positions, and the model has 48: set it to at most 42, or cut"):
        generate(model, [[5] * 7], Generation(max_new_tokens=50), end_id=END)
    assert len(generate(model, [[5] * 7], Generation(max_new_tokens=42, min_new_tokens=42), end_id=END)[0]) == 42
    with pytest.raises(ValueError, match="needs 30 positions, and the model has 24: set it to at most 24"):
        generate_from_sources(seq2seq(), [[5]], TOKENS, Generation(max_new_tokens=30))
    with pytest.raises(DataError, match="has 25 tokens"):
        generate_from_sources(seq2seq(), [[5] * 23], TOKENS, Generation(max_new_tokens=4))
    with pytest.raises(ValueError, match="1 example ids for 5 examples"):
        generate(model, PROMPTS, Generation(max_new_tokens=4), end_id=END, example_ids=[1])
    with pytest.raises(ValueError, match="5 prompts, 1 targets"):
        score(model, PROMPTS, [[5]])


@pytest.mark.parametrize("generation", [Generation(), Generation(beams=2), Generation(temperature=1.0)])
def test_a_damaged_model_is_an_error_and_no_text(generation: Generation) -> None:
    model = causal()
    with torch.no_grad():
        model.encoder.embeddings.word.weight[9] = torch.nan
    with pytest.raises(ValueError, match="no numbers: its weights are damaged"):
        generate(model, [[5]], generation.model_copy(update={"max_new_tokens": 3}), end_id=END)


def test_a_vocabulary_smaller_than_the_beams() -> None:
    config = GPT2.model_copy(update={"vocab_size": 8})
    for min_new_tokens in (0, 3):
        generation = Generation(max_new_tokens=4, min_new_tokens=min_new_tokens, beams=6)
        (text,) = generate(causal(config), [[5]], generation, end_id=END)
        assert min_new_tokens <= len(text) <= 4


def test_no_prompts_no_texts() -> None:
    assert generate(causal(), [], Generation(), end_id=END) == []
    assert score(causal(), [], []) == []


def test_a_model_in_training_is_evaluated_and_goes_on_training() -> None:
    config = GPT2.model_copy(update={"hidden_dropout": 0.5})
    model = causal(config).train()
    generation = Generation(max_new_tokens=6)
    assert generate(model, PROMPTS, generation, end_id=END) == generate(model, PROMPTS, generation, end_id=END)
    assert model.training
