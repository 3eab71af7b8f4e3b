"""Graphs as the files that Neo4j's import tool reads: what `writing.add_graph` would have written of all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from ingest.rows import GraphRows
from tracer.schema import NODE_COLUMNS, NODE_LABELS

MERGE_AT = 2_000_000  # links between features that wait to be summed: 70 MB
SHIFT = 32  # bits of the number of a feature, so that a link has one number
NODE_PROPERTIES = {name: column.dtype for name, column in NODE_COLUMNS.items() if name != "kept"} | {
    "graph_id": "str",
    "label_key": "str",
}
TYPES = {"str": ("string", pa.string()), "int": ("long", pa.int64()), "float": ("double", pa.float64())}
NODES, GRAPHS, FEATURES = "nodes.csv", "graphs.csv", "features.csv"
START, END = ":START_ID", ":END_ID"


class ImportFiles:
    """The files of one import, written graph by graph.

    Nodes are named by the number that the database will give them: first those of all graphs in their order, then a
    (:Graph) each, then the features. (:Graph) gets no more than its graph_id here: its properties are left in `graphs`,
    for Cypher to set, which knows lists and times, and the few `supernodes` for Cypher to make.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.graphs: list[dict[str, Any]] = []
        self.supernodes: dict[str, list[dict[str, Any]]] = {}
        self.counts: dict[str, int] = dict.fromkeys([*NODE_LABELS.values(), "AFFECTS"], 0)
        """Label or type -> how many there are, as `GraphStore.schema_counts` tells them; complete after `finish`."""
        self._nodes = csv.CSVWriter(folder / NODES, _NODE_SCHEMA)
        self._edges = csv.CSVWriter(folder / "AFFECTS.csv", _EDGE_SCHEMA)
        self._n_nodes: list[int] = []
        self._ties: list[np.ndarray] = []
        self._numbers: dict[tuple[str, int, int], int] = {}
        self._labels: list[str] = []
        self._n_graphs: list[int] = []
        self._flows = pd.DataFrame(dict.fromkeys(("link", *_SUMMED), np.zeros(0, np.int64)))
        self._waiting: list[pd.DataFrame] = []

    def add(self, rows: GraphRows) -> None:
        """Write a graph, which comes once."""
        begin = sum(self._n_nodes)
        nodes = [(label, node) for label, some in rows.nodes.items() for node in some]
        for label, some in rows.nodes.items():
            self.counts[label] += len(some)
        columns = [
            pa.array([node.get(name) for _, node in nodes], field.type)
            for name, field in zip(NODE_PROPERTIES, list(_NODE_SCHEMA)[2:], strict=True)
        ]
        ids = pa.array(np.arange(begin, begin + len(nodes)))
        labels = pa.array([f"Node;{label}" for label, _ in nodes], pa.string())
        self._nodes.write_table(pa.table([ids, labels, *columns], _NODE_SCHEMA))
        edges = rows.edges.assign(source=rows.edges["source"] + begin, target=rows.edges["target"] + begin)
        self._edges.write_table(pa.table([edges[name].to_numpy() for name in edges], _EDGE_SCHEMA))
        self.counts["AFFECTS"] += len(edges)
        self._add_features(rows, begin)
        self._n_nodes.append(len(nodes))
        self.graphs.append(rows.graph)
        if rows.supernodes:
            self.supernodes[rows.graph["graph_id"]] = rows.supernodes

    def finish(self) -> list[str]:
        """Write what is known only now; returns what to tell the import tool, which is run in this folder."""
        self._nodes.close()
        self._edges.close()
        self._merge_flows()
        n_nodes, n_graphs, n_features = sum(self._n_nodes), len(self.graphs), len(self._labels)
        graph_numbers = np.arange(n_graphs) + n_nodes
        first_feature = n_nodes + n_graphs
        self._write(GRAPHS, {":ID": graph_numbers, "graph_id:string": [graph["graph_id"] for graph in self.graphs]})
        self._write(FEATURES, self._feature_columns(first_feature))
        self._write("IN.csv", {START: np.arange(n_nodes), END: np.repeat(graph_numbers, self._n_nodes)})
        ties = np.concatenate(self._ties, axis=1) if self._ties else np.zeros((2, 0), np.int64)
        self._write("INSTANCE_OF.csv", {START: ties[0], END: ties[1] + first_feature})
        self._write("FLOWS_TO.csv", self._flow_columns(first_feature))
        self.counts |= {"Node": n_nodes, "Graph": n_graphs, "Feature": n_features}
        self.counts |= {"IN": n_nodes, "INSTANCE_OF": ties.shape[1], "FLOWS_TO": len(self._flows)}
        self.counts = {name: n for name, n in self.counts.items() if n}
        return [
            "--id-type=actual",
            "--multiline-fields-format=v2",  # labels may have line ends; other files are read faster
            f"--multiline-fields=./{NODES},./{FEATURES}",
            f"--nodes=./{NODES}",
            f"--nodes=Graph=./{GRAPHS}",
            f"--nodes=Feature=./{FEATURES}",
            *(f"--relationships={name}=./{name}.csv" for name in ("AFFECTS", "IN", "INSTANCE_OF", "FLOWS_TO")),
        ]

    def _add_features(self, rows: GraphRows, begin: int) -> None:
        source_set = rows.graph["source_set"]
        number = []
        for _, layer, index, label in rows.features:
            at = self._numbers.setdefault((source_set, layer, index), len(self._labels))
            if at == len(self._labels):
                self._labels.append("")
                self._n_graphs.append(0)
            self._labels[at] = self._labels[at] or label  # the first one, as add_features.cypher has it
            number.append(at)
        place = np.array([row[0] for row in rows.features], np.int64) + begin
        self._ties.append(np.stack([place, np.array(number, np.int64)]))
        entries = np.array([self._numbers[source_set, *entry] for entry in rows.entries], np.int64)
        for at in entries.tolist():
            self._n_graphs[at] += 1
        flows = rows.flows
        link = (entries[flows["source"]] << SHIFT) | entries[flows["target"]]
        self._waiting.append(
            pd.DataFrame({"link": link, "graphs": 1, "edges": flows["edges"], "billionths": flows["billionths"]})
        )
        if sum(map(len, self._waiting)) > MERGE_AT:
            self._merge_flows()

    def _merge_flows(self) -> None:
        """Sum what waits into one row for each link."""
        rows = pd.concat([self._flows, *self._waiting], ignore_index=True)
        self._flows, self._waiting = pd.DataFrame(rows.groupby("link", as_index=False).sum()), []

    def _feature_columns(self, first: int) -> dict[str, Any]:
        source_set, layer, index = zip(*self._numbers, strict=True) if self._numbers else ((), (), ())
        return {
            ":ID": np.arange(len(self._labels)) + first,
            "source_set:string": list(source_set),
            "layer:long": np.array(layer, np.int64),
            "index:long": np.array(index, np.int64),
            "label:string": self._labels,
            "graphs:long": np.array(self._n_graphs, np.int64),
        }

    def _flow_columns(self, first: int) -> dict[str, Any]:
        flows = self._flows
        link, edges, billionths = (flows[name].to_numpy() for name in ("link", "edges", "billionths"))
        return {
            START: (link >> SHIFT) + first,
            END: (link & ((1 << SHIFT) - 1)) + first,
            "graphs:long": flows["graphs"].to_numpy(),
            "edges:long": edges,
            "billionths:long": billionths,
            "mean_share:double": billionths * 1e-9 / edges,  # as add_flows.cypher has it
        }

    def _write(self, name: str, columns: dict[str, Any]) -> None:
        csv.write_csv(pa.table(columns), self.folder / name)


def _node_schema() -> pa.Schema:
    fields = [pa.field(":ID", pa.int64()), pa.field(":LABEL", pa.string())]
    for name, dtype in NODE_PROPERTIES.items():
        theirs, ours = TYPES[dtype.rstrip("0123456789")]
        fields.append(pa.field(f"{name}:{theirs}", ours))
    return pa.schema(fields)


_SUMMED = ("graphs", "edges", "billionths")
_NODE_SCHEMA = _node_schema()
_EDGE_SCHEMA = pa.schema(
    [
        pa.field(START, pa.int64()),
        pa.field(END, pa.int64()),
        pa.field("effect:double", pa.float64()),
        pa.field("share:double", pa.float64()),
        pa.field("rank_in:long", pa.int64()),
    ]
)
