"""The `$parameters` of a query as fields to fill in: which there are, their types, and values read from text; pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.queries import Param, Query

NOT_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`""", re.DOTALL)


@dataclass(frozen=True)
class Blank:
    """One field to fill in."""

    name: str
    type: str
    """As in the header of a saved query; `any` where the text alone is known: JSON if it is JSON, else a text."""
    meaning: str = ""
    default: str = ""
    """As text; empty where a value has to be given."""


def names_of(text: str) -> list[str]:
    """The `$names` in a Cypher text, each once, in order; not those in comments and strings.

    >>> names_of("MATCH (n {id: $id}) WHERE n.x = '$y' // $z\\nRETURN n LIMIT $k + $id")
    ['id', 'k']
    """
    return list(dict.fromkeys(re.findall(r"\$(\w+)", NOT_CODE.sub(" ", text))))


def blanks_of(text: str, query: Query | None) -> list[Blank]:
    """The fields for this text: typed where it is that of a saved query, or uses parameters of one."""
    known = {param.name: param for param in query.params} if query else {}
    return [_blank(known[name]) if name in known else Blank(name, "any") for name in names_of(text)]


def value_of(blank: Blank, text: str) -> Any:
    """The value that this text stands for. Raises QueryError where it is none of the type.

    >>> value_of(Blank("k", "any"), "5"), value_of(Blank("name", "any"), "Dallas"), value_of(Blank("n", "integer"), "7")
    (5, 'Dallas', 7)
    """
    if blank.type != "any":
        return Param(blank.name, blank.type, blank.meaning).read(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def query_params(text: str, name: str, values: Mapping[str, str]) -> dict[str, str]:
    """The address of a query: by its name where it is saved, else by its text; and what was filled in.

    >>> query_params("RETURN $k", "", {"k": "5"})
    {'q': 'RETURN $k', 'param_k': '5'}
    """
    return ({"name": name} if name else {"q": text}) | {f"param_{key}": value for key, value in values.items()}


def _blank(param: Param) -> Blank:
    if param.required:
        return Blank(param.name, param.type, param.meaning)
    default = param.default if isinstance(param.default, str) else json.dumps(param.default)
    return Blank(param.name, param.type, param.meaning, default)
