"""Flow against paths counted one by one, networkx, a closed formula, and by hand."""

import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.flow import Inputs, Way, chance_of_meeting, flow, parted_flow
from tests.circuits.small_graphs import (
    AUSTIN,
    DALLAS,
    LOGIT,
    STATE,
    TEXAS,
    TOKEN,
    graphs,
    graphs_with_groups,
    large_graph,
    make_graph,
    paths_by_ways,
    paths_through,
    rows,
    strength,
    ways,
)
from tracer.errors import PatternError, SettingError


def test_flow_adds_the_paths_one_can_draw(dallas):
    straight, by_way = 3 / 4 * 1 / 2, 1 / 4 * 1 / 2
    assert flow(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)]) == pytest.approx(straight + by_way)
    assert flow(dallas, [rows(DALLAS), rows(STATE), rows(TEXAS), rows(AUSTIN)]) == pytest.approx(by_way)
    assert flow(dallas, [rows(DALLAS), rows(AUSTIN)]) == pytest.approx(1)  # everything comes from Dallas here


def test_positive_flow_leaves_out_paths_with_a_negative_effect_but_keeps_shares_over_all_inputs(dallas):
    assert flow(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)], "positive") == pytest.approx(3 / 8)


def test_a_path_through_two_nodes_of_a_group_counts_once(dallas):
    both = rows(STATE, TEXAS)
    assert flow(dallas, [rows(DALLAS), both, rows(AUSTIN)]) == pytest.approx(1 / 2 + 1 / 4)
    assert flow(dallas, [both, rows(AUSTIN)]) == pytest.approx(1 / 2 + 1 / 4)


def test_one_node_is_not_two_waypoints_in_a_row(dallas):
    assert flow(dallas, [rows(DALLAS), rows(TEXAS), rows(TEXAS), rows(AUSTIN)]) == 0
    assert flow(dallas, [rows(DALLAS), rows(TEXAS, STATE), rows(TEXAS), rows(AUSTIN)]) == pytest.approx(1 / 8)


def test_an_empty_group_has_no_flow(dallas):
    assert flow(dallas, [rows(DALLAS), rows(), rows(AUSTIN)]) == 0
    assert flow(dallas, [rows(), rows(AUSTIN)]) == flow(dallas, [rows(DALLAS), rows()]) == 0


def test_the_wrong_order_has_no_flow(dallas):
    assert flow(dallas, [rows(TEXAS), rows(DALLAS), rows(AUSTIN)]) == 0


def test_a_graph_without_edges_has_no_flow():
    graph = make_graph([(TOKEN, -1, "a"), (LOGIT, 4, "b")], {})
    assert flow(graph, [rows(0), rows(1)]) == 0


def test_one_waypoint_is_refused_with_what_is_needed(dallas):
    with pytest.raises(PatternError, match="1 waypoints; expected at least two"):
        flow(dallas, [rows(DALLAS)])


def test_an_unknown_sign_is_refused_with_those_there_are(dallas):
    with pytest.raises(SettingError, match="'minus' is unknown; expected any or positive"):
        flow(dallas, [rows(DALLAS), rows(AUSTIN)], "minus")


@settings(max_examples=150, deadline=None)
@given(graphs_with_groups())
def test_flow_equals_the_sum_over_paths_counted_one_by_one(case):
    graph, groups = case
    for sign in ("any", "positive"):
        expected = sum(strength(graph, walk) for walk in paths_through(graph, groups, sign))
        assert flow(graph, groups, sign) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_flow_between_two_nodes_equals_the_sum_over_the_paths_of_networkx(graph):
    drawn = nx.DiGraph()
    drawn.add_nodes_from(range(len(graph.nodes)))
    edges = graph.edges
    for source, target, share in zip(edges.source, edges.target, edges.share, strict=True):
        drawn.add_edge(int(source), int(target), share=float(share))
    first, last = 0, len(graph.nodes) - 1
    if first != last:
        walks = nx.all_simple_edge_paths(drawn, first, last)
        shares = {str(edge): share for edge, share in nx.get_edge_attributes(drawn, "share").items()}
        expected = sum(np.prod([shares[str(edge)] for edge in walk]) for walk in walks)
        assert flow(graph, [rows(first), rows(last)]) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(graphs_with_groups())
def test_flow_through_one_group_equals_the_closed_formula(case):
    graph, groups = case
    group = groups[0]
    n = len(graph.nodes)
    source, target = 0, n - 1
    if len(group) == 0 or source in group or target in group:
        return
    share_NN = np.zeros((n, n))  # row = target, column = source
    share_NN[graph.edges.target, graph.edges.source] = graph.edges.share
    M = np.linalg.inv(np.eye(n) - share_NN)
    expected = M[target, group] @ np.linalg.solve(M[np.ix_(group, group)], M[group, source])
    assert flow(graph, [rows(source), group, rows(target)]) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(graphs_with_groups())
def test_flow_into_one_node_is_a_chance(case):
    graph, groups = case
    for row in range(len(graph.nodes)):
        assert 0 <= flow(graph, [*groups[:-1], rows(row)]) <= 1 + 1e-6


@settings(max_examples=40, deadline=None)
@given(graphs_with_groups())
def test_columns_are_independent(case):
    graph, groups = case
    inputs = Inputs.of(graph)
    meets = np.zeros((len(graph.nodes), len(groups)), bool)
    for column, group in enumerate(groups):
        meets[group, column] = True
    gain = np.ones(meets.shape)
    together = chance_of_meeting(inputs, meets, gain)
    for column in range(len(groups)):
        alone = chance_of_meeting(inputs, meets[:, column], gain[:, column])
        np.testing.assert_allclose(together[:, column], alone, atol=1e-12)


def test_a_million_edges_take_well_under_a_second():
    graph = large_graph()
    tokens, middle, logit = np.arange(9_000, 9_500), np.arange(3_000, 3_050), rows(len(graph.nodes) - 1)
    began = time.perf_counter()
    through = flow(graph, [tokens, middle, logit])
    assert time.perf_counter() - began < 1
    assert 0 < through < 1


def test_flow_has_a_positive_and_a_negative_part(dallas):
    parts = parted_flow(dallas, [rows(DALLAS), rows(AUSTIN)])
    # straight, by Texas, by state and by state and Texas
    assert parts.positive == pytest.approx(1 / 4 + 3 / 4 * 1 / 2)
    assert parts.negative == pytest.approx(1 / 4 + 1 / 4 * 1 / 2)
    assert parts.share == pytest.approx(1)
    assert parted_flow(dallas, [rows(DALLAS), rows(STATE)]).negative == 0


@settings(max_examples=200, deadline=None)
@given(graphs_with_groups(), st.data())
def test_flow_by_ways_equals_the_sum_over_paths_counted_one_by_one(case, data):
    graph, groups = case
    chosen = data.draw(ways(len(groups) - 1))
    walks = paths_by_ways(graph, groups, chosen)
    assert flow(graph, groups, ways=chosen) == pytest.approx(sum(strength(graph, w) for w in walks), abs=1e-9)
    negative = sum(strength(graph, w) for w in walks if (graph.edges.effect[w] < 0).sum() % 2)
    assert parted_flow(graph, groups, ways=chosen).negative == pytest.approx(negative, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(graphs_with_groups(), st.sets(st.integers(0, 7), max_size=3))
def test_flow_avoiding_nodes_is_that_of_the_paths_without_them(case, avoided):
    graph, groups = case
    avoided = np.array([row for row in avoided if row < len(graph.nodes)], np.int64)
    edges = graph.edges
    free = [
        walk
        for walk in paths_through(graph, groups)
        if not set(edges.source[walk]) & set(avoided) and edges.target[walk[-1]] not in avoided
    ]
    expected = sum(strength(graph, walk) for walk in free)
    assert flow(graph, groups, avoiding=avoided) == pytest.approx(expected, abs=1e-9)


def test_a_limit_that_allows_nothing_is_refused():
    with pytest.raises(SettingError, match="max_hops is 1; expected at least min_hops, 2"):
        Way(min_hops=2, max_hops=1)
