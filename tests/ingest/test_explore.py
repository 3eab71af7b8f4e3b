"""Every query of cypher/explore agrees with pandas and networkx on the graphs themselves, in both Cypher versions."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from math import prod
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.pattern import match, parse_pattern
from ingest.load import graph_places, read_graph
from ingest.queries import query_named, read_queries
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import make_graph
from tests.ingest.oracles import ORACLES, World, best_of_all_ways, close, groups_of
from tests.neo4j_fixture import clear
from tracer.graph import AttributionGraph

RAW = Path(__file__).parents[3] / "shared" / "graphs" / "raw"  # not part of the repository
PUBLISHED = ("8dff696c", "99a8b35b", "906fa79a", "61888c33", "df1eba9d", "145b7613", "39ec28df", "e840d534")
ALL = 100_000  # rows; more than there are
VERSIONS = ("5", "25")

Ask = Callable[..., list[dict[str, Any]]]


def with_supernodes(graph: AttributionGraph) -> AttributionGraph:
    """The graph with two overlapping supernodes of its first features, one of them with a member that is not there."""
    ids = graph.nodes["node_id"].tolist()
    groups = [
        {"label": "by hand", "members": ids[:3], "method": "by hand", "by": "Ann"},
        {"label": "of a file", "members": [*ids[1:5], "gone"]},
    ]
    return replace(graph, metadata=replace(graph.metadata, provenance={"supernodes": groups}))


def kept_circuit(graphs: list[AttributionGraph], number: int) -> dict[str, Any]:
    """What is stored of a kept circuit over these graphs and one that is not there, each second time found."""
    ids = [*(graph.graph_id for graph in graphs), "0" * 16]
    steps = [
        (row, place, graph.graph_id, node)
        for row, graph in enumerate(graphs)
        for place, node in enumerate(graph.nodes["node_id"].tolist()[number : number + 3])
    ]
    return {
        "kept_id": f"{number:016x}", "name": "circuit", "pattern": "a -> b", "note": f"note {number}", "mean": 0.25,
        "spread": None, "made_at": f"2026-01-0{number + 1}", "made_with": "a test", "n": len(ids),
        "n_found": len(ids[::2]), "graph_ids": ids, "flows": [0.5 / (at + 1) for at in range(len(ids))],
        "found_in": [at % 2 == 0 for at in range(len(ids))], "failed": ["b" * (at % 2) for at in range(len(ids))],
        "path_rows": [step[0] for step in steps], "path_places": [step[1] for step in steps],
        "path_graph_ids": [step[2] for step in steps], "path_node_ids": [step[3] for step in steps],
    }  # fmt: skip


def world_of(graphs: list[AttributionGraph]) -> World:
    return World(graphs, [kept_circuit(graphs, number) for number in range(2)])


def made_world() -> World:
    graphs = [with_supernodes(make_graph(seed)) for seed in range(6)]
    return world_of([*graphs, make_graph(6, source_set="another set")])


def published_world() -> World:
    if not RAW.exists():
        pytest.skip(f"no published graphs in {RAW}; the made ones prove the same")
    places = [place for place in graph_places(RAW) if any(name in str(place) for name in PUBLISHED)]
    return world_of([read_graph(place) for place in places])


def filled(store: GraphStore, world: World) -> None:
    clear(store)
    for graph in world.graphs:
        store.add(graph)
    for circuit in world.circuits:
        store.keep_circuit(circuit)


def asked(store: GraphStore, version: str) -> Ask:
    """How a user would ask a query of cypher/explore in one version of Cypher."""

    def ask(name: str, **params) -> list[dict[str, Any]]:
        query = query_named(name)
        rows = store.cypher(f"CYPHER {version}\n{query.text}", query.bind(params), max_rows=ALL)
        assert list(rows.columns) == [column.name for column in query.returns]
        return rows.records

    return ask


def check(ask: Ask, world: World, name: str) -> int:
    """Each column of each row is as the oracle says, rows are sorted, a limit leaves the first; how many there were."""
    oracle, query, n_rows = ORACLES[name], query_named(name), 0
    limited = any(param.name == "limit" for param in query.params)
    for case in oracle.cases(world):
        rows = ask(name, **case, **({"limit": ALL} if limited else {}))
        expected = {tuple(map(hashable, each)): row for each, row in keyed(oracle.rows(world, **case), oracle.key)}
        found = {tuple(map(hashable, each)): row for each, row in keyed(rows, oracle.key)}
        assert found.keys() == expected.keys() and len(found) == len(rows), (name, case)
        for key, row in found.items():
            for column in (each.name for each in query.returns if each.name not in oracle.open):
                assert close(row[column], expected[key][column]), (name, case, key, column)
            assert oracle.fits(world, case, row), (name, case, row)
        order = [oracle.order(row) for row in rows]
        assert order == sorted(order), (name, case)
        if limited:
            assert close(ask(name, **case, limit=3), rows[:3]), (name, case)
        n_rows += len(rows)
    return n_rows


def keyed(rows: Any, key: tuple[str, ...]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for row in rows:
        yield [row[name] for name in key], row


def hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.fixture(scope="module", params=[made_world, published_world], ids=["made", "published"])
def loaded(request, neo4j_home) -> Iterator[tuple[GraphStore, World]]:
    world = request.param()
    with open_store() as store:
        filled(store, world)
        yield store, world


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ORACLES)
def test_a_query_answers_what_the_graphs_say(loaded, name, version):
    store, world = loaded
    assert check(asked(store, version), world, name) > 0


graphs = st.builds(
    make_graph,
    seed=st.integers(0, 1000),
    n_features=st.integers(0, 9),
    density=st.floats(0.1, 0.9),
    kept=st.floats(0.3, 1),
    source_set=st.sampled_from(["set", "another set"]),
    max_index=st.integers(1, 3),
).map(with_supernodes)


@settings(max_examples=6)
@given(st.lists(graphs, min_size=1, max_size=3, unique_by=lambda graph: graph.graph_id), st.sampled_from(VERSIONS))
def test_every_query_answers_what_the_graphs_say_whatever_they_are(neo4j_home, graphs, version):
    world = world_of(graphs)
    with open_store() as store:
        filled(store, world)
        for name in ORACLES:
            check(asked(store, version), world, name)


def test_every_query_has_an_oracle():
    assert set(read_queries("explore")) == set(ORACLES)


def test_the_best_way_node_by_node_is_the_best_of_all_ways_one_by_one():
    """What the oracle of circuits_through takes for granted."""
    world = made_world()
    found = 0
    for graph_id, net in world.nets.items():
        ids = world.pruned[graph_id].nodes["node_id"].tolist()
        groups = [[ids[row] for row in rows] for rows in groups_of(world, graph_id, ["Dallas", "Texas", "Austin"])]
        strong: Any = nx.DiGraph(edge for edge in net.edges(data=True) if edge[2]["share"] >= 0.02)
        way = {(a, b): best_way(strong, a, b) for pair in pairwise(groups) for a, b in product(*pair)}
        best = max((prod(way[pair] for pair in pairwise(chain)) for chain in product(*groups)), default=0.0)
        rows = [[ids.index(node) for node in group] for group in groups]
        assert best_of_all_ways(world.pruned[graph_id], rows, 0.02) == pytest.approx(best, rel=1e-6)
        found += best > 0
    assert found >= 3


def best_way(net: Any, source: str, target: str) -> float:
    if source not in net or target not in net or source == target:
        return 0.0
    paths = nx.all_simple_paths(net, source, target, cutoff=3)
    return max((prod(net.edges[edge]["share"] for edge in pairwise(path)) for path in paths), default=0.0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "terms",
    [
        ["dallas", "Texas", "Austin", " AUSTIN "],
        ["state", "texas|state capitals", "Houston|Austin"],
        ["*all?s", "*tex*", "?ustin"],
        ["Dallas", "*", "Austin"],
        ["Dallas", "1_0|Texas", "Austin"],
    ],
    ids=" > ".join,
)
def test_circuits_through_takes_texts_in_every_way_that_its_header_tells(made, terms, version):
    store, world = made
    rows = asked(store, version)("circuits_through", terms=terms, min_share=0.02)
    expected = {row["graph_id"]: row for row in ORACLES["circuits_through"].rows(world, terms=terms, min_share=0.02)}
    assert {row["graph_id"] for row in rows} == set(expected) and rows
    assert all(close(row["strength"], expected[row["graph_id"]]["strength"]) for row in rows)


@pytest.mark.parametrize(
    "terms", [['Da"llas', "Austin\\"], ["Dallas", 'Te"xas', "Austin\\"], ["a/b", "c:d", "{e} [f]"]]
)
def test_circuits_through_takes_signs_of_lucene_as_text(made, terms):
    store, _ = made
    assert asked(store, "25")("circuits_through", terms=terms) == []


@pytest.fixture
def made(store) -> tuple[GraphStore, World]:
    world = made_world()
    filled(store, world)
    return store, world


@pytest.mark.parametrize("term", ["Texas", "*tex*", "Dallas|Houston", "1_0", "say austin"])
def test_graphs_with_leaves_out_no_graph_that_has_a_match(made, term):
    store, world = made
    pruned = world.pruned.items()
    fitting = {
        key
        for key, graph in pruned
        for each in term.split("|")
        if len(match(parse_pattern(f"* -> {each} -> *"), graph)[1])
    }
    assert {row["graph_id"] for row in asked(store, "25")("graphs_with", term=term)} >= fitting
    assert fitting


@pytest.mark.parametrize("n_chosen", range(1, 6))
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_shared_features_of_some_graphs_are_the_first_of_all(made, n_chosen, limit):
    """Whichever way they are looked for: few graphs by their nodes, many by the features that most graphs have."""
    store, world = made
    ids = np.random.default_rng(n_chosen).permutation(sorted(world.about))[:n_chosen].tolist()
    for least in (1, 2):
        asking = {"graph_ids": [*ids, "no such graph"], "min_graphs": least}
        rows = list(ORACLES["shared_features"].rows(world, **asking))
        expected = sorted(rows, key=ORACLES["shared_features"].order)[:limit]
        found = asked(store, "25")("shared_features", **asking, limit=limit)
        assert [row["influence"] for row in found] == pytest.approx([row["influence"] for row in expected])
        assert [row["graph_ids"] for row in found] == [row["graph_ids"] for row in expected]
