"""The k strongest paths that meet given groups of nodes in order, exactly, by best-first search with a bound.

The search walks back from the last group, as `flow` does, so the strengths of all its paths add up to the flow.
Dynamic programming over the layers gives for each state of a walk (see `circuits.walks`) the strength of its best
completion; a search that always extends the most promising walk then meets paths in falling order of strength. Sources
of a state are looked at one by one, best first, and only when the one before was taken: nothing is cut off, and little
is expanded.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from circuits.config import check_limits
from circuits.flow import check_groups
from circuits.inputs import Inputs
from circuits.walks import END, Walks, Way
from tracer.graph import AttributionGraph


@dataclass(frozen=True)
class Path:
    """A path from a node of the first group to one of the last."""

    rows: tuple[int, ...]
    """Its nodes, by row of the graph, in the direction of the edges."""
    effects: tuple[float, ...]
    """Signed direct effect of each edge."""
    shares: tuple[float, ...]
    """Share of each edge in the input of its target, 0 to 1."""
    strength: float
    """Product of the shares."""

    @property
    def positive(self) -> bool:
        """Whether its effects multiply to a positive number: its start promotes its end."""
        return sum(effect < 0 for effect in self.effects) % 2 == 0


def strongest_paths(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray],
    k: int = 5,
    sign: str = "any",
    min_hops: int = 1,
    max_hops: int | None = None,
    ways: Sequence[Way] | None = None,
    through: np.ndarray | None = None,
    avoiding: np.ndarray | None = None,
) -> list[Path]:
    """The k strongest of the paths whose strengths add up to `flow(graph, groups, sign, ways)`, strongest first.

    Args:
        groups: Rows of nodes, one array a waypoint.
        k: How many; fewer are returned where there are fewer.
        sign: `any`, or `positive` for paths of positive effects alone.
        min_hops: Edges that a path has at least.
        max_hops: Edges that a path has at most; no limit if None.
        ways: What a path may do between each two groups; anything if not given.
        through: Rows of nodes of which a path visits at least one, anywhere; any path will do if None.
        avoiding: Rows of nodes that no path may visit.

    Returns:
        Paths of equal strength stand by number of hops, then by rows; none where no path meets the groups.

    Raises:
        SettingError: k or a limit on hops is below 1, or the limits exclude each other.
    """
    check_groups(groups)
    check_limits(k, min_hops, max_hops)
    inputs = Inputs.of(graph, sign, avoiding)
    return paths_through(inputs, groups, k, min_hops, max_hops, ways, through)


def paths_through(
    inputs: Inputs,
    groups: Sequence[np.ndarray],
    k: int,
    min_hops: int = 1,
    max_hops: int | None = None,
    ways: Sequence[Way] | None = None,
    through: np.ndarray | None = None,
) -> list[Path]:
    """`strongest_paths` on edges that are arranged already."""
    search = _Search(Walks(inputs, groups, ways, min_hops, max_hops, through))
    found = [_path(inputs, walk) for walk in search.walks(k)]
    return sorted(found, key=lambda path: (-path.strength, len(path.rows), path.rows))


@dataclass(frozen=True)
class _Sources:
    """The edges into a node that lead to a complete path, the most promising first."""

    edge: list[int]
    bound: list[float]
    """Share of the edge times the best completion after it."""
    state: list[int]
    """After the edge."""


class _Search:
    def __init__(self, walks: Walks):
        self.space = walks
        self.best_SN = walks.completions(best=True)
        self.sources: dict[tuple[int, int], _Sources] = {}

    def walks(self, k: int) -> list[list[int]]:
        """The k best complete walks, as edges from the output back."""
        inputs = self.space.inputs
        found: list[list[int]] = []
        number = count()  # equal bounds: first come, first served, so the order is the same in each run
        heap: list[tuple[float, int, int, float, tuple, int, int, int]] = []

        def push(node: int, state: int, strength: float, walk: tuple, hops: int, nth: int) -> None:
            sources = self._sources(node, state)
            if nth < len(sources.edge):
                bound = -strength * sources.bound[nth]
                heapq.heappush(heap, (bound, hops, next(number), strength, walk, node, state, nth))

        ends, start = self.space.ends, np.asarray(self.space.start, np.intp)
        for place in np.argsort(-self.best_SN[start, ends], kind="stable")[:k].tolist():  # others have no k-th best
            push(int(ends[place]), int(start[place]), 1.0, (), 0, 0)
        while heap and len(found) < k:
            _, hops, _, strength, walk, node, state, nth = heapq.heappop(heap)
            push(node, state, strength, walk, hops, nth + 1)
            sources = self._sources(node, state)
            edge, after = sources.edge[nth], sources.state[nth]
            longer = (edge, walk)  # linked, so that walks share their beginnings
            if after == END:
                found.append(_unlinked(longer))
            else:
                push(int(inputs.source[edge]), after, strength * float(inputs.share[edge]), longer, hops + 1, 0)
        return found

    def _sources(self, node: int, state: int) -> _Sources:
        if (node, state) not in self.sources:
            edges = self.space.inputs.edges_into(node)
            to_E, best_E = self.space.worth(state, self.best_SN, edges)
            bound = self.space.inputs.share[edges] * best_E
            order = np.argsort(-bound, kind="stable")[: np.count_nonzero(bound)]
            found = _Sources((order + edges.start).tolist(), bound[order].tolist(), to_E[order].tolist())
            self.sources[node, state] = found
        return self.sources[node, state]


def links_between(path: Path, groups: Sequence[np.ndarray]) -> tuple[int, ...]:
    """How many edges of a path lie between each two waypoints, up to the first node met on the way back."""
    links, since = [], 0
    for row in path.rows[-2::-1]:
        since += 1
        if row in groups[-2 - len(links)]:
            links.append(since)
            since = 0
            if len(links) == len(groups) - 1:
                break
    return tuple(reversed(links))


def _unlinked(walk: tuple) -> list[int]:
    edges = []
    while walk:
        edge, walk = walk
        edges.append(edge)
    return edges


def _path(inputs: Inputs, edges: list[int]) -> Path:
    """The path of these edges, given in the direction of the edges."""
    targets = inputs.node[np.searchsorted(inputs.start, edges, side="right") - 1]
    rows = (int(inputs.source[edges[0]]), *(int(target) for target in targets))
    shares = tuple(float(share) for share in inputs.share[edges])
    return Path(rows, tuple(float(effect) for effect in inputs.effect[edges]), shares, float(np.prod(shares)))
