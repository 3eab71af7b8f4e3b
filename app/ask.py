"""What is asked on the Circuits page, as an address holds it and as a pattern spells it; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from circuits.config import SIGNS, SearchConfig, Sign

PAGE = "/circuits"
KEPT = "kept"  # in the address: the kept circuit that is open
ARROW = " -> "
MOST_PATHS = 50


@dataclass(frozen=True)
class Question:
    """A search for circuits."""

    pattern: str = ""
    """Waypoints between arrows; empty while nothing was asked."""
    graph_ids: tuple[str, ...] = ()
    """In these graphs; all if empty."""
    k: int = SearchConfig.k
    """Paths to show per graph."""
    sign: Sign = SearchConfig.sign
    """Which effects count: `any`, or `positive`."""

    @property
    def config(self) -> SearchConfig:
        """What counts, and how many paths are shown."""
        return SearchConfig(self.k, self.sign)

    @property
    def steps(self) -> list[str]:
        """The waypoints as texts.

        >>> Question("Dallas -> Texas → Austin").steps
        ['Dallas', 'Texas', 'Austin']
        """
        return split_steps(self.pattern)

    @property
    def fits_steps(self) -> bool:
        """Whether the fields of the form can hold the pattern: no arrow has links or a sign, none stands in quotes.

        >>> Question("a -> b").fits_steps, Question("a -{2}-> b").fits_steps, Question('"a -> b" -> c').fits_steps
        (True, False, False)
        """
        return not re.search(r'-+\{|-+\||⊣|"[^"]*(->|→)[^"]*"', self.pattern)

    def without(self, step: int) -> "Question":
        """The same with one waypoint less."""
        return replace(self, pattern=ARROW.join(text for at, text in enumerate(self.steps) if at != step))

    def loosened(self, step: int) -> "Question":
        """The same with wildcards around the text of one waypoint."""
        steps = [f"*{text.strip('*')}*" if at == step else text for at, text in enumerate(self.steps)]
        return replace(self, pattern=ARROW.join(steps))

    def params(self) -> dict[str, Any]:
        """As query parameters; what is at its default is left out.

        >>> Question("a -> b", ("ab12",), k=3).params()
        {'p': 'a -> b', 'in': ['ab12'], 'k': '3'}
        """
        given: dict[str, Any] = {"p": self.pattern, "in": list(self.graph_ids)}
        changed = {"k": str(self.k), "sign": self.sign}
        given |= {name: value for name, value in changed.items() if getattr(self, name) != getattr(SearchConfig, name)}
        return {name: value for name, value in given.items() if value}

    @property
    def link(self) -> str:
        """The address that asks it.

        >>> Question("a -> b", ("ab12",)).link
        '/circuits?p=a+-%3E+b&in=ab12'
        """
        return f"{PAGE}?{urlencode(self.params(), doseq=True)}"


def bound_question(pattern: str, prompt: Mapping[str, Any]) -> Question:
    """The pattern in one prompt of a set, with the terms that stand for its roles there.

    >>> bound_question("{city} -> {state} -> say *", {"graph_id": "ab", "roles": {"city": "New York", "state": "Ohio"}})
    Question(pattern='"New York" -> Ohio -> say *', graph_ids=('ab',), k=5, sign='any')
    """
    for role, term in prompt["roles"].items():
        pattern = pattern.replace(f"{{{role}}}", term if term.isalnum() else f'"{term}"')
    return Question(pattern, (prompt["graph_id"],))


def kept_link(kept_id: str) -> str:
    """The address of a kept circuit."""
    return f"{PAGE}?{urlencode({KEPT: kept_id})}"


def split_steps(text: str) -> list[str]:
    """Texts between arrows or on lines of their own.

    >>> split_steps("Texas\\n{region} -> say *")
    ['Texas', '{region}', 'say *']
    """
    return [step.strip() for step in re.split(r"-+>|→|\n", text) if step.strip()]


def join_steps(start: str, through: str, end: str) -> str:
    """One pattern from the three fields of the form; an empty one is left out."""
    return ARROW.join(step for step in (start.strip(), *split_steps(through), end.strip()) if step)


def read_question(pattern: str, graph_ids: list[str], k: str, sign: str) -> Question:
    """The question of an address; what it cannot mean is at its default."""
    paths = int(k) if k.isdecimal() and 1 <= int(k) <= MOST_PATHS else SearchConfig.k
    known = SIGNS[SIGNS.index(sign)] if sign in SIGNS else SearchConfig.sign
    return Question(pattern.strip(), tuple(graph_ids), paths, known)
