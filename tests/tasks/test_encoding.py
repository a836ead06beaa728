from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from bert_core import tokenizer as tokenizers
from bert_core.shards import ShardError, open_shards
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config import EncodeConfig, PretrainedTokenizer, WordPieceTokenizer
from tasks.text.encoding import EncodeError, encode, sentence_starts

LABELS = ("negative", "positive")
WORDPIECE = EncodeConfig(tokenizer=WordPieceTokenizer(vocab_size=200, min_frequency=1), documents_per_shard=3)
SENTENCES = ("A film to be seen. ", "It has no end… ", "Nobody laughed at all! ", "Is it art? ")


def document(index: int, split: str, label: str | None, text: str | None = None) -> dict[str, object]:
    parts = [SENTENCES[(index + offset) % len(SENTENCES)] for offset in range(1 + index % 3)]
    starts = np.cumsum([0, *map(len, parts)])[:-1].tolist()
    return {
        "id": f"{split}-{index}",
        "text": text if text is not None else "".join(parts),
        "kind": "review",
        "label": label,
        "sentences": starts if text is None else [0],
        "split": split,
        "url": "not read",
    }


def corpus(*extra: dict[str, object]) -> list[dict[str, object]]:
    sizes = {"train": 8, "validation": 3, "test": 2}
    regular = [
        document(index, split, (*LABELS, None)[index % 3]) for split, size in sizes.items() for index in range(size)
    ]
    return [*regular, *extra]


def encoded(folder: Path, rows: list[dict[str, object]], config: EncodeConfig = WORDPIECE) -> Draft:
    source, out = folder / "split", Draft(folder / "encode")
    source.mkdir()
    out.path.mkdir()
    schema = pa.schema([*((name, pa.string()) for name in ("id", "text", "kind", "label", "split", "url"))])
    schema = schema.append(pa.field("sentences", pa.list_(pa.int32())))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), source / "documents.parquet")
    ref = ArtifactRef(stage="split", name="x", key="x", content="x", path=str(source))
    encode(config, ref, LABELS, out, lambda done, total: None)
    return out


def test_every_document_is_in_its_split_with_its_label_and_text(tmp_path: Path) -> None:
    rows = corpus()
    out = encoded(tmp_path, rows)
    tokenizer = tokenizers.load(out.path / "tokenizer")
    assert out.rows == {"seen": 13, "train": 8, "validation": 3, "test": 2}
    for split, size in out.facts["documents"].items():
        shards = open_shards(out.path / split, fingerprint=tokenizer.fingerprint, verify=True)
        assert len(list((out.path / split).glob("shard-*.arrow"))) == -(-size // 3)
        expected = [row for row in rows if row["split"] == split]
        assert shards.label_names == LABELS
        assert shards.document_ids == [row["id"] for row in expected]
        assert shards.num_tokens == out.facts["tokens"][split]
        for index, row in enumerate(expected):
            (encoding,) = tokenizer.encode_batch([str(row["text"])])
            assert shards.tokens(index).tolist() == encoding.ids.tolist()
            assert shards.labels[index] == (LABELS.index(str(row["label"])) if row["label"] else -1)
            assert len(shards.sentence_starts(index)) == len(row["sentences"])  # type: ignore[arg-type]


def test_sentences_start_at_the_tokens_of_their_first_words(tmp_path: Path) -> None:
    out = encoded(tmp_path, corpus())
    shards = open_shards(out.path / "train")
    index = shards.document_ids.index("train-2")  # three sentences: 2, 3 and 0
    oracle = AutoTokenizer.from_pretrained(out.path / "tokenizer")
    parts = [oracle(SENTENCES[number], add_special_tokens=False)["input_ids"] for number in (2, 3, 0)]
    assert shards.tokens(index).tolist() == [token for part in parts for token in part]
    assert shards.sentence_starts(index).tolist() == [0, len(parts[0]), len(parts[0]) + len(parts[1])]


def test_sentences_without_tokens_disappear(minilm: Path) -> None:
    (encoding,) = tokenizers.load(minilm).encode_batch(["\u200b one two \u200b three."])
    assert sentence_starts(encoding, [0, 3, 7, 9, 18]).tolist() == [0, 1, 2]
    (nothing,) = tokenizers.load(minilm).encode_batch([" "])
    assert sentence_starts(nothing, [0]).tolist() == []


def test_facts_tell_what_the_text_cost(tmp_path: Path) -> None:
    out = encoded(tmp_path, corpus(document(99, "test", None, text="☃ ☃ film"), document(98, "test", None, text="")))
    tokens = sum(out.facts["tokens"].values())
    assert out.facts["unknown_rate"] == pytest.approx(2 / tokens, abs=1e-6)
    assert out.facts["empty_documents"] == 1
    assert out.facts["labelled"] == {"train": 6, "validation": 2, "test": 2}
    assert 1 <= out.facts["fertility"] < 2
    tokenizer = tokenizers.load(out.path / "tokenizer")
    assert (out.facts["tokenizer"], out.facts["vocab_size"]) == (tokenizer.fingerprint, tokenizer.vocab_size)


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    out = encoded(tmp_path, corpus(document(99, "test", None, text="zzyzx " * 50)))
    assert not any("z" in token for token in tokenizers.load(out.path / "tokenizer").tokens)


def test_the_tokenizer_of_existing_weights_is_found_from_the_home_folder(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(minilm.parent))
    config = EncodeConfig(tokenizer=PretrainedTokenizer(path=minilm.name))
    out = encoded(tmp_path, corpus(), config)
    assert artifacts.home() == minilm.parent
    assert out.facts["tokenizer"] == tokenizers.load(minilm).fingerprint
    shards = open_shards(out.path / "test")
    oracle = AutoTokenizer.from_pretrained(minilm)
    assert shards.tokens(0).tolist() == oracle(SENTENCES[0], add_special_tokens=False)["input_ids"]


def test_encoding_again_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        encoded(folder, corpus())
    files = sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*") if path.is_file())
    assert len(files) > 8
    assert all((folders[0] / file).read_bytes() == (folders[1] / file).read_bytes() for file in files)


def test_an_illegal_label_or_split_names_the_document(tmp_path: Path) -> None:
    for name, row, message in (
        ("label", document(99, "train", "mixed"), "document train-99: label 'mixed'; legal: negative, positive"),
        ("split", document(99, "dev", None), "document dev-99: split 'dev'; legal: train, validation, test"),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(EncodeError, match=message):
            encoded(tmp_path / name, corpus(row))
        assert not list((tmp_path / name).rglob("shards.json"))


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="validation: no document was written"):
        encoded(tmp_path, [row for row in corpus() if row["split"] != "validation"])
