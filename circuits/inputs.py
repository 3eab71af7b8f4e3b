"""The edges of a graph, grouped by target and ordered by layer: what every pass over a graph reads."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from circuits.config import check_sign
from tracer.graph import AttributionGraph

MOST_KEPT = 5_000_000  # edges that stay arranged for the next question: about 150 MB


class Layer(NamedTuple):
    """The nodes of a layer that have inputs, and their edges."""

    node: np.ndarray | slice
    """A slice where they stand together in the graph, as they mostly do: numpy writes to one much faster."""
    edges: slice
    """Where the edges into these nodes stand."""
    source: np.ndarray
    """Of each of these edges."""
    begin: np.ndarray
    """Where in `edges` those into each node start."""


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
            kept[sign] = cls.of_edges(graph, np.flatnonzero(edges.effect > 0) if sign == "positive" else slice(None))
        return kept[sign]

    @classmethod
    def of_edges(cls, graph: AttributionGraph, chosen: np.ndarray | slice) -> "Inputs":
        """These edges of the graph, by position."""
        layer_N, edges = graph.nodes["layer"].to_numpy(), graph.edges
        target = edges.target[chosen]
        begin = _runs(target)
        layer = layer_N[target[begin]]
        if (layer[1:] < layer[:-1]).any():
            # Edges are sorted by target already; a stable sort keeps the edges of a target together.
            return cls.of_edges(graph, np.arange(len(edges))[chosen][np.argsort(layer_N[target], kind="stable")])
        node = target[begin]
        row_N = np.full(len(layer_N), -1)
        row_N[node] = np.arange(len(node))
        source = edges.source[chosen].astype(np.intp)  # by other types numpy takes three times as long
        share, effect = edges.share[chosen].astype(np.float64), edges.effect[chosen]
        start, layer_start = np.append(begin, len(target)), np.append(_runs(layer), len(node))
        return cls(len(layer_N), node, row_N, start, source, share, effect, layer_start)

    @property
    def target(self) -> np.ndarray:
        """(E,) node that each edge goes to."""
        return np.repeat(self.node, np.diff(self.start))

    @cached_property
    def layers(self) -> "tuple[Layer, ...]":
        """Layer by layer from below."""
        layers = []
        for first, last in zip(self.layer_start[:-1], self.layer_start[1:], strict=True):
            node, edges = self.node[first:last], slice(int(self.start[first]), int(self.start[last]))
            place = slice(int(node[0]), int(node[-1]) + 1)
            place = place if place.stop - place.start == len(node) else node  # within a layer nodes ascend
            layers.append(Layer(place, edges, self.source[edges], self.start[first:last] - edges.start))
        return tuple(layers)

    @cached_property
    def layer_N(self) -> np.ndarray:
        """(N,) where in `layers` each node stands, -1 where nothing comes in."""
        layer_R = np.repeat(np.arange(len(self.layer_start) - 1), np.diff(self.layer_start))
        return np.append(layer_R, -1)[self.row]

    @cached_property
    def whole_N(self) -> np.ndarray:
        """(N,) sum of the shares of the edges into each node: 1, less where some are left out, 0 where nothing is."""
        whole_R = np.add.reduceat(self.share, self.start[:-1]) if len(self.node) else np.empty(0)
        return np.append(whole_R, 0.0)[self.row]

    def layers_between(self, lower: np.ndarray, upper: np.ndarray) -> slice:
        """Which of `layers` lie above the lowest of some nodes and not above the highest of others."""
        highest = int(self.layer_N[upper].max(initial=-1))
        return slice(int(self.layer_N[lower].min(initial=highest)) + 1, highest + 1)

    @cached_property
    def signed_share(self) -> np.ndarray:
        """(E,) share with the sign of the effect."""
        return np.copysign(self.share, self.effect)

    def edges_into(self, node: int) -> slice:
        """Where the edges into this node stand."""
        row = self.row[node]
        return slice(0, 0) if row < 0 else slice(int(self.start[row]), int(self.start[row + 1]))


def _runs(values: np.ndarray) -> np.ndarray:
    """Where a value begins that is not the one before."""
    return np.append(np.arange(min(1, len(values))), np.flatnonzero(values[1:] != values[:-1]) + 1)


_KEPT: WeakKeyDictionary[AttributionGraph, dict[str, Inputs]] = WeakKeyDictionary()  # as long as the graph lives
