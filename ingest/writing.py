"""What is written of a graph within one transaction, and how it is taken away again."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import pandas as pd

from ingest.bolt import Transaction
from ingest.queries import query_named
from ingest.rows import GraphRows, tuples

BATCH = 10_000  # rows a statement; 10 to 20 thousand measured best

T = TypeVar("T")
Progress = Callable[[int, int, str], None]  # done, total, what
Added = Literal["ingested", "unchanged"]
Flow = tuple[str, str, int, int]  # handles of two features, edges between them, sum of their shares in billionths


class Entry(NamedTuple):
    """An entry of a dictionary that occurs in a graph."""

    element: str
    """Its handle."""
    graphs: int
    """How many graphs it occurs in."""


HAS_GRAPH = "MATCH (graph:Graph {graph_id: $graph_id, ready: true}) RETURN graph.n_edges AS n_edges"


def add_graph(tx: Transaction, rows: GraphRows, progress: Progress | None, replace: bool) -> Added:
    """Write a graph with its part of the aggregate; one that is there stays, unless it is to be replaced."""
    graph_id = rows.graph["graph_id"]
    if tx.run(HAS_GRAPH, graph_id=graph_id):
        if not replace:
            return "unchanged"
        remove_graph(tx, graph_id)
    load(tx, "add_graph", graph=rows.graph)
    element: dict[str, str] = {}
    for label, nodes in rows.nodes.items():
        for batch in batches(nodes):
            made = load(tx, "add_nodes", graph_id=graph_id, label=label, rows=batch)
            element |= {row["node_id"]: row["element"] for row in made}
    elements = [element[node["node_id"]] for nodes in rows.nodes.values() for node in nodes]
    add_features(tx, rows, elements)
    for at, batch in enumerate(edge_batches(rows.edges)):
        if progress:
            progress(at * BATCH, len(rows.edges), "storing edges")
        send(tx, "add_edges", elements=elements, columns=columns(batch))
    entries = entries_of(tx, graph_id)
    fresh = {entry.element for entry in entries.values() if entry.graphs == 1}
    count_flows(tx, _flows_of_rows(rows, entries), 1, fresh)
    add_marks(tx, rows)
    if progress:
        progress(len(rows.edges), len(rows.edges), "storing edges")
    return "ingested"


def remove_graph(tx: Transaction, graph_id: str) -> bool:
    """Delete a graph and its part of the aggregate; False where there is none."""
    load(tx, "count_features", graph_id=graph_id, sign=-1)
    elements = [entry.element for entry in entries_of(tx, graph_id).values()]
    count_flows(tx, flows_of(tx, graph_id, elements), -1)
    load(tx, "remove_unused_flows")
    load(tx, "remove_supernodes", graph_id=graph_id)
    load(tx, "remove_nodes", graph_id=graph_id)
    load(tx, "remove_unused_features")
    load(tx, "settle_labels", elements=elements)
    return load(tx, "remove_graph", graph_id=graph_id)[0]["graphs"] > 0


def set_labels(tx: Transaction, graph_id: str, rows: list[dict[str, Any]]) -> None:
    """Show other labels at nodes of a graph, and at entries that showed what no node does any more."""
    load(tx, "set_labels", graph_id=graph_id, rows=rows)
    load(tx, "settle_labels", elements=[entry.element for entry in entries_of(tx, graph_id).values()])


def add_marks(tx: Transaction, rows: GraphRows) -> None:
    """Write the supernodes of a graph, whose nodes are there, and tie it to the kept circuits that it has."""
    graph_id = rows.graph["graph_id"]
    load(tx, "add_supernodes", graph_id=graph_id, rows=rows.supernodes)
    tie_circuits(tx, graph_id=graph_id)


def replace_supernodes(tx: Transaction, rows: GraphRows) -> None:
    """Write the supernodes of a graph in place of those that are there."""
    graph_id = rows.graph["graph_id"]
    load(tx, "remove_supernodes", graph_id=graph_id)
    load(tx, "add_supernodes", graph_id=graph_id, rows=rows.supernodes)
    load(tx, "touch_graph", graph_id=graph_id)


def add_circuit(tx: Transaction, circuit: Mapping[str, Any]) -> None:
    """Write a kept circuit, in place of one that is there, and tie it to its graphs."""
    load(tx, "add_circuit", circuit=circuit)
    tie_circuits(tx, kept_id=circuit["kept_id"])


def tie_circuits(tx: Transaction, kept_id: str = "", graph_id: str = "") -> None:
    """Tie kept circuits to graphs and nodes that are there: this circuit, or all; to this graph, or all."""
    for name in ("tie_circuits", "tie_circuit_paths"):
        load(tx, name, kept_id=kept_id, graph_id=graph_id)


def add_features(tx: Transaction, rows: GraphRows, elements: list[str]) -> None:
    """Tie the nodes with these handles to the entries of their dictionary, which then count this graph."""
    for batch in batches(rows.features):
        tied = [[elements[at], *rest] for at, *rest in batch]
        send(tx, "add_features", source_set=rows.graph["source_set"], rows=tied)
    send(tx, "count_features", graph_id=rows.graph["graph_id"], sign=1)


def entries_of(tx: Transaction, graph_id: str) -> dict[tuple[int, int], Entry]:
    """(layer, index) -> each feature in a graph, sorted."""
    found = load(tx, "entries_of_graph", graph_id=graph_id)
    return {(row["layer"], row["index"]): Entry(row["element"], row["graphs"]) for row in found}


def flows_of(tx: Transaction, graph_id: str, elements: list[str]) -> list[Flow]:
    """The links of a stored graph that start at the features with these handles."""
    found = load(tx, "flows_of_graph", graph_id=graph_id, elements=elements)
    return [(row["source"], row["target"], row["edges"], row["billionths"]) for row in found]


def count_flows(tx: Transaction, flows: Iterable[Flow], sign: int, fresh: Collection[str] = ()) -> None:
    """Add (sign 1) or take away (-1) one graph's links; its features are locked by `count_features` before.

    Args:
        fresh: Handles of features that no other graph has: nobody needs to look whether their links are there.
    """
    new: list[Flow] = []
    rest: dict[str, dict[str, list[int]]] = {}
    for source, target, edges, billionths in flows:
        if source in fresh or target in fresh:
            new.append((source, target, edges, billionths))
        else:
            rest.setdefault(source, {})[target] = [edges, billionths]
    for row in load(tx, "change_flows", rows=[list(item) for item in rest.items()], sign=sign):
        del rest[row["source"]][row["target"]]
    if sign < 0:
        return  # a link that is not there has nothing to lose
    new += [(source, target, some[target][0], some[target][1]) for source, some in rest.items() for target in some]
    elements = list({handle: None for source, target, *_ in new for handle in (source, target)})
    number = {element: at for at, element in enumerate(elements)}
    for batch in batches([(number[source], number[target], *sums) for source, target, *sums in new]):
        send(tx, "add_flows", elements=elements, columns=list(zip(*batch, strict=True)))


def load(tx: Transaction, name: str, /, **params: Any) -> list[dict[str, Any]]:
    """The rows of a query of cypher/load."""
    query = query_named(name, "load")
    return tx.run(query.text, **query.bind(params))


def send(tx: Transaction, name: str, /, **params: Any) -> None:
    """Run a query of cypher/load whose rows nobody needs, without waiting for it."""
    query = query_named(name, "load")
    tx.send(query.text, **query.bind(params))


def batches(rows: list[T], size: int = BATCH) -> list[list[T]]:
    """The rows, some at a time."""
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def edge_batches(edges: pd.DataFrame, size: int = BATCH) -> Iterator[pd.DataFrame]:
    """The rows of a table, some at a time."""
    return (edges.iloc[at : at + size] for at in range(0, len(edges), size))


def columns(rows: pd.DataFrame) -> list[list[Any]]:
    """The columns of a table of numbers as plain Python."""
    return [rows[name].tolist() for name in rows]


def _flows_of_rows(rows: GraphRows, entries: dict[tuple[int, int], Entry]) -> list[Flow]:
    elements = [entries[entry].element for entry in rows.entries]
    return [(elements[source], elements[target], *sums) for source, target, *sums in tuples(rows.flows)]
