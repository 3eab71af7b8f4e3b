"""Circuits in all stored graphs: waypoints from outlines of the files, exact flow from the files that have them all."""

import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from circuits.config import LIMIT, SearchConfig
from circuits.kept import found_in
from circuits.nearest import why_nothing as why_nothing_in
from circuits.pattern import Choice, How, Pattern, Roles, match_terms, parse_pattern
from circuits.promptset import Found
from circuits.search import Bound, Circuit, all_there, best_bound, by_flow, check_ways, find_circuit
from ingest.library import Library
from ingest.pattern_cypher import cypher_behind
from ingest.store import GraphStore
from ingest.writing import Progress
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

__all__ = ["CircuitSearch", "cypher_behind", "graph_of", "search_circuits", "where_it_fails", "why_nothing"]

FEW = 100  # graphs; of more, those go first that the index of the database says have the waypoints
MOST_WAITING = LIMIT  # graphs that are held, with their edges, until paths are looked for in them
MOST_EXPLAINED = 1000  # graphs that are looked at to say why there is nothing


class CircuitSearch:
    """A search that goes on graph by graph: what it has found can be read at any time, and it can be left and taken up.

    Every graph is searched, node by node, whether pruned away or not. Safe between threads.
    """

    def __init__(
        self,
        pattern_text: str,
        store: GraphStore | None,
        library: Library,
        graphs: Sequence[str] | None = None,
        roles: Roles | None = None,
        config: SearchConfig | None = None,
        limit: int = LIMIT,
    ):
        """See `search_circuits`; without a store, graphs of the library are searched, and named by graph_id alone."""
        self._pattern, self._config, self._limit = parse_pattern(pattern_text, roles), config or SearchConfig(), limit
        check_ways(self._pattern, self._config.sign)
        self._store, self._library = store, library
        self._ids = graphs_to_search(self._pattern, store, graphs) if store else list(graphs or library.ids())
        self._best: list[Bound | Circuit] = []  # paths are looked for where somebody asks, or too many graphs wait
        self._lock = Lock()
        self.done = 0
        """Graphs looked at."""
        self.having = 0
        """Of these, graphs that have the pattern, shown or not."""
        self.elapsed_s = 0.0
        """Spent on looking, and on the paths of what is shown."""

    @property
    def total(self) -> int:
        """Graphs to look at."""
        return len(self._ids)

    @property
    def complete(self) -> bool:
        """Whether all were looked at."""
        return self.done == self.total

    @property
    def found(self) -> list[Circuit]:
        """The circuits so far, largest flow first, as many as the limit allows; their paths are looked for now."""
        with self._lock:
            began = time.perf_counter()
            circuits = self._circuits()
            self.elapsed_s += time.perf_counter() - began
            return circuits

    @property
    def said(self) -> str:
        """How far it went, and how many circuits are left out; empty where there is nothing to say."""
        texts = []
        if not self.complete:
            texts.append(f"Partial: {self.done} of {self.total} graphs were searched.")
        if self.having > len(self._best):
            texts.append(f"{self.having} graphs have the circuit; the {len(self._best)} of the largest flow are shown.")
        return " ".join(texts)

    def step(self) -> bool:
        """Look at the next graph; False where all were."""
        with self._lock:
            if not self.complete:
                began = time.perf_counter()
                self._look_at(self._ids[self.done])
                self.elapsed_s += time.perf_counter() - began
                self.done += 1  # last: a step that was interrupted is done again
            return not self.complete

    def run(self, progress: Progress | None = None) -> "CircuitSearch":
        """Look at all that are left."""
        while self.step():
            if progress:
                progress(self.done, self.total, "searching graphs")
        if progress:
            progress(self.done, self.total, "searching graphs")
        return self

    def _look_at(self, graph_id: str) -> None:
        graph = _outline(graph_id, self._store, self._library)
        terms_N = match_terms(self._pattern, graph)
        if not all_there(terms_N):
            return
        if graph_id in self._library:
            graph = self._library.with_edges(graph)
        bound = best_bound(self._pattern, graph, self._config.sign, terms_N)
        if bound:
            if sum(isinstance(each, Bound) for each in self._best) > MOST_WAITING:  # never up to LIMIT shown
                self._circuits()
            best = [*self._best]
            insort(best, bound, key=by_flow)
            self._best, self.having = best[: self._limit], self.having + 1

    def _circuits(self) -> list[Circuit]:
        circuits = [each.circuit(self._config) if isinstance(each, Bound) else each for each in self._best]
        self._best = [*circuits]
        return circuits


def search_circuits(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
    config: SearchConfig | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> list[Circuit]:
    """The circuits of a pattern, largest flow first; every graph is searched, pruned nodes as well.

    Args:
        graphs: Only these, by graph_id or slug.
        limit: How many circuits to return.
        progress: Told how many graphs of how many are done.

    Raises:
        PatternError: The pattern cannot be understood, or a graph is not there.
    """
    return CircuitSearch(pattern_text, store, library, graphs, roles, config, limit).run(progress).found


def graphs_to_search(pattern: Pattern, store: GraphStore, graphs: Sequence[str] | None = None) -> list[str]:
    """The graph_id of each graph that is searched: the named ones, else all."""
    there = store.graphs()
    if graphs is not None:
        return _named(graphs, there)
    ids = [row["graph_id"] for row in there]
    return _likely_first(ids, pattern, store) if len(ids) > FEW else ids


def why_nothing(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
) -> str:
    """Why no graph has the pattern, with the nearest things there are, by the first MOST_EXPLAINED graphs."""
    there = store.graphs()
    ids = [row["graph_id"] for row in there] if graphs is None else _named(graphs, there)
    outlines = (_outline(graph_id, store, library) for graph_id in ids[:MOST_EXPLAINED])
    said = why_nothing_in(parse_pattern(pattern_text, roles), outlines)
    if len(ids) > MOST_EXPLAINED:
        return f"None of {len(ids)} graphs has it. Of the first {MOST_EXPLAINED}: {said}"
    return said


def where_it_fails(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
    config: SearchConfig | None = None,
) -> list[Found]:
    """For each graph the waypoint at which the pattern fails there, if it does; by the first FEW graphs."""
    pattern, there, config = parse_pattern(pattern_text, roles), store.graphs(), replace(config or SearchConfig(), k=0)
    ids = [row["graph_id"] for row in there] if graphs is None else _named(graphs, there)
    looked = (graph_of(graph_id, store, library) for graph_id in ids[:FEW])
    return [found_in(pattern, graph, find_circuit(pattern, graph, config), config.sign) for graph in looked]


def graph_of(graph_id: str, store: GraphStore, library: Library) -> AttributionGraph:
    """The whole graph from the library, or its pruned part from the database where the library has not got it."""
    return library.load(graph_id) if graph_id in library else store.fetch(graph_id)


def _outline(graph_id: str, store: GraphStore | None, library: Library) -> AttributionGraph:
    """At least the nodes of a graph; all that the database has where the library has not got it."""
    return library.outline(graph_id) if store is None or graph_id in library else store.fetch(graph_id)


def _named(graphs: Sequence[str], there: Sequence[dict[str, Any]]) -> list[str]:
    ids: dict[str, None] = {}
    for name in graphs:
        found = [row["graph_id"] for row in there if name in (row["graph_id"], row["slug"])]
        if not found:
            raise PatternError(
                f"there is no graph {name!r} among the {len(there)} of the store; expected a graph_id or a slug. "
                "`throughline query graphs` lists them."
            )
        ids |= dict.fromkeys(found)
    return list(ids)


def _likely_first(ids: list[str], pattern: Pattern, store: GraphStore) -> list[str]:
    """These graphs, those first whose pruned part has a node for every waypoint, so that results come early."""
    likely = set(ids)
    for waypoint in pattern:
        if not all(_can_be_looked_up(choice) for choice in waypoint.choices):
            continue
        term = "|".join(_term(choice) for choice in waypoint.choices)
        likely &= {row["graph_id"] for row in store.run("graphs_with", term=term).records}
    return sorted(ids, key=lambda graph_id: graph_id not in likely)


def _can_be_looked_up(choice: Choice) -> bool:
    """Whether `graphs_with` finds every graph that has such a node."""
    if choice.how is How.FEATURE:
        return True
    texts = choice.how not in (How.KIND, How.SUPERNODE)
    return texts and all("|" not in term and set(term) - set("*? ") for term in choice.terms)


def _term(choice: Choice) -> str:
    """As `graphs_with` takes it."""
    return f"{choice.layer}_{choice.index}" if choice.how is How.FEATURE else "|".join(choice.terms)
