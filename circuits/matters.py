"""What a circuit hangs on: the flow through each node, and the links that a stretch cannot do without."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from circuits.flow import check_groups
from circuits.inputs import Inputs
from circuits.walks import END, Walks, Way
from tracer.graph import AttributionGraph

CUT_UNITS = 10**7  # a share in whole numbers, as scipy's maximum flow wants it: sums of 200 shares fit 32 bits
LEAST_CARRIED = 1e-3  # of the flow: links that carry less are no part of a bottleneck


@dataclass(frozen=True)
class NodeRole:
    """What one node does for a circuit."""

    row: int
    """Row of the graph."""
    through: float
    """Flow of the paths that visit the node: without it, so much is missing."""
    part: float
    """The same as part of the whole flow, 0 to 1; at 1 nothing is left without the node."""
    positive: float
    """Of `through`, that of paths whose effects multiply to a positive number."""
    waypoint: int | None
    """Place of the waypoint that it can serve as, where most of its flow passes; None for a node between."""
    stretch: int
    """Number of the arrow, from 0, on or at whose end most of this flow passes; a start is on the first."""


@dataclass(frozen=True)
class Link:
    """One edge, as a circuit uses it."""

    source: int
    target: int
    share: float
    """Of the input of its target."""
    carried: float
    """Flow of the paths along it."""


@dataclass(frozen=True)
class Bottleneck:
    """The cheapest cut of a stretch: without these links no path leads from one waypoint to the next."""

    stretch: int
    """Number of the arrow, from 0."""
    capacity: float
    """Sum of the shares of the links."""
    links: tuple[Link, ...]
    """Those that carry most first."""


class Passing:
    """How the flow of a pattern passes through nodes and edges of a graph, exactly, by one walk back and one forth."""

    def __init__(
        self,
        graph: AttributionGraph,
        groups: Sequence[np.ndarray],
        sign: str = "any",
        ways: Sequence[Way] | None = None,
    ):
        """Arguments as for `flow`."""
        check_groups(groups)
        self.groups = [np.asarray(group, np.int64) for group in groups]
        self.inputs = Inputs.of(graph, sign)
        self.walks = Walks(self.inputs, self.groups, ways)
        self.left_S = np.array([0 if state is None else state.left for state in self.walks.states])
        self.visits_SN, self.value_SN = self.walks.visits(), self.walks.completions(best=False)
        self.through_SN = self.visits_SN * self.value_SN
        self.through_N = self.through_SN.sum(axis=0)
        self.flow = float(self.visits_SN[END].sum())

    def positive_N(self) -> np.ndarray:
        """(N,) flow through each node of paths whose effects multiply to a positive number."""
        balance_N = (self.walks.visits(signed=True) * self.walks.completions(best=False, signed=True)).sum(axis=0)
        return np.clip((self.through_N + balance_N) / 2, 0, self.through_N)

    def carried_LE(self) -> np.ndarray:
        """(L, E) flow along each edge of `inputs`, by stretch."""
        carried_LE = np.zeros((len(self.groups) - 1, len(self.inputs.source)))
        target = self.inputs.target
        for number, left in enumerate(self.left_S):
            if left:
                _, value_E = self.walks.worth(number, self.value_SN, slice(None))
                carried_LE[left - 1] += self.visits_SN[number, target] * self.inputs.share * value_E
        return carried_LE


def necessary_nodes(
    graph: AttributionGraph, groups: Sequence[np.ndarray], sign: str = "any", ways: Sequence[Way] | None = None
) -> list[NodeRole]:
    """The nodes that any flow passes through, those first without which least is left; arguments as for `flow`."""
    passing = Passing(graph, groups, sign, ways)
    positive_N = passing.positive_N()
    roles = []
    for row in np.flatnonzero(passing.through_N > 0).tolist():
        left = int(passing.left_S[int(np.argmax(passing.through_SN[:, row]))])  # 0 where paths start at it
        waypoint = left if passing.walks.meets_GN[left, row] else None
        through = float(passing.through_N[row])
        part = min(1.0, through / passing.flow)
        roles.append(NodeRole(row, through, part, float(positive_N[row]), waypoint, max(left - 1, 0)))
    return sorted(roles, key=lambda role: (-role.through, role.row))


def bottlenecks(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray],
    sign: str = "any",
    ways: Sequence[Way] | None = None,
    least: float = LEAST_CARRIED,
) -> list[Bottleneck]:
    """For each stretch the minimum cut on shares between its two waypoints; arguments as for `flow`.

    Args:
        least: Links that carry less than this part of the flow are left out.
    """
    passing = Passing(graph, groups, sign, ways)
    if not passing.flow:
        return []
    cuts = []
    for stretch, carried_E in enumerate(passing.carried_LE()):
        used = np.flatnonzero(carried_E >= max(least * passing.flow, np.finfo(float).tiny))
        source, target, share = (
            each[used] for each in (passing.inputs.source, passing.inputs.target, passing.inputs.share)
        )
        meets_GN = passing.walks.meets_GN
        cut = minimum_cut(source, target, share, meets_GN[stretch], meets_GN[stretch + 1])
        links = [
            Link(int(source[at]), int(target[at]), float(share[at]), float(carried_E[used[at]]))
            for at in cut
        ]  # fmt: skip
        links.sort(key=lambda link: (-link.carried, link.source, link.target))
        cuts.append(Bottleneck(stretch, float(share[cut].sum()), tuple(links)))
    return cuts


def minimum_cut(
    source: np.ndarray, target: np.ndarray, capacity: np.ndarray, is_start_N: np.ndarray, is_end_N: np.ndarray
) -> np.ndarray:
    """Positions of the edges of the smallest capacity without which no path leads from a start to an end.

    Args:
        source: (E,) nodes.
        target: (E,) nodes.
        capacity: (E,) 0 to 1.
        is_start_N: (N,) bool.
        is_end_N: (N,) bool.

    >>> two, one = np.array([True, True, False, False]), np.array([False, False, False, True])
    >>> minimum_cut(np.array([0, 1, 2]), np.array([2, 2, 3]), np.array([0.3, 0.2, 0.9]), two, one).tolist()
    [0, 1]
    """
    start, end = len(is_start_N), len(is_start_N) + 1
    leaves = np.where(is_start_N[source], start, np.where(is_end_N[source], end, source))
    enters = np.where(is_end_N[target], end, target)
    whole = np.maximum(np.round(capacity * CUT_UNITS), 1).astype(np.int32)
    inside = np.flatnonzero((leaves != end) & (leaves != enters))
    shape = (end + 1, end + 1)
    capacity_NN = csr_array(coo_array((whole[inside], (leaves[inside], enters[inside])), shape=shape), dtype=np.int32)
    rest_NN = csr_array(capacity_NN - maximum_flow(capacity_NN, start, end).flow)
    rest_NN.data[rest_NN.data < 0] = 0
    rest_NN.eliminate_zeros()
    reached = np.zeros(end + 1, bool)
    reached[breadth_first_order(rest_NN, start, return_predecessors=False)] = True
    return inside[reached[leaves[inside]] & ~reached[enters[inside]]]
