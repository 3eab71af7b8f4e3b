"""Find a pattern in many graphs: for each the exact flow, the best terms of its roles, the strongest paths."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from circuits.config import SearchConfig, check_sign
from circuits.flow import Flow, chance_by_way, parts_of
from circuits.inputs import Inputs
from circuits.paths import Path, links_between, paths_through
from circuits.pattern import NO_TERM, Pattern, match_terms, texts_of
from circuits.walks import Way
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

Binding = dict[str, str]  # role -> the term that stands for it

N_ALTERNATIVES = 5  # bindings reported after the best
BATCH = 64  # bindings whose flow is computed at once: bounds memory at 64 numbers a node


@dataclass(frozen=True)
class CircuitNode:
    """A node on a path, as people know it."""

    node_id: str
    kind: str
    label: str
    layer: int
    position: int


@dataclass(frozen=True)
class Circuit:
    """A pattern in one graph, with the paths that carry most of its flow."""

    graph_id: str
    """The graph."""
    slug: str
    """Its short name."""
    prompt: str
    """What was traced."""
    flow: float
    """Sum of the strengths of all paths that meet the waypoints in order; see `circuits.flow`."""
    paths: list[Path]
    """The strongest of these paths."""
    nodes: dict[int, CircuitNode]
    """The nodes on the paths, by row of the graph."""
    binding: Binding = field(default_factory=dict)
    """The term of each role for which the flow is largest; empty for a pattern without roles."""
    alternatives: list[tuple[Binding, float]] = field(default_factory=list)
    """The bindings that come next, with their flow."""
    parts: Flow = Flow(0.0, 0.0, 0.0)  # noqa: RUF009 - frozen
    """The flow by sign, and as share of what comes into the last waypoint's nodes."""
    links: tuple[int, ...] = ()
    """Edges between each two waypoints on the strongest path; empty without paths."""

    def as_row(self) -> dict[str, Any]:
        """The circuit as plain data, ready for JSON."""
        return {
            "graph_id": self.graph_id,
            "slug": self.slug,
            "prompt": self.prompt,
            "flow": self.flow,
            "positive": self.parts.positive,
            "negative": self.parts.negative,
            "share": self.parts.share,
            "binding": self.binding,
            "links": list(self.links),
            "alternatives": [{"binding": binding, "flow": flow} for binding, flow in self.alternatives],
            "paths": [self._path_row(path) for path in self.paths],
        }

    def _path_row(self, path: Path) -> dict[str, Any]:
        return {
            "strength": path.strength,
            "nodes": [vars(self.nodes[row]) for row in path.rows],
            "edges": [
                {"effect": effect, "share": share} for effect, share in zip(path.effects, path.shares, strict=True)
            ],
        }


def find_circuits(
    pattern: Pattern, graphs: Iterable[AttributionGraph], config: SearchConfig | None = None
) -> Iterator[Circuit]:
    """The circuit of each graph in which the pattern has any flow, one graph at a time, in the order given."""
    for graph in graphs:
        circuit = find_circuit(pattern, graph, config)
        if circuit is not None:
            yield circuit


def find_circuit(pattern: Pattern, graph: AttributionGraph, config: SearchConfig | None = None) -> Circuit | None:
    """The circuit of one graph, None where the pattern has no flow.

    Raises:
        PatternError: The pattern asks for an inhibiting way, but only positive effects count.
    """
    config = config or SearchConfig()
    bound = best_bound(pattern, graph, config.sign)
    return bound.circuit(config) if bound else None


@dataclass(frozen=True, eq=False)
class Bound:
    """A pattern in one graph, with the terms of its roles for which the flow is largest: what ranks graphs.

    The circuit that is made of it takes a multiple of the time, and is wanted of the first few graphs alone.
    """

    pattern: Pattern
    graph: AttributionGraph
    inputs: Inputs
    """Of the effects that count."""
    groups: list[np.ndarray]
    """Rows of the nodes of each waypoint."""
    ranked: list[tuple[Binding, float]]
    """Every binding that has any flow, largest flow first."""

    @property
    def graph_id(self) -> str:
        """Of the graph."""
        return self.graph.graph_id

    @property
    def flow(self) -> float:
        """With the best terms."""
        return self.ranked[0][1]

    def circuit(self, config: SearchConfig) -> Circuit:
        """With its strongest paths."""
        graph, inputs, groups, ways = self.graph, self.inputs, self.groups, self.pattern.ways
        shown = config.k, config.min_hops, config.max_hops
        paths = paths_through(inputs, groups, *shown, ways) if config.k else []
        about, (binding, flow), alternatives = graph.metadata, self.ranked[0], self.ranked[1 : N_ALTERNATIVES + 1]
        parts = parts_of(inputs, Inputs.of(graph), groups, ways, flow)
        links, nodes = links_between(paths[0], groups) if paths else (), _nodes(graph, paths)
        return Circuit(
            graph.graph_id, about.slug, about.prompt, flow, paths, nodes, binding, alternatives, parts, links
        )


def best_bound(
    pattern: Pattern, graph: AttributionGraph, sign: str = "any", terms_N: list[np.ndarray] | None = None
) -> Bound | None:
    """The pattern in this graph, None where it has no flow.

    Args:
        terms_N: What `match_terms` gives, where that is known.
    """
    check_sign(sign)
    check_ways(pattern, sign)
    terms_N = terms_N or match_terms(pattern, graph)
    if not all_there(terms_N):
        return None
    inputs = Inputs.of(graph, sign)
    ranked = flow_by_binding(pattern, terms_N, inputs)
    if not ranked:
        return None
    groups = [_rows_of(pattern, terms_N, place, ranked[0][0]) for place in range(len(pattern))]
    return Bound(pattern, graph, inputs, groups, ranked)


def all_there(terms_N: list[np.ndarray]) -> bool:
    """Whether every waypoint has a node, by what `match_terms` gives."""
    return all((terms != NO_TERM).any() for terms in terms_N)


def check_ways(pattern: Pattern, sign: str) -> None:
    """Refuse a pattern with `-|` where only positive effects count."""
    if sign == "positive" and any(way.sign == "negative" for way in pattern.ways):
        raise PatternError(
            f"pattern {pattern.text!r} asks with -| for a way that inhibits, but only positive effects are to count; "
            "no path is both. Count all effects, or write -> in its place."
        )


def bound_groups(pattern: Pattern, graph: AttributionGraph, binding: Binding) -> list[np.ndarray]:
    """Rows of the nodes of each waypoint, with this term for each role."""
    terms_N = match_terms(pattern, graph)
    return [_rows_of(pattern, terms_N, place, binding) for place in range(len(pattern))]


Ranked = TypeVar("Ranked", bound="Circuit | Bound")


def rank(circuits: Iterable[Ranked]) -> list[Ranked]:
    """These circuits, with paths or without, as `by_flow` orders them."""
    return sorted(circuits, key=by_flow)


def by_flow(circuit: "Circuit | Bound") -> tuple[float, str]:
    """What circuits are ordered by: largest flow first, equal ones by graph_id."""
    return -circuit.flow, circuit.graph_id


def flow_by_binding(pattern: Pattern, terms_N: list[np.ndarray], inputs: Inputs) -> list[tuple[Binding, float]]:
    """Every way to bind the roles that has any flow, largest flow first; without roles the empty binding alone.

    Args:
        terms_N: For each waypoint the term that each node stands for, as `match_terms` gives it.

    The walk back from the outputs meets the first waypoint last. So the chance of meeting it is computed once for each
    of its terms, the chance of meeting the second and then the first once for each pair, and so on; the terms of the
    last waypoint cost nothing.
    """
    prefixes: list[tuple[Binding, np.ndarray]] = [({}, np.ones(inputs.n_nodes))]
    for place in range(len(pattern) - 1):
        choices = [
            (bound, _rows_of(pattern, terms_N, place, bound), chance_N)
            for binding, chance_N in prefixes
            for bound in _extended(pattern, terms_N, place, binding)
        ]
        choices = [choice for choice in choices if choice[2][choice[1]].any()]
        way, asked = pattern.ways[place], np.flatnonzero(terms_N[place + 1] != NO_TERM)
        prefixes = [
            prefix
            for at in range(0, len(choices), BATCH)
            for prefix in _meet(inputs, choices[at : at + BATCH], way, asked)
        ]
    last = len(pattern) - 1
    flows = [
        (bound, float(chance_N[_rows_of(pattern, terms_N, last, bound)].sum()))
        for binding, chance_N in prefixes
        for bound in _extended(pattern, terms_N, last, binding)
    ]
    return sorted(
        ((bound, flow) for bound, flow in flows if flow > 0), key=lambda pair: (-pair[1], [*pair[0].values()])
    )


def _meet(
    inputs: Inputs, choices: list[tuple[Binding, np.ndarray, np.ndarray]], way: Way, asked: np.ndarray
) -> Iterator[tuple[Binding, np.ndarray]]:
    meets = np.zeros((inputs.n_nodes, len(choices)), bool)
    for column, (_, rows, _) in enumerate(choices):
        meets[rows, column] = True
    gain = np.stack([chance_N for _, _, chance_N in choices], axis=1)
    chance = chance_by_way(inputs, meets, gain, way, asked=asked)
    for column, (bound, _, _) in enumerate(choices):
        yield bound, chance[:, column]


def _extended(pattern: Pattern, terms_N: list[np.ndarray], place: int, binding: Binding) -> Iterator[Binding]:
    """This binding with each term that the role at this place can have in the graph."""
    waypoint = pattern.waypoints[place]
    if not waypoint.role or waypoint.role in binding:
        yield binding
        return
    for term in np.unique(terms_N[place][terms_N[place] != NO_TERM]):
        yield binding | {waypoint.role: waypoint.terms[term]}


def _rows_of(pattern: Pattern, terms_N: list[np.ndarray], place: int, binding: Binding) -> np.ndarray:
    waypoint = pattern.waypoints[place]
    if waypoint.role:
        return np.flatnonzero(terms_N[place] == waypoint.terms.index(binding[waypoint.role]))
    return np.flatnonzero(terms_N[place] != NO_TERM)


def _nodes(graph: AttributionGraph, paths: list[Path]) -> dict[int, CircuitNode]:
    rows = sorted({row for path in paths for row in path.rows})
    texts, text_N, _ = texts_of(graph)
    ids = graph.nodes["node_id"].array[rows].tolist()  # chosen first: to Python's texts is slow
    layers, positions = (graph.nodes[name].to_numpy()[rows].tolist() for name in ("layer", "position"))
    return {
        row: CircuitNode(node_id, texts[text_N[row]][0], texts[text_N[row]][1], layer, position)
        for row, node_id, layer, position in zip(rows, ids, layers, positions, strict=True)
    }
