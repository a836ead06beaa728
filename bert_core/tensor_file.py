"""safetensors files written in one pass: bytes are hashed on their way to the disk, and no tensor is copied first."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

CHUNK_BYTES = 8 << 20

_TYPE_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file, and wait until it is on the disk.

    safetensors' own writer makes the file, which is then read again to be hashed; here one pass does both. The layout
    is its own (https://github.com/huggingface/safetensors, "Format"): 8 bytes length, JSON header, data without gaps,
    the widest types first so that every tensor is aligned.

    Returns:
        sha256 of the file, hexadecimal.

    Raises:
        OSError: such as a full disk; a part of the file is left.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        head = memoryview(len(text).to_bytes(8, "little") + text)
        for block in (head, *(_bytes(tensor) for _, tensor in ordered)):
            for start in range(0, len(block), CHUNK_BYTES):
                chunk = block[start : start + CHUNK_BYTES]
                digest.update(chunk)  # releases the interpreter's lock, as the write does: training goes on
                file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    tensor = tensor.detach().cpu().contiguous()
    # Contiguous tensors of 0 or 1 elements may have a stride of 0, which `view` refuses.
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data
