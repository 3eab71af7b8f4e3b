"""Graphs kept in memory up to a weight: the least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from ingest.library import Library
from tracer.graph import AttributionGraph

EDGES_PER_NODE = 10  # a node takes the memory of so many edges


class KeptGraphs:
    """A memory for graphs, bounded by what they weigh and not by how many they are; safe between threads.

    >>> from tests.app.graphs import capital_graph
    >>> kept = KeptGraphs(most_edges=2 * weight(capital_graph()))
    >>> for name in "ab":
    ...     graph = kept.get(name, capital_graph)
    >>> kept.get("a", capital_graph) is kept.get("a", capital_graph), len(kept)
    (True, 2)
    >>> _ = kept.get("c", capital_graph)
    >>> len(kept)
    2
    """

    def __init__(self, most_edges: int):
        self.most_edges = most_edges
        self._graphs: OrderedDict[Hashable, AttributionGraph] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], AttributionGraph]) -> AttributionGraph:
        """The graph of this key, loaded where it is not kept. The newest is kept however large it is."""
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
        graph = load()
        with self._lock:
            if key in self._graphs:  # another was faster
                return self._graphs[key]
            self._graphs[key] = graph
            self._weight += weight(graph)
            while len(self._graphs) > 1 and self._weight > self.most_edges:
                self._weight -= weight(self._graphs.popitem(last=False)[1])
        return graph

    def __len__(self) -> int:
        return len(self._graphs)


class KeptLibrary(Library):
    """A library of which graphs stay in memory; what was kept of another version of a graph is not taken."""

    def __init__(self, root: str, kept: KeptGraphs, version_of: Callable[[str], Hashable] = lambda graph_id: ""):
        super().__init__(root)
        self._kept, self._version_of = kept, version_of

    def load(self, graph_id: str) -> AttributionGraph:
        key = ("whole", graph_id, self._version_of(graph_id))
        return self._kept.get(key, lambda: super(KeptLibrary, self).load(graph_id))

    def outline(self, graph_id: str) -> AttributionGraph:
        key = ("outline", graph_id, self._version_of(graph_id))
        return self._kept.get(key, lambda: super(KeptLibrary, self).outline(graph_id))

    def with_edges(self, outline: AttributionGraph) -> AttributionGraph:
        key = ("edges", outline.graph_id, self._version_of(outline.graph_id))
        return self._kept.get(key, lambda: super(KeptLibrary, self).with_edges(outline))


def weight(graph: AttributionGraph) -> int:
    """Of a graph in memory, in edges."""
    return len(graph.edges) + EDGES_PER_NODE * len(graph.nodes)
