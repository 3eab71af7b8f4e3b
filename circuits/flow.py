"""Flow: how much of a node's input comes by all the paths that meet given groups of nodes in order.

Read a share as a chance: a walk back from a node goes to each source with the chance of its share. The flow of groups
g1, ..., gm is the chance that a walk back from a node of gm meets g(m-1), then g(m-2), ..., then g1, summed over the
nodes of gm. As a walk takes the first node of a group that it meets, every path counts once, however many nodes of a
group it holds; it ends where it meets g1. For a source c, a group g and an output t this is the closed formula
b_g^T (M_gg)^-1 M_gc, with M = (I - S)^-1 and b the row of M for t.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from circuits.inputs import Inputs
from circuits.walks import END, Walks, Way
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

ROUNDING = 1e-12  # a part this much smaller than the whole is what is left of a difference of equal numbers


@dataclass(frozen=True)
class Flow:
    """The flow of a pattern in one graph, and what it is made of."""

    positive: float
    """Of the paths whose effects multiply to a positive number."""
    negative: float
    """Of the other paths, as a size: what they take away."""
    share: float
    """Part of all that comes into the nodes of the last group, 0 to 1."""

    @property
    def whole(self) -> float:
        """Of all paths."""
        return self.positive + self.negative


def flow(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray],
    sign: str = "any",
    ways: Sequence[Way] | None = None,
    avoiding: np.ndarray | None = None,
) -> float:
    """The sum of the strengths of all paths that meet these groups in order, each path once.

    Args:
        groups: Rows of nodes, for at least two waypoints. One node cannot serve as two waypoints in a row: an edge
            lies between.
        sign: `any`, or `positive` for paths of positive effects alone.
        ways: What a path may do between each two groups; anything if not given. The limits hold up to the first node
            of a group that the walk back meets.
        avoiding: Rows of nodes that no path may visit; shares stay those over all inputs.

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
    return _sum(Inputs.of(graph, sign, avoiding), groups, ways)


def parted_flow(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray],
    sign: str = "any",
    ways: Sequence[Way] | None = None,
    avoiding: np.ndarray | None = None,
) -> Flow:
    """The flow with its positive and its negative part, and as share of the output's input; arguments as for `flow`."""
    check_groups(groups)
    return parts_of(Inputs.of(graph, sign, avoiding), Inputs.of(graph), groups, ways)


def parts_of(
    inputs: Inputs,
    all_inputs: Inputs,
    groups: Sequence[np.ndarray],
    ways: Sequence[Way] | None = None,
    whole: float | None = None,
) -> Flow:
    """`parted_flow` on edges that are arranged already: those that may be used, and all; `whole` if it is known."""
    whole = _sum(inputs, groups, ways) if whole is None else whole
    balance = _sum(inputs, groups, ways, signed=True)  # a path counts as negative where its effects multiply so
    positive, negative = (max(0.0, (whole + part) / 2) for part in (balance, -balance))
    positive, negative = (0.0 if part < ROUNDING * whole else part for part in (positive, negative))
    coming_in = float(all_inputs.whole_N[np.unique(np.asarray(groups[-1], np.intp))].sum())
    return Flow(positive, negative, whole / coming_in if coming_in else 0.0)


def _sum(inputs: Inputs, groups: Sequence[np.ndarray], ways: Sequence[Way] | None, signed: bool = False) -> float:
    chance_N = np.ones(inputs.n_nodes)
    for place, group in enumerate(groups[:-1]):
        meets_N = np.zeros(inputs.n_nodes, bool)
        meets_N[group] = True
        way = ways[place] if ways else Way()
        chance_N = chance_by_way(inputs, meets_N, chance_N, way, signed, asked=groups[place + 1])
    return float(chance_N[groups[-1]].sum())


def chance_by_way(
    inputs: Inputs,
    meets: np.ndarray,
    gain: np.ndarray,
    way: Way,
    signed: bool = False,
    asked: np.ndarray | None = None,
) -> np.ndarray:
    """As `chance_of_meeting`, of the walks whose stretch up to the node where they stop is such a way."""
    if way.free:
        return chance_of_meeting(inputs, meets, gain, signed, asked)
    columns = [
        _chance_by_way(inputs, meets_N, gain_N, way, signed)
        for meets_N, gain_N in zip(np.atleast_2d(meets.T), np.atleast_2d(gain.T), strict=True)
    ]
    return np.stack(columns, axis=1) if meets.ndim == 2 else columns[0]


def _chance_by_way(inputs: Inputs, meets_N: np.ndarray, gain_N: np.ndarray, way: Way, signed: bool) -> np.ndarray:
    stops, anywhere = np.flatnonzero(meets_N), np.arange(inputs.n_nodes)
    walks = Walks(inputs, [stops, anywhere], [way])
    return walks.completions(best=False, signed=signed, end_N=gain_N)[END + 1]  # the first state: nothing done yet


def chance_of_meeting(
    inputs: Inputs, meets: np.ndarray, gain: np.ndarray, signed: bool = False, asked: np.ndarray | None = None
) -> np.ndarray:
    """What a walk back from each node gains on average when it stops at the first marked node it meets.

    Args:
        meets: (N,) or (N, B) bool; where the walk stops. The node it starts from does not count.
        gain: Of the same shape; what stopping there is worth.
        signed: A gain counts as a loss where the effects on the way multiply to a negative number.
        asked: Rows of the nodes whose chances are needed, others may be left at 0; all if not given.

    Returns:
        Of the same shape. One pass over the edges, by sparse products in the order of layers.
    """
    if meets.ndim == 2 and meets.shape[1] == 1:
        return chance_of_meeting(inputs, meets[:, 0], gain[:, 0], signed, asked)[:, None]
    weight_E = inputs.signed_share if signed else inputs.share
    carried = np.where(meets, gain, 0.0)  # what arriving at a node is worth: where walks stop, another thing than below
    starting: list[tuple[np.ndarray | slice, np.ndarray]] = []  # nodes where walks stop, what starting there is worth
    stops = np.flatnonzero(meets if meets.ndim == 1 else meets.any(axis=1))
    stopping = set(inputs.layer_N[stops].tolist())
    between = inputs.layers_between(stops, inputs.node if asked is None else asked)
    for layer, (node, edges, source, begin) in enumerate(inputs.layers[between], between.start):
        if meets.ndim == 1:  # sums in place: a matrix a layer costs more than the sums
            worth_E = carried.take(source)
            worth_E *= weight_E[edges]
            found = np.add.reduceat(worth_E, begin)
        else:
            start = np.append(begin, len(source))
            share = csr_array((weight_E[edges], source, start), shape=(len(begin), inputs.n_nodes))
            found = share @ carried
        if layer in stopping:
            starting.append((node, found))
            found = np.where(meets[node], gain[node], found)
        carried[node] = found
    carried[stops] = np.where(meets[stops], 0.0, carried[stops])
    for node, found in starting:
        carried[node] = found
    return carried


def check_groups(groups: Sequence[np.ndarray]) -> None:
    """Refuse fewer than two groups: a path has two ends."""
    if len(groups) < 2:
        raise PatternError(f"{len(groups)} waypoints; expected at least two, as a path has two ends. Add waypoints.")
