"""A second place of checkpoints, for a machine that lost its disk: a folder, or a URI such as s3://bucket/run.

A checkpoint there is complete when its `checkpoint.json` lies there: it is sent last and deleted first.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyarrow import fs

from bert_core.checkpoint import (
    INDEX,
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    parse_index,
    publish,
    step_name,
)
from bert_core.files import sync
from bert_core.retention import Entry, Keep, surplus
from bert_core.tensor_file import CHUNK_BYTES


class Mirror:
    def __init__(self, uri: str) -> None:
        """
        Args:
            uri: of a file system that pyarrow knows (file, s3, gs, hdfs), or a path.
        """
        self.uri = uri
        if "://" in uri:
            self._fs, self._base = fs.FileSystem.from_uri(uri)
        else:
            self._fs, self._base = fs.LocalFileSystem(), os.path.abspath(uri)

    def entries(self) -> tuple[list[Entry], list[str]]:
        """What the complete checkpoints say of themselves, newest first, and a line for each torn index.

        Raises:
            OSError: the mirror cannot be reached.
        """
        entries, faults = [], []
        for step, complete in sorted(self._steps().items(), reverse=True):
            if not complete:
                continue
            try:
                index = parse_index(self._read(f"{step_name(step)}/{INDEX}"))
            except ValueError as error:
                faults.append(f"{self.uri}/{step_name(step)}/{INDEX}: unreadable ({error})")
            else:
                entries.append(Entry(index["step"], index["positions"], index["loss"]))
        return entries, faults

    def upload(self, folder: Path, keep: Keep) -> None:
        """Copy a published checkpoint, then delete by the policy, and what earlier uploads left half-way.

        Raises:
            OSError: the checkpoint is not complete there; what was there before still is.
        """
        target = f"{self._base}/{folder.name}"
        step = int(folder.name[5:])
        for other, complete in self._steps().items():
            if other == step or not complete:
                self._delete(other)
        self._fs.create_dir(target, recursive=True)
        for file in sorted(folder.iterdir(), key=lambda file: (file.name == INDEX, file.name)):
            self._send(file, f"{target}/{file.name}")
        entries, _ = self.entries()
        torn = self._steps().keys() - {entry.step for entry in entries}
        for old in {*surplus(entries, keep, newest=step), *torn}:
            self._delete(old)

    def download(self, step: int, root: Path) -> Checkpoint:
        """Copy a checkpoint into `root`, verified before it gets its name; a damaged one of that name is replaced.

        Ranks of one machine may do so at once: the first gives it its name, and the others open that one.

        Raises:
            CheckpointError: incomplete or damaged there.
            OSError: the mirror cannot be reached, or the disk is full.
        """
        final = root / step_name(step)
        draft = root / f".{final.name}.{os.getpid()}.partial"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            index = self._read(f"{final.name}/{INDEX}")
            try:
                files = parse_index(index)["files"]
            except ValueError as error:
                raise CheckpointError(f"{self.uri}/{final.name}/{INDEX}: unreadable ({error})") from None
            for name in files:
                self._receive(f"{final.name}/{name}", draft / name)
            (draft / INDEX).write_bytes(index)
            sync(draft / INDEX)
            sync(draft)
            try:
                open_checkpoint(draft)
            except CheckpointError as error:
                there = str(error).replace(str(draft), f"{self.uri}/{final.name}")
                raise CheckpointError(f"{there}, as downloaded") from None
            return _first_to_publish(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _steps(self) -> dict[int, bool]:
        """Step of every folder of a checkpoint, and whether its index lies there."""
        selector = fs.FileSelector(self._base, recursive=True, allow_not_found=True)
        steps: dict[int, bool] = {}
        for info in self._fs.get_file_info(selector):
            name, _, file = info.path[len(self._base) :].strip("/").partition("/")
            if name.startswith("step-") and name[5:].isdecimal():
                steps[int(name[5:])] = steps.get(int(name[5:]), False) or file == INDEX
        return steps

    def _delete(self, step: int) -> None:
        folder = f"{self._base}/{step_name(step)}"
        if self._fs.get_file_info(f"{folder}/{INDEX}").type == fs.FileType.File:
            self._fs.delete_file(f"{folder}/{INDEX}")
        self._fs.delete_dir(folder)

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(f"{self._base}/{path}") as stream:
            return bytes(stream.read())

    def _send(self, file: Path, target: str) -> None:
        with file.open("rb") as source, self._fs.open_output_stream(target) as stream:
            while chunk := source.read(CHUNK_BYTES):
                stream.write(chunk)

    def _receive(self, path: str, file: Path) -> None:
        try:
            source = self._fs.open_input_stream(f"{self._base}/{path}")
        except FileNotFoundError:
            raise CheckpointError(f"{self.uri}/{path}: missing") from None
        with source, file.open("wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())


def _first_to_publish(draft: Path, final: Path) -> Checkpoint:
    try:
        return open_checkpoint(final)
    except CheckpointError:
        pass
    try:
        publish(draft, final)
    except OSError:  # another rank was first
        return open_checkpoint(final)
    return open_checkpoint(final)
