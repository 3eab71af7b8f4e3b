"""Exact flow against a dense inverse, the strongest paths against networkx, and what else one asks of one graph."""

import itertools
import math
from collections.abc import Callable

import networkx as nx
import numpy as np
import pandas as pd

from bench.measure import best_seconds, print_table
from circuits.compare import compare
from circuits.flow import flow, parted_flow
from circuits.inhibition import inhibitors
from circuits.matters import bottlenecks, necessary_nodes
from circuits.paths import strongest_paths
from circuits.stability import stability
from circuits.supernodes import suggested_supernodes
from circuits.walks import Way
from tracer.graph import AttributionGraph, GraphMetadata

SIZES = [(500, 10_000), (2_000, 100_000), (5_000, 500_000)]
QUESTIONED = (2_000, 100_000)
N_PATHS = 5
N_MANY = 25  # as many as a page shows
DENSE_LIMIT = 2_000  # nodes: beyond it the dense inverse takes minutes


def random_graph(n_nodes: int, n_edges: int, n_layers: int = 26, n_pos: int = 12, seed: int = 0) -> AttributionGraph:
    """A layered graph with heavy-tailed effects: a few tokens, ten outputs, features between."""
    draw = np.random.default_rng(seed)
    n_features = n_nodes - n_pos - 10
    layer = np.concatenate([np.sort(draw.integers(0, n_layers, n_features)), [-1] * n_pos, [n_layers] * 10])
    nodes = pd.DataFrame(
        {
            "node_id": [f"n{row}" for row in range(n_nodes)],
            "kind": ["feature"] * n_features + ["token"] * n_pos + ["logit"] * 10,
            "layer": layer,
            "position": 0,
            "index": range(n_nodes),
        }
    )
    ends = draw.integers(0, n_nodes, (2, 3 * n_edges))
    lower, upper = ends[:, layer[ends[0]] < layer[ends[1]]]
    pairs = np.unique(upper.astype(np.int64) * n_nodes + lower)
    pairs = draw.permutation(pairs)[:n_edges]
    effect = draw.standard_t(2, len(pairs))
    about = GraphMetadata("bench", "", ("",) * n_pos, "random", "random", n_layers)
    return AttributionGraph.build(nodes, pairs % n_nodes, pairs // n_nodes, effect, about)


def dense_flow(graph: AttributionGraph, groups: list[np.ndarray]) -> float:
    """The closed formula b_g^T (M_gg)^-1 M_gc with a dense inverse."""
    n = len(graph.nodes)
    share_NN = np.zeros((n, n))
    share_NN[graph.edges.target, graph.edges.source] = graph.edges.share
    paths_NN = np.linalg.inv(np.eye(n) - share_NN)
    source, middle, output = groups
    met = np.linalg.solve(paths_NN[np.ix_(middle, middle)], paths_NN[np.ix_(middle, source)])
    return float(paths_NN[np.ix_(output, middle)].sum(0) @ met.sum(1))


def networkx_paths(graph: AttributionGraph, source: int, output: int) -> list[float]:
    """Strengths of the strongest paths by Yen's algorithm on -log share."""
    network = nx.DiGraph()
    edges = graph.edges
    network.add_weighted_edges_from(
        zip(edges.source.tolist(), edges.target.tolist(), (-np.log(edges.share)).tolist(), strict=True)
    )
    paths = itertools.islice(nx.shortest_simple_paths(network, source, output, weight="weight"), N_PATHS)
    return [math.exp(-nx.path_weight(network, path, "weight")) for path in paths]


def questions(graph: AttributionGraph, groups: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    """What one asks of one graph, by name; timed on edges that the first question has arranged."""
    source, middle, output = groups
    other = random_graph(*QUESTIONED, seed=1)
    ends, ways = [source, output], [Way("negative", 2), Way(max_hops=4)]
    return {
        f"{N_MANY} strongest paths": lambda: strongest_paths(graph, ends, N_MANY),
        "of at least 3 links": lambda: strongest_paths(graph, ends, N_MANY, min_hops=3),
        "of at least 3 links, through one set, avoiding another": lambda: strongest_paths(
            graph, ends, N_MANY, min_hops=3, through=middle, avoiding=middle + 1
        ),
        "by waypoints, with signs and limits": lambda: strongest_paths(graph, groups, N_MANY, ways=ways),
        "flow by sign": lambda: parted_flow(graph, groups),
        "flow with signs and limits": lambda: flow(graph, groups, ways=ways),
        "flow without each node": lambda: necessary_nodes(graph, groups),
        "bottlenecks": lambda: bottlenecks(graph, groups),
        "inhibitors": lambda: inhibitors(graph, groups),
        "core and contingent parts (12 prunings)": lambda: stability(graph, groups),
        "supernodes of the 500 most influential features": lambda: suggested_supernodes(graph),
        "comparison with another such graph": lambda: compare([graph], [other]),
        "comparison beside 8 others": lambda: compare([graph], [other], among=[graph, other] * 4),
    }


def main() -> None:
    """Print the tables; stop where two ways disagree."""
    flow_rows, path_rows = [], []
    for n_nodes, n_edges in SIZES:
        graph = random_graph(n_nodes, n_edges)
        layer = graph.nodes["layer"].to_numpy()
        source, output = np.flatnonzero(layer == -1)[:1], np.flatnonzero(layer == layer.max())[:1]
        middle = np.random.default_rng(1).choice(np.flatnonzero((layer > 5) & (layer < 20)), 20, replace=False)
        size = f"{n_nodes:,} nodes, {len(graph.edges):,} edges"

        ours_s, ours = best_seconds(flow, graph, [source, middle, output])
        if n_nodes <= DENSE_LIMIT:
            dense_s, dense = best_seconds(dense_flow, graph, [source, middle, output], repeat=2)
            assert math.isclose(ours, dense, rel_tol=1e-5), (ours, dense)
            flow_rows.append([size, f"{1e3 * ours_s:.1f} ms", f"{1e3 * dense_s:.0f} ms", f"{dense_s / ours_s:.0f}x"])
        else:
            flow_rows.append([size, f"{1e3 * ours_s:.1f} ms", "not run", ""])

        paths_s, found = best_seconds(strongest_paths, graph, [source, output], N_PATHS)
        strengths = [path.strength for path in found]
        other_s, others = best_seconds(networkx_paths, graph, int(source[0]), int(output[0]), repeat=1)
        assert np.allclose(strengths, others, rtol=1e-4), (strengths, others)
        path_rows.append([size, f"{1e3 * paths_s:.1f} ms", f"{1e3 * other_s:.0f} ms", f"{other_s / paths_s:.0f}x"])
    print_table(["flow of a circuit", "ours", "dense inverse", "ratio"], flow_rows)
    print()
    print_table([f"{N_PATHS} strongest paths", "ours", "networkx (Yen)", "ratio"], path_rows)
    print()
    graph = random_graph(*QUESTIONED)
    layer = graph.nodes["layer"].to_numpy()
    source, output = np.flatnonzero(layer == -1)[:1], np.flatnonzero(layer == layer.max())[:1]
    middle = np.random.default_rng(1).choice(np.flatnonzero((layer > 5) & (layer < 20)), 20, replace=False)
    asked = questions(graph, [source, middle, output])
    rows = [[name, f"{1e3 * best_seconds(ask)[0]:.1f} ms"] for name, ask in asked.items()]
    print_table([f"one graph of {len(graph.edges):,} edges", "time"], rows)


if __name__ == "__main__":
    main()
