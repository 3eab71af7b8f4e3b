"""The edges of a graph, grouped by target and ordered by layer: what every pass over a graph reads."""

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from circuits.config import check_sign
from tracer.graph import AttributionGraph

MOST_KEPT = 5_000_000  # edges that stay arranged for the next question: about 150 MB


@dataclass(frozen=True, eq=False)
class Inputs:
    """The edges of a graph, grouped by target, targets in the order of their layers.

    Rows here are places in `node`: the nodes that have inputs at all. As edges only go to higher layers, one pass over
    the layers computes anything that is defined from a node's sources.
    """

    n_nodes: int
    """Of the graph."""
    node: np.ndarray
    """(R,) nodes with inputs, lower layers first."""
    row: np.ndarray
    """(N,) place of a node in `node`, -1 where nothing comes in."""
    start: np.ndarray
    """(R + 1,) where the edges into each row start."""
    source: np.ndarray
    """(E,) node that each edge comes from."""
    share: np.ndarray
    """(E,) float64."""
    effect: np.ndarray
    """(E,) signed."""
    layer_start: np.ndarray
    """Rows at which a new layer starts, and the number of rows at the end."""

    @classmethod
    def of(cls, graph: AttributionGraph, sign: str = "any", avoiding: np.ndarray | None = None) -> "Inputs":
        """The edges of this graph, all of them or some; shares stay those over all inputs.

        Args:
            sign: `any`, or `positive` for edges with a positive effect alone.
            avoiding: Rows of nodes whose edges are left out.
        """
        check_sign(sign)
        edges = graph.edges
        if avoiding is not None and len(avoiding):
            avoided_N = np.zeros(len(graph.nodes), bool)
            avoided_N[avoiding] = True
            chosen = ~avoided_N[edges.source] & ~avoided_N[edges.target] & ((sign == "any") | (edges.effect > 0))
            return cls.of_edges(graph, np.flatnonzero(chosen))
        kept = _KEPT.setdefault(graph, {})
        if sign not in kept:
            if sum(len(each.source) for every in _KEPT.values() for each in every.values()) > MOST_KEPT:
                _KEPT.clear()
                kept = _KEPT.setdefault(graph, {})
            chosen = np.flatnonzero(edges.effect > 0) if sign == "positive" else np.arange(len(edges))
            kept[sign] = cls.of_edges(graph, chosen)
        return kept[sign]

    @classmethod
    def of_edges(cls, graph: AttributionGraph, chosen: np.ndarray) -> "Inputs":
        """These edges of the graph, by position."""
        layer_N = graph.nodes["layer"].to_numpy()
        edges = graph.edges
        # Edges are sorted by target already; a stable sort keeps the edges of a target together.
        layer_E = layer_N[edges.target[chosen]]
        if (layer_E[1:] < layer_E[:-1]).any():
            chosen = chosen[np.argsort(layer_E, kind="stable")]
        target = edges.target[chosen]
        begin = np.flatnonzero(np.diff(target, prepend=-1))
        node = target[begin]
        row_N = np.full(len(layer_N), -1)
        row_N[node] = np.arange(len(node))
        layer_start = np.append(np.flatnonzero(np.diff(layer_N[node], prepend=-2)), len(node))
        source = edges.source[chosen].astype(np.intp)  # by other types numpy takes three times as long
        share, effect = edges.share[chosen].astype(np.float64), edges.effect[chosen]
        return cls(len(layer_N), node, row_N, np.append(begin, len(chosen)), source, share, effect, layer_start)

    @property
    def target(self) -> np.ndarray:
        """(E,) node that each edge goes to."""
        return np.repeat(self.node, np.diff(self.start))

    @cached_property
    def layers(self) -> tuple[tuple[np.ndarray | slice, slice, np.ndarray], ...]:
        """Layer by layer from below: the nodes, the slice of their edges, where the edges of each node start in it.

        Nodes are a slice where they stand together in the graph, as they mostly do: numpy writes to one much faster.
        """
        layers = []
        for first, last in zip(self.layer_start[:-1], self.layer_start[1:], strict=True):
            node, edges = self.node[first:last], slice(int(self.start[first]), int(self.start[last]))
            together = (np.diff(node) == 1).all()
            place = slice(int(node[0]), int(node[-1]) + 1) if together else node
            layers.append((place, edges, self.start[first : last + 1] - edges.start))
        return tuple(layers)

    def layer_of(self, nodes: np.ndarray) -> np.ndarray:
        """Where in `layers` these nodes stand, -1 for those where nothing comes in."""
        return np.searchsorted(self.layer_start, self.row[nodes], side="right") - 1

    def layers_between(self, lower: np.ndarray, upper: np.ndarray) -> slice:
        """Which of `layers` lie above the lowest of some nodes and not above the highest of others."""
        highest = int(self.layer_of(upper).max(initial=-1))
        return slice(int(self.layer_of(lower).min(initial=highest)) + 1, highest + 1)

    @cached_property
    def signed_share(self) -> np.ndarray:
        """(E,) share with the sign of the effect."""
        return np.copysign(self.share, self.effect)

    def edges_into(self, node: int) -> slice:
        """Where the edges into this node stand."""
        row = self.row[node]
        return slice(0, 0) if row < 0 else slice(int(self.start[row]), int(self.start[row + 1]))


_KEPT: WeakKeyDictionary[AttributionGraph, dict[str, Inputs]] = WeakKeyDictionary()  # as long as the graph lives
