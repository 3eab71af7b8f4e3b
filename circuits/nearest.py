"""Why a pattern is found nowhere: the waypoint that nothing fits, and the nearest things there are."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from circuits.pattern import Choice, How, Pattern, Waypoint, at_place, match, plain, texts_of
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

N_NEAREST = 3
LEAST_ALIKE = 0.6  # difflib's own measure and default


@dataclass(frozen=True)
class Nearest:
    """Something that is there."""

    text: str
    """As a pattern would ask for it."""
    slugs: tuple[str, ...]
    """Short names of the graphs that have it."""

    def __str__(self) -> str:
        some = ", ".join(self.slugs[:2])
        count = "in" if len(self.slugs) == 1 else f"in {len(self.slugs)} graphs, such as"
        return f"{self.text} ({count} {some})"


def why_nothing(pattern: Pattern, graphs: Iterable[AttributionGraph]) -> str:
    """A sentence that says why these graphs do not have the pattern, with the nearest things they have."""
    there: dict[str, dict[str, None]] = defaultdict(dict)  # text as a pattern would ask for it -> slugs
    fits = np.zeros(len(pattern), int)
    without_filter = np.zeros(len(pattern), int)
    bare = replace(pattern, waypoints=tuple(_unfiltered(waypoint) for waypoint in pattern))
    dictionaries: dict[str, None] = {}
    n_graphs = 0
    for graph in graphs:
        n_graphs += 1
        fits += [len(rows) > 0 for rows in match(pattern, graph)]
        without_filter += [len(rows) > 0 for rows in match(bare, graph)]
        dictionaries[graph.metadata.source_set] = None
        for text in _texts_to_ask_for(graph):
            there[text][graph.metadata.slug] = None
    missing = np.flatnonzero(fits == 0)
    if not n_graphs:
        return "There are no graphs to search. Trace or ingest some."
    where = "the graph" if n_graphs == 1 else f"{n_graphs} graphs"
    if not len(missing):
        return (
            f"Each waypoint fits a node somewhere in {where}, but no path visits them in this order in one graph. "
            "Leave a waypoint out, allow more links, or count all effects."
        )
    place = int(missing[0])
    waypoint = pattern.waypoints[place]
    said = f"No node of {where} fits waypoint {place + 1}, {waypoint.text}."
    shown = at_place(pattern.text, waypoint.begin, waypoint.begin + len(waypoint.text))
    if without_filter[place]:
        n = without_filter[place]
        return f"{said} Without its filter it fits in {n} {'graph' if n == 1 else 'graphs'}. Change the filter.{shown}"
    near = [each for choice in waypoint.choices for each in nearest(choice, there)]
    if near:
        return f"{said} Nearest: {'; '.join(map(str, near))}. Ask for one of these.{shown}"
    if waypoint.how is How.FEATURE:
        sets = ", ".join(dictionaries)
        return f"{said} Their features are of {sets}. Look for one with `throughline query labels_search`.{shown}"
    return f"{said} Nothing there is like it. Try a wildcard, as in `*{waypoint.text.strip('*')}*`.{shown}"


def nearest(choice: Choice, there: dict[str, dict[str, None]]) -> list[Nearest]:
    """The things most like what this choice asks for, most alike first."""
    asked = f"{choice.layer}/{choice.index}" if choice.how is How.FEATURE else " ".join(choice.terms[:1]).strip("*?")
    if choice.how is How.SUPERNODE:
        asked = f"supernode:{asked}"
    by_key = defaultdict(list)
    for text in there:
        if bool(re.fullmatch(r"\d+/\d+", text)) == (choice.how is How.FEATURE):
            by_key[text.casefold()].append(text)
    alike = difflib.get_close_matches(asked.casefold(), by_key, N_NEAREST, LEAST_ALIKE)
    texts = [max(by_key[key], key=lambda text: len(there[text])) for key in alike]
    ratio = difflib.SequenceMatcher(b=asked.casefold())  # of things equally alike, the one of more graphs goes first

    def rank(text: str) -> tuple[float, int]:
        ratio.set_seq1(text.casefold())
        return -ratio.ratio(), -len(there[text])

    texts.sort(key=rank)
    return [Nearest(text, tuple(there[text])) for text in texts]


def _texts_to_ask_for(graph: AttributionGraph) -> Iterable[str]:
    """Tokens, outputs, labels and their words, supernodes and features, as a pattern asks for them."""
    for kind, label in texts_of(graph)[0]:
        text = plain(label)
        if text:
            yield text
        if kind == NodeKind.FEATURE:
            yield from (word for word in re.findall(r"\w+", text) if len(word) > 2)
    yield from (f"supernode:{plain(group['label'])}" for group in graph.metadata.provenance.get("supernodes", []))
    features = graph.nodes.iloc[graph.slice_of(NodeKind.FEATURE)]
    yield from {f"{layer}/{index}" for layer, index in zip(features["layer"], features["index"], strict=True)}


def _unfiltered(waypoint: Waypoint) -> Waypoint:
    return replace(waypoint, within=None, position=None, position_text=None)
