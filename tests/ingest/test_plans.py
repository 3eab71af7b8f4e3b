"""No query of cypher/explore walks through all nodes or all relationships, whatever the store holds."""

from collections.abc import Iterator
from itertools import accumulate

import pytest

from ingest.queries import read_queries
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import large_graph, make_graph
from tests.neo4j_fixture import clear

VALUES = {"string": "x", "integer": 3, "float": 0.1, "list<string>": ["a", "b", "c"]}
ABOUT_ALL = {"graphs": {("NodeByLabelScan", "graph:Graph")}}  # its purpose: which graphs are in the store
SEEKS = ("NodeIndexContainsScan", "NodeIndexEndsWithScan")  # of a text index, which knows the pieces of texts
HELD = {  # what stands before a COLLECT, whose plan is not part of the plan of the query
    "circuits_through": "MATCH (n:Node {graph_id: 'x', node_id: 'y'}) USING INDEX SEEK n:Node(graph_id, node_id) "
    "WITH collect([n, 1.0, []]) AS paths, [collect(n), collect(n)] AS groups, 0 AS place",
    "shared_features": "WITH ['a', 'b'] AS graph_ids",
    "three_node_motifs": "WITH $min_graphs AS least",
}


@pytest.fixture(scope="module", params=["nothing", "small graphs", "a large graph too"])
def filled(request, neo4j_home) -> Iterator[GraphStore]:
    """Plans depend on what is there, so stores of several sizes."""
    with open_store() as store:
        clear(store)
        if request.param != "nothing":
            for seed in range(3):
                store.add(make_graph(seed))
        if request.param == "a large graph too":
            store.add(large_graph(300, 6_000))
        store._client.read("CALL db.clearQueryCaches()", {})  # else a plan for what was there before
        yield store


@pytest.mark.parametrize("version", ["5", "25"])
@pytest.mark.parametrize("name", read_queries("explore"))
def test_a_query_starts_from_an_index(filled, name, version):
    query = read_queries("explore")[name]
    params = {param.name: VALUES[param.type] for param in query.params}
    plan = filled._client.explain(f"CYPHER {version}\n{query.text}", params)
    scans = {(operator, details) for operator, details in plan.operators if "Scan" in operator}
    assert {scan for scan in scans if scan[0] not in SEEKS} <= ABOUT_ALL.get(name, set())
    assert any("Seek" in operator or "Procedure" in operator or "Scan" in operator for operator, _ in plan.operators)


@pytest.mark.parametrize("name", HELD)
def test_what_a_query_collects_starts_from_an_index_or_from_what_it_has(filled, name):
    query = read_queries("explore")[name]
    params = {param.name: VALUES[param.type] for param in query.params}
    [inner] = collected(query.text)
    plan = filled._client.explain(f"{HELD[name]}\n{inner}", params)
    assert not [operator for operator, _ in plan.operators if "Scan" in operator]


def test_nothing_else_is_collected():
    assert {name for name, query in read_queries("explore").items() if collected(query.text)} == set(HELD)


def collected(text: str) -> list[str]:
    """What stands in each COLLECT {}."""
    found = []
    for part in text.split("COLLECT {")[1:]:
        depth = list(accumulate(((letter == "{") - (letter == "}") for letter in part), initial=1))
        found.append(part[: depth.index(0) - 1])
    return found


@pytest.mark.parametrize("text", ["MATCH (n) RETURN n", "MATCH (n:Node) RETURN n", "MATCH ()-[r:AFFECTS]->() RETURN r"])
def test_a_scan_would_be_seen_here(filled, text):
    assert any("Scan" in operator for operator, _ in filled._client.explain(text, {}).operators)
