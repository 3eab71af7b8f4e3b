"""Flow: how much of a node's input comes by all the paths that meet given groups of nodes in order.

Read a share as a chance: a walk back from a node goes to each source with the chance of its share. The flow of groups
g1, ..., gm is the chance that a walk back from a node of gm meets g(m-1), then g(m-2), ..., then g1, summed over the
nodes of gm. As a walk takes the first node of a group that it meets, every path counts once, however many nodes of a
group it holds; it ends where it meets g1. For a source c, a group g and an output t this is the closed formula
b_g^T (M_gg)^-1 M_gc, with M = (I - S)^-1 and b the row of M for t.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from tracer.errors import PatternError, SettingError
from tracer.graph import AttributionGraph

SIGNS = ("any", "positive")


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
    def of(cls, graph: AttributionGraph, sign: str = "any") -> "Inputs":
        """The edges of this graph, all of them or those with a positive effect; shares stay those over all inputs."""
        check_sign(sign)
        layer_N = graph.nodes["layer"].to_numpy()
        edges = graph.edges
        chosen = np.flatnonzero(edges.effect > 0) if sign == "positive" else np.arange(len(edges))
        # Edges are sorted by target already; a stable sort keeps the edges of a target together.
        chosen = chosen[np.argsort(layer_N[edges.target[chosen]], kind="stable")]
        target = edges.target[chosen]
        begin = np.flatnonzero(np.diff(target, prepend=-1))
        node = target[begin]
        row_N = np.full(len(layer_N), -1)
        row_N[node] = np.arange(len(node))
        layer_start = np.append(np.flatnonzero(np.diff(layer_N[node], prepend=-2)), len(node))
        source, share, effect = edges.source[chosen], edges.share[chosen].astype(np.float64), edges.effect[chosen]
        return cls(len(layer_N), node, row_N, np.append(begin, len(chosen)), source, share, effect, layer_start)

    def layers(self) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
        """Layer by layer from below: the nodes, the slice of their edges, where the edges of each node start in it."""
        for first, last in zip(self.layer_start[:-1], self.layer_start[1:], strict=True):
            edges = slice(int(self.start[first]), int(self.start[last]))
            yield self.node[first:last], edges, self.start[first : last + 1] - edges.start

    def edges_into(self, node: int) -> slice:
        """Where the edges into this node stand."""
        row = self.row[node]
        return slice(0, 0) if row < 0 else slice(int(self.start[row]), int(self.start[row + 1]))


def flow(graph: AttributionGraph, groups: Sequence[np.ndarray], sign: str = "any") -> float:
    """The sum of the strengths of all paths that meet these groups in order, each path once.

    Args:
        groups: Rows of nodes, for at least two waypoints. One node cannot serve as two waypoints in a row: an edge
            lies between.
        sign: `any`, or `positive` for paths of positive effects alone.

    Returns:
        0 to the number of nodes in the last group; 0 where a group is empty.

    Source: prototypes/hop_recovery of this project for the closed formula with one group in the middle.

    >>> from tracer.graph import GraphMetadata
    >>> import pandas as pd
    >>> nodes = pd.DataFrame({"node_id": ["0_7_0", "E_5_0", "3_9_0"], "kind": ["feature", "token", "logit"],
    ...                       "layer": [0, -1, 2], "position": [0, 0, 0], "index": [7, 5, 9]})
    >>> about = GraphMetadata("demo", "a", ("a",), "model", "set", n_layers=2)
    >>> graph = AttributionGraph.build(nodes, np.array([1, 0, 1]), np.array([0, 2, 2]), np.array([2., 3., -1.]), about)
    >>> flow(graph, [np.array([1]), np.array([2])]), flow(graph, [np.array([1]), np.array([0]), np.array([2])])
    (1.0, 0.75)
    """
    check_groups(groups)
    inputs = Inputs.of(graph, sign)
    chance_N = np.ones(inputs.n_nodes)
    for group in groups[:-1]:
        meets_N = np.zeros(inputs.n_nodes, bool)
        meets_N[group] = True
        chance_N = chance_of_meeting(inputs, meets_N, chance_N)
    return float(chance_N[groups[-1]].sum())


def chance_of_meeting(inputs: Inputs, meets: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """What a walk back from each node gains on average when it stops at the first marked node it meets.

    Args:
        meets: (N,) or (N, B) bool; where the walk stops. The node it starts from does not count.
        gain: Of the same shape; what stopping there is worth.

    Returns:
        Of the same shape. One pass over the edges, by sparse products in the order of layers.
    """
    chance = np.zeros(meets.shape)
    carried = np.where(meets, gain, 0.0)
    for node, edges, start in inputs.layers():
        share = csr_array((inputs.share[edges], inputs.source[edges], start), shape=(len(node), inputs.n_nodes))
        chance[node] = share @ carried
        carried[node] = np.where(meets[node], gain[node], chance[node])
    return chance


def check_groups(groups: Sequence[np.ndarray]) -> None:
    """Refuse fewer than two groups: a path has two ends."""
    if len(groups) < 2:
        raise PatternError(f"{len(groups)} waypoints; expected at least two, as a path has two ends. Add waypoints.")


def check_sign(sign: str) -> None:
    """Refuse a sign that is none of SIGNS."""
    if sign not in SIGNS:
        raise SettingError(f"sign {sign!r} is unknown; expected {' or '.join(SIGNS)}. Use one of these.")
