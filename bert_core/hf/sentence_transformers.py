"""The files by which sentence-transformers knows how a folder's token states become a vector."""

from __future__ import annotations

from pathlib import Path

from bert_core.config import EmbeddingTask
from bert_core.files import write_json


def write_sentence_transformers(task: EmbeddingTask, width: int, max_tokens: int, folder: Path) -> None:
    """modules.json (transformer, pooling, normalisation) and what it names.

    Args:
        width: C, of the vectors.
    """
    package = "sentence_transformers.models"
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{package}.{name}"}
        for number, (path, name) in enumerate(parts)
    ]
    for path, _ in parts[1:]:
        (folder / path).mkdir(exist_ok=True)
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
    chosen = {name: pooling == task.pooling for pooling, name in modes.items()}
    others = {"pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **chosen, **others})
