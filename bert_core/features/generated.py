"""Texts that go on, and texts that become others: what is predicted, and what it is predicted from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import CausalTask, Seq2SeqTask
from bert_core.features.columns import ids_of, texts_of
from bert_core.features.store import NO_POSITION, Features, FeaturesBuilder
from bert_core.features.texts import Specials, demand, tokenized
from bert_core.tokenizer import Tokenizer

NOTHING = np.zeros(0, dtype=np.int32)


def encode_sources_and_targets(
    task: Seq2SeqTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials
) -> Features:
    """Two sequences an example: [CLS] source [SEP], and [CLS] target [SEP], in which each token predicts the next."""
    builder = FeaturesBuilder(1)
    texts = texts_of(table, "text")
    for name, text, source, target in zip(
        ids_of(table), texts, tokenized(texts, tokenizer), _targets(table, tokenizer), strict=True
    ):
        demand(len(source), name, "text", text)
        builder.example(name)
        builder.sequence(specials.single(source, builder))
        ids = target[: task.max_target_tokens - 2]
        builder.count("cut_targets", int(len(ids) < len(target)))
        builder.sequence(np.concatenate([[specials.cls_id], ids, [specials.sep_id]], dtype=np.int32))
    return builder.build()


def encode_prompts(task: CausalTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    """[CLS] prompt target [SEP], whose tokens after the prompt are predicted: positions carry the token that follows.

    A prompt keeps its end, at most half of a sequence. A target that does not fit is cut, and where there is no prompt
    goes on in further sequences; the [SEP] behind a part that was cut is no end of a text, and is not predicted.
    """
    del task
    builder = FeaturesBuilder(1)
    texts, is_known = texts_of(table, "text"), "target" in table.column_names
    for name, text, source, target in zip(
        ids_of(table), texts, tokenized(texts, tokenizer), _targets(table, tokenizer), strict=True
    ):
        demand(len(target) + len(source), name, "target" if is_known else "text", text)
        builder.example(name)
        prompt = source[-(specials.max_tokens // 2) :]
        builder.lose(len(source) - len(prompt))
        room = specials.max_tokens - 2 - len(prompt)
        for start in range(0, max(1, len(target)), room) if not len(source) else (0,):
            body = target[start : start + room]
            is_end = start + room >= len(target)
            builder.count("cut_targets", int(not is_end and len(source) > 0))
            tokens = np.concatenate([[specials.cls_id], prompt, body, [specials.sep_id]], dtype=np.int32)
            places = np.arange(len(prompt), len(prompt) + len(body) + int(is_end))
            labelled = np.stack([places, tokens[places + 1]], axis=1).astype(np.int32) if is_known else NO_POSITION
            builder.sequence(tokens, positions=labelled)
    return builder.build()


def _targets(table: pa.Table, tokenizer: Tokenizer) -> list[NDArray[np.int32]]:
    if "target" not in table.column_names:
        return [NOTHING] * table.num_rows
    return tokenized(texts_of(table, "target"), tokenizer)
