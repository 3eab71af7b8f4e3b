"""A hundred graphs at once: a pattern cold from Parquet and warm from memory, mining, comparing; against the targets.

Published graphs of gemma-2-2b are measured where they are at hand, repeated to a hundred; made ones of the size of the
largest of these, each of which has the pattern, everywhere. Times are of the processor, as the machine may be shared;
"cold" is a library object that has read nothing, with files that the system may have in its memory.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from app.kept import KeptGraphs, KeptLibrary
from bench.measure import print_table
from bench.store import LARGE, named_graph
from bench.walks import GRAPHS, MODEL, read_all
from circuits.aligned import link_tables
from circuits.compare import compare
from circuits.mining import mine
from ingest.library import Library
from ingest.search import CircuitSearch
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

PATTERN = "Dallas -> *Texas* -> Austin"
ALL_LIKE = "* -> 20/15589|16/25|20/44686 -> *"  # through features alone
N_GRAPHS = 100
MEAN = (600, 6_000)  # nodes and edges
COLD_S, WARM_S, MINED_S, COMPARED_S = 1.0, 0.2, 10.0, 0.1
KEPT_EDGES = 30_000_000
KINDS = (NodeKind.FEATURE, NodeKind.TOKEN, NodeKind.LOGIT)


def made() -> Iterator[AttributionGraph]:
    """Graphs of 855 nodes and 34,801 links."""
    for seed in range(N_GRAPHS):
        yield named_graph(LARGE, seed)


def published() -> list[AttributionGraph]:
    """Published graphs of gemma-2-2b, the largest first, repeated to a hundred under other ids."""
    graphs = [graph for graph in read_all().values() if MODEL in graph.metadata.model]
    graphs.sort(key=lambda graph: -len(graph.edges))
    return [
        replace(graph, metadata=replace(graph.metadata, inputs=f"{place:016x}"))
        for place, graph in enumerate((graphs * N_GRAPHS)[:N_GRAPHS], 1)
    ]


def small() -> Iterator[AttributionGraph]:
    """Graphs with as many links as published ones have on average."""
    for seed in range(N_GRAPHS):
        yield named_graph(MEAN, seed)


def of_one() -> list[AttributionGraph]:
    """Published graphs of the dictionary of which there are the most, repeated to a hundred."""
    graphs = published()
    ((most, _),) = Counter(graph.metadata.source_set for graph in graphs).most_common(1)
    same = [graph for graph in graphs if graph.metadata.source_set == most]
    return [
        replace(graph, metadata=replace(graph.metadata, inputs=f"{place:016x}"))
        for place, graph in enumerate((same * N_GRAPHS)[:N_GRAPHS], 1)
    ]


def mined_row(name: str, graphs: list[AttributionGraph]) -> list[str]:
    """One row of the table: circuits of 3 to 6 nodes, with what chance gives."""
    links = sum(len(graph.edges) for graph in graphs)
    began = time.process_time()
    found = mine(link_tables(graphs, "feature", KINDS))
    seconds = time.process_time() - began
    return [f"mine {len(graphs)} graphs ({name}, {links:,} links): {len(found)} circuits", told(seconds, MINED_S)]


def timed(work: Callable[[], object], repeat: int = 3) -> float:
    """Least processor seconds of some runs."""
    seconds = []
    for _ in range(repeat):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def search_rows(name: str, root: str, pattern: str) -> list[str]:
    """One row of the table: a pattern over all graphs of a library, cold and warm."""
    search = CircuitSearch(pattern, None, Library(root)).run()
    cold_s = timed(lambda: CircuitSearch(pattern, None, Library(root)).run().found)
    kept = KeptLibrary(root, KeptGraphs(KEPT_EDGES))
    CircuitSearch(pattern, None, kept).run()
    warm_s = timed(lambda: CircuitSearch(pattern, None, kept).run().found, repeat=5)
    return [
        f"{name}: `{pattern.replace('|', chr(92) + '|')}`", f"{search.having} of {search.total}",
        told(cold_s, COLD_S), told(warm_s, WARM_S),
    ]  # fmt: skip


def told(seconds: float, target_s: float) -> str:
    """A time beside its target."""
    return f"{1e3 * seconds:.0f} ms ({'within' if seconds <= target_s else 'ABOVE'} {1e3 * target_s:.0f})"


def main() -> None:
    """Print the tables."""
    sets = {"made": made} | ({"published": published} if GRAPHS.exists() else {})
    patterns, to_mine = {"made": [PATTERN], "published": [PATTERN, ALL_LIKE]}, {"made": small, "published": of_one}
    rows, mined = [], []
    for name, graphs in sets.items():
        with tempfile.TemporaryDirectory() as folder:
            library, some, links = Library(folder), [], 0
            for graph in graphs():
                library.add(graph)
                some, links = [*some, graph][:2], links + len(graph.edges)
            about = f"{name}, {links:,} links"
            rows += [search_rows(about, folder, pattern) for pattern in patterns[name]]
            mined.append(
                [f"compare two of {about}", told(timed(lambda some=some: compare(some[:1], some[1:])), COMPARED_S)]
            )
            mined.append(mined_row(name, list(to_mine[name]())))
    print_table([f"a pattern over {N_GRAPHS} graphs", "graphs that have it", "cold, from Parquet", "warm"], rows)
    print()
    print_table(["across graphs", "processor time"], mined)


if __name__ == "__main__":
    main()
