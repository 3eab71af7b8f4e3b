"""Graphs small enough to draw, random ones of every shape, and their paths one by one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from circuits.walks import Way
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.schema import NodeKind, node_id

N_LAYERS = 4
FEATURE, ERROR, TOKEN, LOGIT, _ = map(str, NodeKind)
TEXAS, STATE, DALLAS, AUSTIN = range(4)

Node = tuple[str, int, str]  # kind, layer, label


def make_graph(
    nodes: Sequence[Node], effects: Mapping[tuple[int, int], float], slug: str = "small"
) -> AttributionGraph:
    """A graph with these nodes, in the order of NodeKind, and `effects[source, target]`."""
    kinds, layers, labels = zip(*nodes, strict=True)
    ids = [node_id(NodeKind(kind), layer, row, row, N_LAYERS) for row, (kind, layer, _) in enumerate(nodes)]
    table = pd.DataFrame({"node_id": ids, "kind": kinds, "layer": layers, "label": labels})
    table["position"] = table["index"] = np.arange(len(nodes))
    ends = np.array(list(effects), np.int64).reshape(-1, 2)
    about = GraphMetadata(slug, "a prompt", ("a", " prompt"), "model", "set", N_LAYERS)
    return AttributionGraph.build(table, ends[:, 0], ends[:, 1], np.array(list(effects.values()), float), about)


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = 8) -> AttributionGraph:
    """A random graph: any kinds and layers, any subset of the edges that layers allow, effects of both signs."""
    n = draw(st.integers(2, max_nodes))
    layers = sorted(draw(st.lists(st.integers(-1, N_LAYERS), min_size=n, max_size=n)))
    kinds = {-1: NodeKind.TOKEN, N_LAYERS: NodeKind.LOGIT}
    nodes = [(str(kinds.get(layer, NodeKind.FEATURE)), layer, "") for layer in layers]
    nodes.sort(key=lambda node: [str(kind) for kind in NodeKind].index(node[0]))
    allowed = [(a, b) for a in range(n) for b in range(n) if nodes[a][1] < nodes[b][1]]
    size = st.integers(-8, 8).filter(bool)  # small integers: ties are common
    return make_graph(nodes, {pair: draw(size) for pair in allowed if draw(st.booleans())})


@st.composite
def graphs_with_groups(draw: st.DrawFn) -> tuple[AttributionGraph, list[np.ndarray]]:
    """A random graph and two to four groups of its nodes, some empty, some overlapping."""
    graph = draw(graphs())
    rows = st.sets(st.integers(0, len(graph.nodes) - 1), max_size=4)
    return graph, [np.array(sorted(group), np.int64) for group in draw(st.lists(rows, min_size=2, max_size=4))]


@st.composite
def ways(draw: st.DrawFn, number: int) -> list[Way]:
    """Ways of every sign, with and without limits on hops."""
    least = st.integers(1, 3)
    made = []
    for _ in range(number):
        low, more = draw(least), draw(st.none() | st.integers(0, 2))
        sign = draw(st.sampled_from(["any", "positive", "negative"]))
        made.append(Way(sign, low, None if more is None else low + more))
    return made


def all_paths(graph: AttributionGraph, sign: str = "any") -> Iterator[list[int]]:
    """Every path of at least one edge, as positions of edges in the graph, by depth-first enumeration."""
    edges = graph.edges
    usable = [edge for edge in range(len(edges)) if sign == "any" or edges.effect[edge] > 0]

    def onward(walk: list[int]) -> Iterator[list[int]]:
        yield walk
        for edge in usable:
            if edges.source[edge] == edges.target[walk[-1]]:
                yield from onward([*walk, edge])

    for edge in usable:
        yield from onward([edge])


def paths_through(graph: AttributionGraph, groups: Sequence[np.ndarray], sign: str = "any") -> list[list[int]]:
    """The paths that meet the groups in order, and of which no shorter end does so already."""
    edges = graph.edges
    found = []
    for walk in all_paths(graph, sign):
        nodes = [int(edges.source[walk[0]]), *(int(edges.target[edge]) for edge in walk)]
        ends = [nodes[begin:] for begin in range(1, len(nodes) - 1)]
        if meets_in_order(nodes, groups) and not any(meets_in_order(end, groups) for end in ends):
            found.append(walk)
    return found


def paths_by_ways(graph: AttributionGraph, groups: Sequence[np.ndarray], ways: Sequence[Way]) -> list[list[int]]:
    """The paths through the groups whose stretches, up to the first node met on the way back, are such ways."""
    edges, sets, found = graph.edges, [set(group.tolist()) for group in groups], []
    for walk in paths_through(graph, groups):
        left, stretch, fits = len(groups) - 1, [], True
        for edge in reversed(walk):
            stretch.append(edge)
            if int(edges.source[edge]) in sets[left - 1]:
                negative = int((edges.effect[stretch] < 0).sum())
                way = ways[left - 1]
                fits &= way.min_hops <= len(stretch) <= (way.max_hops or len(stretch))
                fits &= {"any": True, "positive": negative == 0, "negative": negative % 2 == 1}[way.sign]
                left, stretch = left - 1, []
        if fits:
            found.append(walk)
    return found


def meets_in_order(nodes: Sequence[int], groups: Sequence[np.ndarray]) -> bool:
    """Whether the path starts in the first group, ends in the last, and has the others in order between."""
    sets = [set(group.tolist()) for group in groups]
    if nodes[0] not in sets[0] or nodes[-1] not in sets[-1]:
        return False
    return any(
        all(node in group for node, group in zip(stops, sets[1:-1], strict=True))
        for stops in combinations(nodes[1:-1], len(sets) - 2)
    )


def strength(graph: AttributionGraph, walk: Sequence[int]) -> float:
    """Product of the shares of these edges."""
    return float(np.prod(graph.edges.share[list(walk)].astype(np.float64)))


def rows(*numbers: int) -> np.ndarray:
    """Rows of a group."""
    return np.array(numbers, np.int64)


def large_graph(n_features: int = 9_000, n_edges: int = 1_000_000) -> AttributionGraph:
    """A graph of the size of a large published one."""
    random = np.random.default_rng(0)
    n_layers, n_tokens = 26, 500
    layer = np.concatenate([np.sort(random.integers(0, n_layers, n_features)), np.full(n_tokens, -1), [n_layers]])
    n = len(layer)
    source, target = random.integers(0, n, (2, 3 * n_edges))
    pairs = np.unique((source * n + target)[layer[source] < layer[target]])
    source, target = np.divmod(random.choice(pairs, n_edges, replace=False), n)
    kinds = [FEATURE] * n_features + [TOKEN] * n_tokens + [LOGIT]
    nodes = pd.DataFrame({"node_id": [str(row) for row in range(n)], "kind": kinds, "layer": layer})
    nodes["position"], nodes["index"] = 0, np.arange(n)
    about = GraphMetadata("large", "", (), "model", "set", n_layers)
    return AttributionGraph.build(nodes, source, target, random.normal(size=n_edges), about)
