"""Core and contingent parts against single prunings and against paths one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from circuits.paths import strongest_paths
from circuits.stability import stability
from tests.circuits.small_graphs import AUSTIN, DALLAS, LOGIT, TEXAS, graphs_with_groups, paths_through, rows, strength
from tracer.influence import prune

GRID: dict[str, Any] = {"node_thresholds": (0.5, 0.9), "edge_thresholds": (0.8, 1.0)}


def with_probabilities(graph):
    return replace(graph, nodes=graph.nodes.assign(probability=np.where(graph.nodes["kind"] == LOGIT, 0.5, np.nan)))


@settings(max_examples=60, deadline=None)
@given(graphs_with_groups())
def test_each_pruning_is_that_of_the_tracer_and_its_flow_that_of_the_paths_left(case):
    graph, groups = with_probabilities(case[0]), case[1]
    found = stability(graph, groups, **GRID)
    edges = graph.edges
    whole = sum(strength(graph, walk) for walk in paths_through(graph, groups))
    for at, (nodes, links) in enumerate(found.grid):
        left = prune(
            edges.source, edges.target, edges.effect, graph.nodes["kind"].to_numpy(), graph.logit_weight_N,
            graph.input_size_N,
            node_threshold=nodes, edge_threshold=links,
        )  # fmt: skip
        assert (found.kept_TN[at] == left.kept_N).all() and (found.kept_TE[at] == left.kept_E).all()
        walks = [walk for walk in paths_through(graph, groups) if left.kept_E[walk].all()]
        if whole:
            assert found.flow_T[at] == pytest.approx(sum(strength(graph, walk) for walk in walks) / whole, abs=1e-9)
        else:
            assert np.isnan(found.flow_T[at])


def test_core_is_what_every_pruning_leaves(dallas):
    found = stability(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)], **GRID)
    assert found.grid == ((0.5, 0.8), (0.5, 1.0), (0.9, 0.8), (0.9, 1.0))
    assert found.node_N[[DALLAS, AUSTIN]].tolist() == [1, 1]
    assert ((found.edge_E >= 0) & (found.edge_E <= 1)).all()
    straight, by_way = strongest_paths(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)])
    kept_TE = found.kept_TE
    index = {pair: at for at, pair in enumerate(zip(dallas.edges.source, dallas.edges.target, strict=True))}
    for path in (straight, by_way):
        on_path = [index[pair] for pair in zip(path.rows[:-1], path.rows[1:], strict=True)]
        assert found.of_path(dallas, path) == kept_TE[:, on_path].all(axis=1).mean()
    assert found.of_path(dallas, straight) > found.of_path(dallas, by_way)


def test_without_a_pattern_there_is_no_flow_to_follow(dallas):
    assert np.isnan(stability(dallas, **GRID).flow_T).all()
