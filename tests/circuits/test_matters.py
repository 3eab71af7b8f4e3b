"""What matters: flow through nodes against flow without them, cuts against networkx, and by hand."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.flow import flow
from circuits.matters import Passing, bottlenecks, minimum_cut, necessary_nodes
from tests.circuits.small_graphs import (
    AUSTIN,
    DALLAS,
    FEATURE,
    LOGIT,
    STATE,
    TEXAS,
    TOKEN,
    graphs,
    graphs_with_groups,
    make_graph,
    paths_by_ways,
    rows,
    strength,
    ways,
)


def test_necessary_nodes_say_what_is_missing_without_them(dallas):
    roles = necessary_nodes(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)])
    assert [role.row for role in roles] == [TEXAS, DALLAS, AUSTIN, STATE]
    assert [role.part for role in roles] == pytest.approx([1, 1, 1, 1 / 4])
    assert [role.waypoint for role in roles] == [1, 0, 2, None]
    assert [role.stretch for role in roles] == [0, 0, 1, 0]
    assert [role.positive for role in roles] == pytest.approx([3 / 8, 3 / 8, 3 / 8, 0])


@settings(max_examples=150, deadline=None)
@given(graphs_with_groups(), st.data())
def test_flow_through_a_node_is_what_is_missing_without_it(case, data):
    graph, groups = case
    chosen = data.draw(ways(len(groups) - 1))
    whole = flow(graph, groups, ways=chosen)
    through = {role.row: role for role in necessary_nodes(graph, groups, ways=chosen)}
    walks = paths_by_ways(graph, groups, chosen)
    for row in range(len(graph.nodes)):
        without = flow(graph, groups, ways=chosen, avoiding=rows(row))
        assert whole - without == pytest.approx(through[row].through if row in through else 0, abs=1e-9)
        visiting = [w for w in walks if row in (*graph.edges.source[w], graph.edges.target[w[-1]])]
        positive = sum(strength(graph, w) for w in visiting if (graph.edges.effect[w] < 0).sum() % 2 == 0)
        assert positive == pytest.approx(through[row].positive if row in through else 0, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(graphs_with_groups())
def test_what_edges_carry_is_the_flow_of_the_paths_along_them(case):
    graph, groups = case
    passing = Passing(graph, groups)
    carried = {
        (int(source), int(target)): value
        for source, target, value in zip(
            passing.inputs.source, passing.inputs.target, passing.carried_LE().sum(axis=0), strict=True
        )
    }
    walks = paths_by_ways(graph, groups, passing.walks.ways)
    for edge, pair in enumerate(zip(graph.edges.source.tolist(), graph.edges.target.tolist(), strict=True)):
        along = sum(strength(graph, walk) for walk in walks if edge in walk)
        assert carried[pair] == pytest.approx(along, abs=1e-9)


def test_a_bottleneck_is_the_one_link_that_all_paths_share():
    nodes = [(FEATURE, 0, ""), (FEATURE, 0, ""), (FEATURE, 1, ""), (FEATURE, 2, ""), (TOKEN, -1, ""), (LOGIT, 4, "")]
    effects = {(4, 0): 1, (4, 1): 1, (0, 2): 1, (1, 2): 1, (2, 3): 1, (4, 3): 9, (3, 5): 1}
    first, second = bottlenecks(make_graph(nodes, effects), [rows(4), rows(2), rows(5)])
    assert [(link.source, link.target) for link in first.links] == [(0, 2), (1, 2)]
    assert first.capacity == pytest.approx(1)
    assert [(link.source, link.target, link.carried) for link in second.links] == [(2, 3, pytest.approx(0.1))]
    assert second.capacity == pytest.approx(0.1) and (first.stretch, second.stretch) == (0, 1)


def test_without_flow_there_is_neither_node_nor_bottleneck(dallas):
    groups = [rows(TEXAS), rows(DALLAS), rows(AUSTIN)]
    assert necessary_nodes(dallas, groups) == [] and bottlenecks(dallas, groups) == []


@settings(max_examples=100, deadline=None)
@given(graphs(), st.data())
def test_a_cut_is_as_small_as_that_of_networkx_and_cuts(graph, data):
    n = len(graph.nodes)
    starts, ends = (data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=3)) for _ in range(2))
    ends -= starts
    if not ends:
        return
    edges = graph.edges
    marks = np.zeros((2, n), bool)
    marks[0, list(starts)] = marks[1, list(ends)] = True
    cut = minimum_cut(edges.source, edges.target, edges.share.astype(float), *marks)
    drawn = nx.DiGraph()
    drawn.add_nodes_from(range(n))
    for source, target, share in zip(edges.source.tolist(), edges.target.tolist(), edges.share.tolist(), strict=True):
        drawn.add_edge(source, target, capacity=share)
    drawn.add_edges_from([("start", row) for row in starts] + [(row, "end") for row in ends])  # without a limit
    assert edges.share[cut].sum() == pytest.approx(nx.minimum_cut_value(drawn, "start", "end"), abs=1e-5)
    drawn.remove_edges_from(list(zip(edges.source[cut].tolist(), edges.target[cut].tolist(), strict=True)))
    assert not nx.has_path(drawn, "start", "end")
