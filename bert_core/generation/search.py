"""Which tokens go on: one text for each example, greedy or drawn, or several by beam search. Knows no model.

Shapes: N examples, R rows, V vocabulary, K beams.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bert_core.config.task import Generation
from bert_core.generation.readers import Reader

IMPOSSIBLE = -1e9
"""A log-probability."""


@torch.inference_mode()
def one_by_one(
    reader: Reader, generation: Generation, end_id: int, example_ids: Sequence[int | str]
) -> list[list[int]]:
    """The most probable token each time, or with a temperature one drawn, until `end_id`, which is not part of it.

    What is drawn depends on the example's own scores, its id and the seed: never on the others of its batch.

    Raises:
        ValueError: scores that are no numbers.
    """
    texts: list[list[int]] = [[] for _ in example_ids]
    draws = _Draws(generation, example_ids) if generation.temperature else None
    going_on = torch.arange(len(texts))
    scores = reader.begin()
    for step in range(generation.max_new_tokens):
        scores = _checked(scores)
        if step < generation.min_new_tokens:
            scores[:, end_id] = -torch.inf
        tokens = scores.argmax(-1) if draws is None else draws.tokens(scores, going_on, step)
        on_host = tokens.cpu()
        for example, token in zip(going_on.tolist(), on_host.tolist(), strict=True):
            if token != end_id:
                texts[example].append(token)
        rows = (on_host != end_id).nonzero().squeeze(1)
        if not len(rows) or step + 1 == generation.max_new_tokens:
            break
        going_on = going_on[rows]
        rows = rows.to(tokens.device)
        scores = reader.advance(rows, tokens[rows])
    return texts


@torch.inference_mode()
def beam_search(reader: Reader, generation: Generation, end_id: int, num_examples: int) -> list[list[int]]:
    """The text of each example with the best sum of log-probabilities / tokens ** length_penalty, its end counted.

    As transformers' with `early_stopping=False`: an example is done when its best text under way, if it ended now,
    would be worse than all K that have ended. Ends outside the K best continuations are not counted as found.

    Raises:
        ValueError: scores that are no numbers.
    """
    beams = [_Beams(generation, end_id) for _ in range(num_examples)]
    going_on, width = list(range(num_examples)), 1
    scores = reader.begin()
    for length in range(1, generation.max_new_tokens + 1):
        log_p = _checked(scores).log_softmax(-1)  # (R, V)
        if length <= generation.min_new_tokens:
            log_p[:, end_id] = -torch.inf
        sums = log_p.new_tensor([text.log_p for i in going_on for text in beams[i].running])
        V = log_p.shape[1]
        best, places = (log_p + sums[:, None]).view(len(going_on), -1).topk(min(2 * generation.beams, width * V))
        candidates = zip(best.tolist(), (places // V).tolist(), (places % V).tolist(), strict=True)
        rows, tokens, still = [], [], []
        for number, (i, found) in enumerate(zip(going_on, candidates, strict=True)):
            parents = beams[i].step(list(zip(*found, strict=True)), length)
            if not beams[i].done(length):
                still.append(i)
                rows += [number * width + parent for parent in parents]
                tokens += [text.tokens[-1] for text in beams[i].running]
        going_on, width = still, generation.beams
        if not going_on:
            break
        scores = reader.advance(*(torch.tensor(each, device=scores.device) for each in (rows, tokens)))
    return [each.best for each in beams]


class _Text(NamedTuple):
    log_p: float
    tokens: list[int]


class _Beams:
    """The texts of one example: K under way, best first, and the K best that have ended."""

    def __init__(self, generation: Generation, end_id: int) -> None:
        self._generation, self._end_id = generation, end_id
        self.running = [_Text(0.0, [])]
        self._ended: list[_Text] = []

    def step(self, candidates: list[tuple[float, int, int]], length: int) -> list[int]:
        """Go on with candidates (log-probability, text it continues, token), best first; says which text each of those
        now under way continues."""
        beams, last = self._generation.beams, length == self._generation.max_new_tokens
        going_on: list[tuple[_Text, int]] = []
        for rank, (log_p, parent, token) in enumerate(candidates):
            tokens = self.running[parent].tokens
            if token == self._end_id or last:
                if rank < beams and log_p > -torch.inf:
                    whole = tokens if token == self._end_id else [*tokens, token]
                    self._ended.append(_Text(self._penalised(log_p, length), whole))
            elif len(going_on) < beams:
                going_on.append((_Text(log_p, [*tokens, token]), parent))
        self._ended = sorted(self._ended, key=lambda text: -text.log_p)[:beams]
        if going_on:  # fewer than K where the vocabulary is that small: copies that cannot win fill them up
            (first, parent), missing = going_on[0], beams - len(going_on)
            going_on += [(_Text(IMPOSSIBLE, first.tokens), parent)] * missing
        self.running = [text for text, _ in going_on]
        return [parent for _, parent in going_on]

    def done(self, length: int) -> bool:
        if not self.running or len(self._ended) < self._generation.beams:
            return not self.running
        return self._penalised(self.running[0].log_p, length) <= self._ended[-1].log_p

    @property
    def best(self) -> list[int]:
        return self._ended[0].tokens

    def _penalised(self, log_p: float, length: int) -> float:
        return log_p / length**self._generation.length_penalty


class _Draws:
    """Tokens drawn with the numbers of one generator for each example, keyed by the seed and its id."""

    def __init__(self, generation: Generation, example_ids: Sequence[int | str]) -> None:
        self._generation = generation
        self._uniform = torch.stack(
            [_uniform(generation.seed, example, generation.max_new_tokens) for example in example_ids]
        )

    def tokens(self, scores: Tensor, examples: Tensor, step: int) -> Tensor:
        """(R, V) -> (R,): the inverse of the distribution function at each example's number of this step."""
        g = self._generation
        k = min(g.top_k or scores.shape[1], scores.shape[1])
        best, ids = (scores.double() / g.temperature).topk(k)  # descending
        p = best.softmax(-1)
        reached = p.cumsum(-1)
        p = p.masked_fill(reached - p >= g.top_p, 0.0)  # the fewest that reach top_p, and at least one
        reached = p.cumsum(-1)
        at = self._uniform[examples, step].to(scores.device)[:, None] * reached[:, -1:]
        last = (p > 0).sum(-1, keepdim=True) - 1
        return ids.gather(1, torch.searchsorted(reached, at, right=True).minimum(last)).squeeze(1)


def _uniform(seed: int, example: int | str, count: int) -> Tensor:
    """(count,) float64 in [0, 1)"""
    digest = hashlib.blake2b(f"{seed},{example}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.rand(count, dtype=torch.float64, generator=generator)


def _checked(scores: Tensor) -> Tensor:
    if not bool(scores.amax(-1).isfinite().all()):
        raise ValueError("the model's scores of the next token are no numbers: its weights are damaged")
    return scores
