"""Rows of the store and of circuit searches -> data frames for the page; pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from app.featurelink import FeatureKey
from app.figures import mini_path, node_name
from app.graphlist import prompt_text


def circuits_frame(rows: Sequence[Mapping[str, Any]], theme: str) -> pd.DataFrame:
    """Circuits, one row a graph: picture of the strongest path, flow and strength in %, prompt, link into the graph."""
    return pd.DataFrame(
        [
            {
                "circuit": mini_path(row["paths"][0]["nodes"], row["paths"][0]["edges"], theme),
                "flow": 100 * row["flow"],
                "binding": ", ".join(row["binding"].values()),
                "prompt": prompt_text(row["prompt"]),
                "hops": len(row["paths"][0]["edges"]),
                "open": graph_link(row),
            }
            for row in rows
            if row["paths"]
        ]
    )


def circuits_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Circuits as a flat table, one row a path, for CSV."""
    return pd.DataFrame(
        [
            {
                "graph_id": row["graph_id"],
                "slug": row["slug"],
                "prompt": row["prompt"],
                "flow": row["flow"],
                "binding": binding_text(row["binding"]),
                "rank": rank,
                "strength": path["strength"],
                "nodes": " -> ".join(node["node_id"] for node in path["nodes"]),
                "labels": " -> ".join(node_name(node) for node in path["nodes"]),
                "shares": " ".join(f"{edge['share']:.6g}" for edge in path["edges"]),
                "effects": " ".join(f"{edge['effect']:.6g}" for edge in path["edges"]),
            }
            for row in rows
            for rank, path in enumerate(row["paths"], 1)
        ]
    )


def edges_frame(path: Mapping[str, Any], source_set: str) -> pd.DataFrame:
    """The edges of one path: from, to, share of the target's input in %, direct effect, page of what it comes to."""
    nodes = path["nodes"]
    return pd.DataFrame(
        [
            {"from": _place(start), "to": _place(end), "share": 100 * edge["share"], "effect": edge["effect"],
             "feature": _feature_link(end, source_set)}
            for start, end, edge in zip(nodes, nodes[1:], path["edges"], strict=False)
        ]
    )  # fmt: skip


def _feature_link(node: Mapping[str, Any], source_set: str) -> str:
    """The page of a feature that is a node of a path; nothing for what is no feature."""
    if node["kind"] != "feature":
        return ""
    return FeatureKey(source_set, node["layer"], int(node["node_id"].split("_")[1])).link


def matters_frame(told: Mapping[str, Any]) -> pd.DataFrame:
    """The nodes that a circuit cannot do without, parts in %."""
    return pd.DataFrame(
        [
            {"node": each["name"], "role": each["role"], "part": 100 * each["part"], "kept": 100 * each["kept"]}
            for each in told["necessary"]
        ]
    )


def graph_link(row: Mapping[str, Any], rank: int = 0) -> str:
    """The address of the Graph page with this path of a circuit pinned."""
    return "/?" + urlencode(graph_params(row, rank), safe=",")


def graph_params(row: Mapping[str, Any], rank: int = 0) -> dict[str, str]:
    """The same as query parameters."""
    return {"g": row["graph_id"], "pins": ",".join(node["node_id"] for node in row["paths"][rank]["nodes"])}


def node_link(record: Mapping[str, Any]) -> str:
    """The address of the Graph page for a row that names a graph and perhaps a node of it."""
    node = {"sel": record["node_id"]} if record.get("node_id") else {}
    return "/?" + urlencode({"g": record["graph_id"]} | node)


def path_picture(paths: Sequence[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """Nodes and links of these paths, each once, as `app.component.net` wants them."""
    nodes, links = {}, {}
    for path in paths:
        for node in path["nodes"]:
            nodes[node["node_id"]] = {
                "id": node["node_id"], "name": node_name(node), "kind": node["kind"], "layer": node["layer"],
                "position": node["position"], "facts": f"L{node['layer']}" if node["kind"] == "feature" else "",
                "note": node["node_id"],
            }  # fmt: skip
        for start, end, edge in zip(path["nodes"], path["nodes"][1:], path["edges"], strict=False):
            share = edge["share"] if edge["effect"] > 0 else -edge["share"]
            link = {"source": start["node_id"], "target": end["node_id"], "share": share}
            links[start["node_id"], end["node_id"]] = link | {"note": f"effect {edge['effect']:+.3g}"}
    return list(nodes.values()), list(links.values())


def binding_text(binding: Mapping[str, str]) -> str:
    """Roles with their terms, e.g. `city = Dallas, region = Texas`."""
    return ", ".join(f"{role} = {term}" for role, term in binding.items())


def records_frame(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What a query returned; nodes, lists and maps are written as text, so that a table can show them."""
    frame = pd.DataFrame([list(record.values()) for record in records], columns=list(columns))
    for column in frame.columns:
        if any(isinstance(value, dict | list) for value in frame[column]):
            frame[column] = pd.Series([_readable(value) for value in frame[column]], dtype=object)
    return frame


def returned_picture(records: Sequence[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """Every node and relationship in the answer of a query, each once, as `app.component.net` wants them."""
    nodes: dict[str, dict] = {}
    links: dict[str, dict] = {}
    for record in records:
        for value in record.values():
            _collect(value, nodes, links)
    return list(nodes.values()), [
        link for link in links.values() if link["source"] in nodes and link["target"] in nodes
    ]


def _collect(value: Any, nodes: dict[str, dict], links: dict[str, dict]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, nodes, links)
    elif isinstance(value, dict) and value.get("_kind") == "node":
        nodes[value["_id"]] = _node(value)
    elif isinstance(value, dict) and value.get("_kind") == "relationship":
        links[value["_id"]] = _link(value)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, nodes, links)


def _node(value: Mapping[str, Any]) -> dict[str, Any]:
    """A node of the database; occurrences are named as on the Graph page, others by their most telling property."""
    if "kind" in value and "node_id" in value:
        name = node_name({"label": "", "layer": 0} | dict(value))
    else:
        name = next((str(value[key]) for key in ("name", "label", "slug", "prompt", "text") if value.get(key)), "")
    if not name and "index" in value:
        name = f"L{value.get('layer', '?')} #{value['index']}"
    facts = f"L{value['layer']}" if value.get("layer", -1) >= 0 and value.get("kind") != "logit" else ""
    labels = ":".join(value["_labels"])
    note = ":" + labels + "\n" + "\n".join(f"{key}: {item}" for key, item in value.items() if key[0] != "_")
    known = {key: value[key] for key in ("kind", "layer", "position") if key in value}
    return {"id": value["_id"], "name": name or labels, "facts": facts, "note": note[:600]} | known


def _link(value: Mapping[str, Any]) -> dict[str, Any]:
    share, effect = value.get("share"), value.get("effect", 1)
    note = value["_type"] + "".join(f"\n{key}: {item}" for key, item in value.items() if key[0] != "_")
    signed = None if share is None else share if effect >= 0 else -share
    return {"source": value["_source"], "target": value["_target"], "share": signed, "note": note}


def _readable(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict) and value.get("_kind") == "node":
        return f"({_node(value)['name']}:{':'.join(value['_labels'])})"
    if isinstance(value, dict) and value.get("_kind") == "relationship":
        return f"[:{value['_type']}]"
    if isinstance(value, dict) and value.get("_kind") == "path":
        return " → ".join(_node(node)["name"] for node in value["nodes"])
    if isinstance(value, list):
        return ", ".join(str(_readable(item)) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _place(node: Mapping[str, Any]) -> str:
    return node_name(node) + (f" · L{node['layer']}" if node["kind"] == "feature" and node["label"] else "")
