"""Circuit patterns such as `Dallas -> Texas -> Austin`: what each waypoint asks for, matched on a graph's nodes.

A waypoint is one of

    Dallas        text: equal to a token or output (spaces at the ends and case aside), or whole words of a label
    *city*        a wildcard: `*` any text, `?` one character; matched on the whole text
    "Dallas"      this whole text, case included
    {city}        a role: the whole text is one of the terms given for it
    20_15589      a feature by layer and index; also `#L20/15589`, and `20_15589_10` for position 10 alone
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from tracer.errors import PatternError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

Roles = Mapping[str, Iterable[str]]

ARROW = re.compile("-+>|[→⟶⇒➔➙➛➜➝➞]")
FEATURE = re.compile(r"(?:#L(\d+)/|(\d+)_)(\d+)(?:_(\d+))?")  # layer, written in either way, index, position
EXAMPLE = "Write waypoints between arrows, as in `Dallas -> Texas -> Austin`."


class How(StrEnum):
    """How a waypoint compares its terms with the text of a node."""

    WORDS = "words"
    GLOB = "glob"
    EXACT = "exact"
    ROLE = "role"
    FEATURE = "feature"


@dataclass(frozen=True)
class Waypoint:
    """One stop of a pattern."""

    text: str
    """As it was typed."""
    how: How
    """How terms are compared."""
    terms: tuple[str, ...] = ()
    """What is looked for: one text, or every term of a role; empty for a feature."""
    role: str = ""
    """Name of the role, or empty."""
    layer: int = -1
    """Of the feature."""
    index: int = -1
    """Of the feature, in its dictionary."""
    position: int = -1
    """Token position of the feature, -1 for all."""

    def matches(self, kind: str, label: str, layer: int = -1, index: int = -1, position: int = -1) -> bool:
        """Whether a node with these properties can serve as this waypoint.

        >>> texas = parse_pattern("Texas -> Austin").waypoints[0]
        >>> texas.matches("feature", "cities of Texas"), texas.matches("feature", "Texans")
        (True, False)
        >>> texas.matches("token", " texas"), texas.matches("token", "cities of Texas")
        (True, False)
        """
        if self.how is How.FEATURE:
            here = self.position in (-1, position)
            return kind == NodeKind.FEATURE and (layer, index) == (self.layer, self.index) and here
        return self.term_of(kind, label) is not None

    def term_of(self, kind: str, label: str) -> str | None:
        """The term that a node with this label stands for, None where it stands for none."""
        label = _plain(label)
        if self.how is How.EXACT:
            return self.terms[0] if label == self.terms[0] else None
        if not label and self.how is not How.GLOB:
            return None
        if self.how is How.ROLE:
            return self._terms_by_key.get(label.casefold())
        if self.how is How.WORDS and kind != NodeKind.FEATURE:
            return self.terms[0] if label.casefold() == self.terms[0].casefold() else None
        return self.terms[0] if self._expression.search(label) else None

    def bound_to(self, term: str) -> "Waypoint":
        """This waypoint with one term of its role alone."""
        return replace(self, terms=(term,))

    @cached_property
    def _terms_by_key(self) -> dict[str, str]:
        return {term.casefold(): term for term in self.terms}

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        if self.how is How.GLOB:
            parts = {"*": ".*", "?": "."}
            body = "".join(parts.get(letter) or re.escape(letter) for letter in self.terms[0])
            return re.compile(rf"\A{body}\Z", re.IGNORECASE | re.DOTALL)
        return re.compile(rf"(?<!\w){re.escape(self.terms[0])}(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Pattern:
    """An ordered list of at least two waypoints."""

    text: str
    """As it was typed."""
    waypoints: tuple[Waypoint, ...]
    """In the order in which a path meets them."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of the roles, each once, in order."""
        return tuple(dict.fromkeys(waypoint.role for waypoint in self.waypoints if waypoint.role))

    def __iter__(self) -> Iterator[Waypoint]:
        return iter(self.waypoints)

    def __len__(self) -> int:
        return len(self.waypoints)


def parse_pattern(text: str, roles: Roles | None = None) -> Pattern:
    """The pattern that this text describes.

    Args:
        text: Waypoints between arrows (`->` or `→`); see the head of this module for what a waypoint can be.
        roles: The terms of each role that the pattern may name.

    Raises:
        PatternError: Nothing between two arrows, fewer than two waypoints, quotes or braces that do not close, or a
            role without terms.

    >>> [(waypoint.how.value, waypoint.terms) for waypoint in parse_pattern('New York → say* -> "Albany"')]
    [('words', ('New York',)), ('glob', ('say*',)), ('exact', ('Albany',))]
    >>> parse_pattern("{city} -> 20_15589", {"city": ["Dallas", "Oakland"]}).waypoints[0].terms
    ('Dallas', 'Oakland')
    """
    if not text.strip():
        raise PatternError(f"the pattern is empty; expected at least two waypoints. {EXAMPLE}")
    parts = _split(text)
    for number, part in enumerate(parts, 1):
        if not part:
            raise PatternError(f"pattern {text!r}: waypoint {number} of {len(parts)} is empty. {EXAMPLE}")
    waypoints = tuple(_waypoint(part, text, roles or {}) for part in parts)
    if len(waypoints) < 2:
        raise PatternError(f"pattern {text!r} has one waypoint; expected at least two. {EXAMPLE}")
    return Pattern(text.strip(), waypoints)


def match(pattern: Pattern, graph: AttributionGraph) -> list[np.ndarray]:
    """For each waypoint the rows of the nodes that can serve as it, ascending.

    A text as the first waypoint means tokens where some token matches, and as the last one outputs where some output
    does: `Dallas -> Austin` asks how the word makes the answer, not how features named alike feed each other.
    """
    return [np.flatnonzero(terms != NO_TERM) for terms in match_terms(pattern, graph)]


NO_TERM = -1  # in `match_terms`: the node does not serve as the waypoint


def match_terms(pattern: Pattern, graph: AttributionGraph) -> list[np.ndarray]:
    """For each waypoint (N,) which of its terms a node stands for, by place in `terms`; NO_TERM for none."""
    texts: dict[tuple[str, str], int] = {}  # labels repeat, most of them are empty
    columns = (graph.nodes[name].to_numpy(object) for name in ("kind", "label"))
    text_N = np.array([texts.setdefault(text, len(texts)) for text in zip(*columns, strict=True)], np.int64)
    terms_N = [
        _terms_of_features(waypoint, graph) if waypoint.how is How.FEATURE else _terms_of_texts(waypoint, texts)[text_N]
        for waypoint in pattern
    ]
    for place, kind in ((0, NodeKind.TOKEN), (-1, NodeKind.LOGIT)):
        if pattern.waypoints[place].how in (How.WORDS, How.EXACT, How.ROLE):
            own = graph.slice_of(kind)
            if (terms_N[place][own] != NO_TERM).any():
                terms_N[place][: own.start] = NO_TERM
                terms_N[place][own.stop :] = NO_TERM
    return terms_N


def _terms_of_features(waypoint: Waypoint, graph: AttributionGraph) -> np.ndarray:
    nodes = graph.nodes
    found = (nodes["kind"] == NodeKind.FEATURE) & (nodes["layer"] == waypoint.layer)
    found &= nodes["index"] == waypoint.index
    if waypoint.position >= 0:
        found &= nodes["position"] == waypoint.position
    return np.where(found.to_numpy(), 0, NO_TERM)


def _terms_of_texts(waypoint: Waypoint, texts: Iterable[tuple[str, str]]) -> np.ndarray:
    place: dict[str | None, int] = {term: i for i, term in enumerate(waypoint.terms)} | {None: NO_TERM}
    return np.array([place[waypoint.term_of(kind, label)] for kind, label in texts], np.int64)


def _split(text: str) -> list[str]:
    """The parts between arrows; arrows inside quotes do not count."""
    parts, begin, quoted, at = [], 0, False, 0
    while at < len(text):
        arrow = None if quoted else ARROW.match(text, at)
        if arrow:
            parts.append(text[begin:at].strip())
            at = begin = arrow.end()
            continue
        quoted ^= text[at] == '"'
        at += 1
    if quoted:
        raise PatternError(f'pattern {text!r} has a quote that does not close; expected quotes in pairs. Add a `"`.')
    return [*parts, text[begin:].strip()]


def _waypoint(part: str, text: str, roles: Roles) -> Waypoint:
    if '"' in part:
        return _exact(part, text)
    if "{" in part or "}" in part:
        return _role(part, text, roles)
    feature = FEATURE.fullmatch(part)
    if feature:
        written, plain, index, position = feature.groups()
        at = int(position) if position else -1
        return Waypoint(part, How.FEATURE, layer=int(written or plain), index=int(index), position=at)
    return Waypoint(part, How.GLOB if set(part) & set("*?") else How.WORDS, (_plain(part),))


def _exact(part: str, text: str) -> Waypoint:
    inner = part[1:-1]
    if part[0] != '"' or part[-1] != '"' or '"' in inner:
        raise PatternError(
            f"pattern {text!r}: {part} is quoted in part; expected quotes around the whole waypoint, "
            'or none. Write "New York" or New York.'
        )
    if not inner.strip():
        raise PatternError(f"pattern {text!r}: the quotes hold nothing; expected a text. {EXAMPLE}")
    return Waypoint(part, How.EXACT, (_plain(inner),))


def _role(part: str, text: str, roles: Roles) -> Waypoint:
    name = part[1:-1].strip()
    if part[0] != "{" or part[-1] != "}" or set(name) & set("{}"):
        raise PatternError(
            f"pattern {text!r}: braces in {part} do not enclose one role; expected {{name}} alone. "
            "Close the brace, or quote a text that holds one."
        )
    there = ", ".join(f"{{{role}}}" for role in sorted(roles)) or "no roles at all"
    if name not in roles:
        raise PatternError(f"pattern {text!r}: role {{{name}}} is unknown; there are {there}. Use or define one.")
    terms = {_plain(term).casefold(): _plain(term) for term in roles[name]}
    terms.pop("", None)
    if not terms:
        raise PatternError(f"pattern {text!r}: role {{{name}}} has no terms; expected at least one. Give it some.")
    return Waypoint(part, How.ROLE, tuple(terms.values()), role=name)


def _plain(text: str) -> str:
    return " ".join(text.split())
