"""`throughline show`: the top of one graph in the terminal."""

from typing import Any

import numpy as np
from rich.text import Text

from app.circuits_report import node_name, path_text
from app.terminal import Format, new_console, print_json, print_rows
from circuits.paths import Path, strongest_paths
from tracer.display import explained_features, top_nodes
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

OUTPUT, FEATURE, EDGE = "probability", "influence", "effect"
REST = ("remainder", "left_out")
CSV_COLUMNS = ["part", "rank", "text", "node_id", "measure", "value"]


def print_graph(graph: AttributionGraph, n: int, format: Format) -> None:
    """Print what a graph is of, and the n outputs, features, edges into the first target and paths that lead."""
    top = top_of(graph, n)
    if format == "json":
        return print_json(top)
    if format == "csv":
        return print_rows(CSV_COLUMNS, _flat_rows(top), "csv")
    console = new_console()
    for line in _head(graph):
        console.print(Text(line), soft_wrap=True)
    targets = top["explained"] or top["outputs"]
    first = targets[0]["text"] if targets else ""
    parts = {
        "Features that are explained": ("explained", ["text", "activation", "node_id"]),
        "Outputs": ("outputs", ["text", "probability", "node_id"]),
        "Most influential features": ("features", ["text", "activation", "influence", "node_id"]),
        f"Strongest direct effects on {first!r}": ("edges_into", ["text", "effect", "share", "node_id"]),
    }
    for title, (name, columns) in parts.items():
        if top[name]:
            console.print(Text(f"\n{title}", "bold"))
            print_rows(columns, top[name], "table")
    if top["paths"]:
        end = "an explained feature" if top["explained"] else "an output"
        console.print(Text(f"\nStrongest indirect paths from a token to {end}", "bold"))
    for path in top["paths"]:
        console.print(Text(path_text(path)), soft_wrap=True)


def top_of(graph: AttributionGraph, n: int) -> dict[str, Any]:
    """The same as plain data: what the graph is of, and its n leading outputs, features, edges and paths."""
    about = graph.metadata
    names = ("slug", "prompt", "model", "source_set", "origin", "target", "complete")
    scores = ("replacement_score", "completeness_score")
    outputs, explained = top_nodes(graph, NodeKind.LOGIT, n), explained_features(graph)
    targets = explained or outputs
    return {
        "graph_id": graph.graph_id,
        **{name: getattr(about, name) for name in (*names, *scores)},
        "tokens": list(about.tokens),
        "nodes": len(graph.nodes),
        "edges": len(graph.edges),
        "kept_nodes": int(graph.nodes["kept"].to_numpy().sum()),
        "kept_edges": int(graph.edges.kept.sum()),
        "outputs": [_node(node) | {name: _known(node[name]) for name in (OUTPUT, *REST)} for node in outputs],
        "explained": [_node(node) | {name: _known(node[name]) for name in ("activation", *REST)} for node in explained],
        "features": [
            _node(node) | {name: _known(node[name]) for name in ("activation", FEATURE, *REST)}
            for node in top_nodes(graph, NodeKind.FEATURE, n)
        ],
        "edges_into": _edges_into(graph, targets[0]["node_id"], n) if targets else [],
        "paths": [_path(graph, path) for path in _paths(graph, explained, n)],
    }


def _known(value: float) -> float | None:
    """None for NaN: a difference of outputs has no probability."""
    return None if np.isnan(value) else value


def _edges_into(graph: AttributionGraph, node_id: str, n: int) -> list[dict[str, Any]]:
    edges = graph.edges
    into = np.flatnonzero(edges.target == graph.row_of(node_id))
    strongest = into[np.argsort(-np.abs(edges.effect[into]), kind="stable")[:n]]
    return [
        _node(graph.nodes.iloc[source].to_dict()) | {EDGE: effect, "share": share}
        for source, effect, share in zip(
            *(getattr(edges, name)[strongest].tolist() for name in ("source", "effect", "share")), strict=True
        )
    ]


def _paths(graph: AttributionGraph, explained: list[dict[str, Any]], n: int) -> list[Path]:
    tokens, outputs = (np.arange(len(graph.nodes))[graph.slice_of(kind)] for kind in (NodeKind.TOKEN, NodeKind.LOGIT))
    targets = np.array([graph.row_of(node["node_id"]) for node in explained]) if explained else outputs
    if not len(tokens) or not len(targets):
        return []
    return strongest_paths(graph, [tokens, targets], n, min_hops=2)  # a single hop is an edge, which is listed above


def _node(node: dict[str, Any]) -> dict[str, Any]:
    return {"text": node_name(node), **{name: node[name] for name in ("node_id", "kind", "layer", "position")}}


def _path(graph: AttributionGraph, path: Path) -> dict[str, Any]:
    columns = ["node_id", "kind", "label", "layer", "position"]
    return {
        "strength": path.strength,
        "nodes": graph.nodes.iloc[list(path.rows)][columns].to_dict("records"),
        "edges": [{"effect": effect, "share": share} for effect, share in zip(path.effects, path.shares, strict=True)],
    }


def _flat_rows(top: dict[str, Any]) -> list[dict[str, Any]]:
    """Every part in the same columns, for a spreadsheet."""
    parts = {"output": ("outputs", OUTPUT), "feature": ("features", FEATURE), "edge": ("edges_into", EDGE)}
    rows = [
        {"part": part, "rank": rank, "text": row["text"], "node_id": row["node_id"], "measure": by, "value": row[by]}
        for part, (name, by) in parts.items()
        for rank, row in enumerate(top[name], start=1)
    ]
    rows += [
        {"part": "path", "rank": rank, "text": " -> ".join(node_name(node) for node in path["nodes"]),
         "node_id": " ".join(node["node_id"] for node in path["nodes"]), "measure": "strength",
         "value": path["strength"]}
        for rank, path in enumerate(top["paths"], start=1)
    ]  # fmt: skip
    return rows


def _head(graph: AttributionGraph) -> list[str]:
    about = graph.metadata
    scores = {"replacement score": about.replacement_score, "completeness score": about.completeness_score}
    kept = int(graph.nodes["kept"].to_numpy().sum())
    told = [f"{name} {value:.3f}" for name, value in scores.items() if value is not None]
    return [
        about.prompt,
        f"graph_id {graph.graph_id}, {about.model}, {about.source_set}, computed by {about.origin}",
        f"{len(graph.nodes):,} nodes and {len(graph.edges):,} direct effects, pruned to "
        f"{kept:,} and {int(graph.edges.kept.sum()):,}",
        *([", ".join(told)] if told else []),
    ]
