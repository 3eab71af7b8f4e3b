"""The k strongest paths that meet given groups of nodes in order, exactly, by best-first search with a bound.

The search walks back from the last group, as `flow` does, so the strengths of all its paths add up to the flow. A
state is a node, the waypoints still to meet, and the hops done as far as limits on them matter. Dynamic programming
over the layers gives for each state the strength of its best completion; a search that always extends the most
promising walk then meets paths in falling order of strength. Sources of a state are looked at one by one, best first,
and only when the one before was taken: nothing is cut off, and little is expanded.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from circuits.flow import Inputs, check_groups
from tracer.errors import SettingError
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


def strongest_paths(
    graph: AttributionGraph,
    groups: Sequence[np.ndarray],
    k: int = 5,
    sign: str = "any",
    min_hops: int = 1,
    max_hops: int | None = None,
) -> list[Path]:
    """The k strongest of the paths whose strengths add up to `flow(graph, groups, sign)`, strongest first.

    Args:
        groups: Rows of nodes, one array a waypoint.
        k: How many; fewer are returned where there are fewer.
        sign: `any`, or `positive` for paths of positive effects alone.
        min_hops: Edges that a path has at least.
        max_hops: Edges that a path has at most; no limit if None.

    Returns:
        Paths of equal strength stand by number of hops, then by rows; none where no path meets the groups.

    Raises:
        SettingError: k or a limit on hops is below 1, or the limits exclude each other.
    """
    check_groups(groups)
    check_limits(k, min_hops, max_hops)
    inputs = Inputs.of(graph, sign)
    return paths_through(inputs, groups, k, min_hops, max_hops)


def paths_through(
    inputs: Inputs, groups: Sequence[np.ndarray], k: int, min_hops: int = 1, max_hops: int | None = None
) -> list[Path]:
    """`strongest_paths` on edges that are arranged already."""
    search = _Search(inputs, groups, min_hops, max_hops)
    found = [_path(inputs, walk) for walk in search.walks(k)]
    return sorted(found, key=lambda path: (-path.strength, len(path.rows), path.rows))


class _State(NamedTuple):
    """Where a walk back stands."""

    node: int
    left: int
    """Waypoints still to meet."""
    done: int
    """Hops done, as far as limits need to know."""


@dataclass(frozen=True)
class _Sources:
    """The edges into a state's node that lead to a complete path, the most promising first."""

    edge: list[int]
    bound: list[float]
    """Share of the edge times the best completion after it."""
    left: list[int]
    """Waypoints still to meet after the edge."""


class _Search:
    def __init__(self, inputs: Inputs, groups: Sequence[np.ndarray], min_hops: int, max_hops: int | None):
        self.inputs = inputs
        self.ends = sorted({int(row) for row in groups[-1]})
        self.n_groups = len(groups)
        self.meets = np.zeros((len(groups), inputs.n_nodes), bool)
        for place, group in enumerate(groups):
            self.meets[place, group] = True
        self.min_hops = min_hops
        longest = len(inputs.layer_start)  # a path takes at least one layer a hop
        self.max_hops = max_hops if max_hops is not None and max_hops < longest else None
        self.last_done = (self.max_hops or self.min_hops) - 1  # larger counts of hops make no difference
        self.best = self._best_completions()
        self.sources: dict[_State, _Sources] = {}

    def walks(self, k: int) -> list[list[int]]:
        """The k best complete walks, as edges from the output back."""
        found: list[list[int]] = []
        number = count()  # equal bounds: first come, first served, so the order is the same in each run
        heap: list[tuple[float, int, int, float, tuple, _State, int]] = []

        def push(state: _State, strength: float, walk: tuple, hops: int, nth: int) -> None:
            sources = self._sources(state)
            if nth < len(sources.edge):
                heapq.heappush(heap, (-strength * sources.bound[nth], hops, next(number), strength, walk, state, nth))

        for end in self.ends:
            push(_State(end, self.n_groups - 1, 0), 1.0, (), 0, 0)
        while heap and len(found) < k:
            _, hops, _, strength, walk, state, nth = heapq.heappop(heap)
            push(state, strength, walk, hops, nth + 1)
            sources = self._sources(state)
            edge, left = sources.edge[nth], sources.left[nth]
            longer = (edge, walk)  # linked, so that walks share their beginnings
            if left == 0:
                found.append(_unlinked(longer))
                continue
            after = _State(int(self.inputs.source[edge]), left, self._after(state.done))
            push(after, strength * float(self.inputs.share[edge]), longer, hops + 1, 0)
        return found

    def _after(self, done: int) -> int:
        return done + 1 if self.max_hops else min(done + 1, self.last_done)

    def _worth(self, left: int, done: int) -> np.ndarray:
        """(N,) best completion of a walk that steps to each node from a state with these counts."""
        worth_N = self._completion(left, self._after(done)).copy()
        met = self.meets[left - 1]
        if left > 1:
            worth_N[met] = self._completion(left - 1, self._after(done))[met]
        else:
            worth_N[met] = 1.0 if done + 1 >= self.min_hops else 0.0
        return worth_N

    def _completion(self, left: int, done: int) -> np.ndarray:
        return self.best.get((left, done), np.zeros(self.inputs.n_nodes))

    def _best_completions(self) -> dict[tuple[int, int], np.ndarray]:
        """(waypoints left, hops done) -> (N,) strength of the best completion; zero where there is none."""
        self.best = {}
        for left in range(1, self.n_groups):
            for done in range(self.last_done, -1, -1):
                itself = self._after(done) == done
                self.best[left, done] = np.zeros(self.inputs.n_nodes)
                worth_N = self._worth(left, done)
                for node, edges, start in self.inputs.layers():
                    promise = self.inputs.share[edges] * worth_N[self.inputs.source[edges]]
                    best = np.maximum.reduceat(promise, start[:-1])
                    self.best[left, done][node] = best
                    if itself:  # the layers above step into this same state
                        met = self.meets[left - 1, node]
                        worth_N[node] = np.where(met, worth_N[node], best)
        return self.best

    def _sources(self, state: _State) -> _Sources:
        if state not in self.sources:
            edges = self.inputs.edges_into(state.node)
            source = self.inputs.source[edges]
            worth_N = self._worth_of(state.left, state.done)
            bound = self.inputs.share[edges] * worth_N[source]
            order = np.argsort(-bound, kind="stable")[: np.count_nonzero(bound)]
            left = state.left - self.meets[state.left - 1, source[order]]
            self.sources[state] = _Sources((order + edges.start).tolist(), bound[order].tolist(), left.tolist())
        return self.sources[state]

    def _worth_of(self, left: int, done: int) -> np.ndarray:
        key = (-left, done)  # kept beside the completions it is made from
        if key not in self.best:
            self.best[key] = self._worth(left, done)
        return self.best[key]


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


def check_limits(k: int, min_hops: int, max_hops: int | None) -> None:
    """Refuse limits below 1, and limits on hops that exclude each other."""
    for name, value in (("k", k), ("min_hops", min_hops), ("max_hops", 1 if max_hops is None else max_hops)):
        if value < 1:
            raise SettingError(f"{name} is {value}; expected at least 1. Give a larger one.")
    if max_hops is not None and max_hops < min_hops:
        raise SettingError(
            f"max_hops is {max_hops}; expected at least min_hops, {min_hops}. Raise one or lower the other."
        )
