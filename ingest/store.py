"""Graphs in Neo4j: whole or not at all, found by stored queries or by read-only Cypher."""

import hashlib
import itertools
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar

from ingest import guard
from ingest.bolt import Client, Connection, Plan, Rows, Transaction, connection_from_environment
from ingest.pieces import Passages
from ingest.queries import Query, query_named, read_queries
from ingest.rows import graph_from_rows, graph_rows, node_labels
from ingest.server import LocalServer
from ingest.writing import (
    HAS_GRAPH,
    Added,
    Progress,
    add_circuit,
    add_graph,
    batches,
    load,
    remove_graph,
    replace_supernodes,
    set_labels,
)
from tracer.errors import QueryError, StoreError
from tracer.graph import AttributionGraph

STORE_VERSION = 2  # raised when what is written of a graph changes; an older database is then made anew
ROOM = 100 << 20  # bytes: two transaction logs of 32 MB and a checkpoint
ROOM_PER_EDGE = 1 << 10  # bytes, with the log of its transaction; about 500 measured
COMMIT_MS = 10_000  # a commit of 100,000 edges takes 2 to 4 s on two busy cores
ONE_TRANSACTION = 80_000  # edges; 200,000 took more than the 640 MB that one transaction may use
GRAPHS_AT_ONCE = 500  # whose prompts and tokens fit in a statement
QUERY_TIMEOUT_S = 60.0
MOST_SIZE = 20_000_000  # characters and numbers in the answer of a query that somebody typed

T = TypeVar("T")


class GraphStore:
    """The database of one server.

    A graph is added, replaced and removed in one transaction, together with the aggregate over all graphs, so a crash
    leaves nothing behind; a read that meets its commit is done again, so no reader sees a part of it. One that is too
    large for a transaction goes by `pieces`. Made once and shared; safe between threads.
    """

    def __init__(self, connection: Connection):
        """Raises StoreError where nobody answers, or a newer version made the database."""
        self._connect(connection)

    def _connect(self, connection: Connection) -> None:
        self.connection = connection
        self._client = Client(connection)
        try:
            self._apply_schema()
            self._passages = Passages(self._client, self._write)
            self._passages.finish()
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> "GraphStore":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the server goes on."""
        self._client.close()

    def reopen(self, connection: Connection) -> None:
        """Go on with another connection, as after a restart of the server."""
        self.close()
        self._connect(connection)

    # -- writing

    def add(self, graph: AttributionGraph, progress: Progress | None = None, replace: bool = False) -> Added:
        """Store a graph; one that is there already stays as it is, unless it is to be replaced.

        Args:
            progress: Told how many edges of how many are written.
            replace: Write it anew, for other labels on the same content. One that is too large for a single
                transaction is gone in between.

        Raises:
            StoreError: The server is gone, full, or the graph needs more memory than a transaction may use.
                Nothing of the graph is there then, and nothing else has changed.
        """
        if not replace and self.has(graph.graph_id):
            return "unchanged"
        rows = graph_rows(graph)
        self._check_room(len(rows.edges))
        try:
            if len(rows.edges) > ONE_TRANSACTION:
                if replace:
                    self.remove(graph.graph_id)
                return self._passages.bring(rows, progress)
            return self._write(lambda tx: add_graph(tx, rows, progress, replace))
        except QueryError as error:
            if self.has(graph.graph_id):  # another command added the same graph in the meantime
                return "unchanged"
            raise StoreError(
                f"graph {graph.graph_id} ({graph.metadata.slug}, {len(rows.edges)} kept edges) was not stored: {error}"
            ) from error

    def set_labels(self, graph: AttributionGraph) -> int:
        """Show the labels of this graph, which is stored with others; returns at how many nodes they differed.

        Raises:
            StoreError: The server is gone or full; nothing has changed then.
        """
        stored = {row["node_id"]: row for row in self.run("graph_nodes", graph_id=graph.graph_id).records}
        changed = [row for row in node_labels(graph) if row["node_id"] in stored and _differs(row, stored)]
        self._write(lambda tx: set_labels(tx, graph.graph_id, changed))
        return len(changed)

    def remove(self, graph_id: str) -> bool:
        """Delete a graph; False where there is none."""
        found = self._read(HAS_GRAPH, {"graph_id": graph_id}).records
        if found and found[0]["n_edges"] > ONE_TRANSACTION:
            return self._passages.take_away(graph_id)
        return self._write(lambda tx: remove_graph(tx, graph_id))

    def set_supernodes(self, graph: AttributionGraph) -> None:
        """Store the supernodes of a graph, which is there, in place of those that it has."""
        rows = graph_rows(graph)
        self._write(lambda tx: replace_supernodes(tx, rows))

    def keep_circuit(self, circuit: Mapping[str, Any]) -> None:
        """Store a kept circuit, given as its properties, tied to its graphs and to the nodes on its paths."""
        self._write(lambda tx: add_circuit(tx, circuit))

    def remove_circuit(self, kept_id: str) -> bool:
        """Delete a kept circuit; False where there is none."""
        return self._write(lambda tx: load(tx, "remove_circuit", kept_id=kept_id))[0]["circuits"] > 0

    # -- reading

    def has(self, graph_id: str) -> bool:
        """Whether this graph is stored."""
        return bool(self._read(HAS_GRAPH, {"graph_id": graph_id}).records)

    def graphs(self) -> list[dict[str, Any]]:
        """One row for each graph, as the query `graphs` tells."""
        return self.run("graphs").records

    def fetch(self, graph_id: str) -> AttributionGraph:
        """The pruned graph as it is stored, for where no file of the whole one is at hand.

        Raises:
            StoreError: There is no such graph.
        """
        about = self._read(_GRAPH, {"graph_id": graph_id}).records
        if not about:
            raise StoreError(
                f"there is no graph {graph_id!r} in the store; expected one that `throughline query graphs` lists. "
                "Ingest it."
            )
        nodes, edges = self.run("graph_nodes", graph_id=graph_id), self.run("graph_edges", graph_id=graph_id)
        return graph_from_rows(about[0]["graph"], nodes.records, edges.records)

    def run(self, query_name: str, **params: Any) -> Rows:
        """The answer of a query of cypher/explore.

        Raises:
            QueryError: There is no such query, or a parameter does not fit.
        """
        query = query_named(query_name)
        return self._read(query.text, query.bind(params), timeout_s=QUERY_TIMEOUT_S)

    def cypher(
        self,
        text: str,
        params: Mapping[str, Any] | None = None,
        max_rows: int = 1000,
        timeout_s: float = 30,
        name: str = "",
    ) -> Rows:
        """The answer of any Cypher that only reads; the server enforces that, the plan is checked beforehand.

        Args:
            max_rows: More rows are left out, and the answer says `truncated`.
            timeout_s: The server stops the query then.
            name: By which `cancel` finds it.

        Raises:
            QueryError: The text is wrong, is refused, or takes too long; with the place in the text where known.
        """
        self.explain(text, params)
        return self._read(text, params or {}, max_rows, timeout_s, MOST_SIZE, name)

    def explain(self, text: str, params: Mapping[str, Any] | None = None) -> Plan:
        """How the server would answer a query that `cypher` lets pass; nothing is run.

        Raises:
            QueryError: The text is wrong or is refused; with the place in the text where known.
        """
        if not text.strip():
            raise QueryError("the Cypher is empty; expected a query such as MATCH (g:Graph) RETURN g.slug. Type one.")
        guard.check_text(text)
        plan = self._client.explain(text, params or {})
        guard.check_plan(plan)
        return plan

    def cancel(self, name: str) -> bool:
        """End the query that `cypher` runs under this name, whose caller gets a QueryError; False where none does."""
        return self._client.cancel(name)

    def schema_counts(self) -> dict[str, int]:
        """How many nodes of each label and relationships of each type there are, from the server's own counters."""
        words = self.vocabulary()
        return words["labels"] | words["types"]

    def vocabulary(self) -> dict[str, dict[str, int]]:
        """`labels` and `types` with how many there are of each, and `properties`, which are not counted (0)."""
        names = "CALL db.labels() YIELD label RETURN label AS name ORDER BY name"
        types = "CALL db.relationshipTypes() YIELD relationshipType RETURN relationshipType AS name ORDER BY name"
        properties = "CALL db.propertyKeys() YIELD propertyKey RETURN propertyKey AS name ORDER BY name"
        counted = {"labels": self._counted(names, "(:`{}`)"), "types": self._counted(types, "()-[:`{}`]->()")}
        return counted | {"properties": {row["name"]: 0 for row in self._client.read(properties, {}).records}}

    def _counted(self, listing: str, pattern: str) -> dict[str, int]:
        counts = {}
        for row in self._client.read(listing, {}).records:
            text = f"RETURN count {{ {pattern.format(row['name'].replace('`', '``'))} }} AS n"
            counts[row["name"]] = self._client.read(text, {}).records[0]["n"]
        return {name: n for name, n in counts.items() if n}

    # -- what is stored, to the letter, and making it anew

    def is_current(self) -> bool:
        """Whether this version of the program wrote all graphs, and no rebuild is under way or was cut off."""
        seen = self._load("version")[0]
        return seen["version"] == STORE_VERSION and seen["step"] is None

    def stored_properties(self, graph_id: str) -> dict[str, Any]:
        """Everything that (:Graph) has."""
        return self._read(_GRAPH, {"graph_id": graph_id}).records[0]["graph"]

    def stored_nodes(self, graph_id: str) -> list[tuple[str, tuple[Any, ...]]]:
        """(node_id, (properties, labels, whether it is in its graph, layer and index of its feature)) of each node."""
        rows = self._load("nodes_of_graph", graph_id=graph_id)
        return [(row["properties"].get("node_id"), tuple(row.values())) for row in rows]

    def stored_edges(self, graph_id: str) -> list[tuple[tuple[str, str], tuple[Any, ...]]]:
        """((source, target), (effect, share, rank_in)) of each edge."""
        rows = self._load("edges_of_graph", graph_id=graph_id)
        return [((row["source"], target), tuple(rest)) for row in rows for target, *rest in row["edges"]]

    def stored_supernodes(self, graph_id: str) -> list[tuple[dict[str, Any], list[str]]]:
        """(properties, node_ids of the members that are stored) of each supernode of a graph."""
        rows = self._load("supernodes_of_graph", graph_id=graph_id)
        return [(row["properties"], row["stored"]) for row in rows]

    def stored_circuits(self) -> list[dict[str, Any]]:
        """`properties` of each kept circuit, and how many of its ties to stored graphs and nodes are missing."""
        return self._load("stored_circuits")

    def circuit_record(self, kept_id: str) -> str:
        """The whole record of a kept circuit as JSON."""
        found = [row for row in self.stored_circuits() if row["properties"]["kept_id"] == kept_id]
        return found[0]["properties"]["record"]

    def sums_of_features(self, prime: int) -> dict[tuple[str, int, int], list[int]]:
        """(source_set, layer, index) -> what the query of this name tells of each feature: graphs, pairs, ..."""
        rows = (list(row.values()) for row in self._load("sums_of_features", prime=prime))
        return {(row[0], row[1], row[2]): row[3:] for row in rows}

    def unlabelled(self) -> int:
        """How many nodes have no label."""
        return self._load("unlabelled")[0]["nodes"]

    def begin_rebuild(self, owner: str, for_ms: int) -> str | None:
        """Claim the rebuild for a time, again and again; None where another has it, else `emptying` or `filling`."""
        rows = self._client.write(lambda tx: load(tx, "begin_rebuild", owner=owner, for_ms=for_ms))
        return rows[0]["step"] if rows else None

    def end_emptying(self) -> None:
        """All graphs are removed: also drop what belonged to none, and go on with filling."""
        self._client.run_schema(query_named("remove_leftovers", "load").text)
        self._client.write(lambda tx: load(tx, "end_emptying", version=STORE_VERSION))

    def end_rebuild(self) -> None:
        """All graphs are back."""
        self._client.write(lambda tx: load(tx, "end_rebuild"))

    def _load(self, name: str, **params: Any) -> list[dict[str, Any]]:
        return self._read(query_named(name, "load").text, params).records

    def _check_room(self, n_edges: int) -> None:
        """Refuse to write before the disk is full: a database that runs out of room must be restarted."""
        folder = self.connection.folder
        needed = ROOM + n_edges * ROOM_PER_EDGE
        if folder and (free := shutil.disk_usage(folder).free) < needed:
            raise StoreError(
                f"{free >> 20} MiB are free on the disk of {folder}; expected {needed >> 20} MiB or more for storing a "
                "graph. Make room there and run the command again; the database was not changed."
            )

    # -- a first load

    def is_empty(self) -> bool:
        """Whether nothing is stored, seen or not."""
        return not self._load("anything")[0]["filled"]

    @contextmanager
    def held_empty(self) -> Iterator[dict[str, Any]]:
        """What an empty database says of itself, while no graph can be stored in it.

        Raises:
            StoreError: Something is stored, or other commands or pages are connected.
        """
        with self._client.held(lambda tx: load(tx, "hold_store")[0]) as seen:
            others = self._client.other_connections()
            if seen["filled"] or others:
                what = "it is not empty any more" if seen["filled"] else f"{others} connections of others are open"
                raise StoreError(
                    f"the database at {self.connection.uri} is in use ({what}); expected it empty and for this command "
                    "alone. Close pages and other commands for a faster first load."
                )
            yield seen["meta"]

    def complete(
        self, graphs: list[dict[str, Any]], supernodes: dict[str, list[dict[str, Any]]], meta: dict[str, Any]
    ) -> None:
        """Add to imported graphs what the import could not; the database says of itself what another one said.

        Args:
            graphs: Properties of each.
            supernodes: graph_id -> supernodes of the graph.
            meta: As `held_empty` tells it.
        """
        for batch in batches(graphs, GRAPHS_AT_ONCE):
            self._client.write(lambda tx, batch=batch: load(tx, "complete_graphs", rows=batch))
        for graph_id, rows in supernodes.items():
            self._client.write(lambda tx, key=graph_id, rows=rows: load(tx, "add_supernodes", graph_id=key, rows=rows))
        self._client.write(lambda tx: load(tx, "carry_meta", meta=meta))

    # -- commits

    def _write(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` in one transaction, announced to readers while it is committed.

        Neo4j applies a commit record by record, so a query that runs at that moment could see half a graph.
        """
        mark = f"commit {uuid.uuid4()}"

        def announced(tx: Transaction) -> T:
            done = work(tx)
            self._client.write(lambda other: load(other, "announce_commit", mark=mark, for_ms=COMMIT_MS))
            return done

        try:
            return self._client.write(announced)
        finally:
            with suppress(StoreError):  # a server that is gone has no readers either; the mark runs out
                self._client.write(lambda tx: load(tx, "settle_commit", mark=mark))

    def _read(
        self,
        text: str,
        params: Mapping[str, Any],
        max_rows: int | None = None,
        timeout_s: float | None = None,
        max_size: int | None = None,
        name: str = "",
    ) -> Rows:
        """The answer of a query between two commits: one that met a commit is asked again."""
        stamp = query_named("commits", "load").text
        deadline = time.monotonic() + COMMIT_MS / 1000
        rows = self._client.read(text, params, max_rows, timeout_s, stamp, max_size, name)
        while not rows.settled and time.monotonic() < deadline:
            time.sleep(0.02)
            rows = self._client.read(text, params, max_rows, timeout_s, stamp, max_size, name)
        return rows

    # -- schema

    def _apply_schema(self) -> None:
        """Constraints and indexes, made once; the database then says which it has."""
        queries = read_queries("schema")
        digest = hashlib.sha256("".join(query.text for query in queries.values()).encode()).hexdigest()[:16]
        seen = self._client.read(query_named("version", "load").text, {}).records
        if seen and not isinstance(seen[0]["version"], int):
            raise StoreError(
                f"the database at {self.connection.uri} has version {seen[0]['version']!r}; expected a number. Empty "
                "it (`throughline db reset` for the local one) and make it anew with `throughline rebuild`."
            )
        if seen and seen[0]["version"] > STORE_VERSION:
            raise StoreError(
                f"the database at {self.connection.uri} has version {seen[0]['version']}; this program writes version "
                f"{STORE_VERSION}. Use the program that made it, or empty it (`throughline db reset` for the local "
                "one) and ingest the library again."
            )
        if not seen or seen[0]["digest"] != digest:
            self.complete_schema()
            self._client.write(lambda tx: load(tx, "set_version", version=STORE_VERSION, digest=digest))

    def complete_schema(self) -> None:
        """Make the constraints and indexes that are not there, anew where one has failed or is of something else.

        One of another name that is of the same goes as well: Neo4j would not make ours beside it. What stands in the
        way is looked for after all are made, and not before: what another command is making looks like it.
        """
        queries = read_queries("schema").values()
        for query in queries:
            self._client.run_schema(query.text)
        pairs = itertools.product(self._load("schema_indexes"), queries)
        in_the_way = [row for row, query in pairs if _is_in_the_way(row, query)]
        for row in in_the_way:
            name = row["name"].replace("`", "``")
            self._client.run_schema(f"DROP {'CONSTRAINT' if row['constraint'] else 'INDEX'} `{name}` IF EXISTS")
        for query in queries if in_the_way else ():
            self._client.run_schema(query.text)
        self._client.run_schema("CALL db.awaitIndexes(300)")

    def missing_schema(self) -> list[str]:
        """The name of each constraint and index that is not there, is of something else, or is not ready."""
        ready = {row["name"]: row for row in self._load("schema_indexes") if row["state"] == "ONLINE"}
        queries = read_queries("schema").values()
        return [each.name for each in queries if not (each.name in ready and _is_made_by(ready[each.name], each.text))]


def _is_in_the_way(index: Mapping[str, Any], query: Query) -> bool:
    """Whether an index is not what this query of cypher/schema makes, but has its name or does its work."""
    named = index["name"] == query.name
    return named != _is_made_by(index, query.text) or (named and index["state"] == "FAILED")


def _is_made_by(index: Mapping[str, Any], text: str) -> bool:
    """Whether an index, as `schema_indexes` tells it, is what this statement of cypher/schema makes."""
    statement = "".join(line for line in text.splitlines() if not line.startswith("//"))
    made = re.search(r"CREATE (?:(\w+) INDEX|CONSTRAINT) .*?:(\w+)[)\]]", statement)
    assert made, statement
    kind, label = made[1] or "RANGE", made[2]
    seen = (index["type"], index["labels"], index["properties"], index["constraint"] is not None)
    return seen == (kind, [label], re.findall(r"\.(\w+)", statement), made[1] is None)


def _differs(row: Mapping[str, Any], stored: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the database shows another label at this node, or another origin of it."""
    return any(row[name] != stored[row["node_id"]][name] for name in ("label", "label_note"))


def open_store(progress: Progress | None = None) -> GraphStore:
    """The store of this user: THROUGHLINE_NEO4J_URI where it is set, else the local server, started if needed.

    Where an older version of this program made the database, or a rebuild was cut off, it is made anew from the
    library first.
    """
    from ingest.keep import renew  # which needs the class above
    from ingest.library import default_library

    store = GraphStore(connection_from_environment() or LocalServer().ensure(progress))
    try:
        if not store.is_current():
            renew(store, default_library(), progress)
    except BaseException:
        store.close()
        raise
    return store


_GRAPH = "MATCH (graph:Graph {graph_id: $graph_id, ready: true}) RETURN properties(graph) AS graph"
