"""The part of a graph that is shown: what pruning kept, and what somebody asked for by name; pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracer.graph import AttributionGraph

MOST_LINKS = 500_000  # a browser reads and draws so many within half a second
ENOUGH = 0.95  # of the input of a node at hand
TINY = 1e-12


def part_to_show(graph: AttributionGraph, node_ids: Sequence[str] = ()) -> AttributionGraph:
    """The pruned graph together with these nodes, their links to what is shown, and the links between them.

    A path that was found in the whole graph can so be shown, though pruning dropped one of its nodes or links.
    """
    asked = graph.nodes["node_id"].isin(node_ids).to_numpy()
    shown = graph.nodes["kept"].to_numpy() | asked
    dropped = asked & ~graph.nodes["kept"].to_numpy()
    source, target = graph.edges.source, graph.edges.target
    between = asked[source] & asked[target]
    kept = graph.edges.kept | between | ((dropped[source] | dropped[target]) & shown[source] & shown[target])
    return replace(graph, nodes=graph.nodes.assign(kept=shown), edges=replace(graph.edges, kept=kept)).pruned()


def thinned(graph: AttributionGraph, most: int = MOST_LINKS) -> AttributionGraph:
    """The graph, where it has more links than this, with the strongest into each node that make `ENOUGH` of its input.

    Where these are still too many, they make a smaller part, the same for all nodes; each keeps its strongest link.
    Shares are still those of all inputs.
    """
    edges, n = graph.edges, len(graph.nodes)
    if len(edges) <= most:
        return graph
    order = np.lexsort((-edges.share, edges.target))  # by target, the strongest first
    target, share = edges.target[order], edges.share[order].astype(np.float64)
    before = np.cumsum(share) - share
    stronger = before - before[np.searchsorted(target, np.arange(n))[target]]  # those of the same target alone
    total_N = np.bincount(target, weights=share, minlength=n)
    part = stronger / np.maximum(total_N[target], TINY)
    enough = max(TINY, min(ENOUGH, np.partition(part, most)[most]))
    return replace(graph, edges=edges.take(np.sort(order[part < enough])))


def dropped_nodes(graph: AttributionGraph, node_ids: Sequence[str]) -> list[str]:
    """Those of these nodes that pruning dropped, in the order of the graph."""
    dropped = graph.nodes["node_id"].isin(node_ids).to_numpy() & ~graph.nodes["kept"].to_numpy()
    return graph.nodes["node_id"][dropped].tolist()


def is_pruned_away(graph: AttributionGraph, node_ids: Sequence[str]) -> bool:
    """Whether the pruned graph lacks one of these nodes, or a link between two of them."""
    asked = graph.nodes["node_id"].isin(node_ids).to_numpy()
    between = asked[graph.edges.source] & asked[graph.edges.target]
    return bool((asked & ~graph.nodes["kept"].to_numpy()).any() or (between & ~graph.edges.kept).any())
