"""A graph in the shapes that a notebook wants: networkx, pandas, and a page of HTML with a drawing."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tracer.schema import NodeKind

if TYPE_CHECKING:
    import networkx

    from tracer.graph import AttributionGraph

DRAWN_NODES = 40  # of each drawing the most influential; more overlap at this size
DRAWN_EDGES = 120  # likewise the strongest
LISTED = 8  # rows of a table
CUT, TOKEN_CUT = 60, 12  # characters of a label in a table, of a token below the drawing
WIDTH, HEIGHT, MARGIN = 720, 400, 34  # of the drawing, in pixels
FILLS = {  # readable on white and on black
    NodeKind.FEATURE: "#3b82c4",
    NodeKind.ERROR: "#9a9a9a",
    NodeKind.TOKEN: "#3d9a50",
    NodeKind.LOGIT: "#c77d1e",
    NodeKind.BIAS: "#b0a040",
}


def to_networkx(graph: "AttributionGraph") -> "networkx.DiGraph":
    """The graph as a `networkx.DiGraph`: nodes by node_id, edges in the direction of effects, their columns as data.

    Values that are not there (the activation of a token, the probability of a feature) are left out.
    """
    import networkx  # slow to import

    about = graph.metadata
    names = ("slug", "prompt", "model", "source_set", "n_layers", "origin", "complete", "target")
    made = networkx.DiGraph(graph_id=graph.graph_id, **{name: getattr(about, name) for name in names})
    for node in graph.nodes.to_dict("records"):
        made.add_node(node["node_id"], **{str(k): v for k, v in node.items() if k != "node_id" and v == v})
    for source, target, *values in to_pandas(graph)[1].itertuples(index=False):
        made.add_edge(source, target, **dict(zip(("effect", "share", "kept"), values, strict=True)))
    return made


def to_pandas(graph: "AttributionGraph") -> tuple[pd.DataFrame, pd.DataFrame]:
    """(nodes, edges) as tables of their own; edges name their ends by node_id."""
    ids, edges = graph.nodes["node_id"].to_numpy(), graph.edges
    columns = {"source": ids[edges.source], "target": ids[edges.target]}
    columns |= {name: getattr(edges, name) for name in ("effect", "share", "kept")}
    return graph.nodes.copy(), pd.DataFrame(columns)


def to_html(graph: "AttributionGraph") -> str:
    """The graph as a piece of HTML that needs nothing else: prompt, scores, drawing, outputs, strongest features.

    Nothing in it is a script, and every text of the graph is escaped: labels come from files of other people.
    """
    about = graph.metadata
    kept, kept_edges = int(graph.nodes["kept"].to_numpy().sum()), int(graph.edges.kept.sum())
    facts = [
        f"{about.model}, {about.source_set}",
        f"{len(graph.nodes):,} nodes and {len(graph.edges):,} direct effects, pruned to {kept:,} and {kept_edges:,}",
        *(
            f"{name} score {value:.3f}"
            for name, value in (("replacement", about.replacement_score), ("completeness", about.completeness_score))
            if value is not None
        ),
        f"graph_id {graph.graph_id}",
    ]
    explained = [
        (_text(node), f"{node['layer']}/{node['index']}", node["position"], f"{node['activation']:.3g}")
        for node in explained_features(graph)
    ]
    outputs = [
        (_text(node), "" if math.isnan(node["probability"]) else f"{node['probability']:.3f}")  # a difference has none
        for node in top_nodes(graph, NodeKind.LOGIT, LISTED)
    ]
    features = [
        (_text(node), f"{node['layer']}/{node['index']}", node["position"], f"{node['activation']:.3g}",
         f"{node['influence']:.3f}")
        for node in top_nodes(graph, NodeKind.FEATURE, LISTED)
    ]  # fmt: skip
    return (
        '<div style="font-family: sans-serif; font-size: 13px; max-width: 760px">'
        f"<p><b>{_safe(about.prompt, 400)}</b><br>{'<br>'.join(_safe(fact, 200) for fact in facts)}</p>"
        f"{_drawing(graph)}"
        f"{_table(('explained feature', 'layer/index', 'position', 'activation'), explained)}"
        f"{_table(('output', 'probability'), outputs)}"
        f"{_table(('feature', 'layer/index', 'position', 'activation', 'influence'), features)}"
        "</div>"
    )


def top_nodes(graph: "AttributionGraph", kind: NodeKind, n: int) -> list[dict[str, Any]]:
    """The n nodes of this kind that matter most: outputs by probability, others by influence."""
    nodes = graph.nodes[graph.slice_of(kind)]
    by = "probability" if kind is NodeKind.LOGIT else "influence"
    return nodes.sort_values(by, ascending=False, kind="stable").head(n).to_dict("records")  # type: ignore[return-value]


def explained_features(graph: "AttributionGraph") -> list[dict[str, Any]]:
    """The features that the graph explains instead of outputs; their probability is 1."""
    nodes = graph.nodes[graph.slice_of(NodeKind.FEATURE)]
    return nodes[nodes["probability"] == 1].to_dict("records") if graph.metadata.target == "feature" else []  # type: ignore[return-value]


def _text(node: dict[str, Any]) -> str:
    return node["label"].strip() or node["node_id"]


def _safe(text: str, cut: int = CUT) -> str:
    return escape(text if len(text) <= cut else text[: cut - 1] + "…")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    head = "".join(f"<th style='text-align: left'>{escape(name)}</th>" for name in columns)
    # bdi: a label written from right to left must not turn round the numbers beside it
    cells = (
        "".join(f"<td style='text-align: left'><bdi>{_safe(str(cell))}</bdi></td>" for cell in row) for row in rows
    )
    return f"<table style='font-size: 13px'><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


# ----------------------------------------------------------------------------------------------------------- drawing


def _drawing(graph: "AttributionGraph") -> str:
    """The most influential kept nodes, tokens below and outputs above, with the strongest edges between them."""
    nodes, edges = graph.nodes, graph.edges
    shown = _shown_rows(nodes)
    is_shown = np.zeros(len(nodes), bool)
    is_shown[shown] = True
    inside = np.flatnonzero(edges.kept & is_shown[edges.source] & is_shown[edges.target])
    size_E = edges.share[inside] * np.maximum(nodes["influence"].to_numpy()[edges.target[inside]], 1e-6)
    strongest = inside[np.argsort(-size_E, kind="stable")[:DRAWN_EDGES]]
    place = _places(graph, shown)
    lines = [
        f'<line x1="{place[s][0]:.1f}" y1="{place[s][1]:.1f}" x2="{place[t][0]:.1f}" y2="{place[t][1]:.1f}" '
        f'stroke="{"#b04a4a" if effect < 0 else "#7a7a7a"}" stroke-width="{0.4 + 4 * share:.2f}" opacity="0.55"/>'
        for s, t, effect, share in zip(
            *(getattr(edges, name)[strongest].tolist() for name in ("source", "target", "effect", "share")), strict=True
        )
    ]
    dots = [_dot(nodes.iloc[row].to_dict(), *place[row]) for row in shown]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="attribution graph">{"".join(lines)}{"".join(dots)}</svg>'
    )


def _shown_rows(nodes: pd.DataFrame) -> list[int]:
    """Tokens, outputs and the most influential others, all of them kept."""
    kept_N, influence_N = nodes["kept"].to_numpy(), nodes["influence"].to_numpy()
    ends_N = np.isin(nodes["kind"].to_numpy(), [NodeKind.TOKEN, NodeKind.LOGIT])
    rows = (np.flatnonzero(kept_N & which_N) for which_N in (ends_N, ~ends_N))
    return sorted(row for some in rows for row in some[np.argsort(-influence_N[some], kind="stable")[:DRAWN_NODES]])


def _places(graph: "AttributionGraph", shown: list[int]) -> dict[int, tuple[float, float]]:
    """Where a node is drawn: across by its token, up by its layer; nodes of one place stand side by side."""
    n_tokens, n_layers = max(len(graph.metadata.tokens), 1), graph.metadata.n_layers
    column = (WIDTH - 2 * MARGIN) / n_tokens
    cells: dict[tuple[int, int], list[int]] = {}
    for row in shown:
        layer, position = (int(graph.nodes[name].iloc[row]) for name in ("layer", "position"))
        cells.setdefault((layer, position), []).append(row)
    places = {}
    for (layer, position), rows in cells.items():
        y = HEIGHT - MARGIN - (layer + 1) / (n_layers + 1) * (HEIGHT - 2 * MARGIN)
        for at, row in enumerate(rows, start=1):
            x = MARGIN + column * (position + at / (len(rows) + 1))
            places[row] = (x if position >= 0 else MARGIN / 2, y)  # a bias belongs to no token
    return places


def _dot(node: dict[str, Any], x: float, y: float) -> str:
    kind = NodeKind(node["kind"])
    radius = 2.5 + 6 * float(np.sqrt(min(max(node["influence"], 0.0), 1.0)))
    title = f"{kind}: {_text(node)} (layer {node['layer']}, position {node['position']}, {node['influence']:.3f})"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{FILLS[kind]}"><title>{_safe(title, 300)}</title>'
    if kind not in (NodeKind.TOKEN, NodeKind.LOGIT):
        return dot + "</circle>"
    below = y + (18 if kind is NodeKind.TOKEN else -10)
    text = f'<text x="{x:.1f}" y="{below:.1f}" font-size="10" text-anchor="middle" fill="{FILLS[kind]}">'
    return f"{dot}</circle>{text}{_safe(_text(node), TOKEN_CUT)}</text>"
