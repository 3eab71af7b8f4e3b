"""What a person wants kept who works in the link graph: a feature's label, or groups of nodes as supernodes."""

import getpass
from typing import Any

from ingest.grouping import keep_supernodes
from ingest.labels import Label, now
from ingest.library import Library
from ingest.load import edit_label
from ingest.store import GraphStore
from tracer.errors import PatternError
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind


def keep_order(order: dict[str, Any], graph: AttributionGraph, store: GraphStore, library: Library) -> str:
    """Keep it in library and database, as `throughline labels edit` and `supernodes edit` do; gives a line on it.

    Args:
        order: {"what": "label", "node_id", "text"}, or {"what": "supernodes", "groups": [{name, members}], "gone"}.

    Raises:
        PatternError: It names a node that is not there, or no feature.
    """
    by = getpass.getuser()
    if order["what"] == "label":
        return _keep_label(order["node_id"], order["text"].strip(), by, graph, store, library)
    members = {group["name"]: group["members"] for group in order["groups"]}
    rows = keep_supernodes(graph.graph_id, members, store, library, order["gone"], by)
    kept = ", ".join(_with_score(row) for row in rows)
    gone = ", ".join(order["gone"])
    return "; ".join(part for part in (f"Kept: {kept}" * bool(kept), f"Taken away: {gone}" * bool(gone)) if part)


def _keep_label(node_id: str, text: str, by: str, graph: AttributionGraph, store: GraphStore, library: Library) -> str:
    node = graph.nodes.iloc[graph.row_of(node_id)]
    if node["kind"] != NodeKind.FEATURE:
        raise PatternError(f"{node_id!r} is a node of kind {node['kind']}; expected a feature. Name one.")
    edit = Label(int(node["layer"]), int(node["index"]), text, "edit", by, graph.graph_id, now())
    changed = edit_label(graph.metadata.source_set, edit, store, library)
    return f"{text or 'No label'}: shown in {len(changed):,} graph" + ("" if len(changed) == 1 else "s")


def _with_score(row: dict[str, Any]) -> str:
    score = "" if row["score"] is None else f", score {row['score']:.2f}"
    return f"{row['name']} ({row['size']} nodes{score})"
