"""The store: `GraphStore.add` beside bare writing of the same rows, published graphs, queries over a hundred graphs."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from bench.circuits import random_graph
from bench.measure import best_seconds, print_table
from ingest.home import jar_cache
from ingest.library import Library
from ingest.load import ingest_paths
from ingest.rows import graph_rows
from ingest.server import LocalServer
from ingest.store import GraphStore
from tracer.graph import AttributionGraph

LARGE = (855, 34_801)  # nodes and edges of a published graph of gemma-2-2b
SMALL = (300, 2_000)
N_GRAPHS = 100
REAL_GRAPHS = Path(__file__).parents[2] / "shared" / "graphs" / "raw"
BARE_NODES = "UNWIND range(0, $n - 1) AS row CREATE (:Bare {row: row})"
BARE_INDEX = "CREATE INDEX bare IF NOT EXISTS FOR (n:Bare) ON (n.row)"
BARE_EDGES = (
    "UNWIND $edges AS edge MATCH (s:Bare {row: edge[0]}), (t:Bare {row: edge[1]}) "
    "CREATE (s)-[:BARE {effect: edge[2], share: edge[3]}]->(t)"
)


def named_graph(size: tuple[int, int], seed: int) -> AttributionGraph:
    """A random graph whose tokens, outputs and a tenth of the features have names."""
    graph = random_graph(*size, seed=seed)
    words = np.array(["Dallas", "Texas", "Austin", "capital", "state"])
    labels = np.where(np.arange(size[0]) % 10 == 0, words[np.arange(size[0]) // 10 % 5], "")
    nodes = graph.nodes.assign(label=np.where(graph.nodes["kind"] == "feature", labels, words[np.arange(size[0]) % 5]))
    nodes["node_id"] = [f"{seed}_{row}" for row in range(size[0])]  # another id, so another graph
    return replace(graph, nodes=nodes, metadata=replace(graph.metadata, slug=f"bench-{seed}"))


@contextmanager
def own_server() -> Iterator[tuple[GraphStore, float]]:
    """A store on a server of its own, and the seconds that the server took to start."""
    os.environ["THROUGHLINE_JARS"] = str(jar_cache())  # fetched once, not once a measurement
    with tempfile.TemporaryDirectory() as folder:
        server = LocalServer(folder=os.path.join(folder, "neo4j"))  # type: ignore[arg-type]
        began = time.perf_counter()
        connection = server.ensure()
        start_s = time.perf_counter() - began
        try:
            with GraphStore(connection) as store:
                yield store, start_s
        finally:
            server.stop()


def bare_seconds(store: GraphStore, graph: AttributionGraph) -> float:
    """Seconds to write as many nodes and edges with nothing else: no labels, no names, no aggregate."""
    edges = graph.edges
    columns = (edges.source.tolist(), edges.target.tolist(), edges.effect.tolist(), edges.share.tolist())
    rows = [list(row) for row in zip(*columns, strict=True)]
    client = store._client
    client.run_schema(BARE_INDEX)

    def write() -> None:
        client.write(lambda tx: tx.run("MATCH (n:Bare) DETACH DELETE n"))
        client.write(lambda tx: tx.run(BARE_NODES, n=len(graph.nodes)))
        client.write(lambda tx: tx.run(BARE_EDGES, edges=rows))

    return best_seconds(write, repeat=3)[0]


def ingest_real() -> list[str]:
    """A row about all published graphs, from their files into an empty library and database."""
    with own_server() as (store, _), tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        reports = list(ingest_paths([REAL_GRAPHS], store, Library(folder)))
        seconds = time.perf_counter() - began
    ingested = [report for report in reports if report.status == "ingested"]
    memory_mib = psutil.Process().memory_info().rss / 2**20
    return [f"{len(ingested)}", f"{sum(r.edges for r in ingested):,}", f"{seconds:.0f} s", f"{memory_mib:.0f} MiB"]


def main() -> None:
    """Print the tables."""
    print(f"Load of this machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    with own_server() as (store, start_s):
        print_table(["server", ""], [["start on an empty folder", f"{start_s:.1f} s"]])
        print()
        large = [named_graph(LARGE, seed) for seed in range(3)]
        times = []
        for graph in large:
            began = time.perf_counter()
            store.add(graph)
            times.append(time.perf_counter() - began)
        bare_s = bare_seconds(store, large[0])
        size = f"{LARGE[0]:,} nodes, {len(graph_rows(large[0]).edges):,} edges"
        print_table(
            ["add a graph", "ours", "bare writing of as many nodes and edges", "ratio"],
            [[size, f"{min(times):.2f} s", f"{bare_s:.2f} s", f"{min(times) / bare_s:.1f}x"]],
        )
        print()
        if REAL_GRAPHS.exists():
            print_table(["published graphs", "edges of the files", "time", "memory of this process"], [ingest_real()])
            print()
        for seed in range(10, 10 + N_GRAPHS):
            store.add(named_graph(SMALL, seed))
        ids = [row["graph_id"] for row in store.graphs()][:20]
        questions = [
            ("circuits_through", {"terms": ["Dallas", "Texas", "Austin"], "min_share": 0.05}),
            ("labels_search", {"text": "Texas"}),
            ("shared_features", {"graph_ids": ids}),
            ("reused_edges", {}),
        ]
        rows = []
        for name, params in questions:
            seconds, answer = best_seconds(lambda name=name, params=params: store.run(name, **params))
            rows.append([name, f"{1e3 * seconds:.0f} ms", f"{len(answer.records):,}"])
        print_table([f"query over {N_GRAPHS + len(large)} graphs", "time", "rows"], rows)


if __name__ == "__main__":
    main()
