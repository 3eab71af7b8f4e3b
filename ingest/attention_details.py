"""What CRM tells of attention features and no other program does: which nodes made a head look where.

It is kept with the graph as the file has it, as far as it is of the form that the public schema has for it; nodes are
named by our ids there and by the file's in files.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ingest.documents import Document, is_of, without_nan
from ingest.graph_json import QK_ONLY, QK_RESULTS, renamed

FIELDS = (QK_RESULTS, "lorsa_pattern")  # of a node
CONTRIBUTORS = {  # lists of rows, which are node_ids and an attribution
    "pair_wise_contributors": (str, str, float),
    "top_q_marginal_contributors": (str, float),
    "top_k_marginal_contributors": (str, float),
}
NEEDED = {"node_id": str, "feature_type": str, "layer": (int, str), "ctx_idx": int, "jsNodeId": str, "clerp": str}
OPTIONAL = {"feature": int, "activation": float}
ODD = "values_of_wrong_kind"


def read_details(file: Document, entries: Iterable[dict[str, Any]], ours: Mapping[str, str]) -> dict[str, Any]:
    """`node_details` by our node_id, and `qk_only_nodes`; neither where there is none.

    Args:
        entries: The nodes of the file.
        ours: Its node_id -> ours.
    """
    details: dict[str, Any] = {}
    for entry in entries:
        told = {name: entry[name] for name in FIELDS if entry.get(name)}
        if QK_RESULTS in told and (found := _contributors(file, told.pop(QK_RESULTS))):
            told[QK_RESULTS] = renamed(found, ours)
        if told:
            details.setdefault(ours[entry["node_id"]], without_nan(told))
    found = {"node_details": details, QK_ONLY: _descriptors(file, file.root.get(QK_ONLY))}
    return {name: some for name, some in found.items() if some}


def _contributors(file: Document, value: Any) -> dict[str, list[list[Any]]]:
    """All three lists, without what is no row."""
    if not isinstance(value, dict):
        file.repairs[ODD] += 1
        return {}
    found = {}
    for name, kinds in CONTRIBUTORS.items():
        rows = value.get(name, [])
        found[name] = [row for row in rows if _is_row(row, kinds)] if isinstance(rows, list) else []
        file.repairs[ODD] += len(rows) - len(found[name]) if isinstance(rows, list) else 1
    return found if any(found.values()) else {}


def _is_row(row: Any, kinds: tuple[type, ...]) -> bool:
    if not isinstance(row, list) or len(row) != len(kinds):
        return False
    return math.isfinite(row[-1]) if all(map(is_of, kinds, row)) else False


def _descriptors(file: Document, value: Any) -> dict[str, Any]:
    """Nodes that are none of the graph, without those that lack what the schema asks for."""
    if value is None:
        return {}
    found: dict[str, Any] = {}
    for key, node in value.items() if isinstance(value, dict) else ():
        if isinstance(node, dict) and all(_is_any(kinds, node.get(name)) for name, kinds in NEEDED.items()):
            odd = [name for name, kind in OPTIONAL.items() if not _is_any((kind, type(None)), node.get(name))]
            file.repairs[ODD] += len(odd)
            found[key] = without_nan({name: each for name, each in node.items() if name not in odd})
        else:
            file.repairs[ODD] += 1
    file.repairs[ODD] += not isinstance(value, dict)
    return found


def _is_any(kinds: type | tuple[type, ...], value: Any) -> bool:
    return any(is_of(kind, value) for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
