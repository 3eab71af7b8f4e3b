"""Where Throughline keeps what it stores: THROUGHLINE_HOME, or this user's data folder."""

import os
import sys
from pathlib import Path


def home() -> Path:
    """The folder of everything that is stored; not created here.

    `THROUGHLINE_HOME` where it is set, else `throughline` in the data folder of the user as the system has it.

    >>> import unittest.mock
    >>> with unittest.mock.patch.dict(os.environ, THROUGHLINE_HOME="somewhere"):
    ...     home() == Path("somewhere").absolute()
    True
    """
    chosen = os.environ.get("THROUGHLINE_HOME")
    return Path(chosen).expanduser().absolute() if chosen else _data_folder() / "throughline"


def jar_cache() -> Path:
    """The folder of Neo4j's jars: `THROUGHLINE_JARS` where it is set (many homes can share one), else in `home()`."""
    chosen = os.environ.get("THROUGHLINE_JARS")
    return Path(chosen).expanduser().absolute() if chosen else home() / "neo4j" / "jars"


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
