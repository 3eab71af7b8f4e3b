"""Supernodes: the paper's formulas written out, criteria by hand, and groups that are there found again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.pattern import match, parse_pattern
from circuits.supernodes import (
    BY_HAND,
    FROM_FILE,
    Score,
    merged_weights,
    score,
    similarities,
    suggested_supernodes,
    supernodes_by_hand,
    supernodes_of,
    with_supernodes,
)
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, graphs, make_graph, rows
from tracer.errors import PatternError, SettingError


def two_teams(labels: bool = True):
    """Features 0 to 2 read token 6 and push output 8; 3 to 5 read token 7 and push output 9."""
    names = ["Texas", "Texas", "Texas places", "say it", "say it", "say it"] if labels else [""] * 6
    nodes = [(FEATURE, layer, name) for layer, name in zip((0, 0, 1, 0, 1, 1), names, strict=True)]
    nodes += [(TOKEN, -1, "a"), (TOKEN, -1, "b"), (LOGIT, 4, "x"), (LOGIT, 4, "y")]
    effects = {(6 + team, 3 * team + member): 1.0 + member for team in (0, 1) for member in range(3)}
    effects |= {(3 * team + member, 8 + team): 2.0 for team in (0, 1) for member in range(3)}
    effects |= {(0, 2): 0.5, (3, 4): 0.5}
    graph = make_graph(nodes, effects)
    return replace(graph, nodes=graph.nodes.assign(influence=np.linspace(1, 0, 10)))


@pytest.mark.parametrize("labels", [True, False])
def test_features_that_read_and_write_alike_are_grouped(labels):
    found = suggested_supernodes(two_teams(labels))
    assert [each.rows for each in found] == [(0, 1, 2), (3, 4, 5)]
    assert [each.name for each in found] == (["Texas", "say it"] if labels else ["0/0", "0/3"])
    assert all(each.score == Score(1, 1) for each in found)


def test_the_same_graph_gives_the_same_groups_whatever_is_asked_before():
    graph = two_teams()
    first = suggested_supernodes(graph)
    suggested_supernodes(graph, least=0.1, others=[two_teams(labels=False)])
    assert suggested_supernodes(graph) == first


def test_a_higher_threshold_gives_smaller_groups():
    assert suggested_supernodes(two_teams(labels=False), least=1) == []


def test_any_two_members_are_as_similar_as_asked():
    graph = two_teams()
    near = similarities(graph, np.arange(6))
    np.testing.assert_allclose(near, near.T)
    for each in suggested_supernodes(graph, least=0.6):
        assert near[np.ix_(each.rows, each.rows)].min() >= 0.6 - 1e-9


def test_activation_in_another_graph_brings_features_together():
    graph = two_teams(labels=False)
    alone = similarities(graph, rows(0, 1))[0, 1]
    other = two_teams(labels=False)
    other = replace(other, nodes=other.nodes.assign(position=0))
    assert similarities(graph, rows(0, 1), [other])[0, 1] > alone
    with pytest.raises(SettingError, match="expected one dictionary"):
        similarities(graph, rows(0, 1), [replace(other, metadata=replace(other.metadata, source_set="another"))])


@pytest.mark.parametrize("settings", [{"least": 2}, {"most": 1}])
def test_settings_that_cannot_be_met_are_refused(settings):
    with pytest.raises(SettingError, match="expected a similarity of -1 to 1, and at least 2 features"):
        suggested_supernodes(two_teams(), **settings)


def test_the_score_counts_effects_between_members_and_agreement_outside():
    nodes = [(FEATURE, 0, ""), (FEATURE, 0, ""), (FEATURE, 1, ""), (TOKEN, -1, ""), (LOGIT, 4, ""), (LOGIT, 4, "")]
    effects = {(0, 2): 3.0, (1, 2): -1.0, (0, 4): 1.0, (1, 4): -1.0, (2, 4): 2.0, (0, 5): 1.0, (3, 5): 1.0}
    found = score(make_graph(nodes, effects), rows(0, 1, 2))
    assert found.promote == pytest.approx(3 / 4)  # one member pushes another, one inhibits it
    assert found.same_sign == pytest.approx(2 / 4)  # on output 4: 1 - 1 + 2 of 4; on output 5 one member alone
    assert found.value == pytest.approx(5 / 8)
    assert np.isnan(score(make_graph(nodes, {}), rows(0, 1)).value)


def test_groups_can_be_made_by_hand_and_serve_in_patterns():
    graph = two_teams()
    ids = graph.nodes["node_id"].tolist()
    [made] = supernodes_by_hand(graph, {"my Texas": [ids[2], ids[0]]})
    assert (made.rows, made.method) == ((0, 2), BY_HAND)
    kept = with_supernodes(graph, [made])
    assert kept.graph_id == graph.graph_id
    assert match(parse_pattern("a -> supernode:my Texas -> x"), kept)[1].tolist() == [0, 2]
    assert kept.metadata.provenance["supernodes"] == [
        {"label": "my Texas", "members": [ids[0], ids[2]], "method": BY_HAND, "by": "", "score": 1.0}
    ]
    assert supernodes_of(kept) == [made]


def test_supernodes_of_a_file_are_scored_and_say_whose_they_are():
    graph = two_teams()
    ids = graph.nodes["node_id"].tolist()
    groups = [{"label": "theirs", "members": [ids[1], "gone", ids[0]]}, {"label": "x", "members": []}]
    taken = [{"by": "Ann", "supernodes": groups[:1]}]
    about = replace(graph.metadata, provenance={"supernodes": groups, "taken": taken})
    first, second = supernodes_of(replace(graph, metadata=about))
    assert (first.name, first.rows, first.method, first.by) == ("theirs", (0, 1), FROM_FILE, "Ann")
    assert first.score.same_sign == score(graph, rows(0, 1)).same_sign == 1
    assert (second.rows, second.by, second.as_row(graph)["score"]) == ((), "", None)
    assert supernodes_of(two_teams()) == []


def test_an_unknown_member_is_refused_with_the_nearest():
    with pytest.raises(PatternError, match=r"there is no node '0_0_1' .*; nearest are .*0_0_0"):
        supernodes_by_hand(two_teams(), {"x": ["0_0_1"]})
    with pytest.raises(PatternError, match="is in supernodes 'x' and 'y'; expected one"):
        supernodes_by_hand(two_teams(), {"x": ["0_0_0"], "y": ["0_0_0"]})


@settings(max_examples=80, deadline=None)
@given(graphs(), st.data())
def test_merged_weights_are_the_formula_of_the_paper(graph, data):
    n = len(graph.nodes)
    place = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    groups = [np.array([row for row in range(n) if place[row] == each], np.int64) for each in range(3)]
    A = np.zeros((n, n))
    A[graph.edges.target, graph.edges.source] = np.copysign(graph.edges.share.astype(float), graph.edges.effect)
    merged = merged_weights(graph, groups)
    for t, target in enumerate(groups):
        external = [sum(abs(A[r, c]) for c in range(n) if c not in target) / (abs(A[r]).sum() or 1) for r in target]
        for s, source in enumerate(groups):
            expected = sum(f * A[r, source].sum() for f, r in zip(external, target, strict=True))
            expected = expected / sum(external) if s != t and sum(external) > 1e-6 else 0
            assert merged[t, s] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_groups_of_one_keep_the_weights_of_the_graph(graph):
    edges, n = graph.edges, len(graph.nodes)
    alone = merged_weights(graph, [rows(row) for row in range(n)])
    expected = np.zeros((n, n))
    expected[edges.target, edges.source] = np.copysign(edges.share, edges.effect)
    np.testing.assert_allclose(alone, expected, atol=1e-6)
