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


@dataclass(frozen=True)
class Scores:
    """How much of a graph is explained by features and tokens; both 0 to 1, and 0 where nothing has influence."""

    replacement: float
    """Share of influence that starts at tokens or biases and not at errors: a constant is explained."""
    completeness: float
    """Share of the nodes' input, weighted by influence, that does not come from errors."""


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
    return _influence(_shares(target, effect, len(weight_N), size_N), source, target, weight_N)


def prune(
    source: np.ndarray,
    target: np.ndarray,
    effect: np.ndarray,
    kind_N: np.ndarray,
    weight_N: np.ndarray,
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
    """
    n_nodes = len(weight_N)
    share_E = _shares(target, effect, n_nodes)
    influence_N = _influence(share_E, source, target, weight_N)
    always_N = np.isin(kind_N, [NodeKind.TOKEN, NodeKind.LOGIT]) | (weight_N > 0)
    if keep_errors:
        always_N |= np.isin(kind_N, [NodeKind.ERROR, NodeKind.BIAS])
    kept_N = (influence_N >= _threshold(influence_N, node_threshold)) | always_N

    inside_E = kept_N[source] & kept_N[target]
    inner_E = _shares(target, np.where(inside_E, effect, 0), n_nodes)
    score_E = inner_E * (_influence(inner_E, source, target, weight_N) + weight_N)[target]
    kept_E = inside_E & (score_E > 0) & (score_E >= _threshold(score_E, edge_threshold))
    _drop_dead_ends(source, target, kept_N, kept_E, always_N, kind_N == NodeKind.FEATURE)
    return Pruning(kept_N, kept_E, influence_N, cumulative_shares(influence_N))


def start_weights(probability_K: np.ndarray) -> np.ndarray:
    """The weight of each output: its probability; where one has none (a difference, a direction), all weigh the same.

    >>> start_weights(np.array([0.5, 0.25])).tolist(), start_weights(np.array([0.5, np.nan])).tolist()
    ([0.5, 0.25], [0.5, 0.5])
    """
    known = np.isfinite(probability_K).all() and probability_K.any()
    return probability_K if known else np.full(len(probability_K), 1 / max(len(probability_K), 1))


def scores(
    source: np.ndarray, target: np.ndarray, effect: np.ndarray, kind_N: np.ndarray, weight_N: np.ndarray
) -> Scores:
    """Replacement and completeness score of a graph that was not pruned; arguments as for `prune`.

    >>> kinds = np.array([NodeKind.ERROR, NodeKind.TOKEN, NodeKind.LOGIT])
    >>> scores(np.array([0, 1]), np.array([2, 2]), np.array([1.0, -3.0]), kinds, np.array([0.0, 0.0, 1.0]))
    Scores(replacement=0.75, completeness=0.875)
    """
    n_nodes = len(weight_N)
    share_E = _shares(target, effect, n_nodes)
    influence_N = _influence(share_E, source, target, weight_N)
    explained = float(influence_N[np.isin(kind_N, [NodeKind.TOKEN, NodeKind.BIAS])].sum())
    from_errors = float(influence_N[kind_N == NodeKind.ERROR].sum())
    is_error_E = kind_N[source] == NodeKind.ERROR
    unexplained_N = np.bincount(target[is_error_E], weights=share_E[is_error_E], minlength=n_nodes)
    visited_N = influence_N + weight_N
    return Scores(
        replacement=_ratio(explained, explained + from_errors),
        completeness=_ratio(float(((1 - unexplained_N) * visited_N).sum()), float(visited_N.sum())),
    )


def cumulative_shares(influence_N: np.ndarray) -> np.ndarray:
    """(N,) share of all influence that each node and the ones above it carry; small is important.

    >>> cumulative_shares(np.array([1.0, 3.0, 0.0])).tolist()
    [1.0, 0.75, 1.0]
    """
    order = np.argsort(-influence_N, kind="stable")
    cumulative_N = np.empty_like(influence_N)
    cumulative_N[order] = np.cumsum(influence_N[order]) / max(float(influence_N.sum()), 1e-300)
    return cumulative_N


def _shares(target: np.ndarray, effect: np.ndarray, n_nodes: int, size_N: np.ndarray | None = None) -> np.ndarray:
    """As `graph.shares`, in double precision: thresholds compare sums of many."""
    size_E = np.abs(effect).astype(np.float64)
    total_N = np.bincount(target, weights=size_E, minlength=n_nodes) if size_N is None else size_N
    return size_E / np.maximum(total_N[target], 1e-10)  # 1e-10: the peer's clamp


def _influence(share_E: np.ndarray, source: np.ndarray, target: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
    n_nodes = len(weight_N)
    back_NN = csr_array((share_E, (source, target)), shape=(n_nodes, n_nodes))
    hop_N = back_NN @ weight_N.astype(np.float64)
    influence_N = hop_N.copy()
    for _ in range(n_nodes):  # a path in an acyclic graph has fewer hops than nodes
        hop_N = back_NN @ hop_N
        if not hop_N.any():
            return influence_N
        influence_N += hop_N
    raise GraphFormatError(
        f"direct effects on {n_nodes} nodes contain a cycle; expected each edge to go from an earlier node to a later "
        "one. Check that sources and targets are not exchanged."
    )


def _threshold(score: np.ndarray, share: float) -> float:
    """The smallest score among the largest ones that together make up this share of all."""
    falling = np.sort(score)[::-1]
    n_positive = int((falling > 0).sum())
    if not n_positive:
        return 0.0
    cumulative = np.cumsum(falling) / falling.sum()
    at = min(int(np.searchsorted(cumulative, share)), n_positive - 1)  # rounding must not reach the zeros
    return float(falling[at])


def _drop_dead_ends(
    source: np.ndarray,
    target: np.ndarray,
    kept_N: np.ndarray,
    kept_E: np.ndarray,
    always_N: np.ndarray,
    feature_N: np.ndarray,
) -> None:
    """Drop, in place, nodes that lead nowhere and features nothing enters, with their edges, until none is left."""
    n_nodes = len(kept_N)
    for _ in range(n_nodes + 1):  # each round but the last drops a node
        leaves_N = np.bincount(source[kept_E], minlength=n_nodes) > 0
        entered_N = np.bincount(target[kept_E], minlength=n_nodes) > 0
        stays_N = kept_N & (always_N | leaves_N) & (~feature_N | entered_N)
        if (stays_N == kept_N).all():
            return
        kept_N[:] = stays_N
        kept_E &= kept_N[source] & kept_N[target]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
