"""An AttributionGraph as rows for the database; pure, no connection."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tracer.graph import AttributionGraph, GraphMetadata
from tracer.schema import NODE_COLUMNS, NODE_LABELS, NodeKind

GRAPH_PROPERTIES = (
    "slug", "prompt", "tokens", "model", "source_set", "n_layers", "origin", "complete", "target",
    "replacement_score", "completeness_score",
)  # fmt: skip
LABEL_KEY_LENGTH = 1900  # an index entry holds 8 kB at most, a character up to 4 bytes


@dataclass(frozen=True)
class GraphRows:
    """What is stored of one graph: its kept nodes and edges, with the shares and influence of the whole graph."""

    graph: dict[str, Any]
    """Properties of (:Graph)."""
    nodes: dict[str, list[dict[str, Any]]]
    """Second label of (:Node) -> properties of each node."""
    features: list[tuple[str, int, int, str]]
    """(node_id, layer, index, label) of each active feature."""
    edges: list[tuple[str, str, float, float, int]]
    """(source node_id, target node_id, effect, share, rank_in)."""


def graph_rows(graph: AttributionGraph) -> GraphRows:
    """The rows of the pruned graph."""
    keep = graph.nodes["kept"].to_numpy()
    rank_in = ranks_in(graph)
    edges = graph.edges
    rows = np.flatnonzero(edges.kept & keep[edges.source] & keep[edges.target])
    ids = graph.nodes["node_id"].to_numpy()
    columns = (
        ids[edges.source[rows]], ids[edges.target[rows]], edges.effect[rows], edges.share[rows], rank_in[rows]
    )  # fmt: skip
    nodes = _nodes(graph, keep)
    about = {name: getattr(graph.metadata, name) for name in GRAPH_PROPERTIES}
    about |= {"graph_id": graph.graph_id, "tokens": list(graph.metadata.tokens)}
    about |= {"n_nodes": int(keep.sum()), "n_edges": len(rows)}
    features = nodes[NODE_LABELS[NodeKind.FEATURE]]
    return GraphRows(
        about,
        nodes,
        [(row["node_id"], row["layer"], row["index"], row["label"]) for row in features],
        list(zip(*(column.tolist() for column in columns), strict=True)),
    )


def graph_from_rows(
    graph: dict[str, Any], nodes: list[dict[str, Any]], edges: list[dict[str, Any]]
) -> AttributionGraph:
    """The pruned graph again, under the graph_id of the whole one, with the shares and influence of the whole one.

    Args:
        graph: Properties of (:Graph).
        nodes: Rows of the query `graph_nodes`.
        edges: Rows of the query `graph_edges`.
    """
    place = {kind.value: at for at, kind in enumerate(NodeKind)}
    nodes = sorted(nodes, key=lambda row: place[row["kind"]])
    row_of = {row["node_id"]: at for at, row in enumerate(nodes)}
    source, target = (np.array([row_of[edge[name]] for edge in edges], np.int32) for name in ("source", "target"))
    effect, share = (np.array([edge[name] for edge in edges], np.float32) for name in ("effect", "share"))
    about: dict[str, Any] = {name: graph.get(name) for name in GRAPH_PROPERTIES}
    about |= {"tokens": tuple(graph["tokens"]), "complete": False}
    table = pd.DataFrame(nodes, columns=[name for name in NODE_COLUMNS if name != "kept"])
    built = AttributionGraph.build(table, source, target, effect, GraphMetadata(**about))
    order = np.lexsort((source, target))  # as `build` sorts
    fetched = replace(built, edges=replace(built.edges, share=share[order]))
    vars(fetched)["graph_id"] = graph["graph_id"]  # the hash is over the whole graph, which is not at hand
    return fetched


def label_key(text: str) -> str:
    """What texts are looked up by: no case, single blanks inside and none outside, not too long for an index.

    >>> label_key(" Dallas")
    'dallas'
    """
    return " ".join(text.split()).lower()[:LABEL_KEY_LENGTH]  # as Cypher's toLower


def ranks_in(graph: AttributionGraph) -> np.ndarray:
    """(E,) 1 for the edge with the largest share into its target, 2 for the next, over all edges of the graph."""
    edges = graph.edges
    order = np.lexsort((edges.source, -edges.share, edges.target))
    sorted_target = edges.target[order]
    starts = np.searchsorted(sorted_target, sorted_target, side="left")
    rank = np.empty(len(edges), np.int64)
    rank[order] = np.arange(len(edges)) - starts + 1
    return rank


def _nodes(graph: AttributionGraph, keep: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    names = [name for name in NODE_COLUMNS if name != "kept"]
    kept = graph.nodes.loc[keep, names]
    rows: dict[str, list[dict[str, Any]]] = {label: [] for label in NODE_LABELS.values()}
    for values in zip(*(kept[name].tolist() for name in names), strict=True):
        row = {name: value for name, value in zip(names, values, strict=True) if value == value}  # NaN is not itself
        row |= {"graph_id": graph.graph_id, "label_key": label_key(row["label"])}
        rows[NODE_LABELS[NodeKind(row["kind"])]].append(row)
    return rows
