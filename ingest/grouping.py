"""Supernodes of stored graphs: suggested, made by hand, renamed or taken away, in library and database at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from circuits.supernodes import (
    BY_HAND,
    BY_PROFILE,
    LEAST_SIMILAR,
    MOST_FEATURES,
    Supernode,
    suggested_supernodes,
    supernodes_by_hand,
    supernodes_of,
    with_supernodes,
)
from ingest.library import Library
from ingest.store import GraphStore
from tracer.errors import GraphFormatError, PatternError
from tracer.graph import AttributionGraph, read_metadata

MADE_HERE = (BY_HAND, BY_PROFILE)


def suggest_supernodes(
    graph_ids: Sequence[str],
    store: GraphStore,
    library: Library,
    least: float = LEAST_SIMILAR,
    most: int = MOST_FEATURES,
    by: str = "",
    keep: bool = True,
) -> Iterator[dict[str, Any]]:
    """Group the features of each graph; earlier suggestions give way to these, all other supernodes stay.

    The other graphs named here also tell which features are active together, as far as they have the same dictionary.

    Args:
        least: Similarity that any two members have at least, -1 to 1.
        most: How many features of a graph are grouped, the most influential ones.
        by: Whose they are.
        keep: False to change nothing.

    Yields:
        One row for each suggested supernode, with its graph.
    """
    graphs = [library.load(graph_id) for graph_id in graph_ids]
    for graph in graphs:
        others = [
            each for each in graphs if each is not graph and each.metadata.source_set == graph.metadata.source_set
        ]
        found = suggested_supernodes(graph, least, most, others)
        with library.changing():
            now = library.load(graph.graph_id)  # grouping takes its time
            stay = [each for each in supernodes_of(now) if each.method != BY_PROFILE]
            names = {each.name for each in stay}
            made = [Supernode(_free(each.name, names), each.rows, each.method, each.score, by) for each in found]
            if keep:
                _keep(with_supernodes(now, [*stay, *made]), store, library)
        yield from (row_of(each, graph) for each in made)


def edit_supernode(
    graph_id: str,
    name: str,
    members: Sequence[str],
    store: GraphStore,
    library: Library,
    rename: str = "",
    by: str = "",
) -> dict[str, Any] | None:
    """Make, change, rename or take away one supernode of a graph by hand; gives its row, None where it was taken away.

    Args:
        members: node_ids; with none it keeps those that it has where it is renamed, and is taken away else.
        rename: A new name.
        by: Whose it is.

    Raises:
        PatternError: There is none of this name to rename or take away, the new name is taken, or a node is not there.
    """
    with library.changing():
        graph = library.load(graph_id)
        there = supernodes_of(graph)
        old = [each for each in there if each.name == name]
        others = [each for each in there if each.name != name]
        if not old and not members:
            names = ", ".join(each.name for each in there[:10]) or "none"
            raise PatternError(
                f"graph {graph_id} ({graph.metadata.slug}) has no supernode {name!r}; it has {names}. Name one of "
                "these, or give the node_ids of a new one."
            )
        if rename and any(each.name == rename for each in others):
            raise PatternError(
                f"graph {graph_id} has a supernode {rename!r} already; expected a new name. Choose another."
            )
        made: list[Supernode] = []
        if members or rename:
            ids = graph.nodes["node_id"].tolist()
            nodes = list(members) or [ids[row] for each in old for row in each.rows]
            made = supernodes_by_hand(graph, {rename or name: nodes}, by)
        _keep(with_supernodes(graph, [*others, *made]), store, library)
    return row_of(made[0], graph) if made else None


def keep_supernodes(
    graph_id: str,
    members: Mapping[str, Sequence[str]],
    store: GraphStore,
    library: Library,
    gone: Sequence[str] = (),
    by: str = "",
) -> list[dict[str, Any]]:
    """Make or change several supernodes of a graph by hand at once; gives their rows.

    Args:
        members: Name -> node_ids.
        gone: Names of supernodes to take away; one that is not there is gone already.
        by: Whose they are.

    Raises:
        PatternError: A node is not there, or stands in two of them.
    """
    with library.changing():
        graph = library.load(graph_id)
        made = supernodes_by_hand(graph, members, by)
        stay = [each for each in supernodes_of(graph) if each.name not in {*members, *gone}]
        _keep(with_supernodes(graph, [*stay, *made]), store, library)
    return [row_of(each, graph) for each in made]


def with_own_supernodes(graph: AttributionGraph, library: Library) -> AttributionGraph:
    """A graph that is taken in again, with the supernodes that were made here, as far as it has none of their name."""
    if graph.graph_id not in library:
        return graph
    try:
        kept = read_metadata(library.place(graph.graph_id))["provenance"].get("supernodes") or []
    except GraphFormatError:  # damaged, so better replaced
        return graph
    own = graph.metadata.provenance.get("supernodes") or []
    names = {group["label"] for group in own}
    made = [group for group in kept if group.get("method") in MADE_HERE and group["label"] not in names]
    if not made:
        return graph
    provenance = graph.metadata.provenance | {"supernodes": [*own, *made]}
    return replace(graph, metadata=replace(graph.metadata, provenance=provenance))


def row_of(supernode: Supernode, graph: AttributionGraph) -> dict[str, Any]:
    """A supernode as plain data, named as the query `supernodes` names it."""
    row = supernode.as_row(graph)
    return {"graph_id": graph.graph_id, "slug": graph.metadata.slug, "size": len(row["members"]), **row}


def _keep(graph: AttributionGraph, store: GraphStore, library: Library) -> None:
    if library.is_current(graph):
        return
    with library.replaced(graph):
        store.set_supernodes(graph) if store.has(graph.graph_id) else store.add(graph)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where another supernode has it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free)
    return free
