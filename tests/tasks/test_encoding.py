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
from tasks.artifacts import Draft
from tasks.config.tokens import BpeTokenizer, EncodeConfig, PretrainedTokenizer, UnigramTokenizer, WordPieceTokenizer
from tasks.text.encoding import EncodeError, encode
from tasks.text.parts import Serial
from tasks.text.vocabulary import sample

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
        "url": f"https://example.org/{split}/{index}",
        "source": "films",
        "language": "fr" if index % 4 == 3 else "en",
    }


def corpus(*extra: dict[str, object]) -> list[dict[str, object]]:
    sizes = {"train": 8, "validation": 3, "test": 2}
    regular = [
        document(index, split, (*LABELS, None)[index % 3]) for split, size in sizes.items() for index in range(size)
    ]
    return [*regular, *extra]


def encoded(folder: Path, rows: list[dict[str, object]], config: EncodeConfig = WORDPIECE) -> Draft:
    """Documents in parts of five."""
    source, out = folder / "split", Draft(folder / "encode")
    (source / "documents").mkdir(parents=True)
    out.path.mkdir()
    names = ("id", "text", "kind", "label", "split", "url", "source", "language")
    schema = pa.schema([*((name, pa.string()) for name in names), ("sentences", pa.list_(pa.int32()))])
    for part, start in enumerate(range(0, len(rows), 5)):
        table = pa.Table.from_pylist(rows[start : start + 5], schema=schema)
        pq.write_table(table, source / "documents" / f"part-{part:05d}.parquet")
    encode(config, source, LABELS, out, Serial(), lambda done, total: None)
    return out


def test_every_document_is_in_its_split_with_its_label_and_text(tmp_path: Path) -> None:
    rows = corpus()
    out = encoded(tmp_path, rows)
    tokenizer = tokenizers.load(out.path / "tokenizer")
    assert out.rows == {"seen": 13, "train": 8, "validation": 3, "test": 2}
    for split, size in out.facts["documents"].items():
        shards = open_shards(out.path / split, fingerprint=tokenizer.fingerprint, verify=True)
        assert len(list((out.path / split).glob("part-*.arrow"))) >= -(-size // 3)
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


def test_facts_tell_what_the_text_cost(tmp_path: Path) -> None:
    out = encoded(tmp_path, corpus(document(99, "test", None, text="☃ ☃ film"), document(98, "test", None, text="")))
    tokens = sum(out.facts["tokens"].values())
    assert out.facts["unknown_rate"] == pytest.approx(2 / tokens, abs=1e-6)
    assert out.facts["empty_documents"] == 1
    assert out.facts["labelled"] == {"train": 6, "validation": 2, "test": 2}
    assert 1 <= out.facts["fertility"] < 2
    tokenizer = tokenizers.load(out.path / "tokenizer")
    assert (out.facts["tokenizer"], out.facts["vocab_size"]) == (tokenizer.fingerprint, tokenizer.vocab_size)
    assert out.facts["tokenizer_type"] == "wordpiece"
    languages = out.facts["languages"]
    assert list(languages) == ["en", "fr"]
    assert languages["en"]["documents"] + languages["fr"]["documents"] == 15
    assert languages["en"]["tokens"] + languages["fr"]["tokens"] == tokens
    assert languages["en"]["unknown_rate"] == 0
    assert languages["fr"]["unknown_rate"] == pytest.approx(2 / languages["fr"]["tokens"], abs=1e-6)


@pytest.mark.parametrize("config", [BpeTokenizer(vocab_size=300), UnigramTokenizer(vocab_size=100)])
def test_other_tokenizers_are_trained_too(config: BpeTokenizer | UnigramTokenizer, tmp_path: Path) -> None:
    rows = corpus()
    characters = sum(len(str(row["text"])) for row in rows if row["split"] == "train")
    out = encoded(tmp_path, rows, EncodeConfig(tokenizer=config))
    assert out.facts["tokenizer_type"] == config.type
    assert out.facts["sample"] == {"vocabulary": config.type, "documents": 8, "characters": characters}
    tokenizer = tokenizers.load(out.path / "tokenizer")
    shards = open_shards(out.path / "train", fingerprint=tokenizer.fingerprint)
    oracle = AutoTokenizer.from_pretrained(out.path / "tokenizer")
    assert shards.tokens(0).tolist() == oracle(SENTENCES[0], add_special_tokens=False)["input_ids"]
    assert shards.sentence_starts(2)[0] == 0
    assert len(shards.sentence_starts(2)) == 3


def test_the_sample_keeps_to_its_budget_whatever_the_parts(tmp_path: Path) -> None:
    rows = corpus()
    for name, order in (("forth", rows), ("back", rows[::-1])):
        (tmp_path / name).mkdir()
        encoded(tmp_path / name, order)
    files = [sorted((tmp_path / name / "split/documents").glob("*")) for name in ("forth", "back")]
    texts = [str(row["text"]) for row in rows if row["split"] == "train"]
    everything = sample(files[0], 10_000, 100)
    assert sorted(everything) == sorted(texts)
    for characters, documents in ((10_000, 3), (100, 100), (60, 2), (5, 100)):
        few = sample(files[0], characters, documents)
        assert few == sample(files[1], characters, documents)
        assert few
        if characters > 5:
            assert few == everything[: len(few)]
            following = sum(map(len, everything[: len(few) + 1]))
            assert len(few) == documents or following > characters >= sum(map(len, few))


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    out = encoded(tmp_path, corpus(document(99, "test", None, text="zzyzx " * 50)))
    assert not any("z" in token for token in tokenizers.load(out.path / "tokenizer").tokens)


def test_the_tokenizer_of_existing_weights_is_found_from_the_home_folder(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(minilm.parent))
    config = EncodeConfig(tokenizer=PretrainedTokenizer(path=minilm.name))
    out = encoded(tmp_path, corpus(), config)
    assert artifacts.home() == minilm.parent.resolve()
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
