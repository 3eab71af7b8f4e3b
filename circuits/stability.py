"""Core and contingent parts: what stays in a graph at every pruning threshold of a grid, and what depends on it.

Source: CIRCUS (arXiv 2603.00523), for the idea of many prunings of one graph; figures are counts over a grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from circuits.flow import parts_of
from circuits.inputs import Inputs
from circuits.paths import Path
from circuits.walks import Way
from tracer.graph import AttributionGraph
from tracer.influence import prune

NODE_THRESHOLDS = (0.6, 0.7, 0.8, 0.9)  # the field's default is 0.8
EDGE_THRESHOLDS = (0.9, 0.95, 0.98)  # the field's default is 0.98


@dataclass(frozen=True)
class Stability:
    """What each pruning of a grid left."""

    grid: tuple[tuple[float, float], ...]
    """(node threshold, edge threshold) of each of the T prunings."""
    kept_TN: np.ndarray
    """Whether each left each node."""
    kept_TE: np.ndarray
    """Whether each left each edge of the graph."""
    flow_T: np.ndarray
    """Part of the circuit's flow that each left; NaN where no groups were given, or they have no flow."""

    @property
    def node_N(self) -> np.ndarray:
        """(N,) part of the prunings that left each node: 1 is core, 0 is never there, between is contingent."""
        return self.kept_TN.mean(axis=0)

    @property
    def edge_E(self) -> np.ndarray:
        """(E,) the same of edges."""
        return self.kept_TE.mean(axis=0)

    def of_path(self, graph: AttributionGraph, path: Path) -> float:
        """Part of the prunings that left every edge of a path."""
        edges, n = graph.edges, len(graph.nodes)
        key = edges.target.astype(np.int64) * n + edges.source  # edges are sorted by target, then source
        asked = np.array(path.rows[1:], np.int64) * n + np.array(path.rows[:-1], np.int64)
        return float(self.kept_TE[:, np.searchsorted(key, asked)].all(axis=1).mean())


def stability(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray] | None = None,
    sign: str = "any",
    ways: Sequence[Way] | None = None,
    node_thresholds: Sequence[float] = NODE_THRESHOLDS,
    edge_thresholds: Sequence[float] = EDGE_THRESHOLDS,
) -> Stability:
    """Prune a graph at each pair of thresholds; shares stay those of the whole graph.

    Args:
        groups: Waypoints whose flow is followed, as for `flow`.
        node_thresholds: Parts of all influence that the kept nodes carry.
        edge_thresholds: Parts of the influence between them that the kept edges carry.
    """
    edges, kind_N = graph.edges, graph.nodes["kind"].to_numpy()
    grid = tuple(product(node_thresholds, edge_thresholds))
    prunings = [
        prune(
            edges.source, edges.target, edges.effect, kind_N, graph.logit_weight_N, graph.input_size_N,
            node_threshold=nodes, edge_threshold=links,
        )
        for nodes, links in grid
    ]  # fmt: skip
    flow_T = np.full(len(grid), np.nan)
    if groups is not None:
        whole = parts_of(Inputs.of(graph, sign), Inputs.of(graph), groups, ways).whole
        usable_E = (edges.effect > 0) | (sign == "any")
        for at, pruning in enumerate(prunings):
            inputs = Inputs.of_edges(graph, np.flatnonzero(pruning.kept_E & usable_E))
            if whole:
                flow_T[at] = parts_of(inputs, inputs, groups, ways).whole / whole
    kept_TN, kept_TE = (np.array([getattr(pruning, name) for pruning in prunings]) for name in ("kept_N", "kept_E"))
    return Stability(grid, kept_TN, kept_TE, flow_T)
