"""Graphs too large for one transaction: they come and go in pieces, and their nodes are seen all or not at all.

A graph that comes is written as (:Passing) nodes, which no query knows, with its edges between them; one transaction
then shows them all; last, its links are added to the aggregate, some features at a time. One that goes takes the same
way back. (:Passage) says in each piece how far it is. Whoever opens the store after a crash goes on from there: what
was not shown yet is deleted, everything else is brought to its end. While such a graph comes or goes, the aggregate has
a part of it, and a pattern without any label meets its edges.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pandas as pd

from ingest.bolt import Client, Transaction
from ingest.queries import query_named
from ingest.rows import GraphRows
from ingest.writing import (
    HAS_GRAPH,
    Added,
    Progress,
    add_features,
    add_marks,
    batches,
    columns,
    count_flows,
    edge_batches,
    entries_of,
    flows_of,
    load,
    send,
)
from tracer.errors import StoreError
from tracer.schema import NODE_LABELS

PIECE = 50_000  # edges a transaction; 2 to 5 s
LEASE_MS = 60_000  # without a word, after which the command that moves a graph is taken for dead

T = TypeVar("T")
Write = Callable[[Callable[[Transaction], T]], T]


class Passages:
    """What comes and goes in pieces in one database.

    Args:
        announced: Writes as `client.write` does, and tells readers.
    """

    def __init__(self, client: Client, announced: Write):
        self._client, self._announced = client, announced
        self._owner = str(uuid.uuid4())

    def bring(self, rows: GraphRows, progress: Progress | None = None) -> Added:
        """Write a graph; after a failure nothing of it is seen, and what was written is deleted."""
        graph_id, n_edges = rows.graph["graph_id"], len(rows.edges)
        name = self._begin(graph_id, "arriving")
        try:
            elements = self._write_unseen(name, rows, progress)
            shown = self._announced(lambda tx: self._show(tx, name, rows, elements))
        except BaseException:
            with suppress(StoreError):  # else whoever opens the store next does it
                self._discard(name)
            raise
        if not shown:  # another command was faster
            self._discard(name)
            return "unchanged"
        self._count(name, graph_id, n_edges, 0, 1)
        self._client.write(lambda tx: load(tx, "end_passage", name=name))
        if progress:
            progress(n_edges, n_edges, "storing edges")
        return "ingested"

    def take_away(self, graph_id: str) -> bool:
        """Delete a graph; False where there is none."""
        found = self._client.write(lambda tx: tx.run(HAS_GRAPH, graph_id=graph_id))
        if not found:
            return False
        self._leave(self._begin(graph_id, "uncounting"), graph_id, found[0]["n_edges"], 0)
        return True

    def finish(self, progress: Progress | None = None) -> None:
        """Bring to its end what commands that died have left."""
        if not self._client.read(query_named("stale_passages", "load").text, {}).records[0]["passages"]:
            return
        found = self._client.write(lambda tx: load(tx, "claim_passages", owner=self._owner, for_ms=LEASE_MS))
        for at, row in enumerate(found):
            if progress:
                progress(at, len(found), "cleaning up after a crash")
            name, graph_id = row["name"], row["graph_id"]
            if row["step"] in ("arriving", "leaving"):
                self._discard(name)
                continue
            graph = self._client.write(lambda tx, graph_id=graph_id: tx.run(HAS_GRAPH, graph_id=graph_id))
            n_edges = graph[0]["n_edges"]
            if row["step"] == "uncounting":
                self._leave(name, graph_id, n_edges, row["done"])
            else:
                self._count(name, graph_id, n_edges, row["done"], 1)
                self._client.write(lambda tx, name=name: load(tx, "end_passage", name=name))

    # -- steps

    def _begin(self, graph_id: str, step: str) -> str:
        name = str(uuid.uuid4())
        values = {"name": name, "graph_id": graph_id, "step": step, "owner": self._owner, "for_ms": LEASE_MS}
        if not self._client.write(lambda tx: load(tx, "begin_passage", **values)):
            raise StoreError(
                f"graph {graph_id} is being stored or removed by another command; expected it to rest. Wait for that "
                f"command; where it died, try again in {LEASE_MS // 1000} s."
            )
        return name

    def _hold(self, tx: Transaction, name: str, step: str, done: int = 0) -> None:
        values = {"name": name, "owner": self._owner, "step": step, "done": done, "for_ms": LEASE_MS}
        if not load(tx, "hold_passage", **values):
            raise StoreError(
                f"another command took over what this one was storing or removing, because it was silent for "
                f"{LEASE_MS // 1000} s; expected to be alone. Run it again."
            )

    def _write_unseen(self, name: str, rows: GraphRows, progress: Progress | None) -> list[str]:
        """The handles of the nodes, in the order of the rows."""
        elements: list[str] = []

        def nodes(tx: Transaction, some: list[dict]) -> list[str]:
            self._hold(tx, name, "arriving")
            made = {row["node_id"]: row["element"] for row in load(tx, "add_passing_nodes", name=name, rows=some)}
            return [made[node["node_id"]] for node in some]

        def edges(tx: Transaction, piece: pd.DataFrame) -> None:
            self._hold(tx, name, "arriving")
            for batch in edge_batches(piece):
                send(tx, "add_edges", elements=elements, columns=columns(batch))

        for some in batches([node for kind in rows.nodes.values() for node in kind]):
            elements += self._client.write(lambda tx, some=some: nodes(tx, some))
        for at, piece in enumerate(edge_batches(rows.edges, PIECE)):
            if progress:
                progress(at * PIECE, len(rows.edges), "storing edges")
            self._client.write(lambda tx, piece=piece: edges(tx, piece))
        return elements

    def _show(self, tx: Transaction, name: str, rows: GraphRows, elements: list[str]) -> bool:
        graph_id = rows.graph["graph_id"]
        there = bool(tx.run(HAS_GRAPH, graph_id=graph_id))
        self._hold(tx, name, "leaving" if there else "counting")
        if there:
            return False
        load(tx, "add_graph", graph=rows.graph)
        for kind, label in NODE_LABELS.items():
            load(tx, "show_nodes", name=name, graph_id=graph_id, kind=kind.value, label=label)
        add_features(tx, rows, elements)
        add_marks(tx, rows)
        return True

    def _count(self, name: str, graph_id: str, n_edges: int, done: int, sign: int) -> None:
        """Add the links of a graph to the aggregate, or take them away, from its feature number `done` on."""
        entries = self._client.write(lambda tx: entries_of(tx, graph_id)).values()
        elements = [entry.element for entry in entries]
        size = max(1, len(elements) * PIECE // max(n_edges, 1))  # features whose links make about one piece

        def piece(tx: Transaction, at: int) -> None:
            some = elements[at : at + size]
            self._hold(tx, name, "counting" if sign > 0 else "uncounting", at + len(some))
            load(tx, "lock_features", elements=some)
            count_flows(tx, flows_of(tx, graph_id, some), sign)
            if sign < 0:
                load(tx, "remove_unused_flows")

        for at in range(done, len(elements), size):
            self._announced(lambda tx, at=at: piece(tx, at))

    def _leave(self, name: str, graph_id: str, n_edges: int, done: int) -> None:
        def hide(tx: Transaction) -> None:
            self._hold(tx, name, "leaving")
            load(tx, "count_features", graph_id=graph_id, sign=-1)
            elements = [entry.element for entry in entries_of(tx, graph_id).values()]
            load(tx, "remove_supernodes", graph_id=graph_id)
            load(tx, "hide_nodes", name=name, graph_id=graph_id, labels=["Node", *NODE_LABELS.values()])
            load(tx, "remove_unused_features")
            load(tx, "settle_labels", elements=elements)
            load(tx, "remove_graph", graph_id=graph_id)

        self._count(name, graph_id, n_edges, done, -1)
        self._announced(hide)
        self._discard(name)

    def _discard(self, name: str) -> None:
        """Delete what is not seen."""

        def edges(tx: Transaction) -> int:
            self._hold(tx, name, "leaving")
            return load(tx, "remove_passing_edges", name=name, limit=PIECE)[0]["edges"]

        while self._client.write(edges):
            pass
        self._client.write(
            lambda tx: load(tx, "remove_passing_nodes", name=name) and load(tx, "end_passage", name=name)
        )
