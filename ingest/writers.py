"""A graph in the file formats of other tools: circuit-tracer's JSON, NumPy arrays, GraphML, CSV, Parquet."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy.sparse import csr_array

from ingest.export_formats import ExportFormat
from tracer.errors import naming
from tracer.graph import AttributionGraph
from tracer.influence import cumulative_shares
from tracer.schema import NodeKind

WHOLE: tuple[ExportFormat, ...] = ("npz", "parquet")  # formats that say themselves what pruning left
FEATURE_TYPES = {  # the format has one name for features of per-layer and of cross-layer transcoders
    NodeKind.FEATURE: "cross layer transcoder",
    NodeKind.ERROR: "mlp reconstruction error",
    NodeKind.TOKEN: "embedding",
    NodeKind.LOGIT: "logit",
    NodeKind.BIAS: "bias",
}
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ROWS_AT_ONCE = 1024  # rows of a dense matrix that are in memory at once
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # time of files in an archive: the same graph gives the same bytes


def write_graph(graph: AttributionGraph, path: Path, format: ExportFormat, whole: bool = False) -> None:
    """Write a graph, replacing what is there; where writing fails, nothing half-written is left.

    Args:
        path: A file; for `csv` and `parquet` a folder.
        whole: All nodes and effects instead of the pruned graph. `npz` and `parquet` always have all, with masks.

    Raises:
        OSError: There is no room, or no right to write.
    """
    writers: dict[ExportFormat, Callable[[AttributionGraph, Path], None]] = {
        "json": write_json,
        "npz": write_npz,
        "graphml": write_graphml,
        "csv": write_csv,
        "parquet": lambda graph, path: graph.save(str(path)),
    }
    writers[format](graph if whole or format in WHOLE else graph.pruned(), path)


def write_json(graph: AttributionGraph, path: Path) -> None:
    """Write the JSON of circuit-tracer and Neuronpedia, with labels, pins and supernodes; gzipped if named `.gz`.

    `influence` is the cumulative share at the node's rank, as there. What the format has no place for stands in
    `metadata.throughline`, which our reader takes up: read again, it is the same graph.
    """
    ids = graph.nodes["node_id"].to_numpy()
    edges = graph.edges
    links = zip(ids[edges.source], ids[edges.target], edges.effect.tolist(), strict=True)
    with _replacing(path) as raw, _packed(raw, path.name) as packed:
        out = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        head = {"metadata": _metadata(graph), "qParams": _marks(graph)}
        out.write(json.dumps(head, ensure_ascii=False, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "nodes": ')
        _write_list(out, _json_nodes(graph))
        out.write(',\n "links": ')
        _write_list(out, ({"source": source, "target": target, "weight": effect} for source, target, effect in links))
        out.write("\n}\n")
        out.flush()
        out.detach()


def write_npz(graph: AttributionGraph, path: Path) -> None:
    """Write NumPy arrays: the dense matrix of direct effects, what its rows are, and what pruning left.

    `adjacency` (N, N): row = target, column = source, nodes in the order of `NodeKind`. `active_features` (A, 3):
    layer, position, index, with `activation_values`; `selected_features` points into it. `logit_tokens`,
    `logit_probs`. `node_kind` (0 feature, 1 error, 2 token, 3 logit, 4 bias), `node_layer`, `node_pos`, `node_mask`,
    `edge_mask` (bits of a row packed), `influence` (cumulative share at the node's rank), `node_influence`,
    `scores` (replacement, completeness), `input_tokens`. Matrices are written a block of rows at a time.
    """
    nodes, edges, n = graph.nodes, graph.edges, len(graph.nodes)
    features, tokens, logits = (graph.slice_of(kind) for kind in (NodeKind.FEATURE, NodeKind.TOKEN, NodeKind.LOGIT))
    influence_N = nodes["influence"].to_numpy(np.float64).copy()
    influence_N[logits] = 0  # a walk starts there, and never comes back
    arrays = {
        "active_features": nodes[["layer", "position", "index"]].to_numpy(np.int64)[features],
        "activation_values": nodes["activation"].to_numpy()[features],
        "selected_features": np.arange(features.stop - features.start),
        "input_tokens": nodes["index"].to_numpy()[tokens],
        "logit_tokens": nodes["index"].to_numpy()[logits],
        "logit_probs": nodes["probability"].to_numpy()[logits],
        "node_kind": np.array([list(NodeKind).index(NodeKind(kind)) for kind in nodes["kind"]], np.int8),
        "node_layer": nodes["layer"].to_numpy(np.int64),
        "node_pos": nodes["position"].to_numpy(np.int64),
        "node_mask": nodes["kept"].to_numpy(),
        "influence": cumulative_shares(influence_N).astype(np.float32),
        "node_influence": influence_N.astype(np.float32),
        "scores": np.array([graph.metadata.replacement_score, graph.metadata.completeness_score], np.float64),
    }
    effect_NN, kept_NN = (
        csr_array((value_E, (edges.target, edges.source)), shape=(n, n)) for value_E in (edges.effect, edges.kept)
    )
    with _replacing(path) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with _member(archive, name) as out:
                np.lib.format.write_array(out, array, allow_pickle=False)
        _write_matrix(archive, "adjacency", (n, n), effect_NN.dtype, (rows.toarray() for rows in _blocks(effect_NN)))
        packed = (np.packbits(rows.toarray(), axis=1) for rows in _blocks(kept_NN))
        _write_matrix(archive, "edge_mask", (n, (n + 7) // 8), np.dtype(np.uint8), packed)


def write_graphml(graph: AttributionGraph, path: Path) -> None:
    """Write GraphML, which Gephi, yEd, Cytoscape and networkx read. Values that are not there are left out."""
    import networkx as nx  # slow to import

    made = graph.to_networkx()
    for values in (made.graph, *(values for _, values in made.nodes(data=True))):
        values.update({name: NOT_IN_XML.sub("�", text) for name, text in values.items() if isinstance(text, str)})
    with _replacing(path) as out:
        nx.write_graphml(made, out)


def write_csv(graph: AttributionGraph, path: Path) -> None:
    """Write `nodes.csv` and `edges.csv`, ends of edges by node_id, into this folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, table in zip(("nodes", "edges"), graph.to_pandas(), strict=True):
        with _replacing(path / f"{name}.csv") as out:
            table.to_csv(out, index=False, lineterminator="\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------- JSON


def _metadata(graph: AttributionGraph) -> dict[str, Any]:
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
        },
    }


def _made_by(provenance: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = {"generator": {"name": "throughline", "version": version("throughline")}}
    if isinstance(created := provenance.get("created"), str):
        info["create_time_ms"] = int(datetime.fromisoformat(created).timestamp() * 1000)
    return info


def _marks(graph: AttributionGraph) -> dict[str, Any]:
    """Pins and supernodes, as far as their nodes are there."""
    there, provenance = set(graph.nodes["node_id"]), graph.metadata.provenance
    groups = [
        [group["label"], *(member for member in group["members"] if member in there)]
        for group in provenance.get("supernodes", [])
    ]
    return {
        "pinnedIds": [pin for pin in provenance.get("pins", []) if pin in there],
        "supernodes": [group for group in groups if len(group) > 1],
        "linkType": "both",
        "clickedId": "",
        "sg_pos": "",
    }


def _json_nodes(graph: AttributionGraph) -> Iterator[dict[str, Any]]:
    influence_N = graph.nodes["influence"].to_numpy(np.float64).copy()
    influence_N[graph.slice_of(NodeKind.LOGIT)] = 0
    share_N = cumulative_shares(influence_N).tolist()
    for node, share in zip(graph.nodes.to_dict("records"), share_N, strict=True):
        kind = NodeKind(node["kind"])
        yield {
            "node_id": node["node_id"],
            "feature": _feature_number(kind, node),
            "layer": _json_layer(kind, node, graph.metadata.n_layers),
            "ctx_idx": max(node["position"], 0),  # a bias has none, and viewers look up a token
            "feature_type": FEATURE_TYPES[kind],
            "token_prob": _number(node["probability"]) if kind is NodeKind.LOGIT else 0.0,
            "is_target_logit": kind is NodeKind.LOGIT,
            "run_idx": 0,
            "reverse_ctx_idx": 0,
            "jsNodeId": f"{_json_layer(kind, node, graph.metadata.n_layers)}_{node['index']}-{node['position']}",
            "clerp": _caption(kind, node, graph.metadata.tokens),
            "influence": None if kind is NodeKind.LOGIT else share,
            "activation": _number(node["activation"]),
        } | ({"label_note": node["label_note"]} if node["label_note"] else {})


def _feature_number(kind: NodeKind, node: dict[str, Any]) -> int:
    """The number that the format has for a node: a feature's layer and index paired after Cantor."""
    if kind is NodeKind.TOKEN:
        return node["position"]
    if kind is NodeKind.FEATURE:
        total = node["layer"] + node["index"]
        return total * (total + 1) // 2 + node["index"]
    return node["index"]


def _json_layer(kind: NodeKind, node: dict[str, Any], n_layers: int) -> str:
    if kind is NodeKind.LOGIT:
        return str(n_layers + 1)
    return "E" if node["layer"] < 0 else str(node["layer"])


def _caption(kind: NodeKind, node: dict[str, Any], tokens: tuple[str, ...]) -> str:
    label = node["label"]
    match kind:
        case NodeKind.TOKEN:
            return f'Emb: "{label}"'
        case NodeKind.ERROR:
            return f'Err: mlp "{tokens[node["position"]] if node["position"] < len(tokens) else ""}"'
        case NodeKind.LOGIT if (chance := _number(node["probability"])) is not None:
            return f'Output "{label}" (p={chance:.3f})'
        case _:
            return label


def _number(value: float) -> float | None:
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


# ------------------------------------------------------------------------------------------------------------ arrays


def _blocks(matrix_NN: csr_array) -> Iterator[csr_array]:
    for at in range(0, len(matrix_NN.indptr) - 1, ROWS_AT_ONCE):
        yield matrix_NN[at : at + ROWS_AT_ONCE]


def _write_matrix(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, int], dtype: np.dtype, blocks: Iterator[np.ndarray]
) -> None:
    with _member(archive, name) as out:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for block in blocks:
            out.write(np.ascontiguousarray(block, dtype).tobytes())


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    about = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
    about.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(about, "w", force_zip64=True)


# ------------------------------------------------------------------------------------------------------------- files


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside this one that takes its place when all is written, and is gone where that fails."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with naming(path), part.open("wb") as out:
            yield out
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
