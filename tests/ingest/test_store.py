"""A stored graph is whole, comes back as it was, and leaves the aggregate as if it had never been when it goes."""

import itertools
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.queries import read_queries
from ingest.rows import graph_rows, label_key, ranks_in
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import large_graph, make_graph
from tests.neo4j_fixture import clear
from tracer.errors import QueryError, StoreError
from tracer.graph import AttributionGraph

ALL_FLOWS = """
MATCH (a:Feature)-[flow:FLOWS_TO]->(b:Feature)
RETURN a.source_set AS source_set, a.layer AS a_layer, a.index AS a_index, b.layer AS b_layer, b.index AS b_index,
       flow.graphs AS graphs, flow.edges AS edges, flow.billionths AS billionths, flow.mean_share AS mean_share
"""
ALL_FEATURES = (
    "MATCH (f:Feature) RETURN f.source_set AS source_set, f.layer AS layer, f.index AS index, f.graphs AS graphs"
)


def edge_set(graph: AttributionGraph) -> set[tuple]:
    ids = graph.nodes["node_id"].to_numpy()
    edges = graph.edges
    ends = ids[edges.source], ids[edges.target]
    return set(zip(*ends, edges.effect.tolist(), edges.share.tolist(), strict=True))


def flows_of(graphs: list[AttributionGraph]) -> dict[tuple, tuple[int, int, int, float]]:
    """The aggregate, from nothing: (source_set, source place, target place) -> graphs, edges, billionths, mean."""
    shares, where = defaultdict(list), defaultdict(set)
    for graph in graphs:
        pruned = graph.pruned()
        kinds, layers, indices = (pruned.nodes[name].to_numpy() for name in ("kind", "layer", "index"))
        edges = pruned.edges
        for source, target, share in zip(edges.source, edges.target, edges.share.tolist(), strict=True):
            if kinds[source] == kinds[target] == "feature":
                places = layers[source], indices[source], layers[target], indices[target]
                key = (graph.metadata.source_set, *(int(value) for value in places))
                shares[key].append(int(np.floor(share * 1e9 + 0.5)))
                where[key].add(graph.graph_id)
    return {
        key: (len(where[key]), len(values), sum(values), sum(values) * 1e-9 / len(values))
        for key, values in shares.items()
    }


def stored_flows(store: GraphStore) -> dict[tuple, tuple[int, int, int, float]]:
    rows = [tuple(row.values()) for row in store.cypher(ALL_FLOWS, max_rows=1_000_000).records]
    return {row[:5]: row[5:] for row in rows}


def check_aggregates(store: GraphStore, graphs: list[AttributionGraph]) -> None:
    assert stored_flows(store) == flows_of(graphs)
    where = defaultdict(set)
    for graph in graphs:
        rows = graph_rows(graph)
        for _, layer, index, _ in rows.features:
            where[rows.graph["source_set"], layer, index].add(graph.graph_id)
    stored = [tuple(row.values()) for row in store.cypher(ALL_FEATURES, max_rows=1_000_000).records]
    assert {row[:3]: row[3] for row in stored} == {place: len(ids) for place, ids in where.items()}


def test_a_graph_comes_back_as_its_pruned_part(store):
    graph = make_graph(3)
    assert store.add(graph) == "ingested"
    again, pruned = store.fetch(graph.graph_id), graph.pruned()
    assert again.graph_id == graph.graph_id
    assert again.metadata == replace(pruned.metadata, provenance={}, roles={})
    assert edge_set(again) == edge_set(pruned)
    ours = again.nodes.set_index("node_id").sort_index()
    theirs = pruned.nodes.set_index("node_id").sort_index()
    assert ours.equals(theirs)
    order = np.lexsort((again.edges.source, again.edges.target))
    assert (order == np.arange(len(order))).all()


def test_adding_again_changes_nothing(store):
    graph = make_graph(4)
    store.add(graph)
    before = store.schema_counts(), stored_flows(store), store.graphs()
    assert store.add(graph) == "unchanged"
    assert (store.schema_counts(), stored_flows(store), store.graphs()) == before


def test_counts_are_those_of_the_pruned_graph(store):
    graph = make_graph(5)
    store.add(graph)
    counts, pruned = store.schema_counts(), graph.pruned()
    assert counts["Node"] == counts["IN"] == len(pruned.nodes)
    assert counts["AFFECTS"] == len(pruned.edges)
    kinds = pruned.nodes["kind"].value_counts()
    assert counts["ActiveFeature"] == counts["INSTANCE_OF"] == kinds["feature"]
    assert (counts["Token"], counts["Logit"], counts["Graph"]) == (kinds["token"], kinds["logit"], 1)


def test_removing_the_only_graph_leaves_nothing(store):
    graph = make_graph(6)
    empty = store.schema_counts()
    store.add(graph)
    assert store.remove(graph.graph_id)
    assert not store.remove(graph.graph_id)
    assert store.schema_counts() == empty
    with pytest.raises(StoreError, match="no graph"):
        store.fetch(graph.graph_id)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_the_aggregate_equals_a_recomputation_after_any_order_of_adds_and_removals(neo4j_home, changes):
    graphs = [make_graph(seed, n_features=8, source_set="ab"[seed % 2]) for seed in range(5)]
    there: dict[int, AttributionGraph] = {}
    with open_store() as store:
        clear(store)
        for number in changes:
            graph = graphs[number]
            if number in there:
                store.remove(graph.graph_id)
                del there[number]
            else:
                store.add(graph)
                there[number] = graph
        check_aggregates(store, list(there.values()))


def test_a_graph_can_be_replaced_for_other_labels_on_the_same_content(store):
    graph = make_graph(7)
    other = make_graph(8)
    relabelled = AttributionGraph(graph.nodes.assign(label="renamed"), graph.edges, graph.metadata)
    assert relabelled.graph_id == graph.graph_id
    store.add(graph)
    store.add(other)
    before = store.schema_counts()
    assert store.add(relabelled, replace=True) == "ingested"
    assert store.schema_counts() == before
    assert set(store.fetch(graph.graph_id).nodes["label"]) == {"renamed"}
    check_aggregates(store, [graph, other])


def test_readers_see_all_of_a_graph_or_nothing_while_it_comes_is_replaced_and_goes(store):
    graph = large_graph(300, 6_000)
    parameters = {"graph_id": graph.graph_id}
    seen: dict[str, set[int]] = {"node": set(), "edge": set()}
    texts = {
        "node": "MATCH (n:Node {graph_id: $graph_id}) RETURN count(n) AS n",
        "edge": "MATCH (:Node {graph_id: $graph_id})-[e:AFFECTS]->() RETURN count(e) AS n",
    }
    unsettled: list[str] = []
    done = threading.Event()

    def watch(what: str) -> None:
        with open_store() as reader:
            while not done.is_set():
                rows = reader.cypher(texts[what], parameters)
                seen[what].add(rows.records[0]["n"])
                unsettled.extend([what] * (not rows.settled))

    readers = [threading.Thread(target=watch, args=[what]) for what in texts]
    for reader in readers:
        reader.start()
    try:
        store.add(graph)
        store.add(graph, replace=True)
        store.remove(graph.graph_id)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert seen == {"node": {0, len(graph.nodes)}, "edge": {0, len(graph.edges)}}
    assert not unsettled


def test_two_writers_at_once_count_every_graph_once(store):
    graphs = [make_graph(seed) for seed in range(10, 18)]
    results: list[str] = []

    def write(some: list[AttributionGraph]) -> None:
        with open_store() as own:
            results.extend(own.add(graph) for graph in some)

    writers = [threading.Thread(target=write, args=[some]) for some in (graphs, graphs[::-1])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(results) == ["ingested"] * 8 + ["unchanged"] * 8
    check_aggregates(store, graphs)


def test_commands_that_begin_a_database_at_once_and_fill_it_all_succeed(store):
    """Neo4j undoes one of two that make the schema or store a graph, or says that an index is there already."""
    for row in store.cypher("SHOW INDEXES YIELD name, type, owningConstraint AS of WHERE type <> 'LOOKUP'").records:
        store._client.run_schema(f"DROP {'CONSTRAINT' if row['of'] else 'INDEX'} `{row['name']}`")
    assert len(store.missing_schema()) == len(read_queries("schema"))
    graphs = [make_graph(seed) for seed in range(20, 26)]

    def begin(some: list[AttributionGraph]) -> list[str]:
        with open_store() as own:
            own.complete_schema()
            return [own.add(graph) for graph in some]

    with ThreadPoolExecutor(4) as pool:
        found = pool.map(begin, [graphs[:2], graphs[2:4], graphs[4:], graphs])
    assert sorted(itertools.chain(*found)) == ["ingested"] * 6 + ["unchanged"] * 6
    assert store.missing_schema() == []
    check_aggregates(store, graphs)


@pytest.mark.parametrize("divided", ["", "IN 2 CONCURRENT TRANSACTIONS OF 5 ROWS"])
def test_a_query_that_runs_while_a_graph_is_removed_sees_it_whole_or_not_at_all(store, divided):
    graph = large_graph(300, 6_000)
    store.add(graph)
    text = f"""
    MATCH (n:Node {{graph_id: $graph_id}}) WITH collect(n) AS nodes
    CALL () {{ UNWIND range(1, 1_000_000) AS i WITH i WHERE i % 2 = 0 RETURN count(i) AS counted }}
    UNWIND nodes AS n
    CALL (n) {{ MATCH (n)-[e:AFFECTS]->() RETURN count(e) AS n_edges }} {divided}
    RETURN count(n.node_id) AS before, sum(n_edges) AS after
    """
    removal = threading.Timer(0.1, store.remove, [graph.graph_id])
    removal.start()
    rows = store.cypher(text, {"graph_id": graph.graph_id})
    removal.join()
    assert rows.settled
    assert tuple(rows.records[0].values()) in {(len(graph.nodes), len(graph.edges)), (0, 0)}
    assert not store.has(graph.graph_id)


@pytest.fixture
def pieces(monkeypatch):
    """Graphs of more than 30 edges go in pieces of 25."""
    monkeypatch.setattr("ingest.store.ONE_TRANSACTION", 30)
    monkeypatch.setattr("ingest.pieces.PIECE", 25)


def test_a_graph_too_large_for_one_transaction_is_stored_and_removed_in_pieces_as_any_other(store, pieces, monkeypatch):
    graphs = [make_graph(seed) for seed in range(40, 43)]
    assert all(len(graph_rows(graph).edges) > 30 for graph in graphs)
    assert [store.add(graph) for graph in graphs] == ["ingested"] * 3
    assert store.add(graphs[0]) == "unchanged"
    in_pieces = {graph.graph_id: store.fetch(graph.graph_id) for graph in graphs}
    check_aggregates(store, graphs)
    before = store.schema_counts()
    assert "Passing" not in before and "Passage" not in before
    monkeypatch.setattr("ingest.store.ONE_TRANSACTION", 10**9)
    for graph in graphs:
        store.add(graph, replace=True)
        assert edge_set(store.fetch(graph.graph_id)) == edge_set(in_pieces[graph.graph_id])
        assert store.fetch(graph.graph_id).nodes.equals(in_pieces[graph.graph_id].nodes)
    assert store.schema_counts() == before
    monkeypatch.setattr("ingest.store.ONE_TRANSACTION", 30)
    assert store.remove(graphs[1].graph_id) and not store.remove(graphs[1].graph_id)
    check_aggregates(store, [graphs[0], graphs[2]])
    assert store.add(graphs[0], replace=True) == "ingested"
    for graph in (graphs[0], graphs[2]):
        store.remove(graph.graph_id)
    assert set(store.schema_counts()) <= {"Meta"}


@pytest.mark.parametrize("change", ["add", "remove"])
def test_pieces_cut_off_anywhere_are_finished_at_the_next_start_and_nodes_are_seen_all_or_none(
    change, store, pieces, monkeypatch
):
    """A failure before each transaction in turn, as a crash would be; a lease of no time, as if a minute had passed."""
    monkeypatch.setattr("ingest.pieces.LEASE_MS", 0)
    other, graph = make_graph(43, n_features=6), make_graph(44, n_features=8)
    store.add(other)

    def crash() -> None:
        raise KeyboardInterrupt

    seen = set()
    for at in range(100):
        if change == "remove":
            store.add(graph)
        write, left = store._client.write, [at]

        def counted(work, write=write, left=left):
            if left[0] == 0:
                crash()
            left[0] -= 1
            return write(work)

        with monkeypatch.context() as patch:
            patch.setattr(store._client, "write", counted)
            try:
                store.add(graph) if change == "add" else store.remove(graph.graph_id)
                break
            except KeyboardInterrupt:
                pass
        rows = store.cypher("MATCH (n:Node {graph_id: $id}) RETURN count(n) AS n", {"id": graph.graph_id})
        seen.add(rows.records[0]["n"])
        with GraphStore(store.connection) as next_start:
            there = next_start.has(graph.graph_id)
            check_aggregates(next_start, [other, graph] if there else [other])
            assert not {"Passing", "Passage"} & set(next_start.schema_counts())
            next_start.remove(graph.graph_id)
    assert at > 5 and seen == {0, sum(graph.nodes["kept"].tolist())}


def test_a_broken_progress_bar_leaves_nothing_behind(store):
    def interrupt(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    graph = make_graph(9)
    with pytest.raises(KeyboardInterrupt):
        store.add(graph, interrupt)
    assert set(store.schema_counts()) <= {"Meta"}
    assert store.add(graph) == "ingested"


def test_labels_of_any_length_and_content_are_stored_as_they_are(store):
    graph = make_graph(11, kept=1.0)
    strange = ["x" * 100_000, "'; MATCH (n) DETACH DELETE n //", "<b>\u202eab\0c</b>", "\\", "🧭" * 3000, "`$graph_id`"]
    labels = [strange[at % len(strange)] for at in range(len(graph.nodes))]
    told = AttributionGraph(graph.nodes.assign(label=labels), graph.edges, graph.metadata)
    store.add(told)
    again = store.fetch(graph.graph_id).nodes.set_index("node_id")["label"]
    assert again.to_dict() == dict(zip(told.nodes["node_id"], labels, strict=True))


def test_ranks_count_from_the_largest_share_over_all_edges():
    graph = make_graph(12)
    rank, edges = ranks_in(graph), graph.edges
    for target in np.unique(edges.target):
        rows = np.flatnonzero(edges.target == target)
        assert sorted(rank[rows]) == list(range(1, len(rows) + 1))
        assert (np.diff(edges.share[rows[np.argsort(rank[rows])]]) <= 0).all()


def test_label_keys_have_no_case_no_extra_blanks_and_a_limit():
    assert label_key("  New \t York\n") == "new york"
    assert len(label_key("🧭" * 5000).encode()) < 8000


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store):
    store._client.write(lambda tx: tx.run("MATCH (meta:Meta) SET meta.version = 1000"))
    try:
        with pytest.raises(StoreError, match=r"version 1000; this program writes version \d+"):
            open_store()
    finally:
        store._client.write(lambda tx: tx.run("MATCH (meta:Meta) DELETE meta"))
    with open_store():
        pass


def test_an_unknown_query_is_answered_with_those_that_exist(store):
    with pytest.raises(QueryError, match="no query 'circuit'; expected one of circuits_through"):
        store.run("circuit")
