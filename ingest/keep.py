"""The graphs that are kept: what there is, whether database and library agree, and the way back when they do not."""

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from ingest.bulk import bring
from ingest.kept_circuits import bring_circuits, circuit_findings, circuits_in_database_only
from ingest.labels import label_findings
from ingest.library import Library
from ingest.rows import GraphRows, graph_rows, tuples
from ingest.store import GraphStore
from ingest.writing import Progress
from tracer.errors import GraphFormatError, PatternError, StoreError
from tracer.graph import read_metadata
from tracer.schema import NODE_LABELS

Where = Literal["both", "library", "database"]
Sums = dict[tuple[str, int, int], list[int]]  # by feature, as `GraphStore.sums_of_features` tells
PRIME = 2**31 - 1  # checksums are taken modulo it: a product of two of them is a number that the database has
APART = {"Meta", "Passage", "Passing", "Circuit", "FOUND_IN", "PASSES", "FLOWS_TO"}  # of no graph, or compared apart
OF_GRAPHS = {
    "Graph",
    "Node",
    "Supernode",
    "Feature",
    *NODE_LABELS.values(),
    "AFFECTS",
    "IN",
    "INSTANCE_OF",
    "MEMBER_OF",
}
LEASE_MS = 30_000  # after which a rebuild that said nothing is taken for dead; one graph takes seconds


@dataclass(frozen=True)
class Kept:
    """One graph, as `throughline list` tells it."""

    graph_id: str
    slug: str
    prompt: str
    model: str
    source_set: str
    nodes: int | None
    """Stored ones, which are those of the pruned graph; None where the database does not have it."""
    edges: int | None
    ingested_at: str
    """When the database took it in, or its labels changed, ISO 8601; empty where the database does not have it."""
    where: Where
    """Anything but `both` is the trace of a crash or of another hand; `throughline rebuild` makes it good."""


@dataclass(frozen=True)
class Finding:
    """One thing in which database and library differ."""

    graph_id: str
    """Empty for what belongs to all graphs."""
    what: str
    """What was seen and what was expected."""


def kept_graphs(store: GraphStore, library: Library) -> list[Kept]:
    """All graphs of the database and of the library, by slug."""
    stored = {row["graph_id"]: row for row in store.graphs()}
    ids = set(library.ids())
    found = []
    for graph_id in stored.keys() | ids:
        row = stored.get(graph_id)
        about = row or _names_in(library, graph_id)
        where: Where = "library" if row is None else "both" if graph_id in ids else "database"
        n_nodes, n_edges, ingested_at = (
            (row["n_nodes"], row["n_edges"], row["ingested_at"]) if row else (None, None, "")
        )
        names = {name: about[name] for name in ("slug", "prompt", "model", "source_set")}
        found.append(Kept(graph_id, **names, nodes=n_nodes, edges=n_edges, ingested_at=ingested_at, where=where))
    return sorted(found, key=lambda kept: (kept.slug, kept.graph_id))


def _names_in(library: Library, graph_id: str) -> dict[str, Any]:
    """The metadata of a graph in the library; where it is damaged, texts that say so, for it can still be removed."""
    try:
        return read_metadata(library.place(graph_id))
    except GraphFormatError:
        return {"slug": "", "prompt": "its files are damaged: see `throughline verify`", "model": "", "source_set": ""}


def graph_ids(names: list[str], store: GraphStore, library: Library) -> list[str]:
    """The graph_id of each name, which is one itself or the slug of one graph.

    Raises:
        PatternError: There is none of this name, or several.
    """
    kept = kept_graphs(store, library)
    chosen = []
    for name in names:
        found = [graph.graph_id for graph in kept if name in (graph.graph_id, graph.slug)]
        if len(found) != 1:
            seen = f"{len(found)} graphs are called {name!r} ({', '.join(found)})" if found else f"no graph is {name!r}"
            raise PatternError(f"{seen}; expected a graph_id, or the slug of one graph. `throughline list` shows them.")
        chosen += found
    return list(dict.fromkeys(chosen))


def graph_info(graph_id: str, store: GraphStore, library: Library) -> dict[str, Any]:
    """Everything that is known of a graph but its nodes and edges: for JSON, and for a table of two columns."""
    graph = library.load(graph_id) if graph_id in library else store.fetch(graph_id)
    about = dict(vars(graph.metadata))
    provenance = dict(about.pop("provenance"))
    kinds, is_kept = graph.nodes["kind"].tolist(), graph.nodes["kept"].tolist()
    return {
        "graph_id": graph_id,
        **about,
        "tokens": list(graph.metadata.tokens),
        "nodes": dict(Counter(kinds)),
        "kept_nodes": dict(Counter(kind for kind, kept in zip(kinds, is_kept, strict=True) if kept)),
        "edges": len(graph.edges),
        "kept_edges": int(graph.edges.kept.sum()),
        "in_database": store.has(graph_id),
        "in_library": library.place(graph_id) if graph_id in library else "",
        "repairs": provenance.pop("repairs", {}),
        "provenance": provenance,
    }


def remove_graph(graph_id: str, store: GraphStore, library: Library) -> bool:
    """Delete a graph everywhere; False where there is none.

    The database goes first: where it does not answer, nothing has changed. After a crash in between, the library
    still has the graph, `throughline list` says so, and removing it again finishes it.
    """
    with library.changing():
        stored = store.remove(graph_id)
        return library.remove(graph_id) or stored


def verify(store: GraphStore, library: Library, progress: Progress | None = None) -> Iterator[Finding]:
    """Read everything on both sides and tell each difference; no finding means that they agree.

    Files are checked by the hash they were saved with, the database row by row against what it was made from, and the
    aggregate over all graphs for every feature: its sums, a checksum of where its links end, its means and its label.
    """
    stored = {row["graph_id"] for row in store.graphs()}
    ids = sorted(stored | set(library.ids()))
    sums: Sums = defaultdict(lambda: [0, 0, 0, 0, 0, 0, True])
    counts: Counter[str] = Counter()
    unread: list[str] = []
    for done, graph_id in enumerate(ids):
        if progress:
            progress(done, len(ids), f"comparing {graph_id}")
        if graph_id not in library:
            yield Finding(graph_id, "the database has it, the library does not; expected it in both")
            unread.append(graph_id)
            continue
        try:
            rows = graph_rows(library.load(graph_id))
        except GraphFormatError as error:
            yield Finding(graph_id, str(error))
            unread += [graph_id] if graph_id in stored else []
            continue
        if graph_id not in stored:
            yield Finding(graph_id, "the library has it, the database does not; expected it in both")
            continue
        _add_sums(sums, rows)
        counts.update(_counts(rows))
        for what in _differences(store, rows):
            yield Finding(graph_id, what)
    for what in (*label_findings(library), *circuit_findings(store, library)):
        yield Finding("", what)
    for name in store.missing_schema():
        yield Finding("", f"{name} is not there or not ready; expected it as cypher/schema/{name}.cypher makes it")
    if progress:
        progress(len(ids), len(ids), "compared")
    for what in _stray_findings(store, counts, sums, complete=not unread):
        yield Finding("", what)
    if not unread:
        yield from _aggregate_findings(store, sums)
    else:
        yield Finding(
            "",
            f"the aggregate over all graphs was not compared, as {len(unread)} of them cannot be read ({unread[0]}"
            f"{', …' if unread[1:] else ''}). Bring them back, or remove them, and verify again.",
        )


def rebuild(
    store: GraphStore, library: Library, progress: Progress | None = None, drop: bool = False, owner: str = ""
) -> Iterator[Finding]:
    """Make the database anew from the library; cut off and run again, it goes on.

    Graphs go one by one, and come so or all at once, so that readers see every graph whole or not at all.

    Args:
        drop: Also drop graphs and kept circuits that only the database has.
        owner: Name of the run that has claimed the rebuild; a new one if not given.

    Yields:
        What could not be loaded from the library; at the end everything else is in the database.

    Raises:
        StoreError: Another command is rebuilding, or the database has graphs that the library lacks.
    """
    with library.changing():  # else a graph that comes now could be in one of them only
        others = sorted({row["graph_id"] for row in store.graphs()} - set(library.ids()))
    if others and not drop:
        raise StoreError(
            f"{len(others)} graphs are in the database only ({', '.join(others[:3])}{', …' if others[3:] else ''}); "
            f"expected every graph in the library {library.root}, from which the database is made anew. Ingest their "
            "files again, or drop them (`throughline rebuild --drop`); nothing was changed."
        )
    lost = [] if drop else circuits_in_database_only(store, library)
    if lost:
        raise StoreError(
            f"{len(lost)} kept circuits are in the database only ({', '.join(lost[:3])}{', …' if lost[3:] else ''}); "
            f"expected every one in the library {library.root}. Run them again (`throughline keep rerun`), or drop "
            "them (`throughline rebuild --drop`); nothing was changed."
        )
    owner = owner or str(uuid.uuid4())
    step = _claim(store, owner)
    try:
        if step == "emptying":
            _empty(store, library, owner, progress)
        ids = library.ids()  # what comes from now on is stored by whoever brings it
        store.complete_schema()  # now, as nothing is there that a constraint could forbid
        for graph_id, error in bring(ids, store, library, progress, lambda: _claim(store, owner)):
            if not isinstance(error, GraphFormatError):
                raise error
            yield Finding(graph_id, str(error))
        for what in bring_circuits(store, library):
            yield Finding("", what)
    except BaseException:
        with suppress(StoreError):
            store.begin_rebuild(owner, 0)  # whoever goes on need not wait
        raise
    if progress:
        progress(len(ids), len(ids), "rebuilt")
    store.end_rebuild()


def _empty(store: GraphStore, library: Library, owner: str, progress: Progress | None) -> None:
    stored = [row["graph_id"] for row in store.graphs()]
    for done, graph_id in enumerate(stored):
        if progress:
            progress(done, len(stored), "emptying the database")
        _claim(store, owner)
        with library.changing():
            store.remove(graph_id)
    with library.changing():
        for row in store.graphs():  # what came in the meantime
            store.remove(row["graph_id"])
        _claim(store, owner)
        store.end_emptying()


def _claim(store: GraphStore, owner: str) -> str:
    step = store.begin_rebuild(owner, LEASE_MS)
    if step is None:
        raise StoreError(
            f"another command is rebuilding the database at {store.connection.uri}; expected it for this one alone. "
            f"Wait for it. Where it was cut off, try again in {LEASE_MS // 1000} s."
        )
    return step


def _differences(store: GraphStore, rows: GraphRows) -> Iterator[str]:
    """In what the stored graph is not what its rows say."""
    graph_id = rows.graph["graph_id"]
    about = store.stored_properties(graph_id)
    expected: dict[str, Any] = {name: value for name, value in rows.graph.items() if value is not None}
    wrong = [name for name, value in expected.items() if about.get(name) != value]
    if wrong:
        yield f"{', '.join(wrong)}: the database has {about.get(wrong[0])!r}, expected {expected[wrong[0]]!r}"
    entry = {at: (layer, index) for at, layer, index, _ in rows.features}
    flat = [(label, node) for label, nodes in rows.nodes.items() for node in nodes]
    nodes = {
        node["node_id"]: (
            node,
            [label, "Node"] if label < "Node" else ["Node", label],
            True,
            *entry.get(at, (None,) * 2),
        )
        for at, (label, node) in enumerate(flat)
    }
    yield from _compared("nodes", store.stored_nodes(graph_id), nodes)
    ids = [node["node_id"] for _, node in flat]
    edges = {(ids[source], ids[target]): tuple(values) for source, target, *values in tuples(rows.edges)}
    yield from _compared("edges", store.stored_edges(graph_id), edges)
    yield from _supernode_differences(store, rows, set(ids))


def _supernode_differences(store: GraphStore, rows: GraphRows, node_ids: set[str]) -> Iterator[str]:
    seen = {
        (row["name"], *row["members"]): (row, stored) for row, stored in store.stored_supernodes(rows.graph["graph_id"])
    }
    expected = {}
    for row in rows.supernodes:
        there = {name: value for name, value in row.items() if value is not None} | {"graph_id": rows.graph["graph_id"]}
        expected[row["name"], *row["members"]] = there, sorted(node_ids & set(row["members"]))
    if seen != expected:
        wrong = sorted(key[0] for key in seen.keys() | expected.keys() if seen.get(key) != expected.get(key))
        yield f"{len(wrong)} supernodes differ from the library, the first of them {wrong[0]!r}"


def _compared(what: str, seen: list[tuple[Any, Any]], expected: dict[Any, Any]) -> Iterator[str]:
    if len(seen) != len(expected):
        yield f"the database has {len(seen)} {what}, expected {len(expected)}"
        return
    wrong = [key for key, values in seen if expected.get(key) != values]
    if wrong:
        yield f"{len(wrong)} of {len(seen)} {what} differ from the library, the first of them {wrong[0]}"


def _counts(rows: GraphRows) -> Counter[str]:
    """How many nodes of each label, and relationships of each type, a stored graph has."""
    nodes = {label: len(some) for label, some in rows.nodes.items()}
    n_nodes, ids = sum(nodes.values()), {node["node_id"] for some in rows.nodes.values() for node in some}
    members = sum(len(ids.intersection(supernode["members"])) for supernode in rows.supernodes)
    ties = {"AFFECTS": len(rows.edges), "IN": n_nodes, "INSTANCE_OF": len(rows.features), "MEMBER_OF": members}
    return Counter({"Graph": 1, "Node": n_nodes, "Supernode": len(rows.supernodes)} | nodes | ties)


def _stray_findings(store: GraphStore, counts: Counter[str], sums: Sums, *, complete: bool) -> Iterator[str]:
    """What the database has that belongs to no graph.

    Args:
        complete: Whether `counts` and `sums` are of all graphs; else only what no graph can have is told.
    """
    expected = counts | Counter({"Feature": len(sums)})
    seen = store.schema_counts()
    for name in sorted((seen.keys() | expected.keys()) - APART):
        if seen.get(name, 0) != expected[name] and (complete or name not in OF_GRAPHS):
            yield f"the database has {seen.get(name, 0):,} of {name}, expected {expected[name]:,}"
    if without := store.unlabelled():
        yield f"the database has {without:,} nodes without a label, expected none"


def _add_sums(sums: Sums, rows: GraphRows) -> None:
    keys = [(rows.graph["source_set"], *entry) for entry in rows.entries]
    number = [(1_000_003 * layer + index % PRIME) % PRIME + 1 for layer, index in rows.entries]
    for key in keys:
        sums[key][0] += 1
    for source, target, edges, billionths in tuples(rows.flows):
        total = sums[keys[source]]
        total[1] += 1
        total[2] += edges
        total[3] += billionths
        total[4] = (total[4] + (1_000_003 + 1009 * edges + billionths) * number[target]) % PRIME


def _aggregate_findings(store: GraphStore, sums: Sums) -> Iterator[Finding]:
    seen = store.sums_of_features(PRIME)
    if seen != sums:
        different = (key for key in seen.keys() | sums.keys() if seen.get(key) != sums.get(key))
        wrong = sorted(different, key=repr)  # a feature of another hand may have no place at all
        yield Finding(
            "",
            f"the aggregate over all graphs is wrong for {len(wrong)} features, the first of them {wrong[0]}: graphs, "
            "links, edges, shares, checksum of where the links end, how many of their means are wrong and whether the "
            f"label is that of a node are {seen.get(wrong[0])}, expected {sums.get(wrong[0])}",
        )


def renew(store: GraphStore, library: Library, progress: Progress | None = None) -> None:
    """Rebuild a database that an older version of this program made, or whose rebuild was cut off; or wait for that.

    Raises:
        StoreError: Files of the library are damaged, or only the database has some graphs.
    """
    owner = str(uuid.uuid4())
    while store.begin_rebuild(owner, LEASE_MS) is None:  # another is at it, or died a short time ago
        if progress:
            progress(0, 1, "waiting for another command that rebuilds the database")
        time.sleep(0.5)
        if store.is_current():
            return
    damaged = list(rebuild(store, library, progress, owner=owner))
    if damaged:
        raise StoreError(
            f"the database was made anew, but {len(damaged)} graphs of the library cannot be read, the first of them "
            f"because of this: {damaged[0].what} `throughline verify` tells all; remove them or restore a backup."
        )
