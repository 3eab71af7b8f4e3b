"""Circuits over the store are those of a search of every file, largest flow first, with runnable Cypher behind them."""

import pytest

from circuits.pattern import parse_pattern
from circuits.search import find_circuits, rank
from ingest import search
from ingest.library import Library
from ingest.search import cypher_behind, cypher_terms, search_circuits
from tests.ingest.made_graphs import make_graph
from tracer.errors import PatternError

ROLES = {"city": ["Dallas", "Oakland"], "answer": ["Austin", "Sacramento", "Houston"]}
PATTERNS = [
    "Dallas -> Texas -> Austin",
    "{city} -> *tex* -> {answer}",
    '"Dallas" -> 1_0 -> *',
    "Dallas -> Texas",
    "state -> Austin",
]


@pytest.fixture
def filled(store, tmp_path):
    library = Library(tmp_path)
    graphs = [make_graph(seed) for seed in range(5)]
    for graph in graphs:
        library.add(graph)
        store.add(graph)
    return store, library, graphs


def rows_of(circuits):
    return [circuit.as_row() for circuit in circuits]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_small_store_is_searched_as_if_file_by_file(filled, pattern):
    store, library, graphs = filled
    expected = rank(find_circuits(parse_pattern(pattern, ROLES), graphs))
    found = search_circuits(pattern, store, library, roles=ROLES)
    assert rows_of(found) == rows_of(expected) and found
    assert [circuit.flow for circuit in found] == sorted((circuit.flow for circuit in found), reverse=True)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_large_store_leaves_out_no_graph_whose_pruned_part_has_the_waypoints(filled, pattern, monkeypatch):
    store, library, graphs = filled
    monkeypatch.setattr(search, "EXACT_UP_TO", 0)
    found = {circuit.graph_id for circuit in search_circuits(pattern, store, library, roles=ROLES)}
    pruned = find_circuits(parse_pattern(pattern, ROLES), [graph.pruned() for graph in graphs])
    exact = find_circuits(parse_pattern(pattern, ROLES), graphs)
    slugs = {circuit.slug for circuit in pruned}  # a pruned graph has another graph_id
    needed = {graph.graph_id for graph in graphs if graph.metadata.slug in slugs}
    assert needed <= found <= {circuit.graph_id for circuit in exact} and needed


def test_a_graph_that_cannot_have_the_pattern_is_not_read(filled, monkeypatch):
    store, library, _ = filled
    monkeypatch.setattr(search, "EXACT_UP_TO", 0)
    monkeypatch.setattr(library, "load", lambda graph_id: pytest.fail("a file was read"))
    assert search_circuits("Dallas -> nowhere at all -> Austin", store, library) == []


def test_graphs_can_be_chosen_by_id_and_by_slug(filled):
    store, library, graphs = filled
    chosen = [graphs[0].graph_id, graphs[3].metadata.slug]
    found = search_circuits("Dallas -> Austin", store, library, graphs=chosen)
    assert {circuit.slug for circuit in found} <= {"made-0", "made-3"} and found
    with pytest.raises(PatternError, match="no graph 'made-9' among the 5"):
        search_circuits("Dallas -> Austin", store, library, graphs=["made-9"])


def test_the_limit_keeps_the_largest_flows(filled):
    store, library, _ = filled
    all_found = search_circuits("Dallas -> Austin", store, library)
    assert rows_of(search_circuits("Dallas -> Austin", store, library, limit=2)) == rows_of(all_found[:2])


def test_a_graph_without_a_file_is_fetched_from_the_database(filled):
    store, library, graphs = filled
    graph = graphs[0]
    library.remove(graph.graph_id)
    (expected,) = find_circuits(parse_pattern("Dallas -> Austin"), [graph.pruned()])
    (found,) = search_circuits("Dallas -> Austin", store, library, graphs=[graph.graph_id])
    assert found.graph_id == graph.graph_id
    assert found.flow == pytest.approx(expected.flow)
    assert [path.strength for path in found.paths] == pytest.approx([path.strength for path in expected.paths])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_cypher_behind_a_pattern_runs_as_it_stands(filled, pattern):
    store, _, _ = filled
    rows = store.cypher(cypher_behind(pattern, ROLES))
    again = store.run("circuits_through", terms=cypher_terms(parse_pattern(pattern, ROLES)))
    assert rows.records == again.records
    assert "$" not in cypher_behind(pattern, ROLES)


def test_quotes_in_a_pattern_stay_texts_in_the_cypher(filled):
    store, _, _ = filled
    text = cypher_behind("it's \\ -> Austin'] RETURN 1 //")
    assert store.cypher(text).records == []
