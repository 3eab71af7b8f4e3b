"""Walks that people found in published graphs: does the pattern list them first, and rank the graphs that have them?"""

from pathlib import Path

import numpy as np

from bench.measure import print_table
from circuits.chance import superiority
from circuits.config import SearchConfig
from circuits.pattern import parse_pattern
from circuits.search import find_circuit
from ingest.load import graph_places, read_graph
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph

GRAPHS = Path("../shared/graphs")  # not part of the repository; its README lists the walks
MODEL = "gemma"
DALLAS = ("5aafe0c2", "8dff696c", "19fd9f10", "4ab08ec3", "258417eb", "2ff75a78", "b93dd96e", "3706cfdb", "b9848d97",
          "b5f0daf7")  # fmt: skip
SAME_PROMPT = ("906fa79a", "llamma.61888c33")  # not in the README, and the same question
OAKLAND = ("99a8b35b",)

# file, pattern, what stands in the middle of the known walk
WALKS = (
    ("5aafe0c2", "Dallas -> *Texas* -> Austin", "20_15589"),
    ("5aafe0c2", "Dallas -> *Texas legal* -> Austin", "16_25"),
    *((name, "Dallas -> * -> Austin", "20_44686") for name in DALLAS[1:]),
    *((name, "Oakland -> * -> Sacramento", "19_24018") for name in OAKLAND),
)
RANKED = (
    ("Dallas -> * -> Austin", DALLAS),
    ("Dallas -> * -> Austin", DALLAS + SAME_PROMPT),
    ("Dallas -> 20/44686|20/15589|16/25 -> Austin", DALLAS),
    ("Dallas -> 20/44686|20/15589|16/25 -> Austin", DALLAS + SAME_PROMPT),
    ("Dallas -> *Texas* -> Austin", DALLAS),
    ("Oakland -> 19/24018 -> Sacramento", OAKLAND),
)


def read_all() -> dict[str, AttributionGraph]:
    """Every graph file that can be read, by path."""
    found = {}
    for place in graph_places(GRAPHS):
        try:
            found[str(place)] = read_graph(place)
        except GraphFormatError:
            continue  # companions of graphs, and files that say too little; `throughline ingest` tells why
    return found


def rank_of_walk(graph: AttributionGraph, pattern: str, middle: str, k: int = 50) -> tuple[int, float]:
    """(place of the walk of two links through this feature among the strongest, flow of the pattern); 0: not there."""
    circuit = find_circuit(parse_pattern(pattern), graph, SearchConfig(k=k, min_hops=2))
    if circuit is None:
        return 0, 0.0
    middles = [graph.nodes["node_id"].iat[path.rows[1]] if len(path.rows) == 3 else "" for path in circuit.paths]
    places = [place for place, name in enumerate(middles, 1) if name.startswith(f"{middle}_")]
    return min(places, default=0), circuit.flow


def area_under_curve(pattern: str, having: tuple[str, ...], graphs: dict[str, AttributionGraph]) -> float:
    """The chance that a graph that has the walk has more flow than one that does not, ties half."""
    parsed = parse_pattern(pattern)
    circuits = {path: find_circuit(parsed, graph, SearchConfig(k=0)) for path, graph in graphs.items()}
    flows = {path: circuit.flow if circuit else 0.0 for path, circuit in circuits.items()}
    own = [flow for path, flow in flows.items() if any(name in path for name in having)]
    other = [flow for path, flow in flows.items() if not any(name in path for name in having)]
    return superiority([np.repeat(own, len(other))], [np.tile(other, len(own))])


def main() -> None:
    """Read, search and print both tables."""
    graphs = {path: graph for path, graph in read_all().items() if MODEL in graph.metadata.model}
    rows = []
    for name, pattern, middle in WALKS:
        path = next(path for path in graphs if name in path)
        place, flow = rank_of_walk(graphs[path], pattern, middle)
        rows.append([name, f"`{pattern}`", middle, str(place), f"{flow:.4f}"])
    print_table(["file", "pattern", "middle", "place of the walk", "flow"], rows)
    print()
    rows = [
        [
            f"`{pattern.replace(chr(124), chr(92) + chr(124))}`",
            f"{len(having)} of {len(graphs)}",
            f"{area_under_curve(pattern, having, graphs):.3f}",
        ]
        for pattern, having in RANKED
    ]
    print_table(["pattern", "graphs that have it", "AUC"], rows)


if __name__ == "__main__":
    main()
