"""The store: `GraphStore.add` beside bare writing of the same rows, published graphs, first loads."""

import os
import sys
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
from ingest.bulk import bring
from ingest.home import jar_cache
from ingest.library import Library
from ingest.load import ingest_paths
from ingest.rows import graph_rows
from ingest.server import LocalServer
from ingest.store import GraphStore
from tracer.graph import AttributionGraph
from tracer.provenance import peak_memory_mb

LARGE = (855, 34_801)  # nodes and edges of a published graph of gemma-2-2b
N_LARGE = 8  # added one after the other: the first finds a cold server
N_IMPORTED = (60, 180)  # a start of Neo4j's import tool takes as long for few as for many
TYPES = ("AFFECTS", "FLOWS_TO", "IN", "INSTANCE_OF")
REAL_HEADER = (
    "published graphs", "edges of the files", "time (target: 90 s)", "most memory of this process (target: 1024 MiB)",
)  # fmt: skip
IMPORT_HEADER = (
    "first load", "edges", "relationships", "import alone", "edges/s (target: 150,000)", "relationships/s",
    "from library to first query", "most memory of this process (target: 1024 MiB)",
)  # fmt: skip
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
    return [f"{len(ingested)}", f"{sum(r.edges for r in ingested):,}", f"{seconds:.0f} s", f"{peak_mib():.0f} MiB"]


def import_many(n_graphs: int) -> list[str]:
    """A row about a first load of so many graphs from the library."""
    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def note(done: int, total: int, what: str) -> None:
        now = time.perf_counter()
        began.setdefault(what, now)
        ended[what] = now

    with own_server() as (store, _), tempfile.TemporaryDirectory() as folder:
        library = Library(folder)
        for seed in range(200, 200 + n_graphs):
            library.add(named_graph(LARGE, seed))
        begin = time.perf_counter()
        failed = list(bring(library.ids(), store, library, note))
        seconds = time.perf_counter() - begin
        counts = store.schema_counts()
    tool_s = ended["importing"] - began["importing"]
    n_edges, n_relationships = counts["AFFECTS"], sum(counts[name] for name in TYPES)
    return [
        f"{n_graphs - len(failed)}",
        f"{n_edges:,}",
        f"{n_relationships:,}",
        f"{tool_s:.0f} s",
        f"{n_edges / tool_s:,.0f}",
        f"{n_relationships / tool_s:,.0f}",
        f"{seconds:.0f} s",
        f"{peak_mib():.0f} MiB",
    ]


def peak_mib() -> float:
    """The most memory that this process had so far."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20  # type: ignore[attr-defined]
    return (peak_memory_mb() or 0.0) * 1e6 / 2**20


def main() -> None:
    """Print the tables."""
    print(f"Load of this machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    with own_server() as (store, start_s):
        prepared = "yes" if LocalServer().is_prepared() else "no"
        print_table(["start on an empty folder", "after `throughline db prepare`"], [[f"{start_s:.1f} s", prepared]])
        print()
        large = [named_graph(LARGE, seed) for seed in range(N_LARGE)]
        times, ours_s = [], []
        for graph in large:
            began, cpu_began = time.perf_counter(), time.process_time()
            store.add(graph)
            times.append(time.perf_counter() - began)
            ours_s.append(time.process_time() - cpu_began)
        bare_s = bare_seconds(store, large[0])
        size = f"{LARGE[0]:,} nodes, {len(graph_rows(large[0]).edges):,} edges"
        print_table(
            ["add a graph", "first", "best (target: 3 s)", "processor of this process", "bare writing", "ratio"],
            [
                [
                    size,
                    f"{times[0]:.2f} s",
                    f"{min(times):.2f} s",
                    f"{min(ours_s):.2f} s",
                    f"{bare_s:.2f} s",
                    f"{min(times) / bare_s:.1f}x",
                ]
            ],
        )
        print()
        if REAL_GRAPHS.exists():
            print_table(REAL_HEADER, [ingest_real()])
            print()
        print_table(IMPORT_HEADER, [import_many(n_graphs) for n_graphs in N_IMPORTED])


if __name__ == "__main__":
    main()
