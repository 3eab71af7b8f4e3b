"""Flow by linear algebra is the sum over paths that Cypher lists one by one, on published graphs pruned far enough."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuits.flow import flow
from circuits.pattern import match, parse_pattern
from ingest.load import graph_places, read_graph
from ingest.store import GraphStore
from tests.ingest.made_graphs import make_graph
from tracer.graph import AttributionGraph
from tracer.influence import prune

GRAPHS = Path(__file__).parents[3] / "shared" / "graphs" / "raw"  # not part of the repository
REAL = {
    "5aafe0c2": "Dallas -> *Texas* -> Austin",
    "99a8b35b": "Oakland -> 19/24018|18/3623|16/29578 -> Sacramento",
    "8dff696c": "Dallas -> 20/44686 -> Austin",
}
MOST_PATHS = 30_000  # that Cypher lists in seconds
LISTED = """
MATCH path = (first:Node)-[:AFFECTS*1..30]->(last:Node)
WHERE first.node_id IN $first AND last.node_id IN $last
  AND ($middle = [] OR any(node IN nodes(path)[1..-1] WHERE node.node_id IN $middle))
RETURN count(*) AS paths, sum(reduce(strength = 1.0, edge IN relationships(path) | strength * edge.share)) AS flow
"""


def pruned_far_enough(graph: AttributionGraph, first: np.ndarray) -> AttributionGraph:
    """The graph with as much kept as leaves no more than MOST_PATHS from these nodes."""
    edges, kind_N = graph.edges, graph.nodes["kind"].to_numpy()
    for threshold in np.arange(0.95, 0.05, -0.05):
        kept = prune(
            edges.source, edges.target, edges.effect, kind_N, graph.logit_weight_N,
            node_threshold=threshold, edge_threshold=threshold,
        )  # fmt: skip
        kept_N = kept.kept_N.copy()
        kept_N[first] = True
        nodes, kept_E = graph.nodes.assign(kept=kept_N), kept.kept_E & kept_N[edges.source] & kept_N[edges.target]
        cut = replace(graph, nodes=nodes, edges=replace(edges, kept=kept_E))
        if n_paths(cut.pruned()) <= MOST_PATHS:
            return cut
    raise AssertionError("no threshold leaves few enough paths")


def n_paths(graph: AttributionGraph) -> int:
    """Paths of one link or more, whatever they begin and end with."""
    edges, ending_N = graph.edges, np.zeros(len(graph.nodes))
    for edge in np.argsort(graph.nodes["layer"].to_numpy()[edges.target], kind="stable"):
        ending_N[edges.target[edge]] += 1 + ending_N[edges.source[edge]]
    return int(ending_N.sum())


def check(graph: AttributionGraph, pattern: str, store: GraphStore) -> None:
    parsed = parse_pattern(pattern)
    cut = pruned_far_enough(graph, match(parsed, graph)[0])
    store.add(cut)
    pruned = cut.pruned()
    ids = pruned.nodes["node_id"].to_numpy(object)
    groups = match(parsed, pruned)
    for asked in ([groups[0], groups[-1]], groups):
        names = [ids[group].tolist() for group in asked]
        middle = names[1] if len(names) == 3 else []
        [row] = store.cypher(LISTED, {"first": names[0], "middle": middle, "last": names[-1]}, timeout_s=120).records
        assert row["flow"] == pytest.approx(flow(pruned, asked), rel=1e-5) and row["paths"] > 1


@pytest.mark.skipif(not GRAPHS.exists(), reason=f"published graphs are not at {GRAPHS}")
@pytest.mark.parametrize("name", REAL)
def test_flow_in_a_pruned_published_graph_is_the_sum_over_the_paths_that_cypher_lists(store, name):
    [place] = [place for place in graph_places(GRAPHS) if name in str(place)]
    check(read_graph(place), REAL[name], store)


@pytest.mark.parametrize("seed", range(3))
def test_flow_in_a_made_graph_is_the_sum_over_the_paths_that_cypher_lists(store, seed):
    check(make_graph(seed, density=0.7), "Dallas -> 1/0|1/1|2/0|2/1 -> Austin", store)
