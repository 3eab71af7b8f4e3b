"""Queries that people keep: a file each in the library, with the same header as those that ship."""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.library import Library
from ingest.queries import Query, query_named, read_queries, read_query
from ingest.small_files import SmallFiles
from tracer.errors import GraphFormatError, QueryError

FOLDER = "queries"  # in the library
KIND = "own"
NAME = r"[a-z][a-z0-9_]{0,60}"
_TYPES = {bool: "boolean", int: "integer", float: "float", str: "string"}


class OwnQueries:
    """The queries kept in a library, by name."""

    def __init__(self, library: Library):
        self._files = SmallFiles(library, FOLDER, ".cypher")

    def all(self) -> dict[str, Query]:
        """Every kept query by name; a file that cannot be read is left out, and `read` tells why."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.read(name)
            except GraphFormatError:
                continue
        return found

    def names(self) -> list[str]:
        """The names of all files, sorted; not of those that `keep` would refuse."""
        ours = read_queries("explore")
        return [name for name in self._files.names() if re.fullmatch(NAME, name) and name not in ours]

    def read(self, name: str) -> Query:
        """A kept query. Raises GraphFormatError where its header lacks something."""
        return query_of(name, self._files.read(name))

    def keep(self, name: str, purpose: str, text: str, values: Mapping[str, Any], columns: tuple[str, ...]) -> Query:
        """Keep a text under a name, in place of one of the same name; what is filled in becomes its defaults.

        Args:
            columns: What it returned.

        Raises:
            QueryError: The name does not fit, or is that of a query that ships.
            StoreError: It cannot be written (no room, no rights).
        """
        if not re.fullmatch(NAME, name):
            raise QueryError(
                f"{name!r} cannot name a query; expected small letters, digits and _ after a letter, such as "
                "texas_features. Choose another name."
            )
        if name in read_queries("explore"):
            raise QueryError(f"{name} is the name of a query that ships. Choose another name.")
        self.write(name, query_file(name, purpose, text, values, columns).encode())
        return self.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all, in place of one of the same name.

        Raises:
            StoreError: It cannot be written (no room, no rights).
        """
        remedy = "Make room, or name another folder with THROUGHLINE_LIBRARY."
        self._files.write(name, content, f"query {name}", remedy)

    def remove(self, name: str) -> None:
        """Delete a kept query, if it is there."""
        if name in self.names():
            self._files.remove(name)


def query_of(name: str, content: bytes) -> Query:
    """The query of a file with this content. Raises GraphFormatError where its header lacks something."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.cypher"
        path.write_bytes(content)
        return replace(read_query(path), kind=KIND)


def find_query(name: str, library: Library) -> Query:
    """The query of this name, of those that ship and those that are kept.

    Raises:
        QueryError: There is none; the message has the names that exist.
    """
    own = OwnQueries(library)
    return own.read(name) if name in own.names() else query_named(name)


def query_file(name: str, purpose: str, text: str, values: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """A query as a file of cypher/ has it."""
    params = [f"${key}  {_type_of(value)}  {_default(value)}a value to fill in" for key, value in values.items()]
    returns = [f"{_plain(column)}  any  as the query says" for column in columns]
    lines = [f"// name:    {name}", f"// purpose: {' '.join(purpose.split()) or 'A query of your own.'}"]
    for title, rows in (("params: ", params), ("returns:", returns)):
        lines += [f"// {title if at == 0 else ' ' * 8} {row}" for at, row in enumerate(rows or ["none"])]
    return "\n".join([*lines, "// access:  read", "", text.strip(), ""])  # a comment after a gap is no header


def _type_of(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "list<string>"
    return _TYPES.get(type(value), "any")


def _default(value: Any) -> str:
    """A semicolon ends it, so one in a text is written as JSON may."""
    return "" if value is None else "default " + json.dumps(value).replace(";", r"\u003b") + "; "


def _plain(column: str) -> str:
    return re.sub(r"\s+", "", column) or "_"
