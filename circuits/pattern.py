"""Circuit patterns such as `Dallas -> Texas -> Austin`: what each waypoint asks for, and the nodes that can serve.

    pattern   = waypoint (arrow waypoint)+
    arrow     = "->" | "-|" | "-{hops}->" | "-{hops}-|"       `-|`: effects on the way multiply to a negative number
    hops      = "2" | "2,4" | "2," | ",4"                     links between the two waypoints; any number if not given
    waypoint  = choice ("|" choice)* filter*                  one of several things
    choice    = Dallas           text: equal to a token or output (spaces at the ends and case aside), or whole words
                                 of a label
              | *city*           a wildcard: `*` any text, `?` one character; matched on the whole text
              | "Dallas"         this whole text, case included
              | {city}           a role, alone: the whole text is one of the terms given for it
              | 20/15589         a feature by layer and index; also `clt-hp/20/15589`, of that dictionary alone,
                                 `20_15589`, `#L20/15589`, and `20_15589_10` for position 10 alone
              | supernode:Texas  the members of a supernode of this name; wildcards and quotes as above
              | error | bias     nodes of this kind; no wildcard means a bias
    filter    = "@L10" | "@L10-20" | "@L10-"                  layers; alone it stands for any node there
              | "@pos:3" | "@pos:-1" | "@pos:Dallas"          token position, from the end if negative, or its text

Quotes keep arrows, bars, braces and `@` in a text: `"a -> b"`. As a walk back takes the first node of a waypoint that
it meets, hops and sign of an arrow are those up to this node: before `*` stands one link, and never two.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import NoReturn
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from circuits.walks import Way
from tracer.errors import PatternError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

Roles = Mapping[str, Iterable[str]]

ARROW = re.compile(r"-(?P<brace>[{[])(?P<hops>[^][{}]*)[]}]-*(?P<end>[>|])|-+(?P<plain>[>|])|(?P<sign>[→⟶⇒➔➙➛➜➝➞⊣])")
HOPS = re.compile(r"\s*(?:(\d+)|(\d*)\s*,\s*(\d*))\s*")
FEATURE = re.compile(r"(?:#L(\d+)/|(\d+)_)(\d+)(?:_(\d+))?|(?:(.*\S)/)?(\d+)/(\d+)")  # layer, index, position; set
FILTER = re.compile(r"L(\d+)(-(\d*))?|pos:\s*(\S.*)")
SUPERNODE = "supernode:"
KINDS = {"error": NodeKind.ERROR, "bias": NodeKind.BIAS}
EXAMPLE = "Write waypoints between arrows, as in `Dallas -> Texas -> Austin`."
ABOVE_ALL = 1 << 30  # a layer above all layers
NO_TERM = -1  # in `match_terms`: the node does not serve as the waypoint


class How(StrEnum):
    """How a choice compares its terms with a node."""

    WORDS = "words"
    GLOB = "glob"
    EXACT = "exact"
    ROLE = "role"
    FEATURE = "feature"
    SUPERNODE = "supernode"
    KIND = "kind"


TEXTS = (How.WORDS, How.EXACT, How.ROLE)  # at the ends of a pattern these mean tokens and outputs first


@dataclass(frozen=True)
class Choice:
    """One of the things that a waypoint can be."""

    how: How
    """How terms are compared."""
    terms: tuple[str, ...] = ()
    """What is looked for: one text, or every term of a role; empty for a feature."""
    source_set: str = ""
    """Of the feature; empty for any."""
    layer: int = -1
    """Of the feature."""
    index: int = -1
    """Of the feature, in its dictionary."""
    position: int = -1
    """Token position of the feature, -1 for all."""

    @property
    def layers(self) -> tuple[int, int]:
        """The lowest and the highest layer where it can be; -1 holds the tokens."""
        return (self.layer, self.layer) if self.how is How.FEATURE else (-1, ABOVE_ALL)

    def term_of(self, kind: str, label: str) -> str | None:
        """The term that a node with this kind and label stands for, None where it stands for none."""
        label = plain(label)
        match self.how:
            case How.KIND:
                return self.terms[0] if kind == KINDS[self.terms[0]] else None
            case How.EXACT:
                return self.terms[0] if label == self.terms[0] else None
            case How.GLOB:
                return self.terms[0] if kind != NodeKind.BIAS and self._expression.search(label) else None
            case How.ROLE:
                return self._terms_by_key.get(label.casefold()) if label else None
            case How.WORDS if kind != NodeKind.FEATURE:
                return self.terms[0] if label.casefold() == self.terms[0].casefold() else None
            case How.WORDS:
                return self.terms[0] if self._expression.search(label) else None
        return None

    @cached_property
    def needle(self) -> str:
        """A text that each fitting label holds, both without case; empty where there is none: quick to look for."""
        match self.how:
            case How.WORDS | How.EXACT:
                return self.terms[0].casefold()
            case How.GLOB:
                return max(re.split(r"[*?\\]", self.terms[0]), key=len).casefold()
        return ""

    @property
    def any_text(self) -> bool:
        """Whether everything but a bias fits."""
        return self.how is How.GLOB and set(self.terms[0]) == {"*"}

    def is_of(self, source_set: str) -> bool:
        """Whether a feature of this dictionary can be meant; `clt-hp` also means a `clt-hp` of anybody."""
        ours, theirs = self.source_set.casefold(), source_set.casefold()
        return ours in ("", theirs, theirs.rpartition("/")[2])

    @cached_property
    def _terms_by_key(self) -> dict[str, str]:
        return {term.casefold(): term for term in self.terms}

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        if self.how is How.GLOB:
            return glob_expression(self.terms[0])
        return re.compile(rf"(?<!\w){re.escape(self.terms[0])}(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Waypoint:
    """One stop of a pattern."""

    text: str
    """As it was typed."""
    choices: tuple[Choice, ...]
    """What it can be."""
    role: str = ""
    """Name of the role, or empty."""
    within: tuple[int, int] | None = None
    """Lowest and highest layer that its filter leaves; any if None."""
    position: int | None = None
    """Token position that its filter asks for, from the end if negative."""
    position_text: Choice | None = None
    """Text of the token at the position that its filter asks for."""
    begin: int = field(default=0, compare=False)
    """Where it starts in the pattern."""

    @property
    def how(self) -> How:
        """How the first choice compares its terms."""
        return self.choices[0].how

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the first choice: for a role all that it can stand for."""
        return self.choices[0].terms

    @property
    def layers(self) -> tuple[int, int]:
        """The lowest and the highest layer where a node of it can be."""
        lowest = min(choice.layers[0] for choice in self.choices)
        highest = max(choice.layers[1] for choice in self.choices)
        return (max(lowest, self.within[0]), min(highest, self.within[1])) if self.within else (lowest, highest)

    def matches(self, kind: str, label: str, layer: int = -1, index: int = -1, position: int = -1) -> bool:
        """Whether a node with these properties can serve as this waypoint, in any graph and dictionary.

        >>> texas = parse_pattern("Texas -> Austin").waypoints[0]
        >>> texas.matches("feature", "cities of Texas"), texas.matches("feature", "Texans")
        (True, False)
        >>> texas.matches("token", " texas"), texas.matches("token", "cities of Texas")
        (True, False)
        """
        if self.within and not self.within[0] <= layer <= self.within[1]:
            return False
        for choice in self.choices:
            if choice.how is How.FEATURE:
                here = kind == NodeKind.FEATURE and choice.position in (-1, position)
                if here and (layer, index) == (choice.layer, choice.index):
                    return True
            elif choice.term_of(kind, label) is not None:
                return True
        return False

    def term_of(self, kind: str, label: str) -> str | None:
        """The term that a node with this label stands for, None where it stands for none."""
        return next((term for choice in self.choices if (term := choice.term_of(kind, label)) is not None), None)

    def bound_to(self, term: str) -> "Waypoint":
        """This waypoint with one term of its role alone."""
        return replace(self, choices=(replace(self.choices[0], terms=(term,)),))


@dataclass(frozen=True)
class Pattern:
    """An ordered list of at least two waypoints."""

    text: str
    """As it was typed."""
    waypoints: tuple[Waypoint, ...]
    """In the order in which a path meets them."""
    ways: tuple[Way, ...] = ()
    """What a path may do between each two of them."""

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
        text: Waypoints between arrows; see the head of this module for what both can be.
        roles: The terms of each role that the pattern may name.

    Raises:
        PatternError: The text breaks the grammar, a role has no terms, or the order of layers rules out every path.
            The message shows the place.

    >>> [(waypoint.how.value, waypoint.terms) for waypoint in parse_pattern('New York → say* -> "Albany"')]
    [('words', ('New York',)), ('glob', ('say*',)), ('exact', ('Albany',))]
    >>> parse_pattern("{city} -> 20_15589", {"city": ["Dallas", "Oakland"]}).waypoints[0].terms
    ('Dallas', 'Oakland')
    >>> parse_pattern("Dallas -{1,2}-> Texas|Texan@L10-20 -| Austin").ways
    (Way(sign='any', min_hops=1, max_hops=2), Way(sign='negative', min_hops=1, max_hops=None))
    """
    reader = _Reader(text.strip(), roles or {})
    if not reader.text:
        raise PatternError(f"the pattern is empty; expected at least two waypoints. {EXAMPLE}")
    pattern = reader.read()
    reader.check_layers(pattern)
    return pattern


def at_place(text: str, begin: int, end: int | None = None) -> str:
    """The pattern with carets under a part of it, as the end of a message.

    >>> print(at_place("Dallas -> ?", 10))
    <BLANKLINE>
      Dallas -> ?
                ^
    """
    line = " ".join(text.splitlines())
    length = max(1, (begin + 1 if end is None else end) - begin)
    return f"\n  {line}\n  {' ' * begin}{'^' * length}"


class _Reader:
    """Reads one pattern; knows the place of everything, for messages."""

    def __init__(self, text: str, roles: Roles):
        self.text, self.roles = text, roles

    def read(self) -> Pattern:
        parts, ways, begin = [], [], 0
        for arrow in self._outside_quotes(ARROW, 0, len(self.text)):
            parts.append((begin, arrow.start()))
            ways.append(self._way(arrow))
            begin = arrow.end()
        parts.append((begin, len(self.text)))
        for number, (start, stop) in enumerate(parts, 1):
            if not self.text[start:stop].strip():
                self.fail(f"waypoint {number} of {len(parts)} is empty; expected one between each two arrows", start)
        if len(parts) < 2:
            self.fail("the pattern has one waypoint; expected at least two", 0, len(self.text))
        return Pattern(self.text, tuple(self._waypoint(*self._stripped(*part)) for part in parts), tuple(ways))

    def fail(self, what: str, begin: int, end: int | None = None, remedy: str = EXAMPLE) -> NoReturn:
        raise PatternError(f"{what}. {remedy}{at_place(self.text, begin, end)}")

    def check_layers(self, pattern: Pattern) -> None:
        """Refuse a pattern whose waypoints cannot follow each other: edges go to higher layers."""
        above: int | None = None
        for number, waypoint in enumerate(pattern):
            lowest, highest = waypoint.layers
            begin, end = waypoint.begin, waypoint.begin + len(waypoint.text)
            if lowest > highest:
                self.fail(
                    f"no node is in the layers of {waypoint.text}: its filter leaves {_span(waypoint.within)}",
                    begin, end, "Change the filter or leave it out.",
                )  # fmt: skip
            if above is None:
                above = lowest
                continue
            before, way = pattern.waypoints[number - 1], pattern.ways[number - 1]
            # a bias acts also within its layer
            above += way.min_hops - any(choice.terms == ("bias",) for choice in before.choices)
            if above > highest:
                least = f" by at least {way.min_hops} links" if way.min_hops > 1 else ""
                self.fail(
                    f"{before.text} is in layer {before.layers[0]} or higher and {waypoint.text} in layer {highest} or "
                    f"lower, but each link goes to a higher layer, so no path goes from one to the other{least}",
                    before.begin, end, "Change their order, or ask for other layers.",
                )  # fmt: skip
            above = max(above, lowest)

    def _outside_quotes(self, expression: re.Pattern[str], begin: int, end: int) -> Iterator[re.Match[str]]:
        quote, at = -1, begin
        while at < end:
            found = expression.match(self.text, at, end) if quote < 0 else None
            if found:
                yield found
                at = found.end()
                continue
            if self.text[at] == '"':
                quote = at if quote < 0 else -1
            at += 1
        if quote >= 0:
            self.fail("a quote does not close; expected quotes in pairs", quote, remedy='Add a `"`.')

    def _way(self, arrow: re.Match[str]) -> Way:
        sign = "negative" if (arrow["end"] or arrow["plain"] or arrow["sign"]) in ("|", "⊣") else "any"
        if arrow["hops"] is None:
            return Way(sign)
        hops = HOPS.fullmatch(arrow["hops"]) if arrow["brace"] == "{" else None  # [..] is how others write it
        example = "Write `-{2}->`, `-{2,4}->`, `-{2,}->` or `-{,4}->`."
        if not hops or not any(hops.groups()):
            self.fail(
                f"{arrow[0]} has no number of links in braces; expected one or two", arrow.start(), arrow.end(), example
            )
        exactly, least, most = hops.groups()
        low, high = int(exactly or least or 1), int(exactly or most) if exactly or most else None
        if low < 1 or (high is not None and high < low):
            self.fail(
                f"{arrow[0]} allows no path; expected at least 1 link, and no more at least than at most",
                arrow.start(), arrow.end(), example,
            )  # fmt: skip
        return Way(sign, low, high)

    def _stripped(self, begin: int, end: int) -> tuple[int, int]:
        part = self.text[begin:end]
        return begin + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())

    def _waypoint(self, begin: int, end: int) -> Waypoint:
        starts = [mark.start() for mark in self._outside_quotes(re.compile("@"), begin, end)]
        body_end = starts[0] if starts else end
        asked = Waypoint(self.text[begin:end], self._choices(*self._stripped(begin, body_end)), begin=begin)
        if asked.how is How.ROLE:
            asked = replace(asked, role=self.text[begin:body_end].strip()[1:-1].strip())
        for start, stop in pairwise([*starts, end]):
            asked = self._filtered(asked, start, stop)
        return asked

    def _filtered(self, waypoint: Waypoint, begin: int, end: int) -> Waypoint:
        text = self.text[begin + 1 : end].strip()
        found = FILTER.fullmatch(text)
        if not found:
            remedy = 'Write `@L10-20`, `@pos:3` or `@pos:Dallas`, or quote a text that holds an @: "a@b".'
            self.fail(f"@{text} is no filter; expected layers or a position", begin, end, remedy)
        lowest, to, highest, position = found.groups()
        if lowest:
            top = int(lowest) if to is None else int(highest) if highest else ABOVE_ALL
            if top < int(lowest):
                self.fail(f"@{text} holds no layer; expected the lower one first", begin, end, "Exchange the two.")
            return replace(waypoint, within=(int(lowest), top))
        if re.fullmatch(r"-?\d+", position):
            return replace(waypoint, position=int(position))
        start = begin + 1 + self.text[begin + 1 : end].index(position)
        return replace(waypoint, position_text=self._text(position, start))

    def _choices(self, begin: int, end: int) -> tuple[Choice, ...]:
        if begin == end:  # a filter alone
            return (Choice(How.GLOB, ("*",)),)
        bars = [bar.start() for bar in self._outside_quotes(re.compile(r"\|"), begin, end)]
        spans = zip([begin, *(bar + 1 for bar in bars)], [*bars, end], strict=True)
        return tuple(self._choice(*self._stripped(*span), alone=not bars) for span in spans)

    def _choice(self, begin: int, end: int, alone: bool) -> Choice:
        part = self.text[begin:end]
        if not part:
            self.fail("nothing stands beside the bar; expected a choice on each side", begin, remedy="Drop the bar.")
        if '"' not in part and ("{" in part or "}" in part):
            return self._role(begin, end, alone)
        if part.startswith(SUPERNODE):
            name = part.removeprefix(SUPERNODE).strip()
            if not name:
                self.fail("a supernode without a name; expected one", begin, end, "Write `supernode:Texas`.")
            asked = self._text(name, begin + part.index(name, len(SUPERNODE)))
            return Choice(How.SUPERNODE, (asked.terms[0] if asked.how is How.GLOB else glob_escaped(asked.terms[0]),))
        feature = FEATURE.fullmatch(part) if '"' not in part else None
        if feature:
            written, plain_layer, index, position, source_set, layer, number = feature.groups()
            return Choice(
                How.FEATURE, (), source_set or "", int(written or plain_layer or layer), int(index or number),
                int(position) if position else -1,
            )  # fmt: skip
        if part in KINDS:
            return Choice(How.KIND, (part,))
        return self._text(part, begin)

    def _text(self, part: str, begin: int) -> Choice:
        if '"' not in part:
            return Choice(How.GLOB if set(part) & set("*?") else How.WORDS, (plain(part),))
        inner = part[1:-1]
        if part[0] != '"' or part[-1] != '"' or '"' in inner:
            self.fail(
                f"{part} is quoted in part; expected quotes around the whole text, or none",
                begin, begin + len(part), 'Write "New York" or New York.',
            )  # fmt: skip
        if not inner.strip():
            self.fail("the quotes hold nothing; expected a text", begin, begin + len(part))
        return Choice(How.EXACT, (plain(inner),))

    def _role(self, begin: int, end: int, alone: bool) -> Choice:
        part = self.text[begin:end]
        name = part[1:-1].strip()
        if part[0] != "{" or part[-1] != "}" or set(name) & set("{}") or not alone:
            self.fail(
                f"braces in {part} do not enclose one role; expected {{name}} alone",
                begin, end, "Close the brace, drop what stands beside it, or quote a text that holds one.",
            )  # fmt: skip
        if name not in self.roles:
            there = ", ".join(f"{{{role}}}" for role in sorted(self.roles)) or "no roles at all"
            self.fail(f"role {{{name}}} is unknown; there are {there}", begin, end, "Use or define one.")
        terms = {plain(term).casefold(): plain(term) for term in self.roles[name]}
        terms.pop("", None)
        if not terms:
            self.fail(f"role {{{name}}} has no terms; expected at least one", begin, end, "Give it some.")
        return Choice(How.ROLE, tuple(terms.values()))


def match(pattern: Pattern, graph: AttributionGraph) -> list[np.ndarray]:
    """For each waypoint the rows of the nodes that can serve as it, ascending.

    A text as the first waypoint means tokens where some token matches, and as the last one outputs where some output
    does: `Dallas -> Austin` asks how the word makes the answer, not how features named alike feed each other.
    """
    return [np.flatnonzero(terms != NO_TERM) for terms in match_terms(pattern, graph)]


def match_terms(pattern: Pattern, graph: AttributionGraph) -> list[np.ndarray]:
    """For each waypoint (N,) which of its terms a node stands for, by place in `terms` (0 where it is not a role);
    NO_TERM for none."""
    preferred = {0: NodeKind.TOKEN, len(pattern) - 1: NodeKind.LOGIT}
    return [_terms_of(waypoint, graph, preferred.get(place)) for place, waypoint in enumerate(pattern)]


def _terms_of(waypoint: Waypoint, graph: AttributionGraph, preferred: NodeKind | None) -> np.ndarray:
    filtered_N = _filtered_nodes(waypoint, graph)
    terms_N = np.full(len(graph.nodes), NO_TERM)
    for choice in waypoint.choices:
        found_N = _terms_of_choice(choice, graph)
        if filtered_N is not None:
            found_N = np.where(filtered_N, found_N, NO_TERM)
        if preferred and choice.how in TEXTS:
            own = graph.slice_of(preferred)
            if (found_N[own] != NO_TERM).any():
                found_N[: own.start] = NO_TERM
                found_N[own.stop :] = NO_TERM
        terms_N = np.where(terms_N == NO_TERM, found_N, terms_N)
    return terms_N


def _terms_of_choice(choice: Choice, graph: AttributionGraph) -> np.ndarray:
    nodes = graph.nodes
    if choice.how is How.SUPERNODE:
        expression = glob_expression(choice.terms[0])
        members = [
            member
            for group in graph.metadata.provenance.get("supernodes", [])
            if expression.search(plain(group["label"]))
            for member in group["members"]
        ]
        return np.where(nodes["node_id"].isin(members).to_numpy(), 0, NO_TERM)
    if choice.how is How.FEATURE:
        found_N = np.full(len(nodes), NO_TERM)
        if choice.is_of(graph.metadata.source_set):
            own = graph.slice_of(NodeKind.FEATURE)
            layer, index, position = (nodes[name].to_numpy()[own] for name in ("layer", "index", "position"))
            fits = (layer == choice.layer) & (index == choice.index) & (position == choice.position)
            if choice.position < 0:
                fits = (layer == choice.layer) & (index == choice.index)
            found_N[own][fits] = 0
        return found_N
    if choice.any_text:
        found_N = np.zeros(len(nodes), np.int64)
        found_N[graph.slice_of(NodeKind.BIAS)] = NO_TERM
        return found_N
    texts, text_N, keys = texts_of(graph)
    place: dict[str | None, int] = {term: at for at, term in enumerate(choice.terms)} | {None: NO_TERM}
    needle = choice.needle
    term_T = np.full(len(texts), NO_TERM)
    for at, key in enumerate(keys):
        if needle in key:
            term_T[at] = place[choice.term_of(*texts[at])]
    return term_T[text_N]


def _filtered_nodes(waypoint: Waypoint, graph: AttributionGraph) -> np.ndarray | None:
    """(N,) whether a node passes the waypoint's filters, None where there are none."""
    if waypoint.within is None and waypoint.position is None and waypoint.position_text is None:
        return None
    passes_N = np.ones(len(graph.nodes), bool)
    if waypoint.within:
        layer_N = graph.nodes["layer"].to_numpy()
        passes_N &= (layer_N >= waypoint.within[0]) & (layer_N <= waypoint.within[1])
    tokens, position_N = graph.metadata.tokens, graph.nodes["position"].to_numpy()
    if waypoint.position is not None or waypoint.position_text is not None:
        passes_N &= position_N >= 0  # a bias has none
    if waypoint.position is not None:
        at = waypoint.position
        passes_N &= position_N == (at if at >= 0 else len(tokens) + at)
    if waypoint.position_text is not None:
        choice = waypoint.position_text
        there = [at for at, token in enumerate(tokens) if choice.term_of(NodeKind.TOKEN, token) is not None]
        passes_N &= np.isin(position_N, there)
    return passes_N


Texts = tuple[list[tuple[str, str]], np.ndarray, list[str]]
_TEXTS: WeakKeyDictionary[AttributionGraph, Texts] = WeakKeyDictionary()  # as long as the graph lives


def texts_of(graph: AttributionGraph) -> Texts:
    """The different (kind, label) of a graph, (N,) which of them each node has, and each label without case and extra
    blanks; labels repeat, most are empty."""
    if graph not in _TEXTS:
        texts: list[tuple[str, str]] = []
        text_N, labels = np.empty(len(graph.nodes), np.int64), graph.nodes["label"].array
        for kind in NodeKind:
            own = graph.slice_of(kind)
            place, different = pd.factorize(labels[own])
            text_N[own] = place + len(texts)
            texts += [(kind.value, label) for label in different]
        _TEXTS[graph] = texts, text_N, [plain(label).casefold() for _, label in texts]
    return _TEXTS[graph]


def glob_expression(glob: str) -> re.Pattern[str]:
    """The regular expression of a text with wildcards; a backslash before one takes its meaning."""
    parts = {"*": ".*", "?": ".", "\\*": r"\*", "\\?": r"\?"}
    body = "".join(parts.get(piece) or re.escape(piece) for piece in re.findall(r"\\[*?]|.", glob, re.DOTALL))
    return re.compile(rf"\A{body}\Z", re.IGNORECASE | re.DOTALL)


def glob_escaped(text: str) -> str:
    """A text as a wildcard pattern that only this text fits."""
    return re.sub(r"([*?])", r"\\\1", text)


def plain(text: str) -> str:
    """Without blanks at the ends, and single ones inside."""
    return " ".join(text.split())


def _span(within: tuple[int, int] | None) -> str:
    lowest, highest = within or (-1, ABOVE_ALL)
    return f"layers {lowest} to {highest}" if highest < ABOVE_ALL else f"layers from {lowest} on"
