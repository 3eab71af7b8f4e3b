"""Circuits over the store are those of a search of every file, largest flow first, with runnable Cypher behind them."""

from dataclasses import replace

import pytest

from circuits.config import SearchConfig
from circuits.inputs import Inputs
from circuits.paths import strongest_paths
from circuits.pattern import match_terms, parse_pattern
from circuits.search import Bound, bound_groups, find_circuits, flow_by_binding, rank
from circuits.walks import Way
from ingest import search
from ingest.library import Library
from ingest.search import CircuitSearch, cypher_behind, search_circuits, why_nothing
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


def named(graph, words):
    """The graph with other labels, and another id."""
    nodes = graph.nodes.assign(label=graph.nodes["label"].replace(words), activation=1.0)
    return replace(graph, nodes=nodes, metadata=replace(graph.metadata, slug="other"))


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
def test_a_large_store_is_searched_as_completely_as_a_small_one(filled, pattern, monkeypatch):
    store, library, graphs = filled
    monkeypatch.setattr(search, "FEW", 0)
    expected = rank(find_circuits(parse_pattern(pattern, ROLES), graphs))
    assert rows_of(search_circuits(pattern, store, library, roles=ROLES)) == rows_of(expected)


def test_in_a_large_store_graphs_go_first_whose_pruned_part_has_the_waypoints(filled, monkeypatch):
    store, library, graphs = filled
    monkeypatch.setattr(search, "FEW", 0)
    other = named(graphs[0], {"Texas": "Utah"})
    library.add(other)
    store.add(other)
    asked = CircuitSearch("Dallas -> Texas -> Austin", store, library)
    assert asked.total == len(graphs) + 1
    for _ in graphs:
        asked.step()
    assert not asked.complete and asked.having == len(asked.found) > 0
    assert asked.run().having == len(asked.found)  # the last one, which lacks Texas, has nothing to add


def test_of_a_graph_without_a_node_for_each_waypoint_only_the_outline_is_read(filled, monkeypatch):
    store, library, _ = filled
    monkeypatch.setattr(library, "with_edges", lambda outline: pytest.fail("edges were read"))
    assert search_circuits("Dallas -> nowhere at all -> Austin", store, library) == []


def test_a_search_can_be_read_left_and_taken_up(filled):
    store, library, graphs = filled
    whole = CircuitSearch("Dallas -> Austin", store, library).run()
    seen = []
    asked = CircuitSearch("Dallas -> Austin", store, library)
    while asked.step():
        assert "Partial" in asked.said and asked.done < asked.total == len(graphs)
        seen.append(asked.found)
    assert asked.complete and asked.said == "" and rows_of(asked.found) == rows_of(whole.found)
    assert all(rows_of(rank(part)) == rows_of(part) for part in seen)


def test_an_interrupted_step_is_done_again(filled, monkeypatch):
    store, library, _ = filled
    expected, load = rows_of(search_circuits("Dallas -> Austin", store, library)), library.with_edges
    times = iter([None, KeyboardInterrupt])

    def interrupted(outline):
        error = next(times, None)
        if error:
            raise error
        return load(outline)

    monkeypatch.setattr(library, "with_edges", interrupted)
    asked = CircuitSearch("Dallas -> Austin", store, library)
    with pytest.raises(KeyboardInterrupt):
        asked.run()
    assert asked.done == 1 and len(asked.found) <= 1
    assert rows_of(asked.run().found) == expected


def test_few_graphs_wait_for_their_paths_however_many_are_shown(filled, monkeypatch):
    store, library, _ = filled
    whole = CircuitSearch("Dallas -> Austin", store, library).run()
    monkeypatch.setattr(search, "MOST_WAITING", 1)
    few = CircuitSearch("Dallas -> Austin", store, library).run()
    assert [isinstance(each, Bound) for each in few._best].count(True) <= 2 < few.having
    assert rows_of(few.found) == rows_of(whole.found)


def test_what_a_limit_leaves_out_is_said(filled):
    store, library, _ = filled
    whole = CircuitSearch("Dallas -> Austin", store, library).run()
    few = CircuitSearch("Dallas -> Austin", store, library, limit=2).run()
    assert few.having == whole.having > 2 and rows_of(few.found) == rows_of(whole.found[:2])
    assert few.said == f"{whole.having} graphs have the circuit; the 2 of the largest flow are shown."


def test_without_a_database_the_library_is_searched(filled):
    store, library, _ = filled
    expected = rows_of(search_circuits("Dallas -> Austin", store, library))
    assert rows_of(CircuitSearch("Dallas -> Austin", None, library).run().found) == expected


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


CYPHER_PATTERNS = [
    *PATTERNS,
    "Dallas -| Texas -> Austin",
    "Dallas -{1,2}-> Texas -> Austin",
    "the -{2,3}-| *",
    "Dallas -{2,}-> Texas|state|1/1 -> *",
    "Dallas@L0-2 -> Austin",
    "* -> Texas -{2}-> Austin",
    "Texas -{1,2}-> @L3",
    "the|state -> @pos:-1 -> Austin|Houston",
    'the -> *@pos:Dallas -> "Austin"',
    '*@pos:"dallas" -> *',
    "error -> *",
    "error@L1 -> @L2- -> Houston",
    "{word} -> {word} -> *",
    "set/1/0 -> *",
    "other/1/0 -> *",
    "set/1/0 -> 2_1_3 -> *",
    "supernode:x -> *",
    "bias -> *",
    '"say Austin" -> *aus??n*',
    "cities  of Texas -> *",
]


def paths_in(pattern: str, graphs, sign: str = "any") -> dict[tuple[str, ...], float]:
    """(graph_id, node_ids...) -> strength of every path that the Cypher promises."""
    parsed = parse_pattern(pattern, ROLES | WORDS)
    ways = [Way(way.sign, way.min_hops, way.max_hops or way.min_hops) for way in parsed.ways]
    found = {}
    for graph in graphs:
        pruned = graph.pruned()
        ids = pruned.nodes["node_id"].tolist()
        terms = match_terms(parsed, pruned)
        for binding, _ in flow_by_binding(replace(parsed, ways=tuple(ways)), terms, Inputs.of(pruned, sign)):
            groups = bound_groups(parsed, pruned, binding)
            for path in strongest_paths(pruned, groups, 10_000, sign, ways=ways):
                found[graph.graph_id, *(ids[row] for row in path.rows)] = path.strength
    return found


WORDS = {"word": ["Texas", "say Austin", "Austin", "state capitals"]}


@pytest.mark.parametrize("version", ["5", "25"])
def test_the_cypher_behind_a_pattern_finds_the_very_paths_of_the_pruned_graphs(filled, version, monkeypatch):
    store, _, graphs = filled
    monkeypatch.setattr("ingest.pattern_cypher.LIMIT", 100_000)
    for pattern in CYPHER_PATTERNS:
        text = cypher_behind(pattern, ROLES | WORDS)
        rows = store.cypher(f"CYPHER {version}\n{text}", max_rows=100_000).records
        found = {(row["graph_id"], *row["node_ids"]): row["strength"] for row in rows}
        assert len(found) == len(rows), pattern
        assert found == pytest.approx(paths_in(pattern, graphs), rel=1e-6), pattern
        strengths = [row["strength"] for row in rows]
        assert strengths == sorted(strengths, reverse=True), pattern


def test_the_patterns_tested_are_found():
    graphs = [make_graph(seed) for seed in range(5)]
    empty = [pattern for pattern in CYPHER_PATTERNS if not paths_in(pattern, graphs)]
    assert set(empty) <= {"other/1/0 -> *", "supernode:x -> *", "bias -> *", '*@pos:"dallas" -> *'}


def test_the_cypher_of_positive_effects_leaves_out_others(filled):
    store, _, graphs = filled
    rows = store.cypher(cypher_behind("Dallas -{1,2}-> Texas -> *", sign="positive"), max_rows=1000).records
    found = {(row["graph_id"], *row["node_ids"]): row["strength"] for row in rows}
    assert found == pytest.approx(paths_in("Dallas -{1,2}-> Texas -> *", graphs, "positive"), rel=1e-6) and found


NAMES = ["it's \\ -", "a' OR true //", 'say "x" \\u0041', "{x} $y `z`", "tab\tnew", ".*+?^$()[]{}|", "\\Q\\E"]


@pytest.mark.parametrize("version", ["5", "25"])
def test_whatever_stands_in_a_pattern_stays_a_text_in_the_cypher(store, version):
    graph = make_graph(1)
    labels = [*NAMES, *graph.nodes["label"].tolist()[len(NAMES) :]]
    store.add(replace(graph, nodes=graph.nodes.assign(label=labels, kept=True)).pruned())
    for name in NAMES:
        inner = name.replace('"', "?")
        asked = f'"{inner}" -> *' if inner == name else f"{inner} -> *"
        rows = store.cypher(f"CYPHER {version}\n{cypher_behind(asked)}", max_rows=1000).records
        assert rows and all(row["labels"][0] == name for row in rows), name
        assert store.cypher(cypher_behind(f'"{inner}x" -> *')).records == []


def test_the_cypher_behind_has_the_strongest_path_whatever_its_length(filled):
    store, _, graphs = filled
    pattern, pruned = "Dallas -> Texas -> Austin", [graph.pruned() for graph in graphs]
    circuits = [each for each in find_circuits(parse_pattern(pattern), pruned, SearchConfig(min_hops=3)) if each.paths]
    assert circuits
    for circuit in circuits:
        text = cypher_behind(pattern, links=circuit.links)
        best = [circuit.nodes[row].node_id for row in circuit.paths[0].rows]
        assert best in [row["node_ids"] for row in store.cypher(text, max_rows=1000).records]
        assert sum(circuit.links) == len(best) - 1 >= 3


def test_nothing_found_is_explained_with_the_nearest_things(filled):
    store, library, _ = filled
    said = why_nothing("Dalas -> Texas -> Austin", store, library)
    assert said.startswith("No node of 5 graphs fits waypoint 1, Dalas. Nearest: Dallas (in 5 graphs, such as made-0")
    assert said.endswith("\n  Dalas -> Texas -> Austin\n  ^^^^^")
