"""Graphs kept in memory up to a number of edges: the least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from tracer.graph import AttributionGraph


class KeptGraphs:
    """A memory for graphs, bounded by what they weigh and not by how many they are; safe between threads.

    >>> from tests.app.graphs import capital_graph
    >>> kept = KeptGraphs(most_edges=2 * len(capital_graph().edges))
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
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], AttributionGraph]) -> AttributionGraph:
        """The graph of this key, loaded where it is not kept. The newest is kept however large it is."""
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
        graph = load()
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > 1 and sum(len(kept.edges) for kept in self._graphs.values()) > self.most_edges:
                self._graphs.popitem(last=False)
        return graph

    def __len__(self) -> int:
        return len(self._graphs)
