"""Circuits in all stored graphs: candidates from the database, exact flow on the files."""

from collections.abc import Iterable, Iterator, Sequence

from circuits.nearest import why_nothing as why_nothing_in
from circuits.pattern import Choice, How, Pattern, Roles, parse_pattern
from circuits.search import Circuit, check_ways, find_circuits, rank
from ingest.library import Library
from ingest.pattern_cypher import cypher_behind
from ingest.store import GraphStore
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

__all__ = ["cypher_behind", "search_circuits", "why_nothing"]

EXACT_UP_TO = 100  # graphs; a file is read and searched in about 0.1 s, so more are first picked by the index


def search_circuits(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
    k: int = 5,
    sign: str = "any",
    limit: int = 20,
    min_hops: int = 1,
    max_hops: int | None = None,
) -> list[Circuit]:
    """The circuits of a pattern, largest flow first.

    Every named graph is searched, node by node, whether pruned away or not. So are all graphs of a store of up to 100;
    in a larger one those are searched whose pruned graph has a node for every waypoint.

    Args:
        graphs: Only these, by graph_id or slug.
        k: Strongest paths of each.
        sign: `any`, or `positive` for paths of positive effects alone.
        limit: How many circuits to return.
        min_hops: Edges that a reported path has at least; the flow is over all paths.
        max_hops: Edges that a reported path has at most; no limit if None.

    Raises:
        PatternError: The pattern cannot be understood, or a graph is not there.
    """
    pattern = parse_pattern(pattern_text, roles)
    check_ways(pattern, sign)
    ids = graphs_to_search(pattern, store, graphs)
    return rank(find_circuits(pattern, _loaded(ids, store, library), k, sign, min_hops, max_hops))[:limit]


def graphs_to_search(pattern: Pattern, store: GraphStore, graphs: Sequence[str] | None = None) -> list[str]:
    """The graph_id of each graph that is searched: the named ones, else those that may have the pattern."""
    return _named(graphs, store) if graphs is not None else _candidates(pattern, store)


def why_nothing(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
) -> str:
    """Why no graph has the pattern, with the nearest things there are; looks at no more than EXACT_UP_TO graphs."""
    ids = _named(graphs, store) if graphs is not None else [row["graph_id"] for row in store.graphs()]
    return why_nothing_in(parse_pattern(pattern_text, roles), _loaded(ids[:EXACT_UP_TO], store, library))


def _named(graphs: Sequence[str], store: GraphStore) -> list[str]:
    there = store.graphs()
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


def _candidates(pattern: Pattern, store: GraphStore) -> list[str]:
    """Graphs that may have the pattern: all of a small store, else those with a node for every waypoint."""
    ids = [row["graph_id"] for row in store.graphs()]
    if len(ids) <= EXACT_UP_TO:
        return ids
    for waypoint in pattern:
        if not all(_can_be_looked_up(choice) for choice in waypoint.choices):
            continue
        term = "|".join(_term(choice) for choice in waypoint.choices)
        found = {row["graph_id"] for row in store.run("graphs_with", term=term).records}
        ids = [graph_id for graph_id in ids if graph_id in found]
    return ids


def _can_be_looked_up(choice: Choice) -> bool:
    """Whether `graphs_with` finds every graph that has such a node."""
    if choice.how is How.FEATURE:
        return True
    texts = choice.how not in (How.KIND, How.SUPERNODE)
    return texts and all("|" not in term and set(term) - set("*? ") for term in choice.terms)


def _term(choice: Choice) -> str:
    """As `graphs_with` takes it."""
    return f"{choice.layer}_{choice.index}" if choice.how is How.FEATURE else "|".join(choice.terms)


def graph_of(graph_id: str, store: GraphStore, library: Library) -> AttributionGraph:
    """The whole graph from the library, or its pruned part from the database where the library has not got it."""
    return library.load(graph_id) if graph_id in library else store.fetch(graph_id)


def _loaded(ids: Iterable[str], store: GraphStore, library: Library) -> Iterator[AttributionGraph]:
    return (graph_of(graph_id, store, library) for graph_id in ids)
