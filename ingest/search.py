"""Circuits in all stored graphs: candidates from the database, exact flow on the files, and the Cypher behind it."""

import json
from collections.abc import Iterable, Iterator, Sequence

from circuits.pattern import How, Pattern, Roles, Waypoint, parse_pattern
from circuits.search import Circuit, find_circuits, rank
from ingest.library import Library
from ingest.queries import query_named
from ingest.store import GraphStore
from tracer.errors import PatternError
from tracer.graph import AttributionGraph

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
) -> list[Circuit]:
    """The circuits of a pattern, largest flow first.

    Every named graph is searched, node by node, whether pruned away or not. So are all graphs of a store of up to 100;
    in a larger one those are searched whose pruned graph has a node for every waypoint.

    Args:
        graphs: Only these, by graph_id or slug.
        k: Strongest paths of each.
        sign: `any`, or `positive` for paths of positive effects alone.
        limit: How many circuits to return.

    Raises:
        PatternError: The pattern cannot be understood, or a graph is not there.
    """
    pattern = parse_pattern(pattern_text, roles)
    ids = _named(graphs, store) if graphs is not None else _candidates(pattern, store)
    return rank(find_circuits(pattern, _loaded(ids, store, library), k, sign))[:limit]


def cypher_behind(pattern_text: str, roles: Roles | None = None) -> str:
    """The same question as Cypher on the pruned graphs, with its parameters filled in, ready to be run.

    >>> print(cypher_behind("Dallas -> Texas -> Austin").splitlines()[1])
    UNWIND range(0, size(["Dallas", "Texas", "Austin"]) - 1) AS place
    """
    query = query_named("circuits_through")
    text = query.text
    for name, value in query.bind({"terms": cypher_terms(parse_pattern(pattern_text, roles))}).items():
        text = text.replace(f"${name}", json.dumps(value, ensure_ascii=False))
    return text


def cypher_terms(pattern: Pattern) -> list[str]:
    """The waypoints as `circuits_through` takes them.

    >>> cypher_terms(parse_pattern("{city} -> #L20/15589 -> Austin", {"city": ["Dallas", "Oakland"]}))
    ['Dallas|Oakland', '20_15589', 'Austin']
    """
    return [_term(waypoint) for waypoint in pattern]


def _term(waypoint: Waypoint) -> str:
    return f"{waypoint.layer}_{waypoint.index}" if waypoint.how is How.FEATURE else "|".join(waypoint.terms)


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
        if not all(_can_be_looked_up(term) for term in waypoint.terms):
            continue
        found = {row["graph_id"] for row in store.run("graphs_with", term=_term(waypoint)).records}
        ids = [graph_id for graph_id in ids if graph_id in found]
    return ids


def _can_be_looked_up(term: str) -> bool:
    return "|" not in term and bool(set(term) - set("*? "))


def _loaded(ids: Iterable[str], store: GraphStore, library: Library) -> Iterator[AttributionGraph]:
    """The whole graph from the library, or its pruned part from the database where the library has not got it."""
    for graph_id in ids:
        yield library.load(graph_id) if graph_id in library else store.fetch(graph_id)
