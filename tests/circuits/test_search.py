"""Search over graphs: what is found, in which order, how roles are bound, and how it reads as plain data."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.config import SearchConfig
from circuits.flow import flow
from circuits.pattern import NO_TERM, match, match_terms, parse_pattern
from circuits.search import find_circuit, find_circuits, rank
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph
from tracer.errors import PatternError, SettingError
from tracer.schema import NodeKind

NAMES = ["Dallas", "Texas", "Oakland", "California"]
ROLES = {"city": ["Dallas", "Oakland"], "region": ["Texas", "California", "Ohio"]}


def two_cities(dallas_to_texas: float = 4.0, slug: str = "two cities"):
    """Dallas feeds Texas and Oakland feeds California; Texas feeds the output most."""
    nodes = [
        (FEATURE, 1, "Texas"),
        (FEATURE, 1, "California"),
        (TOKEN, -1, " Dallas"),
        (TOKEN, -1, " Oakland"),
        (LOGIT, 4, " Austin"),
    ]
    effects = {(2, 0): dallas_to_texas, (3, 0): -1.0, (3, 1): 2.0, (0, 4): 3.0, (1, 4): 1.0}
    return make_graph(nodes, effects, slug)


def test_a_circuit_tells_flow_paths_and_where_it_is():
    graph = two_cities()
    circuit = find_circuit(parse_pattern("Dallas -> Texas -> Austin"), graph)
    assert circuit is not None
    assert (circuit.graph_id, circuit.slug, circuit.prompt) == (graph.graph_id, "two cities", "a prompt")
    assert circuit.flow == pytest.approx(4 / 5 * 3 / 4)
    assert [path.rows for path in circuit.paths] == [(2, 0, 4)]


def test_a_circuit_as_a_row_is_json_with_nodes_and_edges_by_name():
    circuit = find_circuit(parse_pattern("{city} -> {region} -> Austin", ROLES), two_cities())
    assert circuit is not None
    row = json.loads(json.dumps(circuit.as_row()))
    names = "graph_id slug prompt flow positive negative share binding links alternatives paths"
    assert list(row) == names.split()
    assert row["binding"] == {"city": "Dallas", "region": "Texas"} and row["links"] == [1, 1]
    path = row["paths"][0]
    assert path["strength"] == pytest.approx(0.6)
    assert path["nodes"][0] == {
        "node_id": "E_2_2",
        "kind": "token",
        "label": " Dallas",
        "layer": -1,
        "position": 2,
    }
    assert [node["label"] for node in path["nodes"]] == [" Dallas", "Texas", " Austin"]
    assert path["edges"] == [{"effect": 4.0, "share": pytest.approx(0.8)}, {"effect": 3.0, "share": 0.75}]


def test_roles_take_the_terms_with_the_largest_flow_and_tell_the_next():
    circuit = find_circuit(parse_pattern("{city} -> {region} -> Austin", ROLES), two_cities())
    assert circuit is not None
    assert circuit.binding == {"city": "Dallas", "region": "Texas"}
    assert [binding for binding, _ in circuit.alternatives] == [
        {"city": "Oakland", "region": "California"},
        {"city": "Oakland", "region": "Texas"},
    ]
    assert [flow for _, flow in circuit.alternatives] == pytest.approx([1 / 4, 1 / 5 * 3 / 4])


def test_a_role_named_twice_stands_for_one_term():
    nodes = [(FEATURE, 1, "Texas"), (FEATURE, 2, "Ohio"), (FEATURE, 3, "Texas"), (LOGIT, 4, " x")]
    graph = make_graph(nodes, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0, (2, 3): 1.0})
    circuit = find_circuit(parse_pattern("{region} -> {region} -> x", ROLES), graph)
    assert circuit is not None
    assert circuit.binding == {"region": "Texas"}
    assert circuit.alternatives == []


def test_graphs_without_flow_are_left_out_and_the_order_stays():
    other = make_graph([(TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")], {(0, 1): 1.0}, "no Texas")
    graphs = [other, two_cities(1.0, "weak"), two_cities(9.0, "strong")]
    found = list(find_circuits(parse_pattern("Dallas -> Texas -> Austin"), graphs))
    assert [circuit.slug for circuit in found] == ["weak", "strong"]
    assert [circuit.slug for circuit in rank(found)] == ["strong", "weak"]


def test_graphs_are_taken_one_at_a_time():
    taken = []

    def graphs():
        for number in range(3):
            taken.append(number)
            yield two_cities(number + 1.0)

    next(find_circuits(parse_pattern("Dallas -> Austin"), graphs()))
    assert taken == [0]


def test_positive_circuits_pass_over_edges_that_inhibit():
    pattern = parse_pattern("Oakland -> Texas -> Austin")
    assert find_circuit(pattern, two_cities()) is not None
    assert find_circuit(pattern, two_cities(), SearchConfig(sign="positive")) is None


def test_the_flow_stays_over_all_paths_when_hops_are_limited():
    pattern = parse_pattern("Dallas -> Austin")
    circuit = find_circuit(pattern, two_cities(), SearchConfig(min_hops=3))
    assert circuit is not None
    assert circuit.paths == [] and circuit.flow == pytest.approx(0.6)


@pytest.mark.parametrize("settings", [{"sign": "minus"}, {"k": -1}, {"min_hops": 0}, {"min_hops": 3, "max_hops": 2}])
def test_settings_that_cannot_be_met_are_refused(settings):
    with pytest.raises(SettingError, match="expected"):
        SearchConfig(**settings)


def test_no_paths_are_searched_when_none_are_asked_for():
    circuit = find_circuit(parse_pattern("Dallas -> Austin"), two_cities(), SearchConfig(k=0))
    assert circuit is not None and circuit.paths == [] and circuit.flow > 0


@st.composite
def labelled_graphs(draw: st.DrawFn):
    """Random graphs whose nodes carry one of four names or none."""
    names = st.sampled_from(["", *NAMES])
    features = [
        (FEATURE, layer, draw(names)) for layer in sorted(draw(st.lists(st.integers(0, 3), min_size=2, max_size=5)))
    ]
    nodes = [*features, (TOKEN, -1, " Dallas"), (TOKEN, -1, " Oakland"), (LOGIT, 4, " Texas"), (LOGIT, 4, " Ohio")]
    allowed = [(a, b) for a in range(len(nodes)) for b in range(len(nodes)) if nodes[a][1] < nodes[b][1]]
    return make_graph(nodes, {pair: draw(st.integers(1, 5)) for pair in allowed if draw(st.booleans())})


@settings(max_examples=60, deadline=None)
@given(labelled_graphs(), st.sampled_from(["{city} -> {region} -> {region}", "{city} -> {name} -> {name} -> {region}"]))
def test_the_best_binding_is_the_best_of_all_tried_one_by_one(graph, text):
    roles = ROLES | {"name": NAMES}
    pattern = parse_pattern(text, roles)
    terms_N = match_terms(pattern, graph)
    flows = {}

    def bind(place: int, binding: dict[str, str], groups: list[np.ndarray]) -> None:
        if place == len(pattern):
            flows[tuple(binding.items())] = flow(graph, groups)
            return
        each = pattern.waypoints[place]
        for number, term in enumerate(each.terms):
            if binding.get(each.role, term) == term:
                rows = np.flatnonzero(terms_N[place] == number)
                bind(place + 1, binding | {each.role: term}, [*groups, rows])

    bind(0, {}, [])
    expected = sorted((value for value in flows.values() if value > 0), reverse=True)
    circuit = find_circuit(pattern, graph)
    if not expected:
        assert circuit is None
        return
    assert circuit is not None
    assert circuit.flow == pytest.approx(expected[0])
    assert flows[tuple(circuit.binding.items())] == pytest.approx(expected[0])
    assert [value for _, value in circuit.alternatives] == pytest.approx(expected[1:6])


@settings(max_examples=40, deadline=None)
@given(labelled_graphs())
def test_without_roles_flow_is_that_of_the_matched_rows(graph):
    pattern = parse_pattern("Dallas -> California -> Texas")
    groups = match(pattern, graph)
    circuit = find_circuit(pattern, graph)
    assert (circuit.flow if circuit else 0) == pytest.approx(flow(graph, groups))
    assert all((rows != NO_TERM).all() for rows in groups)
    assert all(graph.nodes["kind"].iloc[row] == NodeKind.TOKEN for row in groups[0])


def test_a_way_that_inhibits_and_a_way_that_promotes_part_the_flow():
    graph = two_cities()
    inhibits = find_circuit(parse_pattern("Oakland -| Texas -> Austin"), graph)
    assert inhibits is not None and inhibits.flow == pytest.approx(1 / 5 * 3 / 4)
    assert find_circuit(parse_pattern("Dallas -| Texas -> Austin"), graph) is None
    both = find_circuit(parse_pattern("Oakland -> Austin"), graph)
    assert both is not None
    assert both.parts.positive == pytest.approx(1 / 4) and both.parts.negative == pytest.approx(1 / 5 * 3 / 4)
    assert both.parts.share == both.flow == pytest.approx(both.parts.whole)


def test_hops_of_an_arrow_limit_flow_and_paths():
    graph = two_cities()
    assert find_circuit(parse_pattern("Dallas -{3,}-> Austin"), graph) is None
    circuit = find_circuit(parse_pattern("Dallas -{2}-> Austin"), graph)
    assert circuit is not None and circuit.flow == pytest.approx(0.6)
    assert [path.rows for path in circuit.paths] == [(2, 0, 4)]


def test_only_positive_effects_and_a_way_that_inhibits_exclude_each_other():
    with pytest.raises(PatternError, match="no path is both"):
        find_circuit(parse_pattern("Oakland -| Austin"), two_cities(), SearchConfig(sign="positive"))
