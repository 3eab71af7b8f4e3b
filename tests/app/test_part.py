"""What is shown of a graph: the pruned part, and whatever a link asks for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from app.part import ENOUGH, dropped_nodes, is_pruned_away, part_to_show, thinned
from bench.dashboard import random_graph
from tests.app.graphs import capital_graph


def links_of(graph) -> set[tuple[str, str]]:
    ids = graph.nodes["node_id"].to_numpy()
    return set(zip(ids[graph.edges.source], ids[graph.edges.target], strict=True))


def test_without_a_wish_the_pruned_graph_is_shown():
    graph = capital_graph()
    part = part_to_show(graph)
    assert part.nodes["node_id"].tolist() == graph.pruned().nodes["node_id"].tolist()
    assert links_of(part) == links_of(graph.pruned())


def test_a_dropped_node_comes_back_with_its_links_to_what_is_shown():
    part = part_to_show(capital_graph(), ["1_9_2"])
    assert "1_9_2" in part.nodes["node_id"].tolist()
    assert {("0_7_2", "1_9_2"), ("E_13_2", "1_9_2"), ("1_9_2", "2_5_3")} <= links_of(part)
    assert ("E_13_2", "2_5_3") not in links_of(part), "a dropped link between nodes not asked for stays away"


def test_a_dropped_link_between_two_asked_nodes_comes_back():
    graph = capital_graph()
    path = ["E_13_2", "2_5_3"]
    assert is_pruned_away(graph, path)
    assert ("E_13_2", "2_5_3") in links_of(part_to_show(graph, path))


def test_a_kept_path_asks_for_nothing_more():
    assert not is_pruned_away(capital_graph(), ["E_13_2", "0_7_2", "1_4_3", "4_21_3", "no such node"])


def test_nodes_that_pruning_dropped_are_known():
    assert dropped_nodes(capital_graph(), ["E_13_2", "1_9_2", "no such node"]) == ["1_9_2"]


def test_a_graph_of_few_links_is_sent_whole():
    graph = capital_graph()
    assert thinned(graph) is graph


@settings(max_examples=10, deadline=None)
@given(some.integers(200, 260), some.integers(1500, 2500))
def test_of_many_links_each_node_keeps_the_strongest_that_make_most_of_its_input_and_no_more(n_nodes, n_edges):
    graph = random_graph(n_nodes, n_edges)
    part = thinned(graph, most=n_edges - 1)
    for row in range(n_nodes):
        share, left = graph.edges.share[graph.edges.target == row], part.edges.share[part.edges.target == row]
        if not len(share):
            continue
        assert np.isin(left, share).all() and left.min() >= np.sort(share)[::-1][len(left) - 1]
        assert left.sum() >= ENOUGH * share.sum() - 1e-6
        assert left.sum() - left.min() < ENOUGH * share.sum() + 1e-6


@settings(max_examples=10, deadline=None)
@given(some.integers(200, 260), some.integers(10, 1000))
def test_a_limit_holds_as_long_as_each_node_keeps_its_strongest_link(n_nodes, most):
    graph = random_graph(n_nodes, 1500)
    part = thinned(graph, most)
    targets = np.unique(graph.edges.target)
    assert len(part.edges) <= max(most, len(targets))
    for row in targets:
        assert part.edges.share[part.edges.target == row].max() == graph.edges.share[graph.edges.target == row].max()
