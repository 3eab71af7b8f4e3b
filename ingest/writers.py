"""A graph in the file formats of other tools: JSON of their front ends, NumPy arrays, GraphML, CSV, Parquet."""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from scipy.sparse import csr_array

from ingest.export_formats import ExportFormat
from ingest.graph_json import cumulative_influence, has_attention, walked_influence, write_json
from ingest.replacing import replacing
from ingest.static_folder import write_static
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

WHOLE: tuple[ExportFormat, ...] = ("npz", "parquet")  # formats that say themselves what pruning left
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ROWS_AT_ONCE = 1024  # rows of a dense matrix that are in memory at once
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # time of files in an archive: the same graph gives the same bytes


def write_graph(graph: AttributionGraph, path: Path, format: ExportFormat, whole: bool = False) -> None:
    """Write a graph, replacing what is there; where writing fails, nothing half-written is left.

    Args:
        path: A file; for `csv`, `parquet` and `anthropic` a folder, in which the last one keeps other graphs.
        whole: All nodes and effects instead of the pruned graph. `npz` and `parquet` always have all, with masks.

    Raises:
        OSError: There is no room, or no right to write.
    """
    writers: dict[ExportFormat, Callable[[AttributionGraph, Path], None]] = {
        "json": write_json,
        "anthropic": write_static,
        "npz": write_npz,
        "graphml": write_graphml,
        "csv": write_csv,
        "parquet": lambda graph, path: graph.save(str(path)),
    }
    writers[format](graph if whole or format in WHOLE else graph.pruned(), path)


def write_npz(graph: AttributionGraph, path: Path) -> None:
    """Write NumPy arrays: the dense matrix of direct effects, what its rows are, and what pruning left.

    `adjacency` (N, N): row = target, column = source, nodes in the order of `NodeKind`. `active_features` (A, 3):
    layer, position, index, with `activation_values`; `selected_features` points into it. `logit_tokens`,
    `logit_probs`. `node_kind` (0 feature, 1 error, 2 token, 3 logit, 4 bias), `node_layer`, `node_pos`, `node_mask`,
    `edge_mask` (bits of a row packed), `influence` (`cumulative_influence`), `node_influence`,
    `scores` (replacement, completeness), `input_tokens`. Matrices are written a block of rows at a time.
    """
    nodes, edges, n = graph.nodes, graph.edges, len(graph.nodes)
    features, tokens, logits = (graph.slice_of(kind) for kind in (NodeKind.FEATURE, NodeKind.TOKEN, NodeKind.LOGIT))
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
        "influence": cumulative_influence(graph).astype(np.float32),
        "node_influence": walked_influence(graph).astype(np.float32),
        "scores": np.array([graph.metadata.replacement_score, graph.metadata.completeness_score], np.float64),
    }
    effect_NN, kept_NN = (
        csr_array((value_E, (edges.target, edges.source)), shape=(n, n)) for value_E in (edges.effect, edges.kept)
    )
    with replacing(path) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
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
    for node_id, part in _parts(graph).items():
        made.nodes[node_id]["part"] = part
    for values in (made.graph, *(values for _, values in made.nodes(data=True))):
        values.update({name: NOT_IN_XML.sub("�", text) for name, text in values.items() if isinstance(text, str)})
    nx.write_graphml(made, text := io.BytesIO())
    with replacing(path) as out:
        out.write(text.getvalue().replace(b"\r", b"&#13;"))  # as itself it would be read as a line feed


def write_csv(graph: AttributionGraph, path: Path) -> None:
    """Write `nodes.csv` and `edges.csv`, ends of edges by node_id, into this folder."""
    path.mkdir(parents=True, exist_ok=True)
    nodes, edges = graph.to_pandas()
    if parts := _parts(graph):
        nodes["part"] = [parts.get(node_id, "") for node_id in nodes["node_id"]]
    for name, table in (("nodes", nodes), ("edges", edges)):
        with replacing(path / f"{name}.csv") as out:
            # texts in quotes: Python 3.11 leaves a carriage return bare, which readers take for the end of a row
            table.to_csv(out, index=False, lineterminator="\n", encoding="utf-8", quoting=csv.QUOTE_NONNUMERIC)


def _parts(graph: AttributionGraph) -> dict[str, str]:
    """node_id -> attention or mlp, where each layer of the model counts twice; else nothing."""
    inside = (graph.nodes["layer"] >= 0) & (graph.nodes["kind"] != NodeKind.LOGIT) if has_attention(graph) else []
    nodes = graph.nodes.loc[inside, ["node_id", "layer"]].itertuples(index=False)
    return {node_id: "mlp" if layer % 2 else "attention" for node_id, layer in nodes}


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
