"""Provenance: everything one needs to know to make a graph again, and what it cost."""

import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tracer.published import parse_hub_name

PACKAGES = ("throughline", "torch", "transformers", "safetensors", "numpy", "scipy")


@dataclass
class Stopwatch:
    """Wall time since it was made."""

    start_s: float = field(default_factory=time.perf_counter)

    @property
    def elapsed_s(self) -> float:
        return round(time.perf_counter() - self.start_s, 3)


def versions() -> dict[str, str]:
    """Versions of Python and of every package that has a part in the numbers."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of these files by their path in the folder they share; a file is read once while it does not change."""
    found, ordered = {}, sorted(paths)
    shared = os.path.commonpath([path.parent for path in ordered]) if ordered else ""
    for path in ordered:
        about = path.stat()
        found[path.relative_to(shared).as_posix()] = _hash(path, about.st_size, about.st_mtime_ns)
    return found


def same_files(recorded: Mapping[str, str], folder_or_name: str) -> bool:
    """Whether the files of this folder, or of the hub's cache under this name, still have the hashes recorded."""
    folder, hub = Path(folder_or_name).expanduser(), parse_hub_name(folder_or_name)
    if recorded and hub and not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache  # slow to import

        some, inside = next(iter(recorded)), f"{hub.inside}/" if hub.inside else ""
        cached = try_to_load_from_cache(hub.repo, inside + some, revision=hub.revision)
        folder = Path(cached).parents[some.count("/")] if isinstance(cached, str) else folder
    try:
        return bool(recorded) and file_hashes(folder / name for name in recorded) == dict(recorded)
    except OSError:
        return False


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of facts that JSON can write, in whatever order they stand.

    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def model_files(folder: Path) -> list[Path]:
    """The files that decide what a Hugging Face model computes."""
    patterns = ("*.safetensors", "*.bin", "*.json", "*.model")
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def revision(folder: Path) -> str:
    """The commit of a folder inside the hub's cache, empty elsewhere.

    >>> revision(Path("hub/models--a--b/snapshots/0123abc/layers")), revision(Path("models/mine"))
    ('0123abc', '')
    """
    return next((at.name for at in (folder, *folder.parents) if at.parent.name == "snapshots"), "")


def now_utc() -> str:
    """The time, as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory_mb() -> float | None:
    """The most memory this process has held so far, in MB; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":  # where the number below is at least that of the process which started this one
        told = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if told:
            return round(int(told[1]) * 1024 / 1e6, 1)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)  # macOS tells bytes, Linux KiB


@lru_cache(maxsize=4096)
def _hash(path: Path, size: int, changed_ns: int) -> str:
    blob = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", blob):  # the hub's cache names large files by their SHA-256
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
