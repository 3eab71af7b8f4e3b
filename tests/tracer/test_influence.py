"""Influence, pruning and scores: by hand, against networkx and a dense reference, and as properties."""

from dataclasses import astuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import GraphFormatError
from tracer.influence import influence, prune, scores
from tracer.schema import NodeKind

FEATURE, ERROR, TOKEN, LOGIT, _ = NodeKind
#   two tokens (4, 5), an error (3), features 0 -> 1 -> 2, output 6
KINDS = np.array([FEATURE, FEATURE, FEATURE, ERROR, TOKEN, TOKEN, LOGIT])
WEIGHT = np.array([0, 0, 0, 0, 0, 0, 1.0])


@st.composite
def graphs(draw):
    """A random graph: edges go up through features, from errors and tokens, into features and outputs."""
    n_features, n_errors, n_tokens, n_outputs = (draw(st.integers(1, n)) for n in (6, 3, 3, 3))
    kinds = np.repeat([FEATURE, ERROR, TOKEN, LOGIT], [n_features, n_errors, n_tokens, n_outputs])
    first_output = n_features + n_errors + n_tokens
    possible = [(s, t) for t in range(n_features) for s in (*range(t), *range(n_features, first_output))]
    possible += [(s, t) for t in range(first_output, len(kinds)) for s in range(first_output)]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True, min_size=1))
    sizes = draw(st.lists(st.floats(0.05, 5), min_size=len(chosen), max_size=len(chosen)))
    signs = draw(st.lists(st.sampled_from([-1, 1]), min_size=len(chosen), max_size=len(chosen)))
    source, target = np.array(chosen).T
    weight_N = np.zeros(len(kinds))
    weight_N[first_output:] = 1 / n_outputs
    return source, target, np.array(sizes) * signs, kinds, weight_N


def dense_shares(source, target, effect, n):
    share_NN = np.zeros((n, n))
    share_NN[target, source] = np.abs(effect)
    return share_NN / np.maximum(share_NN.sum(1, keepdims=True), 1e-10)


def dense_prune(source, target, effect, kind_N, weight_N, node_threshold, edge_threshold):
    """The peer's procedure on dense matrices, written down a second time."""

    def cut(score, share):
        falling = np.sort(score.ravel())[::-1]
        at = np.searchsorted(np.cumsum(falling) / max(falling.sum(), 1e-300), share)
        return falling[min(at, max((falling > 0).sum() - 1, 0))]

    def walk(share_NN):
        return weight_N @ (np.linalg.inv(np.eye(len(weight_N)) - share_NN) - np.eye(len(weight_N)))

    n, fixed_N = len(weight_N), np.isin(kind_N, [TOKEN, LOGIT])
    influence_N = np.where(walk(dense_shares(source, target, effect, n)) < 1e-12, 0, 1) * walk(
        dense_shares(source, target, effect, n)
    )
    node_N = (influence_N >= cut(influence_N, node_threshold)) | fixed_N
    inside = node_N[source] & node_N[target]
    share_NN = dense_shares(source[inside], target[inside], effect[inside], n)
    score_NN = share_NN * (walk(share_NN) + weight_N)[:, None]
    score_NN[score_NN < 1e-12] = 0
    edge_NN = (score_NN >= cut(score_NN, edge_threshold)) & (score_NN > 0)
    while True:
        leaves_N, entered_N = edge_NN.any(0), edge_NN.any(1)
        stays_N = node_N & (fixed_N | leaves_N) & ((kind_N != FEATURE) | entered_N)
        if (stays_N == node_N).all():
            return node_N, edge_NN[target, source]
        node_N = stays_N
        edge_NN[~node_N] = False
        edge_NN[:, ~node_N] = False


def test_influence_of_a_graph_one_can_draw():
    """Token 4 -> feature 0 -> output, and error 3 -> output: the walk splits 3 to 1."""
    source, target, effect = np.array([4, 0, 3]), np.array([0, 6, 6]), np.array([2.0, -3.0, 1.0])
    assert influence(source, target, effect, WEIGHT).tolist() == [0.75, 0, 0, 0.25, 0.75, 0, 0]


@given(graph=graphs())
def test_influence_equals_the_sum_over_all_paths(graph):
    source, target, effect, _, weight_N = graph
    share_NN = dense_shares(source, target, effect, len(weight_N))
    drawn = nx.DiGraph([(int(s), int(t)) for s, t in zip(source, target, strict=True)])
    expected_N = np.zeros(len(weight_N))
    for output in np.flatnonzero(weight_N):
        for start in set(drawn) - {int(output)} if output in drawn else ():
            for path in nx.all_simple_paths(drawn, start, int(output)):
                steps = zip(path[1:], path[:-1], strict=True)
                expected_N[start] += weight_N[output] * np.prod([share_NN[t, s] for t, s in steps])
    assert np.allclose(influence(source, target, effect, weight_N), expected_N)


@given(graph=graphs())
def test_influence_is_a_chance(graph):
    source, target, effect, _, weight_N = graph
    influence_N = influence(source, target, effect, weight_N)
    assert (influence_N >= 0).all() and (influence_N <= 1 + 1e-9).all()


@given(graph=graphs(), seed=st.integers(0, 1000))
def test_what_was_left_out_counts_as_an_error_that_stands_for_it_does(graph, seed):
    source, target, effect, kind_N, weight_N = graph
    random, n = np.random.default_rng(seed), len(weight_N)
    size_N = np.bincount(target, np.abs(effect), n)
    lost_N = np.where(size_N > 0, random.uniform(0, 2, n), 0)
    entered = np.flatnonzero(lost_N)
    with_it = (
        np.concatenate([source, np.full(len(entered), n)]),
        np.concatenate([target, entered]),
        np.concatenate([effect, lost_N[entered]]),
    )
    kinds, weights = np.append(kind_N, ERROR), np.append(weight_N, 0.0)
    given_sizes = prune(source, target, effect, kind_N, weight_N, size_N + lost_N, node_threshold=0.6)
    assert np.allclose(given_sizes.influence_N, influence(*with_it, weights)[:n])
    assert np.allclose(astuple(given_sizes.scores), astuple(scores(*with_it, kinds, weights)))
    assert given_sizes.scores == scores(source, target, effect, kind_N, weight_N, size_N + lost_N)


@given(graph=graphs(), order=st.randoms())
def test_the_order_of_edges_does_not_matter(graph, order):
    source, target, effect, kind_N, weight_N = graph
    mixed = list(range(len(source)))
    order.shuffle(mixed)
    one = prune(source, target, effect, kind_N, weight_N)
    other = prune(source[mixed], target[mixed], effect[mixed], kind_N, weight_N)
    assert np.allclose(one.influence_N, other.influence_N)
    assert scores(source, target, effect, kind_N, weight_N).replacement == pytest.approx(
        scores(source[mixed], target[mixed], effect[mixed], kind_N, weight_N).replacement
    )


@given(graph=graphs(), seed=st.integers(0, 10_000))
def test_nodes_may_stand_in_any_order(graph, seed):
    """In graphs from elsewhere a source may stand after what it acts on."""
    source, target, effect, _, weight_N = graph
    moved_N = np.random.default_rng(seed).permutation(len(weight_N))
    moved_weight_N = np.empty_like(weight_N)
    moved_weight_N[moved_N] = weight_N
    moved = influence(moved_N[source], moved_N[target], effect, moved_weight_N)
    assert np.allclose(moved[moved_N], influence(source, target, effect, weight_N))


def test_a_cycle_is_refused_with_the_likely_cause():
    with pytest.raises(GraphFormatError, match=r"cycle.*not exchanged"):
        influence(np.array([0, 1, 1]), np.array([1, 0, 2]), np.ones(3), np.array([0, 0, 1.0]))


@given(seed=st.integers(0, 10_000), node=st.floats(0.1, 1), edge=st.floats(0.1, 1))
def test_pruning_equals_the_dense_reference(seed, node, edge):
    """Sizes are continuous here: no ties, which rounding would break one way or the other."""
    random = np.random.default_rng(seed)
    kind_N = np.repeat([FEATURE, ERROR, TOKEN, LOGIT], [8, 3, 3, 2])
    pairs = [(s, t) for t in range(8) for s in (*range(t), *range(8, 14))]
    pairs += [(s, t) for t in (14, 15) for s in range(14)]
    source, target = np.array([pair for pair in pairs if random.random() < 0.6]).T
    effect = random.normal(size=len(source)) ** 3
    weight_N = np.where(kind_N == LOGIT, [0.0] * 14 + [0.6, 0.3], 0)
    ours = prune(source, target, effect, kind_N, weight_N, node_threshold=node, edge_threshold=edge, keep_errors=False)
    node_N, edge_E = dense_prune(source, target, effect, kind_N, weight_N, node, edge)
    assert (ours.kept_N == node_N).all()
    assert (ours.kept_E == edge_E).all()


@given(graph=graphs(), node=st.floats(0, 1), edge=st.floats(0, 1))
def test_what_is_kept_hangs_together(graph, node, edge):
    source, target, effect, kind_N, weight_N = graph
    pruning = prune(source, target, effect, kind_N, weight_N, node_threshold=node, edge_threshold=edge)
    assert pruning.kept_N[np.isin(kind_N, [ERROR, TOKEN, LOGIT])].all()
    assert (pruning.kept_N[source] & pruning.kept_N[target])[pruning.kept_E].all()
    features = np.flatnonzero(pruning.kept_N & (kind_N == FEATURE))
    assert set(features) <= set(source[pruning.kept_E]) & set(target[pruning.kept_E])


def test_errors_are_pruned_only_where_asked():
    """The error carries a hundredth of what the feature does."""
    source, target, effect = np.array([4, 0, 3]), np.array([0, 6, 6]), np.array([1.0, 0.99, 0.01])
    assert prune(source, target, effect, KINDS, WEIGHT).kept_N[3]
    assert not prune(source, target, effect, KINDS, WEIGHT, keep_errors=False).kept_N[3]


def test_a_feature_that_lost_its_inputs_is_dropped_and_then_what_led_only_to_it():
    """0 -> 1 -> output carries little: with its only input pruned, feature 1 goes; feature 2 stays."""
    source, target, effect = np.array([4, 2, 0, 1, 5]), np.array([2, 6, 1, 6, 0]), np.array([1.0, 0.97, 1.0, 0.03, 1.0])
    pruning = prune(source, target, effect, KINDS, WEIGHT, node_threshold=0.99, edge_threshold=0.9)
    assert pruning.kept_N.tolist() == [False, False, True, True, True, True, True]
    assert pruning.kept_E.tolist() == [True, True, False, False, False]


def test_a_graph_without_edges_keeps_what_is_always_kept():
    nothing = np.array([], int)
    pruning = prune(nothing, nothing, nothing.astype(float), KINDS, WEIGHT)
    assert pruning.kept_N.tolist() == [False] * 3 + [True] * 4
    assert scores(nothing, nothing, nothing.astype(float), KINDS, WEIGHT).replacement == 0
