"""The part of a graph that is shown: what pruning kept, and what somebody asked for by name; pure."""

from collections.abc import Sequence
from dataclasses import replace

from tracer.graph import AttributionGraph


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


def is_pruned_away(graph: AttributionGraph, node_ids: Sequence[str]) -> bool:
    """Whether the pruned graph lacks one of these nodes, or a link between two of them."""
    asked = graph.nodes["node_id"].isin(node_ids).to_numpy()
    between = asked[graph.edges.source] & asked[graph.edges.target]
    return bool((asked & ~graph.nodes["kept"].to_numpy()).any() or (between & ~graph.edges.kept).any())
