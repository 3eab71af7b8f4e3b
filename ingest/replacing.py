"""A file that takes the place of another when it is written to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tracer.errors import SettingError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside this one that takes its place when all is written, and is gone where that fails.

    Raises:
        SettingError: The path is that of a folder.
    """
    if path.is_dir():
        raise SettingError(f"{path} is a folder; expected the name of a file to write. Name one in it.")
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as out:
            yield out
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
