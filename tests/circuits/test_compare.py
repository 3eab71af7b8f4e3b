"""Comparison: two graphs by hand, against networkx, symmetric, with a similarity that chance is known for."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits.aligned import By, names_of
from circuits.compare import (
    ALIKE,
    BY_CHANCE,
    ONLY_A,
    ONLY_B,
    OTHER_PAIRS,
    STRONGER_IN_A,
    STRONGER_IN_B,
    compare,
    jaccard,
    weighted_jaccard,
)
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, graphs, make_graph
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph

PATIENT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # graphs are made slowly
MIRROR = {ONLY_A: ONLY_B, ONLY_B: ONLY_A, STRONGER_IN_A: STRONGER_IN_B, STRONGER_IN_B: STRONGER_IN_A, ALIKE: ALIKE}


def with_influence(graph: AttributionGraph, influence: list[float]) -> AttributionGraph:
    return replace(graph, nodes=graph.nodes.assign(influence=np.array(influence, np.float32)))


def prompt(city: str, state: str, share: float = 0.75, influence: float = 0.5) -> AttributionGraph:
    """city -> "capital" and state -> output, with the state's part of the output's input."""
    nodes = [(FEATURE, 1, state), (FEATURE, 2, "capital"), (TOKEN, -1, f" {city}"), (LOGIT, 4, " out")]
    graph = make_graph(nodes, {(2, 0): 1.0, (2, 1): 1.0, (0, 3): share, (1, 3): 1 - share}, city)
    return with_influence(graph, [influence, 1 - influence, 1.0, 0.0])


def where(table, *columns: str) -> dict:
    keys = table[list(columns)].apply(tuple, axis=1)
    return dict(zip(keys, table["where"], strict=True))


def test_supernodes_that_a_graph_brings_along_are_names():
    graph = prompt("Dallas", "Texas")
    member = graph.nodes["node_id"].iloc[0]
    groups = {"supernodes": [{"label": "states", "members": [member]}]}  # as readers and `with_supernodes` write them
    graph = replace(graph, metadata=replace(graph.metadata, provenance=groups))
    names = names_of(graph, "supernode").tolist()
    assert names == ["states", "", "token Dallas", "output out"]


def test_nodes_links_and_circuits_are_told_apart():
    found = compare([prompt("Dallas", "Texas", 0.75)], [prompt("Oakland", "California", 0.25, 0.2)], by="label")
    assert where(found.nodes, "name") == {
        ("Texas",): ONLY_A,
        ("California",): ONLY_B,
        ("capital",): STRONGER_IN_B,
        ("token Dallas",): ONLY_A,
        ("token Oakland",): ONLY_B,
    }
    assert where(found.links, "source", "target")["capital", "output out"] == STRONGER_IN_B
    assert where(found.links, "source", "target")["Texas", "output out"] == ONLY_A
    circuits = found.circuits.set_index("circuit")
    assert circuits.loc["token Dallas -> Texas -> output out"][["a", "b", "where"]].tolist() == [0.75, 0.0, ONLY_A]
    assert found.counts()["links"] == {ONLY_A: 3, ONLY_B: 3, STRONGER_IN_A: 0, STRONGER_IN_B: 1, ALIKE: 0}


def test_by_feature_the_same_place_in_the_dictionary_is_the_same():
    found = compare([prompt("Dallas", "Texas")], [prompt("Oakland", "California")], by="feature")
    assert where(found.nodes, "name")["1/0",] == ALIKE
    assert where(found.links, "source", "target")["1/0", "output out"] == ALIKE


def test_the_largest_change_stands_first():
    found = compare([prompt("Dallas", "Texas", 0.9)], [prompt("Dallas", "Texas", 0.1)], by="label")
    changes = found.links["change"].abs().tolist()
    assert changes == sorted(changes, reverse=True)
    assert changes[0] == pytest.approx(0.8)


def test_positions_count_from_either_end():
    graph = prompt("Dallas", "Texas")  # its nodes stand at positions 0 to 3
    longer = replace(graph, metadata=replace(graph.metadata, tokens=("x", *graph.metadata.tokens)))
    names = {by: names_of(longer, by)[0] for by in ("position", "position-from-end")}
    assert names == {"position": "1/0@0", "position-from-end": "1/0@-3"}
    same_place, same_distance = (
        compare([graph], [longer], by=by).similarity["nodes"].jaccard for by in ("position", "position-from-end")
    )
    assert (same_place, same_distance) == (1.0, 0.0)


@PATIENT
@given(graphs(), graphs(), st.sampled_from(["feature", "label", "position", "position-from-end"]))
def test_the_other_way_round_it_is_the_same_comparison(a, b, by: By):
    a, b = (with_influence(graph, [0.5] * len(graph.nodes)) for graph in (a, b))
    one, other = compare([a], [b], by), compare([b], [a], by)
    for name in ("nodes", "links"):
        assert one.similarity[name].jaccard == other.similarity[name].jaccard
        assert one.similarity[name].weighted == pytest.approx(other.similarity[name].weighted)
    assert {key: MIRROR[place] for key, place in where(one.links, "source", "target").items()} == where(
        other.links, "source", "target"
    )


@PATIENT
@given(graphs())
def test_a_graph_is_like_itself(graph):
    found = compare([graph], [graph])
    assert {each.weighted for each in found.similarity.values()} == {1.0}
    assert all(set(table["where"]) <= {ALIKE} for table in (found.nodes, found.links, found.circuits))


@PATIENT
@given(graphs(), graphs())
def test_links_are_those_of_either_graph(a, b):
    def pairs(graph):
        names, edges = names_of(graph), graph.edges
        return {(names[source], names[target]) for source, target in zip(edges.source, edges.target, strict=True)}

    found = where(compare([a], [b], circuits=0).links, "source", "target")
    mine, theirs = pairs(a), pairs(b)
    assert set(found) == mine | theirs
    assert {link for link, place in found.items() if place == ONLY_A} == mine - theirs


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.lists(st.integers(0, 5), min_size=8, max_size=8))
def test_similarity_is_between_none_and_all(a, b):
    left, right = np.array(a, float), np.array(b[: len(a)], float)
    assert 0 <= weighted_jaccard(left, right) <= 1
    ones, twos = set(np.flatnonzero(left)), set(np.flatnonzero(right))
    assert jaccard(left, right) == pytest.approx(len(ones & twos) / len(ones | twos) if ones | twos else 1.0)


def test_two_graphs_are_as_alike_as_other_pairs_say():
    others = [prompt(f"city {n}", f"state {n}") for n in range(20)]
    alike = compare([prompt("Dallas", "Texas")], [prompt("Dallas", "Texas")], "label", others).similarity["nodes"]
    assert (alike.null, alike.n, alike.weighted) == (OTHER_PAIRS, 40, 1.0)
    assert alike.p == pytest.approx(1 / 41)
    assert alike.expected < 0.5
    usual = compare([prompt("Dallas", "Texas")], [prompt("Oakland", "California")], "label", others).similarity["nodes"]
    assert usual.p == 1.0


def groups(apart: float, random: np.random.Generator) -> tuple[list[AttributionGraph], list[AttributionGraph]]:
    def one(part: float) -> AttributionGraph:
        return prompt("Dallas", "Texas", float(np.clip(part + random.normal(0, 0.05), 0.01, 0.99)))

    return [one(0.5 + apart) for _ in range(5)], [one(0.5 - apart) for _ in range(5)]


def test_groups_that_differ_are_less_alike_than_groups_by_chance():
    a, b = groups(0.3, np.random.default_rng(0))
    found = compare(a, b, "label").similarity["links"]
    assert found.null == BY_CHANCE
    assert found.weighted < found.expected
    assert found.p <= 0.02


def test_groups_of_the_same_differ_no_more_often_than_stated():
    random = np.random.default_rng(0)
    p_values = [
        compare(*groups(0.0, random), by="label", circuits=0, draws=39).similarity["links"].p for _ in range(40)
    ]
    assert np.mean(np.array(p_values) <= 0.1) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 40)


def test_two_graphs_alone_have_nothing_to_be_compared_with():
    found = compare([prompt("Dallas", "Texas")], [prompt("Oakland", "California")], "label").similarity["nodes"]
    assert (found.null, found.n) == ("", 0)


def test_of_a_group_the_mean_counts():
    group = [prompt("Dallas", "Texas", 0.8), prompt("Dallas", "Texas", 0.4)]
    found = compare(group, [prompt("Dallas", "Texas", 0.6)], "label").links.set_index(["source", "target"])
    assert found.loc[("Texas", "output out"), "a"] == pytest.approx(0.6)
    assert found.loc[("Texas", "output out"), "where"] == ALIKE


def test_a_comparison_is_plain_data():
    found = compare([prompt("Dallas", "Texas")], [prompt("Oakland", "California")], "label")
    row = json.loads(json.dumps(found.as_row(limit=2)))
    assert [len(row[name]) for name in ("nodes", "links", "circuits")] == [2, 2, 2]
    assert set(row["links"][0]) == {"source", "target", "a", "b", "change", "where"}


def test_different_dictionaries_are_refused_unless_aligned_by_label():
    a, b = prompt("Dallas", "Texas"), prompt("Oakland", "Texas")
    b = replace(b, metadata=replace(b.metadata, source_set="other"))
    with pytest.raises(GraphFormatError, match="2 dictionaries"):
        compare([a], [b])
    assert where(compare([a], [b], "label").nodes, "name")["Texas",] == ALIKE


def test_an_empty_side_is_refused():
    with pytest.raises(GraphFormatError, match="0 and 1 graphs"):
        compare([], [prompt("Dallas", "Texas")])


def test_two_graphs_of_published_size_are_compared_in_less_than_a_tenth_of_a_second():
    random = np.random.default_rng(0)

    def large(slug: str) -> AttributionGraph:
        layers = sorted(random.integers(0, 4, 600).tolist())
        nodes = (
            [(FEATURE, layer, "") for layer in layers] + [(TOKEN, -1, f" {n}") for n in range(12)] + [(LOGIT, 4, " o")]
        )
        source, target = random.integers(0, len(nodes), (2, 40_000))
        chosen = [(a, b) for a, b in zip(source.tolist(), target.tolist(), strict=True) if nodes[a][1] < nodes[b][1]]
        effects = random.normal(size=len(chosen)).tolist()
        return make_graph(nodes, dict(list(zip(chosen, effects, strict=True))[:10_000]), slug)

    a, b = large("a"), large("b")
    took = []
    for _ in range(5):
        began = time.process_time()  # the machine may have other work
        compare([a], [b], circuits=0)
        took.append(time.process_time() - began)
    assert min(took) < 0.1
