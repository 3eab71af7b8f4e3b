"""Every query of cypher/explore agrees with networkx and pandas on the graphs themselves, in both Cypher versions."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise, product
from math import prod
from typing import Any

import networkx as nx
import numpy as np
import pytest

from circuits.pattern import match, parse_pattern
from ingest.queries import query_named, read_queries
from ingest.rows import ranks_in
from ingest.store import GraphStore, open_store
from tests.ingest.made_graphs import make_graph
from tests.neo4j_fixture import clear
from tracer.graph import AttributionGraph

GRAPHS = [make_graph(seed) for seed in range(6)] + [make_graph(6, source_set="another set")]
TESTED: set[str] = set()
TESTED_ELSEWHERE = {
    "kept_circuits",
    "kept_circuit_graphs",
    "feature_circuits",
    "supernodes",
}  # test_kept_circuits.py, test_grouping.py


@pytest.fixture(scope="module")
def loaded(neo4j_home) -> Iterator[GraphStore]:
    with open_store() as store:
        clear(store)
        for graph in GRAPHS:
            store.add(graph)
        yield store


@pytest.fixture(params=["5", "25"])
def ask(request, loaded):
    """A query of cypher/explore, asked as a user would, in one version of Cypher."""

    def run(name: str, **params) -> list[dict[str, Any]]:
        TESTED.add(name)
        query = query_named(name)
        rows = loaded.cypher(f"CYPHER {request.param}\n{query.text}", query.bind(params), max_rows=100_000)
        assert list(rows.columns) == [column.name for column in query.returns]
        return rows.records

    return run


def network(graph: AttributionGraph) -> Any:
    """The pruned graph in networkx, with ranks over all edges."""
    rank_of = {}
    ids = graph.nodes["node_id"].tolist()
    for source, target, rank in zip(graph.edges.source, graph.edges.target, ranks_in(graph), strict=True):
        rank_of[ids[source], ids[target]] = int(rank)
    pruned = graph.pruned()
    net = nx.DiGraph()
    for row in pruned.nodes.to_dict("records"):
        net.add_node(row["node_id"], **row)
    ids = pruned.nodes["node_id"].tolist()
    edges = pruned.edges
    for source, target, effect, share in zip(edges.source, edges.target, edges.effect, edges.share, strict=True):
        ends = ids[source], ids[target]
        net.add_edge(*ends, effect=float(effect), share=float(share), rank_in=rank_of[ends])
    return net


NETS: dict[str, Any] = {graph.graph_id: network(graph) for graph in GRAPHS}


def place_of(graph: AttributionGraph, net: Any, node: str) -> tuple[str, int, int]:
    return graph.metadata.source_set, net.nodes[node]["layer"], net.nodes[node]["index"]


def features_of(graph: AttributionGraph) -> dict[str, tuple[str, int, int]]:
    net = NETS[graph.graph_id]
    return {node: place_of(graph, net, node) for node in net if net.nodes[node]["kind"] == "feature"}


def close(value: Any) -> Any:
    return pytest.approx(value, rel=1e-6, abs=1e-12)


def test_graphs_lists_every_graph_with_its_size(ask):
    rows = {row["graph_id"]: row for row in ask("graphs")}
    assert set(rows) == set(NETS)
    for graph in GRAPHS:
        row, net = rows[graph.graph_id], NETS[graph.graph_id]
        assert (row["n_nodes"], row["n_edges"]) == (len(net), net.number_of_edges())
        assert (row["slug"], row["source_set"]) == (graph.metadata.slug, graph.metadata.source_set)
        assert (row["replacement_score"], row["completeness_score"]) == (0.5, None)


def test_strongest_sources_are_the_largest_inputs(ask):
    for graph_id, net in list(NETS.items())[:3]:
        for node in net:
            expected = sorted((edge["rank_in"], source) for source, _, edge in net.in_edges(node, data=True))
            rows = ask("strongest_sources", graph_id=graph_id, node_id=node, limit=4)
            assert [(row["rank_in"], row["node_id"]) for row in rows] == expected[:4]
            assert all(row["effect"] == net.edges[row["node_id"], node]["effect"] for row in rows)
            assert all(row["share"] == net.edges[row["node_id"], node]["share"] for row in rows)


def test_strongest_targets_are_those_with_the_largest_share(ask):
    for graph_id, net in list(NETS.items())[:3]:
        for node in net:
            expected = sorted((-edge["share"], target) for _, target, edge in net.out_edges(node, data=True))
            rows = ask("strongest_targets", graph_id=graph_id, node_id=node, limit=4)
            assert [(-row["share"], row["node_id"]) for row in rows] == expected[:4]


@pytest.mark.parametrize("min_share", [0.0, 0.1])
def test_strongest_paths_are_the_best_of_all_simple_paths(ask, min_share):
    for graph_id, net in NETS.items():
        strong: Any = nx.DiGraph(edge for edge in net.edges(data=True) if edge[2]["share"] >= min_share)
        for source, target in product([n for n in net if n.startswith("E_")], [n for n in net if n.startswith("5_")]):
            reachable = source in strong and target in strong
            paths = nx.all_simple_paths(strong, source, target, cutoff=6) if reachable else []
            strengths = {tuple(path): prod(net.edges[edge]["share"] for edge in pairwise(path)) for path in paths}
            rows = ask("strongest_paths", graph_id=graph_id, source=source, target=target, min_share=min_share, limit=5)
            assert [row["strength"] for row in rows] == close(sorted(strengths.values(), reverse=True)[:5])
            for row in rows:
                path = tuple(row["node_ids"])
                assert row["strength"] == close(strengths[path])
                assert row["shares"] == close([net.edges[edge]["share"] for edge in pairwise(path)])
                assert row["effects"] == close([net.edges[edge]["effect"] for edge in pairwise(path)])


def best_through(net: Any, groups: list[list[str]], min_share: float) -> float:
    """The strongest chain of ways of 1 to 3 links between consecutive groups, by enumeration."""
    strong: Any = nx.DiGraph(edge for edge in net.edges(data=True) if edge[2]["share"] >= min_share)
    way: dict[tuple[str, str], float] = defaultdict(float)
    for sources, targets in pairwise(groups):
        for source, target in product(sources, targets):
            if source in strong and target in strong and source != target:
                paths = nx.all_simple_paths(strong, source, target, cutoff=3)
                strengths = (prod(strong.edges[edge]["share"] for edge in pairwise(path)) for path in paths)
                way[source, target] = max(strengths, default=0.0)
    return max((prod(way[pair] for pair in pairwise(chain)) for chain in product(*groups)), default=0.0)


@pytest.mark.parametrize(
    "terms",
    [
        ["Dallas", "Texas", "Austin"],
        ["dallas", "say Austin", "Texas", " AUSTIN "],
        ["Dallas", "Austin"],
        ["state", "texas|state capitals", "Houston|Austin"],
        ["Texas", "Austin"],
        ["*all?s", "*tex*", "?ustin"],
        ["Dallas", "1_0", "Austin"],
        ["Dallas", "Texas"],
        ["Dallas", "nowhere", "Austin"],
        ['Da"llas', "Austin\\"],
    ],
    ids=" > ".join,
)
def test_circuits_through_is_the_strongest_path_that_visits_the_texts_in_order(ask, terms):
    expected = {}
    for graph in GRAPHS:
        pruned = graph.pruned()
        groups = []
        for place in range(len(terms)):
            named: set[int] = set()
            for term in terms[place].split("|"):  # either of two texts is the union of what each names
                rest = ["*"] * place, ["*"] * (len(terms) - place - 1)
                if any(letter in term for letter in '"\\'):
                    continue
                found = match(parse_pattern(" -> ".join([*rest[0], term, *rest[1]])), pruned)
                named |= set(found[place].tolist())
            groups.append([pruned.nodes["node_id"].iloc[row] for row in sorted(named)])
        strength = best_through(NETS[graph.graph_id], groups, 0.02)
        if strength:
            expected[graph.graph_id] = strength
    rows = ask("circuits_through", terms=terms, min_share=0.02)
    assert {row["graph_id"]: row["strength"] for row in rows} == close(expected)
    assert [row["strength"] for row in rows] == sorted((row["strength"] for row in rows), reverse=True)
    for row in rows:
        net = NETS[row["graph_id"]]
        assert row["shares"] == close([net.edges[edge]["share"] for edge in pairwise(row["node_ids"])])
        assert prod(row["shares"]) == close(row["strength"])
        assert row["labels"] == [net.nodes[node]["label"] for node in row["node_ids"]]


def test_circuits_through_finds_something_to_compare(ask):
    assert len(ask("circuits_through", terms=["Dallas", "Texas", "Austin"], min_share=0.0)) >= 3


def test_shared_features_are_the_intersections(ask):
    for chosen in (GRAPHS[:2], GRAPHS[:4], GRAPHS):
        where = defaultdict(set)
        for graph in chosen:
            for place in features_of(graph).values():
                where[place].add(graph.graph_id)
        for least in (1, 2, len(chosen)):
            rows = ask("shared_features", graph_ids=[g.graph_id for g in chosen], min_graphs=least, limit=1000)
            found = {(row["source_set"], row["layer"], row["index"]): set(row["graph_ids"]) for row in rows}
            assert found == {place: ids for place, ids in where.items() if len(ids) >= least}


def test_common_features_count_graphs_and_not_occurrences(ask):
    counts = Counter(place for graph in GRAPHS for place in set(features_of(graph).values()))
    rows = ask("common_features", min_graphs=2, limit=1000)
    found = {(row["source_set"], row["layer"], row["index"]): row["graphs"] for row in rows}
    assert found == {place: n for place, n in counts.items() if n >= 2}


def test_features_at_a_place_are_those_of_every_dictionary(ask):
    counts = Counter(place for graph in GRAPHS for place in set(features_of(graph).values()))
    for _, layer, index in counts:
        found = {row["source_set"]: row["graphs"] for row in ask("features_at", layer=layer, index=index)}
        assert found == {name: n for (name, *place), n in counts.items() if place == [layer, index]}


def test_feature_occurrences_are_all_of_them_in_that_dictionary_alone(ask):
    occurrences = defaultdict(set)
    for graph in GRAPHS:
        for node, place in features_of(graph).items():
            occurrences[place].add((graph.graph_id, node))
    for (source_set, layer, index), expected in occurrences.items():
        rows = ask("feature_occurrences", source_set=source_set, layer=layer, index=index)
        assert {(row["graph_id"], row["node_id"]) for row in rows} == expected
        for row in rows:
            node = NETS[row["graph_id"]].nodes[row["node_id"]]
            assert row["activation"] == close(node["activation"])
            assert row["token"] == GRAPHS[0].metadata.tokens[node["position"]]


def test_feature_prompts_have_a_row_a_graph_with_every_occurrence(ask):
    occurrences = defaultdict(lambda: defaultdict(set))
    for graph in GRAPHS:
        for node, place in features_of(graph).items():
            occurrences[place][graph.graph_id].add(node)
    for (source_set, layer, index), expected in occurrences.items():
        rows = ask("feature_prompts", source_set=source_set, layer=layer, index=index)
        assert {row["graph_id"]: set(row["node_ids"]) for row in rows} == expected
        assert [row["influence"] for row in rows] == sorted((row["influence"] for row in rows), reverse=True)
        for row in rows:
            nodes = [NETS[row["graph_id"]].nodes[node] for node in row["node_ids"]]
            assert row["positions"] == [node["position"] for node in nodes]
            assert row["activations"] == close([node["activation"] for node in nodes])
            assert row["influences"] == close([node["influence"] for node in nodes])
            assert row["influence"] == close(sum(node["influence"] for node in nodes))
            assert row["label"] == nodes[0]["label"]
            assert row["tokens"] == list(GRAPHS[0].metadata.tokens)


def shares_with(place: tuple[str, int, int], forward: bool) -> dict[tuple, tuple[list[float], list[float]]]:
    """What a feature gets from (or gives to) each name: signed share and effect in each graph that has both."""
    found: dict[tuple, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for graph in GRAPHS:
        net, features = NETS[graph.graph_id], features_of(graph)
        own = [node for node, where in features.items() if where == place]
        sums: dict[tuple, list[float]] = defaultdict(lambda: [0.0, 0.0])
        times: dict[tuple, set[str]] = defaultdict(set)
        for edge in net.out_edges(own, data=True) if forward else net.in_edges(own, data=True):
            node = net.nodes[edge[1] if forward else edge[0]]
            if forward and node["kind"] == "error":
                continue  # no graph of a model has such an edge
            by_layer, is_feature = node["kind"] in ("feature", "error"), node["kind"] == "feature"
            name = (node["kind"], node["layer"] if by_layer else None, node["index"] if is_feature else None,
                    "" if by_layer else node["label"].strip())  # fmt: skip
            sums[name][0] += edge[2]["share"] * np.sign(edge[2]["effect"])
            sums[name][1] += edge[2]["effect"]
            times[name].add(edge[1])
        for name, (share, effect) in sums.items():
            n = len(times[name]) if forward else len(own)
            found[name][0].append(share / n)
            found[name][1].append(effect / n)
    return found


@pytest.mark.parametrize("query", ["feature_inputs", "feature_outputs"])
def test_what_feeds_a_feature_and_what_it_feeds_is_a_mean_over_graphs(ask, query):
    places = Counter(place for graph in GRAPHS for place in set(features_of(graph).values()))
    checked = 0
    for place, n_graphs in places.items():
        expected = shares_with(place, query == "feature_outputs")
        rows = ask(query, source_set=place[0], layer=place[1], index=place[2], limit=1000)
        assert len(rows) == len(expected)
        for row in rows:
            is_named = row["kind"] in ("token", "logit")
            shares, effects = expected[row["kind"], row["layer"], row["index"], row["label"] if is_named else ""]
            assert (row["graphs"], row["mean_share"]) == (len(shares), close(sum(shares) / n_graphs))
            assert (row["least_share"], row["most_share"]) == (close(min(shares)), close(max(shares)))
            assert row["mean_effect"] == close(np.mean(effects))
            checked += 1
        sizes = [abs(row["mean_share"]) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
    assert checked > 50


def links_of_features() -> tuple[dict[tuple, list[float]], dict[tuple, set[str]]]:
    """(source place, target place) -> shares of its occurrences, and the graphs that have it."""
    shares: dict[tuple, list[float]] = defaultdict(list)
    graphs: dict[tuple, set[str]] = defaultdict(set)
    for graph in GRAPHS:
        net, features = NETS[graph.graph_id], features_of(graph)
        for source, target, edge in net.edges(data=True):
            if source in features and target in features:
                pair = features[source], features[target]
                shares[pair].append(edge["share"])
                graphs[pair].add(graph.graph_id)
    return shares, graphs


@pytest.mark.parametrize("least", [1, 2])
def test_three_node_motifs_are_the_triangles_of_links_that_come_back(ask, least):
    shares, graphs = links_of_features()
    net = nx.DiGraph(pair for pair, ids in graphs.items() if len(ids) >= least)
    expected = {
        (first, second, third): min(len(graphs[pair]) for pair in ((first, second), (second, third), (first, third)))
        for first, third in net.edges
        for second in set(net.successors(first)) & set(net.predecessors(third))
    }
    rows = ask("three_node_motifs", min_graphs=least, limit=100_000)
    ends = ("first", "second", "third")
    found = {tuple((row["source_set"], row[f"{end}_layer"], row[f"{end}_index"]) for end in ends): row for row in rows}
    assert {motif: row["graphs"] for motif, row in found.items()} == expected and len(rows) == len(expected)
    for (first, second, third), row in found.items():
        means = [np.mean(shares[pair]) for pair in ((first, second), (second, third), (first, third))]
        assert row["through_share"] == pytest.approx(means[0] * means[1], abs=1e-9)
        assert row["direct_share"] == pytest.approx(means[2], abs=1e-9)
    assert [row["graphs"] for row in rows] == sorted(expected.values(), reverse=True)
    assert expected


def test_reused_edges_are_counted_over_graphs_with_their_mean_share(ask):
    shares, graphs = links_of_features()
    rows = ask("reused_edges", min_graphs=1, limit=10_000)
    for row in rows:
        ends = [(row["source_set"], row[f"{end}_layer"], row[f"{end}_index"]) for end in ("source", "target")]
        pair = ends[0], ends[1]
        assert (row["graphs"], row["edges"]) == (len(graphs[pair]), len(shares[pair]))
        assert row["mean_share"] == pytest.approx(np.mean(shares[pair]), abs=1e-9)
    assert len(rows) == len(shares)
    assert len(ask("reused_edges", min_graphs=3)) == min(50, sum(len(ids) >= 3 for ids in graphs.values()))


def test_labels_search_finds_words_and_not_pieces(ask):
    labels = {}
    for graph in GRAPHS:
        net = NETS[graph.graph_id]
        labels |= {place: net.nodes[node]["label"] for node, place in features_of(graph).items()}
    rows = ask("labels_search", text="texas")
    found = {(row["source_set"], row["layer"], row["index"]): row["label"] for row in rows}
    assert found == {place: label for place, label in labels.items() if "Texas" in label.replace(",", "").split()}
    assert found


def test_influential_nodes_come_in_order_of_influence(ask):
    for graph_id, net in NETS.items():
        expected = sorted((-float(net.nodes[node]["influence"]), node) for node in net)[:5]
        rows = ask("influential_nodes", graph_id=graph_id, limit=5)
        assert [(-row["influence"], row["node_id"]) for row in rows] == expected


def test_graph_nodes_and_graph_edges_are_the_pruned_graph(ask):
    for graph in GRAPHS[:2]:
        net = NETS[graph.graph_id]
        nodes = {row["node_id"]: row for row in ask("graph_nodes", graph_id=graph.graph_id)}
        assert set(nodes) == set(net)
        assert all(nodes[node]["label"] == net.nodes[node]["label"] for node in net)
        edges = {(row["source"], row["target"]): row for row in ask("graph_edges", graph_id=graph.graph_id)}
        assert set(edges) == set(net.edges)
        assert all(edges[ends]["effect"] == net.edges[ends]["effect"] for ends in net.edges)


@pytest.mark.parametrize("term", ["Texas", "*tex*", "Dallas|Houston", "1_0", "say austin"])
def test_graphs_with_leaves_out_no_graph_that_has_a_match(ask, term):
    fitting = {
        graph.graph_id
        for graph in GRAPHS
        for each in term.split("|")
        if len(match(parse_pattern(f"* -> {each} -> *"), graph.pruned())[1])
    }
    assert {row["graph_id"] for row in ask("graphs_with", term=term)} >= fitting
    assert fitting


def test_every_query_is_tested_here():
    assert set(read_queries("explore")) == TESTED | TESTED_ELSEWHERE
