"""Models that write: a text for each text, by an encoder and a decoder, or by going on with a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core import hf
from bert_core.config import CausalTask, Seq2SeqTask
from bert_core.features.encode import MAX_CHARACTERS
from bert_core.generation import generate, generate_from_sources, score
from bert_core.heads import PretrainingModel
from bert_core.hf.encoder_decoder import load_seq2seq, load_seq2seq_configs
from bert_core.seq2seq import Seq2SeqModel
from bert_core.tokenizer import load as load_tokenizer

Ids = NDArray[np.int64]


class Generator:
    """The model of a folder that was fine-tuned to write, ready to.

    What it writes for an example depends on the example and its id, not on the others of the call.

    Raises:
        ValueError, OSError: the folder holds no such model.
    """

    def __init__(self, folder: str | Path) -> None:
        tuned = hf.read_task(folder)
        if tuned is None or not isinstance(tuned.task, Seq2SeqTask | CausalTask):
            raise ValueError(f"{folder}: its task.json names no task that writes")
        self.task: Seq2SeqTask | CausalTask = tuned.task
        self.tokenizer = load_tokenizer(folder)
        self.model: Seq2SeqModel | PretrainingModel
        if isinstance(tuned.task, Seq2SeqTask):
            encoder, decoder = load_seq2seq_configs(folder)
            self.model = Seq2SeqModel(encoder, decoder)
            load_seq2seq(folder, self.model)
        else:
            config = hf.load_config(folder)
            self.model = PretrainingModel(config, pairs=False)
            hf.load_pretraining(folder, self.model)
        self.model.eval()
        self.max_tokens = min(tuned.max_tokens, self.model.config.max_positions)
        """Of a source or a prompt, special tokens included; a longer source is cut, of a prompt its end is read."""

    inputs = ("text",)
    labels: tuple[str, ...] = ()

    def answer(self, table: pa.Table) -> pa.Table:
        """`id`, `output`, and where a causal model is given targets `log_likelihood` and `num_tokens` of each.

        Raises:
            ValueError: the table has no column text.
        """
        names = table["id"].to_pylist()
        columns: dict[str, Any] = {"id": names, "output": self._written(table["text"].to_pylist(), names)}
        if isinstance(self.model, PretrainingModel):
            targets = table["target"].to_pylist() if "target" in table.column_names else None
            likely = self._likelihoods(table["text"].to_pylist(), targets) if targets else [(0.0, 0)] * len(names)
            columns["log_likelihood"] = pa.array([each[0] for each in likely], pa.float64())
            columns["num_tokens"] = pa.array([each[1] for each in likely], pa.int64())
        return pa.table(columns)

    def serve(self, examples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """{"output": text} for each {"text": source or prompt}, in order."""
        texts = [example["text"] for example in examples]
        return [{"output": text} for text in self._written(texts, range(len(texts)))]

    def _written(self, texts: Sequence[str], names: Sequence[str | int]) -> list[str]:
        ids, generation = self._ids(texts), self.task.generation
        if isinstance(self.model, Seq2SeqModel):
            sources = [each[: self.max_tokens - 2] for each in ids]
            said = generate_from_sources(self.model, sources, self.tokenizer, generation, example_ids=list(names))
        else:
            room = self.model.config.max_positions - generation.max_new_tokens
            prompts = [self._prompt(each, room) for each in ids]
            end = self.tokenizer.sep_id
            said = generate(self.model, prompts, generation, end_id=end, example_ids=list(names))
        return [self.tokenizer.text(each) for each in said]

    def _likelihoods(self, texts: Sequence[str], targets: Sequence[str]) -> list[tuple[float, int]]:
        """Log-likelihood of each target behind its prompt, its end included; what does not fit goes on in further
        windows, each of which begins anew."""
        assert isinstance(self.model, PretrainingModel)
        prompts, wanted, owners = [], [], []
        for row, (text, target) in enumerate(zip(self._ids(texts), self._ids(targets), strict=True)):
            prompt = self._prompt(text, self.max_tokens // 2)
            whole = np.append(target, self.tokenizer.sep_id)
            room = self.max_tokens - len(prompt)
            for start in range(0, len(whole), room):
                prompts.append(prompt)
                wanted.append(whole[start : start + room])
                owners.append(row)
        found = [[0.0, 0] for _ in texts]
        for row, each in zip(owners, score(self.model, prompts, wanted), strict=True):
            found[row][0] += each.log_likelihood
            found[row][1] += each.num_tokens
        return [(float(likely), int(tokens)) for likely, tokens in found]

    def _prompt(self, ids: Ids, room: int) -> Ids:
        """[CLS] and as much of the end of a text as there is room for."""
        return np.concatenate([[self.tokenizer.cls_id], ids[max(0, len(ids) - room + 1) :]]).astype(np.int64)

    def _ids(self, texts: Sequence[str]) -> list[Ids]:
        found = self.tokenizer.encode_batch([text[:MAX_CHARACTERS] for text in texts])
        return [each.ids.astype(np.int64) for each in found]
