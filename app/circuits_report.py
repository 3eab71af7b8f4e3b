"""Circuits as the command line prints them: one row a graph with its strongest path, and the Cypher behind it."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from app.terminal import Format, notes, print_rows
from circuits.search import Circuit

ROW_COLUMNS = ["graph_id", "slug", "prompt", "flow", "binding", "paths"]


def print_circuits(circuits: Sequence[Circuit], cypher: str, format: Format) -> None:
    """Print circuits, strongest first; JSON and CSV rows carry graph_id, slug, prompt, flow and paths."""
    if format != "table":
        return print_rows(ROW_COLUMNS, [circuit.as_row() for circuit in circuits], format)
    console = Console(highlight=False)
    for circuit in circuits:
        row = circuit.as_row()
        bound = "  (" + ", ".join(row["binding"].values()) + ")" if row["binding"] else ""
        line = Text.assemble((f"{row['flow']:8.4f}  ", "bold"), row["prompt"], bound, (f"  [{row['slug']}]", "dim"))
        console.print(line, soft_wrap=True)
        for path in row["paths"][:1]:
            console.print(Text(f"          {path_text(path)}"), soft_wrap=True)
    if not circuits:
        notes.print("No graph has these waypoints in this order.", markup=False)
    if cypher:
        console.print(Text("\nThe same question in Cypher (throughline cypher -):", "dim"))
        console.print(Text(cypher, "dim"), soft_wrap=True)


def path_text(path: dict[str, Any]) -> str:
    """A path with the share of each edge, e.g. `Dallas --42%--> Texas --31%--> Austin  (strength 0.13)`.

    >>> path_text({"strength": 0.125, "nodes": [{"label": " Dallas", "kind": "token"}, {"label": "Texas",
    ...     "kind": "feature"}], "edges": [{"effect": -2.0, "share": 0.125}]})
    'Dallas --(−12%)--> Texas  (strength 0.125)'
    """
    names = [node_name(node) for node in path["nodes"]]
    arrows = [f" --({'−' if edge['effect'] < 0 else ''}{100 * edge['share']:.0f}%)--> " for edge in path["edges"]] + [
        ""
    ]
    walk = "".join(name + arrow for name, arrow in zip(names, arrows, strict=True))
    return f"{walk}  (strength {path['strength']:.3g})"


def node_name(node: dict[str, Any]) -> str:
    """What people call a node: its label, else its id; errors are named as such."""
    if node["kind"] == "error":
        return f"error {node['node_id']}"
    return node["label"].strip() or node["node_id"]
