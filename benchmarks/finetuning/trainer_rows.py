"""Examples as transformers' users tokenise them for each type of task: lists, which a collator pads batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from bert_core.config import SequenceTask, SpanTask, Task

Row = dict[str, Any]
IGNORED = -100


def rows_of(task: Task, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """One row a sequence that the model reads; of choices and of texts side by side one an example."""
    makers = {
        "sequence": texts,
        "pair": texts,
        "token": words,
        "span": windows,
        "choice": choices,
        "embedding": sides,
        "seq2seq": sources_and_targets,
        "causal": prompts,
    }
    return makers[task.type](task, table, tokenizer, max_tokens)


def texts(task: SequenceTask, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    columns = [table[name].to_pylist() for name in ("text", "text_b") if name in table.column_names]
    found = tokenizer(*columns[: 1 + (task.type == "pair")], truncation=True, max_length=max_tokens)
    order = {label: number for number, label in enumerate(task.labels)}

    def target(label: Any) -> Any:
        if task.kind == "regression":
            return float(label)
        return order[label] if task.kind == "single" else [float(name in label) for name in task.labels]

    labels = [target(label) for label in table["label"].to_pylist()]
    return [{**row, "labels": label} for row, label in zip(_each(found), labels, strict=True)]


def words(task: Any, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """The first piece of a word carries its tag; a sentence is cut where it does not fit."""
    found = tokenizer(table["tokens"].to_pylist(), is_split_into_words=True, truncation=True, max_length=max_tokens)
    order = {label: number for number, label in enumerate(task.labels)}
    rows = []
    for number, (row, tags) in enumerate(zip(_each(found), table["tags"].to_pylist(), strict=True)):
        owners = found.word_ids(number)
        labels = [
            IGNORED if word is None or word == before else order[tags[word]]
            for before, word in zip([None, *owners[:-1]], owners, strict=True)
        ]
        rows.append({**row, "labels": labels})
    return rows


def windows(task: SpanTask, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """Overlapping windows as run_qa.py cuts them; one without the whole answer points to [CLS]."""
    found = tokenizer(
        [text.lstrip() for text in table["question"].to_pylist()],
        table["context"].to_pylist(),
        truncation="only_second",
        max_length=max_tokens,
        stride=task.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    answers = table["answers"].to_pylist()
    rows = []
    for number, example in enumerate(found["overflow_to_sample_mapping"]):
        offsets, parts = found["offset_mapping"][number], found.sequence_ids(number)
        first, last = parts.index(1), len(parts) - 1 - parts[::-1].index(1)
        start = end = 0
        if answers[example]:
            begins = answers[example][0]["start"]
            ends = begins + len(answers[example][0]["text"])
            if offsets[first][0] <= begins and offsets[last][1] >= ends:
                start = max(at for at in range(first, last + 1) if offsets[at][0] <= begins)
                end = min(at for at in range(first, last + 1) if offsets[at][1] >= ends)
        kept = {name: found[name][number] for name in tokenizer.model_input_names}
        rows.append({**kept, "start_positions": start, "end_positions": end})
    return rows


def choices(task: Any, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    del task
    rows = []
    for example in table.to_pylist():
        count = len(example["choices"])
        found = tokenizer([example["text"]] * count, example["choices"], truncation=True, max_length=max_tokens)
        rows.append({**found, "labels": example["label"]})
    return rows


def sides(task: Any, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """input_ids of the first text, b_input_ids of the second, and negative_input_ids where there is one; label is the
    score, or NaN."""
    del task
    found = {
        prefix: tokenizer(table[name].to_pylist(), truncation=True, max_length=max_tokens)["input_ids"]
        for prefix, name in (("", "text"), ("b_", "text_b"), ("negative_", "negative"))
        if name in table.column_names and None not in table[name].to_pylist()
    }
    scores = table["label"].to_pylist() if "label" in table.column_names else [None] * table.num_rows
    return [
        {f"{prefix}input_ids": ids[number] for prefix, ids in found.items()}
        | {"score": float("nan") if score is None else float(score)}
        for number, score in enumerate(scores)
    ]


def sources_and_targets(task: Any, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """labels are [CLS] target [SEP] without its [CLS], which the model puts in front as the decoder's start."""
    found = tokenizer(table["text"].to_pylist(), truncation=True, max_length=max_tokens)
    targets = tokenizer(table["target"].to_pylist(), truncation=True, max_length=task.max_target_tokens)["input_ids"]
    return [
        {"input_ids": row["input_ids"], "attention_mask": row["attention_mask"], "labels": target[1:]}
        for row, target in zip(_each(found), targets, strict=True)
    ]


def prompts(task: Any, table: pa.Table, tokenizer: Any, max_tokens: int) -> list[Row]:
    """[CLS] prompt target [SEP], of which the target is predicted; a long one without a prompt goes on in more rows."""
    del task
    sources = table["text"].to_pylist() if "text" in table.column_names else [""] * table.num_rows
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    rows = []
    for source, target in zip(sources, table["target"].to_pylist(), strict=True):
        prompt = tokenizer(source, add_special_tokens=False)["input_ids"][-(max_tokens // 2) :] if source else []
        body = tokenizer(target, add_special_tokens=False)["input_ids"]
        room = max_tokens - 2 - len(prompt)
        for at in (0,) if prompt else range(0, max(1, len(body)), room):
            ids, is_end = body[at : at + room], at + room >= len(body)
            tokens = [first, *prompt, *ids, *([last] if is_end else [])]
            rows.append(
                {
                    "input_ids": tokens,
                    "attention_mask": [1] * len(tokens),
                    "labels": [IGNORED] * (1 + len(prompt)) + tokens[1 + len(prompt) :],
                }
            )
    return rows


def _each(found: Any) -> Iterator[Row]:
    for number in range(len(found["input_ids"])):
        yield {name: values[number] for name, values in found.items()}
