"""Influence, pruning and scores of an attribution graph, from its edge list alone (no model needed).

A walk starts at an output, chosen by its weight, and steps back along edges, each time to a source chosen in proportion
to |effect|. The influence of a node is the chance that the walk visits it. Nothing here is of size nodes x nodes.

Source: Ameisen et al. 2025, "Circuit Tracing", graph pruning.
    https://transformer-circuits.pub/2025/attribution-graphs/methods.html
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from tracer.errors import GraphFormatError
from tracer.schema import NodeKind


@dataclass(frozen=True)
class Pruning:
    """What is left of a graph, and the influence by which it was decided."""

    kept_N: np.ndarray
    """(N,) bool."""
    kept_E: np.ndarray
    """(E,) bool."""
    influence_N: np.ndarray
    """(N,) influence in the whole graph, without the outputs' own weight."""
    cumulative_N: np.ndarray
    """(N,) share of all influence that this node and the ones above it carry; small is important."""
    scores: "Scores"
    """Of the whole graph."""


@dataclass(frozen=True)
class Scores:
    """How much of a graph is explained by features and tokens; both 0 to 1, and 0 where nothing has influence."""

    replacement: float
    """Share of influence that starts at tokens or biases (a constant is explained), not at errors or at what was left
    out."""
    completeness: float
    """Share of the nodes' input, weighted by influence, that comes neither from errors nor from what was left out."""


def influence(
    source: np.ndarray,
    target: np.ndarray,
    effect: np.ndarray,
    weight_N: np.ndarray,
    size_N: np.ndarray | None = None,
) -> np.ndarray:
    """The chance that a walk back from the outputs visits each node.

    Args:
        source: (E,) rows of the nodes that the edges leave.
        target: (E,) rows of the nodes that the edges enter.
        effect: (E,) signed direct effects; only their size counts here.
        weight_N: (N,) chance that the walk starts there: an output's probability, zero on other nodes.
        size_N: (N,) sum of the sizes of all effects into each node where `effect` holds only some of them: a walk that
            steps to another one ends there.

    Returns:
        influence_N: 0 to the sum of weights. The start itself does not count as a visit.

    Raises:
        GraphFormatError: The graph has a cycle, so the walk does not end.

    >>> source, target, effect = np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([2.0, -3.0, 1.0])
    >>> influence(source, target, effect, weight_N=np.array([0.0, 0.0, 1.0])).tolist()
    [1.0, 0.75, 0.0]
    """
    return _Inputs(source, target, effect, len(weight_N), size_N).influence(weight_N)


def prune(
    source: np.ndarray,
    target: np.ndarray,
    effect: np.ndarray,
    kind_N: np.ndarray,
    weight_N: np.ndarray,
    size_N: np.ndarray | None = None,
    *,
    node_threshold: float = 0.8,
    edge_threshold: float = 0.98,
    keep_errors: bool = True,
) -> Pruning:
    """The part of a graph that carries most of its influence.

    Nodes are kept from the most influential on until they carry `node_threshold` of all influence; tokens, outputs and
    whatever has a weight always; errors and biases always if `keep_errors`. Of the edges between them those are kept
    that carry `edge_threshold`. Then features that nothing enters, and features, errors or biases that lead nowhere,
    are dropped until none is left.

    Args:
        source: (E,) rows of the nodes that the edges leave.
        target: (E,) rows of the nodes that the edges enter.
        effect: (E,) signed direct effects.
        kind_N: (N,) a NodeKind each.
        weight_N: (N,) weight of each output, zero on other nodes.
        size_N: As for `influence`: what was left out counts as an error does.
    """
    inputs = _Inputs(source, target, effect, len(weight_N), size_N)
    influence_N = inputs.influence(weight_N)
    always_N = np.isin(kind_N, [NodeKind.TOKEN, NodeKind.LOGIT]) | (weight_N > 0)
    if keep_errors:
        always_N |= np.isin(kind_N, [NodeKind.ERROR, NodeKind.BIAS])
    kept_N = (influence_N >= _threshold(influence_N, node_threshold)) | always_N

    inner = np.flatnonzero(kept_N[source] & kept_N[target])  # few of all edges: only these are looked at from here on
    score = _Inputs(source[inner], target[inner], effect[inner], len(weight_N)).scores(weight_N)
    inner = inner[(score > 0) & (score >= _threshold(score, edge_threshold))]
    inner = _drop_dead_ends(source, target, inner, kept_N, always_N, kind_N == NodeKind.FEATURE)
    kept_E = np.zeros(len(source), bool)
    kept_E[inner] = True
    return Pruning(
        kept_N, kept_E, influence_N, cumulative_shares(influence_N), _scores(inputs, influence_N, kind_N, weight_N)
    )


def start_weights(probability_K: np.ndarray) -> np.ndarray:
    """The weight of each output: its probability; where one has none (a difference, a direction), all weigh the same.

    >>> start_weights(np.array([0.5, 0.25])).tolist(), start_weights(np.array([0.5, np.nan])).tolist()
    ([0.5, 0.25], [0.5, 0.5])
    """
    known = np.isfinite(probability_K).all() and probability_K.any()
    return probability_K if known else np.full(len(probability_K), 1 / max(len(probability_K), 1))


def scores(
    source: np.ndarray,
    target: np.ndarray,
    effect: np.ndarray,
    kind_N: np.ndarray,
    weight_N: np.ndarray,
    size_N: np.ndarray | None = None,
) -> Scores:
    """Replacement and completeness score of a graph that was not pruned; arguments as for `prune`.

    >>> kinds = np.array([NodeKind.ERROR, NodeKind.TOKEN, NodeKind.LOGIT])
    >>> scores(np.array([0, 1]), np.array([2, 2]), np.array([1.0, -3.0]), kinds, np.array([0.0, 0.0, 1.0]))
    Scores(replacement=0.75, completeness=0.875)
    """
    inputs = _Inputs(source, target, effect, len(weight_N), size_N)
    return _scores(inputs, inputs.influence(weight_N), kind_N, weight_N)


def cumulative_shares(influence_N: np.ndarray) -> np.ndarray:
    """(N,) share of all influence that each node and the ones above it carry; small is important.

    >>> cumulative_shares(np.array([1.0, 3.0, 0.0])).tolist()
    [1.0, 0.75, 1.0]
    """
    order = np.argsort(-influence_N, kind="stable")
    cumulative_N = np.empty_like(influence_N)
    cumulative_N[order] = np.cumsum(influence_N[order]) / max(float(influence_N.sum()), 1e-300)
    return cumulative_N


class _Inputs:
    """The sizes of all effects, target by target: a matrix in rows, of which no column is ever looked for."""

    def __init__(
        self, source: np.ndarray, target: np.ndarray, effect: np.ndarray, n_nodes: int, size_N: np.ndarray | None = None
    ):
        self.order = None if (target[1:] >= target[:-1]).all() else np.argsort(target, kind="stable")
        if self.order is not None:
            source, target, effect = source[self.order], target[self.order], effect[self.order]
        self.n_nodes, self.source = n_nodes, source.astype(np.int32, copy=False)
        self.size_E = np.abs(effect, dtype=np.float64)  # double precision: thresholds compare sums of many
        self.ends = np.searchsorted(target, np.arange(n_nodes + 1, dtype=target.dtype))
        present_N = self.sums(np.ones(n_nodes))
        self.left_out_N = np.zeros(n_nodes) if size_N is None else np.maximum(size_N - present_N, 0)
        self.total_N = np.maximum(present_N + self.left_out_N, 1e-10)  # the peer's clamp

    def sums(self, value_N: np.ndarray) -> np.ndarray:
        """(N,) over the effects into each node: their sizes times the values of their sources."""
        return self._rows(0, self.n_nodes) @ value_N

    def influence(self, weight_N: np.ndarray) -> np.ndarray:
        """(N,) The chance that a walk back visits each node; the start is no visit."""
        steps = self._steps()
        if steps is None:
            return self._influence_by_hops(weight_N.astype(np.float64))
        influence_N = np.zeros(self.n_nodes)
        for first, last in steps:  # what leads to these nodes is complete
            here = slice(first, last)
            influence_N += self._rows(first, last).T @ ((influence_N[here] + weight_N[here]) / self.total_N[here])
        return influence_N

    def scores(self, weight_N: np.ndarray) -> np.ndarray:
        """(E,) The chance that a walk back takes each edge, in the order in which edges were given."""
        visits_N = (self.influence(weight_N) + weight_N) / self.total_N
        score_E = self.size_E * np.repeat(visits_N, np.diff(self.ends))
        if self.order is None:
            return score_E
        given_E = np.empty_like(score_E)
        given_E[self.order] = score_E
        return given_E

    def _rows(self, first: int, last: int) -> csr_array:
        """Sizes of effects on the nodes from first to last."""
        start, end = self.ends[first], self.ends[last]
        ends = (self.ends[first : last + 1] - start).astype(np.int32 if end - start < 2**31 else np.int64)
        values = (self.size_E[start:end], self.source[start:end], ends)
        return csr_array(values, shape=(last - first, self.n_nodes))

    def _steps(self) -> list[tuple[int, int]] | None:
        """Runs of nodes, from the last one down, none of which acts on another of its run; None: they stand in no
        order in which effects only go on."""
        entered_N = np.diff(self.ends) > 0
        latest_N = np.full(self.n_nodes, -1)  # the last of a node's sources that has inputs itself
        if entered_N.any():
            row_E = np.where(entered_N[self.source], self.source, np.int32(-1))
            latest_N[entered_N] = np.maximum.reduceat(row_E, self.ends[:-1][entered_N])
        if (latest_N >= np.arange(self.n_nodes)).any():
            return None
        steps, last, latest = [], self.n_nodes, -1
        for row in np.flatnonzero(entered_N)[::-1].tolist():
            if latest >= row:
                steps.append((row + 1, last))
                last, latest = row + 1, -1
            latest = max(latest, latest_N[row])
        return [*steps, (0, last)]

    def _influence_by_hops(self, weight_N: np.ndarray) -> np.ndarray:
        """The same where nodes stand in any order: over paths of one hop, of two, and so on."""
        back_NN = self._rows(0, self.n_nodes).T
        hop_N = back_NN @ (weight_N / self.total_N)
        influence_N = hop_N.copy()
        for _ in range(self.n_nodes):  # a path in an acyclic graph has fewer hops than nodes
            hop_N = back_NN @ (hop_N / self.total_N)
            if not hop_N.any():
                return influence_N
            influence_N += hop_N
        raise GraphFormatError(
            f"direct effects on {self.n_nodes} nodes contain a cycle; expected each edge to go from an earlier node to "
            "a later one. Check that sources and targets are not exchanged."
        )


def _scores(inputs: _Inputs, influence_N: np.ndarray, kind_N: np.ndarray, weight_N: np.ndarray) -> Scores:
    is_error_N = kind_N == NodeKind.ERROR
    visited_N = influence_N + weight_N
    explained = float(influence_N[np.isin(kind_N, [NodeKind.TOKEN, NodeKind.BIAS])].sum())
    lost = float((visited_N * inputs.left_out_N / inputs.total_N).sum())  # visits to what was left out
    unexplained_N = (inputs.sums(is_error_N.astype(np.float64)) + inputs.left_out_N) / inputs.total_N
    return Scores(
        replacement=_ratio(explained, explained + lost + float(influence_N[is_error_N].sum())),
        completeness=_ratio(float(((1 - unexplained_N) * visited_N).sum()) + lost, float(visited_N.sum()) + lost),
    )


def _threshold(score: np.ndarray, share: float) -> float:
    """The smallest score among the largest ones that together make up this share of all."""
    rest = score[score > 0]
    if not len(rest):
        return 0.0
    wanted = share * float(rest.sum())
    while len(rest) > 1:  # all above `rest` is counted, nothing below it is wanted
        middle = len(rest) // 2
        rest = np.partition(rest, middle)
        upper = float(rest[middle:].sum())
        if upper >= wanted:
            rest = rest[middle:]
        else:
            rest, wanted = rest[:middle], wanted - upper
    return float(rest[0])


def _drop_dead_ends(
    source: np.ndarray,
    target: np.ndarray,
    edge: np.ndarray,
    kept_N: np.ndarray,
    always_N: np.ndarray,
    feature_N: np.ndarray,
) -> np.ndarray:
    """Of these edges the ones that are left when nodes that lead nowhere and features nothing enters are dropped, until
    there is none; `kept_N` changes in place."""
    for _ in range(len(kept_N) + 1):  # each round but the last drops a node
        leaves_N, entered_N = np.zeros_like(kept_N), np.zeros_like(kept_N)
        leaves_N[source[edge]] = entered_N[target[edge]] = True
        stays_N = kept_N & (always_N | leaves_N) & (~feature_N | entered_N)
        if (stays_N == kept_N).all():
            break
        kept_N[:] = stays_N
        edge = edge[kept_N[source[edge]] & kept_N[target[edge]]]
    return edge


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
