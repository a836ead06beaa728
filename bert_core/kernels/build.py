"""Compile the kernels for this very machine, once, and load them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from ctypes import c_float, c_int, c_long, c_uint32, c_uint64, c_void_p
from pathlib import Path

SOURCES = tuple(Path(__file__).parent / name for name in ("kernels.c", "of_type.h"))
FLAGS = "-O3 -march=native -fopenmp -shared -fPIC -fno-math-errno -fno-trapping-math"
TIMEOUT_S = 120
"""A compilation takes 4 s."""
DROPOUT = (c_uint32, c_float, c_uint64)
"""Draws below this are dropped; what kept numbers are multiplied with; the seed."""
_DOCUMENTS = (c_void_p, c_int, c_int, c_int, c_int, c_float, c_int, c_int)
SIGNATURES = {
    "attend": (c_void_p, *_DOCUMENTS, *DROPOUT, c_void_p, c_void_p, c_int),
    "attend_backward": (*3 * (c_void_p,), *_DOCUMENTS, *DROPOUT, c_void_p, c_int),
    "dropout_add": (c_void_p, c_void_p, c_long, c_int, *DROPOUT, c_void_p, c_int),
    "add_norm": (c_void_p, c_void_p, c_long, c_int, *DROPOUT, c_void_p, c_void_p, c_float, *4 * (c_void_p,), c_int),
    "add_norm_backward": (*5 * (c_void_p,), c_long, c_int, *DROPOUT, *4 * (c_void_p,), c_int),
    "cross_entropy": (c_void_p, c_void_p, c_long, c_int, c_int, *3 * (c_void_p,), c_int),
    "transpose_and_sum": (c_void_p, c_long, c_long, c_void_p, c_void_p, c_int),
}


class KernelsError(RuntimeError):
    """The kernels could not be compiled or loaded; the message says why."""


def available() -> bool:
    """Whether the kernels run here; compiles them when asked for the first time, which takes seconds."""
    return _library() is not None


def why_not() -> str | None:
    """What stands in their way, or None."""
    return None if available() else _found()[1]


@functools.cache
def function(name: str) -> ctypes._NamedFuncPointer:
    """The kernel `name`, such as "attend_bf16".

    Raises:
        KernelsError: there are none here.
    """
    library = _library()
    if library is None:
        raise KernelsError(why_not())
    found = getattr(library, name)
    found.restype, found.argtypes = None, SIGNATURES[name.rpartition("_")[0]]
    return found


def _library() -> ctypes.CDLL | None:
    return _found()[0]


@functools.cache
def _found() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get("BERT_FOUNDRY_KERNELS") == "off":
        return None, "BERT_FOUNDRY_KERNELS is off"
    try:
        return ctypes.CDLL(str(compiled(_cache()))), None
    except (KernelsError, OSError) as error:
        warnings.warn(f"training on this CPU goes on with torch's own operations, slower: {error}", stacklevel=2)
        return None, str(error)


def compiled(folder: Path) -> Path:
    """The library in `folder`, compiled if it is not there; several processes may do so at once.

    Raises:
        KernelsError: no compiler, or it failed.
        OSError: `folder` cannot be written.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise KernelsError(f"no C compiler: {compiler[0]!r} is not on the path; install one, such as gcc, or set CC")
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(source.read_bytes())
    # A home folder may be shared by unlike machines.
    for part in (FLAGS, *compiler, _output([*compiler, "--version"]), _processor()):
        digest.update(part.encode())
    library = folder / f"kernels-{digest.hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        out = Path(draft) / library.name
        _output([*compiler, *FLAGS.split(), str(SOURCES[0]), "-o", str(out), "-lm"])
        out.replace(library)
    return library


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise KernelsError(f"{shlex.join(command)}: not done after {TIMEOUT_S} s") from None
    if done.returncode:
        raise KernelsError(f"{shlex.join(command)}: {done.stderr[-1000:]}")
    return done.stdout


def _processor() -> str:
    """What `-march=native` looks at."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return " ".join(re.findall(r"^(?:flags|model name|Features)\s*:.*", cpuinfo.read_text(), re.MULTILINE)[:2])
    return f"{platform.machine()} {platform.processor()}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bert-foundry"
