"""All links of one node of a graph, pruned away or not, for the connections in the browser; pure."""

from typing import Any

import numpy as np

from app.wire import KIND_NUMBER
from tracer.graph import AttributionGraph

MOST_LINKS = 2_000  # each way: nobody reads further, and the count says how many there are
SIDES = ("inputs", "outputs")


def links_of(graph: AttributionGraph, node_id: str, most: int = MOST_LINKS) -> dict[str, dict[str, Any]]:
    """{"inputs": {n, links}, "outputs": …}: how many links there are, and those of the largest share, with their nodes.

    Shares have the sign of the effect, as the browser has them.

    Raises:
        GraphFormatError: The graph has no such node.
    """
    row, edges = graph.row_of(node_id), graph.edges
    found = {}
    for side, ours, others in zip(SIDES, (edges.target, edges.source), (edges.source, edges.target), strict=True):
        at = np.flatnonzero(ours == row)
        largest = at[np.argsort(-np.abs(edges.share[at]), kind="stable")[:most]]
        shares = np.copysign(edges.share[largest], edges.effect[largest]).tolist()
        nodes = graph.nodes.iloc[others[largest]].to_dict("records")
        links = zip(nodes, shares, edges.effect[largest].tolist(), strict=True)
        found[side] = {"n": len(at), "links": [_link(*each) for each in links]}
    return found


def _link(node: dict[str, Any], share: float, effect: float) -> dict[str, Any]:
    names = ("node_id", "layer", "position", "label")
    about = {name: node[name] for name in names}
    return about | {
        "kind": KIND_NUMBER[node["kind"]], "dictionary_index": node["index"], "share": share, "effect": effect
    }  # fmt: skip
