"""An AttributionGraph as rows for the database; pure, no connection."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from circuits.supernodes import supernodes_of
from ingest.labels import EDITED
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
    features: list[tuple[int, int, int, str]]
    """(row of the node, layer, index, label) of each active feature; rows count through `nodes` in its order."""
    edges: pd.DataFrame
    """Columns: row of the source, row of the target, effect, share, rank_in."""
    flows: pd.DataFrame
    """Columns: source, target, edges, sum of their shares in whole billionths; summed over the positions of two entries
    of the dictionary; source and target count through `entries`."""
    entries: list[tuple[int, int]]
    """(layer, index) of each entry of the dictionary that is active here, sorted."""
    supernodes: list[dict[str, Any]]
    """Properties of each (:Supernode): name, members, method, by, score, promote, same_sign."""


def graph_rows(graph: AttributionGraph) -> GraphRows:
    """The rows of the pruned graph."""
    keep = graph.nodes["kept"].to_numpy()
    edges, rank_in = graph.edges, ranks_in(graph)
    rows = np.flatnonzero(edges.kept & keep[edges.source] & keep[edges.target])
    row_of = np.cumsum(keep) - 1  # kinds stand together in a graph, in the order of NODE_LABELS
    source, target, share = row_of[edges.source[rows]], row_of[edges.target[rows]], edges.share[rows]
    columns = {"source": source, "target": target, "effect": edges.effect[rows].astype(np.float64)}
    columns |= {"share": share.astype(np.float64), "rank_in": rank_in[rows]}  # numbers as the database keeps them
    nodes = _nodes(graph, keep)
    about = {name: getattr(graph.metadata, name) for name in GRAPH_PROPERTIES}
    about |= {"graph_id": graph.graph_id, "tokens": list(graph.metadata.tokens)}
    about |= {"n_nodes": int(keep.sum()), "n_edges": len(rows)}
    features = nodes[NODE_LABELS[NodeKind.FEATURE]]
    entries = sorted({(row["layer"], row["index"]) for row in features})
    number = {entry: at for at, entry in enumerate(entries)}
    entry_of = np.full(int(keep.sum()), -1)
    entry_of[: len(features)] = [number[row["layer"], row["index"]] for row in features]  # features come first
    return GraphRows(
        about,
        nodes,
        [(at, row["layer"], row["index"], row["label"]) for at, row in enumerate(features)],
        pd.DataFrame(columns),
        _flows(entry_of[source], entry_of[target], share),
        entries,
        [supernode.as_row(graph) for supernode in supernodes_of(graph)],
    )


def node_labels(graph: AttributionGraph) -> list[dict[str, Any]]:
    """The labels of the kept features, with what they are looked up by and whether somebody edited them."""
    features = graph.nodes[graph.slice_of(NodeKind.FEATURE)]
    columns = (features.loc[features["kept"], name].tolist() for name in ("node_id", "label", "label_note"))
    return [
        {"node_id": node_id, "label": label, "label_key": label_key(label), "label_note": note,
         "edited": note.startswith(EDITED)}
        for node_id, label, note in zip(*columns, strict=True)
    ]  # fmt: skip


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


def tuples(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows of a table of numbers as plain Python."""
    return list(zip(*(rows[name].tolist() for name in rows), strict=True))


def _flows(source: np.ndarray, target: np.ndarray, share: np.ndarray) -> pd.DataFrame:
    """Direct effects between entries, summed; -1 is a node that is no feature."""
    between = (source >= 0) & (target >= 0)
    billionths = np.floor(share[between].astype(np.float64) * 1e9 + 0.5).astype(np.int64)
    pairs, at = np.unique(np.stack([source[between], target[between]]), axis=1, return_inverse=True)
    total = np.zeros(pairs.shape[1], np.int64)  # whole numbers, so that the sum does not depend on the order
    np.add.at(total, at.ravel(), billionths)
    counts = np.bincount(at.ravel(), minlength=pairs.shape[1])
    return pd.DataFrame({"source": pairs[0], "target": pairs[1], "edges": counts, "billionths": total})


def _nodes(graph: AttributionGraph, keep: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    names = [name for name in NODE_COLUMNS if name != "kept"]
    kept = graph.nodes.loc[keep, names]
    rows: dict[str, list[dict[str, Any]]] = {label: [] for label in NODE_LABELS.values()}
    for values in zip(*(kept[name].tolist() for name in names), strict=True):
        row = {name: value for name, value in zip(names, values, strict=True) if value == value}  # NaN is not itself
        row |= {"graph_id": graph.graph_id, "label_key": label_key(row["label"])}
        rows[NODE_LABELS[NodeKind(row["kind"])]].append(row)
    return rows
