"""What argues against a circuit and its runner-up: by hand, and signed influence against paths one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from circuits.inhibition import inhibitors, signed_influence, suppressors
from tests.circuits.small_graphs import (
    AUSTIN,
    DALLAS,
    FEATURE,
    LOGIT,
    STATE,
    TEXAS,
    TOKEN,
    all_paths,
    graphs,
    make_graph,
    rows,
)
from tracer.errors import SettingError


def test_inhibitors_are_the_negative_effects_on_the_circuit_by_what_they_weigh(dallas):
    found = inhibitors(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)])
    assert [(each.source, each.target) for each in found] == [(STATE, TEXAS), (STATE, AUSTIN)]
    assert [each.weight for each in found] == pytest.approx([1 / 4, 1 / 4])
    assert [each.effect for each in found] == [-1, -1] and all(each.on_path for each in found)


def test_an_inhibitor_of_a_node_that_carries_little_weighs_little(dallas):
    positive = inhibitors(dallas, [rows(DALLAS), rows(TEXAS), rows(AUSTIN)], sign="positive")
    assert not any(each.on_path for each in positive) and len(positive) == 2
    assert inhibitors(dallas, [rows(TEXAS), rows(DALLAS)]) == []


def two_outputs():
    nodes = [(FEATURE, 1, "not b"), (FEATURE, 2, "b"), (TOKEN, -1, "x"), (LOGIT, 4, "a"), (LOGIT, 4, "b")]
    effects = {(2, 0): 1.0, (0, 1): -1.0, (2, 1): 1.0, (1, 4): 3.0, (0, 4): -1.0, (0, 3): 2.0}
    graph = make_graph(nodes, effects)
    return replace(graph, nodes=graph.nodes.assign(probability=[np.nan, np.nan, np.nan, 0.6, 0.2]))


def test_suppressors_hold_the_runner_up_down_over_all_paths():
    first, second = suppressors(two_outputs())
    assert (first.row, second.row) == (0, 2)
    assert first.on_rival == pytest.approx(-1 / 4 - 1 / 2 * 3 / 4) and first.on_answer == pytest.approx(1)
    assert first.direct == -1 and second.direct == 0
    assert second.on_rival == pytest.approx(-1 / 4)  # its own push for b is cancelled by what it does to 0


def test_the_answer_and_the_runner_up_can_be_chosen():
    assert [each.row for each in suppressors(two_outputs(), answer=4, rival=3)] == []
    with pytest.raises(SettingError, match="explains 2 outputs, and rows 3 and 3 were asked for"):
        suppressors(two_outputs(), answer=3, rival=3)


def test_one_output_has_no_runner_up(dallas):
    with pytest.raises(SettingError, match="explains 1 outputs"):
        suppressors(dallas)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_signed_influence_adds_the_paths_counted_one_by_one(graph):
    output = len(graph.nodes) - 1
    expected = np.zeros(len(graph.nodes))
    signed = np.copysign(graph.edges.share.astype(float), graph.edges.effect)
    for walk in all_paths(graph):
        if graph.edges.target[walk[-1]] == output:
            expected[graph.edges.source[walk[0]]] += np.prod(signed[walk])
    np.testing.assert_allclose(signed_influence(graph, output), expected, atol=1e-9)
