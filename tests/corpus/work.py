"""Work for the workers' tests: Ray imports it by name, and a test module has none that its processes know."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.text.documents import CorpusError


def twice(item: int) -> tuple[int, int]:
    time.sleep(0.05 if item % 2 else 0.0)
    return os.getpid(), 2 * item


def allocator(item: int) -> str:
    import pyarrow as pa

    return str(pa.default_memory_pool().backend_name)


def refuses(item: int) -> int:
    if item == 3:
        raise CorpusError(f"item {item} is not legal")
    return item


def dies_once(folder_and_item: tuple[str, int]) -> int:
    folder, item = folder_and_item
    marker = Path(folder) / "died"
    if item == 2 and not marker.exists():
        marker.touch()
        os._exit(1)
    return item


def waits(item: int) -> int:
    time.sleep(60)
    return item
