"""The strongest paths against all paths sorted, under limits, with ties, and on a large graph."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.flow import flow
from circuits.paths import strongest_paths
from tests.circuits.small_graphs import (
    AUSTIN,
    DALLAS,
    FEATURE,
    LOGIT,
    STATE,
    TEXAS,
    TOKEN,
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


def test_a_path_tells_its_nodes_effects_shares_and_strength(dallas):
    best, second = strongest_paths(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)])
    assert best.rows == (DALLAS, TEXAS, AUSTIN)
    assert best.effects == (3.0, 2.0)
    assert best.shares == (0.75, 0.5)
    assert best.strength == 0.375
    assert second.rows == (DALLAS, STATE, TEXAS, AUSTIN)


def test_paths_with_a_negative_effect_are_left_out_when_asked(dallas):
    found = strongest_paths(dallas, [rows(DALLAS), rows(AUSTIN)], k=99, sign="positive")
    assert [path.rows for path in found] == [(DALLAS, TEXAS, AUSTIN), (DALLAS, AUSTIN)]


def test_a_least_number_of_hops_passes_over_the_trivial_edge(dallas):
    found = strongest_paths(dallas, [rows(DALLAS), rows(AUSTIN)], k=1, min_hops=3)
    assert [path.rows for path in found] == [(DALLAS, STATE, TEXAS, AUSTIN)]


def test_equal_paths_stand_by_hops_and_rows():
    nodes = [(FEATURE, 1, ""), (FEATURE, 1, ""), (TOKEN, -1, ""), (LOGIT, 4, "")]
    graph = make_graph(nodes, {(2, 0): 1.0, (2, 1): 1.0, (0, 3): 1.0, (1, 3): 1.0})
    for _ in range(3):
        found = strongest_paths(graph, [rows(2), rows(3)])
        assert [path.rows for path in found] == [(2, 0, 3), (2, 1, 3)]


def test_there_are_no_paths_where_a_group_is_empty(dallas):
    assert strongest_paths(dallas, [rows(DALLAS), rows(), rows(AUSTIN)]) == []


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"min_hops": 0}, "min_hops is 0; expected at least 1"),
        ({"min_hops": 3, "max_hops": 2}, "max_hops is 2; expected at least min_hops, 3"),
    ],
)
def test_limits_that_cannot_be_met_are_refused(dallas, limits, message):
    with pytest.raises(SettingError, match=message):
        strongest_paths(dallas, [rows(DALLAS), rows(AUSTIN)], **limits)


def test_one_waypoint_is_refused(dallas):
    with pytest.raises(PatternError, match="at least two"):
        strongest_paths(dallas, [rows(DALLAS)])


@settings(max_examples=200, deadline=None)
@given(
    graphs_with_groups(),
    st.integers(1, 8),
    st.sampled_from(["any", "positive"]),
    st.integers(1, 4),
    st.none() | st.integers(1, 5),
)
def test_the_k_strongest_are_the_k_first_of_all_paths_sorted(case, k, sign, min_hops, max_hops):
    graph, groups = case
    if max_hops is not None and max_hops < min_hops:
        min_hops, max_hops = max_hops, min_hops
    found = strongest_paths(graph, groups, k, sign, min_hops, max_hops)
    walks = [
        walk for walk in paths_through(graph, groups, sign) if min_hops <= len(walk) <= (max_hops or len(graph.nodes))
    ]
    expected = sorted((strength(graph, walk) for walk in walks), reverse=True)[:k]
    assert [path.strength for path in found] == pytest.approx(expected, rel=1e-9)
    edges = graph.edges
    existing = {(int(edges.source[walk[0]]), *(int(edges.target[edge]) for edge in walk)) for walk in walks}
    assert {path.rows for path in found} <= existing
    assert len({path.rows for path in found}) == len(found)


@settings(max_examples=60, deadline=None)
@given(graphs_with_groups())
def test_all_paths_together_carry_the_flow(case):
    graph, groups = case
    found = strongest_paths(graph, groups, k=10_000)
    assert sum(path.strength for path in found) == pytest.approx(flow(graph, groups), abs=1e-9)


def test_a_thousand_paths_of_a_million_edges_come_in_falling_order_within_seconds():
    graph = large_graph()
    groups = [np.arange(9_000, 9_500), np.arange(3_000, 3_050), rows(len(graph.nodes) - 1)]
    began = time.perf_counter()
    found = strongest_paths(graph, groups, k=1_000, min_hops=3)
    assert time.perf_counter() - began < 5
    strengths = [path.strength for path in found]
    assert len(found) == 1_000 and strengths == sorted(strengths, reverse=True)
    assert all(len(path.rows) >= 4 for path in found)


@settings(max_examples=200, deadline=None)
@given(graphs_with_groups(), st.integers(1, 6), st.integers(1, 3), st.data())
def test_ways_through_and_avoiding_choose_among_all_paths(case, k, min_hops, data):
    graph, groups = case
    chosen = data.draw(ways(len(groups) - 1))
    some = st.sets(st.integers(0, len(graph.nodes) - 1), max_size=3)
    through, avoiding = (np.array(sorted(data.draw(some)), np.int64) for _ in range(2))
    edges = graph.edges
    expected = []
    for walk in paths_by_ways(graph, groups, chosen):
        nodes = {int(edges.source[edge]) for edge in walk} | {int(edges.target[walk[-1]])}
        if len(walk) >= min_hops and nodes & set(through.tolist()) and not nodes & set(avoiding.tolist()):
            expected.append(strength(graph, walk))
    found = strongest_paths(
        graph, groups, k, min_hops=min_hops, ways=chosen, through=through, avoiding=avoiding
    )  # fmt: skip
    assert [path.strength for path in found] == pytest.approx(sorted(expected, reverse=True)[:k], rel=1e-9)
    assert all(path.positive == (np.prod(path.effects) > 0) for path in found)
