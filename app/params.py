"""The `$parameters` of a query as fields to fill in: which there are, their types, and values read from text; pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest.queries import Param, Query

VIEWS = ("table", "graph", "chart", "plan")
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
    return Param(blank.name, blank.type, blank.meaning).read(text)


@dataclass(frozen=True)
class Asked:
    """A query that was run, and how its answer is looked at, as an address holds it."""

    text: str
    name: str = ""
    """Where it is a saved one."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What was filled in, as text."""
    view: str = VIEWS[0]
    x: str = ""
    """Columns of the chart; empty where it chooses them."""
    y: str = ""

    def params(self) -> dict[str, str]:
        """As query parameters: the name where it is saved, else the text; what is at its default is left out.

        >>> Asked("RETURN $k", values={"k": "5"}).params()
        {'q': 'RETURN $k', 'param_k': '5'}
        """
        what = {"name": self.name} if self.name else {"q": self.text}
        looks = {"view": "" if self.view == VIEWS[0] else self.view, "x": self.x, "y": self.y}
        filled = {f"param_{key}": value for key, value in self.values.items()}
        return what | filled | {key: value for key, value in looks.items() if value}


def read_asked(given: Mapping[str, str], queries: Mapping[str, Query]) -> Asked | None:
    """The query of an address; None where it holds none. A name that is not there any more gives its text, if any."""
    name = given.get("name", "") if given.get("name") in queries else ""
    text = queries[name].text if name else given.get("q", "").strip()
    if not text:
        return None
    values = {key.removeprefix("param_"): value for key, value in given.items() if key.startswith("param_")}
    view = given.get("view", "") if given.get("view") in VIEWS else VIEWS[0]
    return Asked(text, name, values, view, given.get("x", ""), given.get("y", ""))


def _blank(param: Param) -> Blank:
    if param.required:
        return Blank(param.name, param.type, param.meaning)
    default = param.default if isinstance(param.default, str) else json.dumps(param.default)
    return Blank(param.name, param.type, param.meaning, default)
