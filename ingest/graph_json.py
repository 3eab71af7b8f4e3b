"""A graph in the JSON of circuit-tracer and Neuronpedia, which Anthropic's front end reads as well.

What the format has no place for stands in `metadata.throughline`, which our reader takes up. Graphs of CRM, in which
attention has features, are written as CRM writes them.
"""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

from ingest.library import MARKS
from ingest.replacing import replacing
from tracer.graph import AttributionGraph
from tracer.influence import cumulative_shares
from tracer.schema import NodeKind

FEATURE_TYPES = {  # the format has one name for features of per-layer and of cross-layer transcoders
    NodeKind.FEATURE: "cross layer transcoder",
    NodeKind.ERROR: "mlp reconstruction error",
    NodeKind.TOKEN: "embedding",
    NodeKind.LOGIT: "logit",
    NodeKind.BIAS: "bias",
}
OF_ATTENTION = FEATURE_TYPES | {NodeKind.FEATURE: "lorsa", NodeKind.ERROR: "lorsa error"}
QK_RESULTS = "qk_tracing_results"  # what CRM tells of a feature of attention: the nodes that made it look where
QK_ONLY = "qk_only_nodes"  # those of them that are no nodes of the graph, by their id
NO_CHANCE = "?"  # where the probability of an output is not known; viewers look for one in its caption


@dataclass(frozen=True)
class NodeNames:
    """What a file calls the nodes of a graph, in their order."""

    ids: list[str]
    """`node_id`, by which links name their ends."""
    marks: list[str]
    """By which pins and supernodes name them."""
    js_ids: list[str]
    """`jsNodeId`."""


def write_json(graph: AttributionGraph, path: Path) -> None:
    """Write the JSON of circuit-tracer and Neuronpedia, with labels, pins and supernodes; gzipped if named `.gz`.

    `influence` is that of `cumulative_influence`. Read again, it is the same graph.
    """
    ids = node_ids_of(graph)
    rows = graph.nodes[["kind", "layer", "index", "position"]].itertuples(index=False)
    js_ids = [f"{_layer(graph, NodeKind(kind), layer)}_{index}-{position}" for kind, layer, index, position in rows]
    write_document(graph, path, metadata_of(graph), NodeNames(ids, ids, js_ids))


def write_document(graph: AttributionGraph, path: Path, metadata: dict[str, Any], names: NodeNames) -> None:
    """Write a graph under this metadata with these names of its nodes."""
    ids, edges = np.array(names.ids, object), graph.edges
    links = zip(ids[edges.source], ids[edges.target], edges.effect.tolist(), strict=True)
    head = {"metadata": metadata, "qParams": _marks(graph, names)}
    if more := graph.metadata.provenance.get(QK_ONLY):
        head[QK_ONLY] = more
    with replacing(path) as raw, _packed(raw, path.name) as packed:
        out = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        out.write(json.dumps(head, ensure_ascii=False, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "nodes": ')
        _write_list(out, _json_nodes(graph, names))
        out.write(',\n "links": ')
        _write_list(out, ({"source": source, "target": target, "weight": effect} for source, target, effect in links))
        out.write("\n}\n")
        out.flush()
        out.detach()


def cumulative_influence(graph: AttributionGraph) -> np.ndarray:
    """(N,) The share of all influence that each node and the ones above it carry, as files say it.

    What pruning left carries `node_threshold` of the whole, so the shares of a pruned graph end there: viewers hide
    every node beyond the threshold that the file names.
    """
    share_N = cumulative_shares(walked_influence(graph))
    left = 1 if graph.metadata.complete else metadata_of(graph).get("node_threshold")
    return np.minimum(share_N, 1) * (left if isinstance(left, int | float) and 0 < left < 1 else 1)


def walked_influence(graph: AttributionGraph) -> np.ndarray:
    """(N,) The chance that a walk back comes to each node; it starts at outputs, and never comes back to them."""
    influence_N = graph.nodes["influence"].to_numpy(np.float64).copy()
    influence_N[graph.slice_of(NodeKind.LOGIT)] = 0
    return influence_N


def node_ids_of(graph: AttributionGraph) -> list[str]:
    """The `node_id` of each node in a file: ours, but for graphs of CRM, which has its own."""
    return [_file_id(graph, node) for node in graph.nodes.to_dict("records")]


def feature_number(layer: int, index: int) -> int:
    """The number that the format has for a feature: layer and index paired after Cantor.

    >>> feature_number(1, 7)
    43
    """
    total = layer + index
    return total * (total + 1) // 2 + index


def file_layer(graph: AttributionGraph, layer: int) -> int:
    """The layer as files count it: in graphs of CRM, attention and MLP of a layer have one number."""
    return layer // 2 if has_attention(graph) else layer


def has_attention(graph: AttributionGraph) -> bool:
    """Whether each layer of the model counts twice, its attention before its MLP."""
    return "layers" in graph.metadata.provenance


# ------------------------------------------------------------------------------------------------------------- parts


def metadata_of(graph: AttributionGraph) -> dict[str, Any]:
    """What a file says of the graph as a whole."""
    about = graph.metadata
    kept = dict(about.provenance.get("about", {}))  # what the file had that the graph was read from
    info = kept.pop("info", None)
    config = about.provenance.get("config", {})
    owner, _, name = about.source_set.rpartition("/")
    if owner == about.model and name:
        kept.setdefault("feature_details", {"neuronpedia_source_set": name})
    settings = {
        "generation_settings": ("max_n_logits", "desired_logit_prob", "batch_size", "max_feature_nodes"),
        "pruning_settings": ("node_threshold", "edge_threshold"),
    }
    for place, names in settings.items():
        if found := {name: config[name] for name in names if name in config}:
            kept.setdefault(place, found)
    return {
        "slug": about.slug,
        "scan": about.model,
        "prompt_tokens": list(about.tokens),
        "prompt": about.prompt,
        "info": info if isinstance(info, dict) else _made_by(about.provenance),
        **({"node_threshold": config["node_threshold"]} if "node_threshold" in config else {}),
        **kept,
        "throughline": {
            "graph_id": graph.graph_id,
            "source_set": about.source_set,
            "origin": about.origin,
            "target": about.target,
            "replacement_score": about.replacement_score,
            "completeness_score": about.completeness_score,
            "roles": about.roles,
            "n_layers": about.n_layers,
            **({"layers": about.provenance["layers"]} if has_attention(graph) else {}),
        },
    }


def _made_by(provenance: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = {"generator": {"name": "throughline", "version": version("throughline")}}
    if isinstance(created := provenance.get("created"), str):
        info["create_time_ms"] = int(datetime.fromisoformat(created).timestamp() * 1000)
    return info


def _marks(graph: AttributionGraph, names: NodeNames) -> dict[str, Any]:
    """Pins and supernodes, as far as their nodes are there, and how the file they came from showed them."""
    name, provenance = dict(zip(graph.nodes["node_id"], names.marks, strict=True)), graph.metadata.provenance
    groups = [
        [group["label"], *(name[member] for member in group["members"] if member in name)]
        for group in provenance.get("supernodes", [])
    ]
    view = _view(provenance)
    return {
        "pinnedIds": [name[pin] for pin in provenance.get("pins", []) if pin in name],
        "supernodes": [group for group in groups if len(group) > 1],
        "linkType": view.get("linkType", "both"),
        "clickedId": name.get(view.get("clickedId", ""), ""),
        "sg_pos": view.get("sg_pos", ""),
    }


def _view(provenance: dict[str, Any]) -> dict[str, str]:
    """Of the file that had these very marks: places in `sg_pos` belong to them by their order."""
    marks = [provenance.get(name) for name in MARKS]
    views = (
        taken.get("view", {}) for taken in provenance.get("taken", []) if [taken.get(name) for name in MARKS] == marks
    )
    return next(views, {})


def _json_nodes(graph: AttributionGraph, names: NodeNames) -> Iterator[dict[str, Any]]:
    share_N = cumulative_influence(graph).tolist()
    details, nodes = graph.metadata.provenance.get("node_details", {}), graph.nodes.to_dict("records")
    target = _target(graph)
    id_of = dict(zip(graph.nodes["node_id"], names.ids, strict=True))
    for node, share, file_id, js_id in zip(nodes, share_N, names.ids, names.js_ids, strict=True):
        kind = NodeKind(node["kind"])
        yield {
            "node_id": file_id,
            "feature": _number_of(graph, kind, node),
            "layer": _layer(graph, kind, node["layer"]),
            "ctx_idx": max(node["position"], 0),  # a bias has none, and viewers look up a token
            "feature_type": (OF_ATTENTION if _is_attention(graph, node) else FEATURE_TYPES)[kind],
            "token_prob": _value(node["probability"]) if kind is NodeKind.LOGIT else 0.0,
            "is_target_logit": node["node_id"] == target,
            "run_idx": 0,
            "reverse_ctx_idx": 0,
            "jsNodeId": js_id,
            "clerp": _caption(graph, kind, node),
            "influence": None if kind is NodeKind.LOGIT else share,
            "activation": _value(node["activation"]),
            **({"label_note": node["label_note"]} if node["label_note"] else {}),
            **_details(details.get(node["node_id"], {}), id_of),
        }


def _target(graph: AttributionGraph) -> str:
    """The output that the format marks as the target: the likeliest, and the first where none is likelier."""
    outputs = graph.nodes.iloc[graph.slice_of(NodeKind.LOGIT)]
    return outputs["node_id"].loc[outputs["probability"].fillna(0).idxmax()] if len(outputs) else ""


def _details(details: dict[str, Any], id_of: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of one node of attention, with the names that nodes have in this file."""
    return details | {QK_RESULTS: renamed(details[QK_RESULTS], id_of)} if QK_RESULTS in details else details


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same JSON value with other names for the nodes in it that have one here.

    >>> renamed({"top_q_marginal_contributors": [["a", 0.5], ["b", 0.25]]}, {"a": "A"})
    {'top_q_marginal_contributors': [['A', 0.5], ['b', 0.25]]}
    """
    match value:
        case str():
            return names.get(value, value)
        case list():
            return [renamed(each, names) for each in value]
        case dict():
            return {name: renamed(each, names) for name, each in value.items()}
        case _:
            return value


def _file_id(graph: AttributionGraph, node: dict[str, Any]) -> str:
    if not has_attention(graph):
        return node["node_id"]
    layer, of_attention = node["layer"] // 2, _is_attention(graph, node)
    match NodeKind(node["kind"]):
        case NodeKind.FEATURE:
            return f"{layer}_{'lor' if of_attention else 'cro'}_{node['index']}_{node['position']}"
        case NodeKind.ERROR:
            return f"{layer}_error_{'attn' if of_attention else 'mlp'}_{node['position']}"
        case NodeKind.BIAS:
            return f"{layer}_bias_{'attn' if of_attention else 'mlp'}_n{node['index']}_0"
        case _:
            return node["node_id"]


def _is_attention(graph: AttributionGraph, node: dict[str, Any]) -> bool:
    return has_attention(graph) and node["layer"] % 2 == 0


def _number_of(graph: AttributionGraph, kind: NodeKind, node: dict[str, Any]) -> int:
    if kind is NodeKind.TOKEN:
        return node["position"]
    if kind is NodeKind.FEATURE:
        return feature_number(file_layer(graph, node["layer"]), node["index"])
    return node["index"]


def _layer(graph: AttributionGraph, kind: NodeKind, layer: int) -> str:
    if kind is NodeKind.LOGIT:
        return str(file_layer(graph, graph.metadata.n_layers) + 1)
    return "E" if layer < 0 else str(file_layer(graph, layer))


def _caption(graph: AttributionGraph, kind: NodeKind, node: dict[str, Any]) -> str:
    label, tokens = node["label"], graph.metadata.tokens
    match kind:
        case NodeKind.TOKEN:
            return f'Emb: "{label}"'
        case NodeKind.ERROR:
            where = "attn" if _is_attention(graph, node) else "mlp"
            return f'Err: {where} "{tokens[node["position"]] if node["position"] < len(tokens) else ""}"'
        case NodeKind.LOGIT:
            chance = _value(node["probability"])
            return f'Output "{label}" (p={NO_CHANCE if chance is None else format(chance, ".3f")})'
        case _:
            return label


def _value(value: float) -> float | None:
    return None if value != value else value  # NaN is not equal to itself


def _write_list(out: IO[str], items: Iterator[dict[str, Any]]) -> None:
    """A list with one object a line, which people and `grep` can read."""
    between = "[\n  "
    for item in items:
        out.write(between + json.dumps(item, ensure_ascii=False, allow_nan=False))
        between = ",\n  "
    out.write("[]" if between.startswith("[") else "\n ]")


@contextmanager
def _packed(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    if not name.lower().endswith(".gz"):
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        yield packed  # type: ignore[misc]  # it is an IO[bytes] in all but name
