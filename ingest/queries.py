"""The .cypher files as objects: each is one query with a header that is its whole documentation."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tracer.errors import GraphFormatError, QueryError

CYPHER_DIR = Path(__file__).parent.parent / "cypher"
HEADER_KEYS = ("name", "purpose", "params", "returns", "access")
NO_DEFAULT = object()


@dataclass(frozen=True)
class Param:
    """One `$parameter` of a query."""

    name: str
    type: str
    """string, integer, float, boolean, list<string>, map, list<map>, list<list>, or any: JSON where it is JSON."""
    meaning: str
    default: Any = NO_DEFAULT

    @property
    def required(self) -> bool:
        """Whether a caller has to give it."""
        return self.default is NO_DEFAULT

    def read(self, value: Any) -> Any:
        """A value of this parameter's type; text, as typed at the command line or in a page, is converted.

        >>> Param("limit", "integer", "").read("5")
        5
        >>> Param("terms", "list<string>", "").read("Dallas -> Texas -> Austin")
        ['Dallas', 'Texas', 'Austin']
        """
        try:
            return _READERS.get(self.type, lambda value: value)(value)
        except (ValueError, TypeError):
            raise QueryError(f"${self.name} is {value!r}; expected {_EXPECTED[self.type]}. Give one.") from None


@dataclass(frozen=True)
class Column:
    """One column of the answer."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Query:
    """One file of cypher/."""

    name: str
    kind: str
    """Its folder: schema, load or explore."""
    purpose: str
    params: tuple[Param, ...]
    returns: tuple[Column, ...]
    access: str
    """read, write or schema."""
    text: str
    """The Cypher, without the header."""

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values: those given, converted to their types, and the defaults of the others.

        Raises:
            QueryError: A name is unknown, a required one is missing, or a value does not fit.
        """
        known = {param.name: param for param in self.params}
        unknown = [name for name in values if name not in known]
        missing = [name for name, param in known.items() if param.required and name not in values]
        if unknown or missing:
            seen = f"has no parameter ${unknown[0]}" if unknown else f"lacks ${missing[0]}"
            raise QueryError(f"query {self.name} {seen}; expected {self.signature()}. Give these.")
        return {name: param.read(values.get(name, param.default)) for name, param in known.items()}

    def signature(self) -> str:
        """The parameters in one line, optional ones with their default."""
        shown = (
            f"${param.name} {param.type}" + ("" if param.required else f" = {json.dumps(param.default)}")
            for param in self.params
        )
        return ", ".join(shown) or "no parameters"


@cache
def read_queries(kind: str | None = None) -> dict[str, Query]:
    """Every query by name, or those of one folder of cypher/."""
    return {path.stem: read_query(path) for path in sorted(CYPHER_DIR.glob(f"{kind or '**'}/*.cypher"))}


def query_named(name: str, kind: str = "explore") -> Query:
    """The query of this name. Raises QueryError with the names that exist."""
    queries = read_queries(kind)
    if name not in queries:
        raise QueryError(f"there is no query {name!r}; expected one of {', '.join(queries)}. Name one of these.")
    return queries[name]


def read_query(path: Path) -> Query:
    """Parse one file of cypher/. Raises GraphFormatError where the header lacks something."""
    lines = path.read_text(encoding="utf-8").splitlines()
    n_header = next((at for at, line in enumerate(lines) if not line.startswith("//")), len(lines))
    fields = _header(lines[:n_header])
    missing = [key for key in HEADER_KEYS if key not in fields]
    if missing:
        raise GraphFormatError(
            f"{path.name}: header lacks {', '.join(missing)}; a query file starts with one '// key:' line for each of "
            f"{', '.join(HEADER_KEYS)}. Copy the header of cypher/explore/strongest_sources.cypher."
        )
    return Query(
        name=fields["name"][0],
        kind=path.parent.name,
        purpose=" ".join(fields["purpose"]),
        params=tuple(_param(row, path) for row in fields["params"] if row != "none"),
        returns=tuple(Column(*_cells(row, path)) for row in fields["returns"] if row != "none"),
        access=fields["access"][0],
        text="\n".join(lines[n_header:]).strip(),
    )


def _header(lines: list[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    key = ""
    for line in lines:
        found = re.match(r"//\s?(\w+):\s*(.*)", line)  # a continuation is indented further
        key = found[1] if found else key
        fields.setdefault(key, []).append(found[2].strip() if found else line.removeprefix("//").strip())
    return fields


def _cells(row: str, path: Path) -> tuple[str, str, str]:
    cells = row.split(None, 2)
    if len(cells) < 3:
        raise GraphFormatError(f"{path.name}: header row {row!r}; expected name, type and meaning. Complete it.")
    return cells[0].removeprefix("$"), cells[1], cells[2]


def _param(row: str, path: Path) -> Param:
    name, kind, meaning = _cells(row, path)
    found = re.match(r"default (.+?); (.*)", meaning)
    if kind not in _EXPECTED:
        raise GraphFormatError(f"{path.name}: type {kind!r}; expected one of {', '.join(_EXPECTED)}. Use one of these.")
    return Param(name, kind, found[2], json.loads(found[1])) if found else Param(name, kind, meaning)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _strings(value: Any) -> list[str]:
    """A list as JSON, as `a -> b -> c`, or as `a, b, c`."""
    if isinstance(value, str):
        text = value.strip()
        separator = "->" if "->" in text else ","
        value = json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(separator) if part]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return list(value)


def _any(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


_READERS = {
    "string": str, "integer": _integer, "float": float, "boolean": _boolean, "list<string>": _strings, "any": _any
}  # fmt: skip
_EXPECTED = {
    "any": "a number, JSON, or a text",
    "string": "a text",
    "integer": "a whole number",
    "float": "a number",
    "boolean": "true or false",
    "list<string>": 'a list of texts such as ["Dallas", "Austin"]',
    "map": "a map",
    "list<map>": "a list of maps",
    "list<list>": "a list of lists",
}
