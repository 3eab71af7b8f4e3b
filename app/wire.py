"""AttributionGraph -> the bytes that the link graph in the browser reads ("AGV1"); pure.

    "AGV1" | u32 header length | header: JSON, padded with spaces | f32 effect[m] | f32 share[m] | index source[m]
    | index target[m]

Little-endian. `index` is u16 where the graph has fewer than 65,536 nodes, else u32. The header holds the metadata,
one list per node column, under the names of `tracer.schema`, and what people set: pins, and supernodes with name and
members.
"""

import json
import math

import numpy as np

from circuits.supernodes import BY_HAND
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

MAGIC = b"AGV1"
KIND_NUMBER = {kind.value: number for number, kind in enumerate(NodeKind)}
SIGNIFICANT_DIGITS = 5  # of the numbers that are only shown; effects and shares travel as f32
MEASURES = ("activation", "influence", "probability", "remainder", "left_out")
SHOWN_METADATA = (
    "slug", "prompt", "model", "source_set", "n_layers", "origin", "complete", "target",
    "replacement_score", "completeness_score", "roles",
)  # fmt: skip


def pack_graph(graph: AttributionGraph, graph_id: str | None = None, n_edges: int | None = None) -> bytes:
    """The graph in the format above; shares are as given, so of a pruned graph they are still over all inputs.

    Args:
        graph_id: The name to put in the header where it is not that of `graph`: a pruned graph keeps the id of the
            whole one.
        n_edges: How many links there are, where `graph` has only some of them.

    >>> import pandas as pd
    >>> from tracer.graph import GraphMetadata
    >>> nodes = pd.DataFrame({"node_id": ["0_7_0", "E_5_0"], "kind": ["feature", "token"], "layer": [0, -1],
    ...                       "position": [0, 0], "index": [7, 5]})
    >>> about = GraphMetadata("demo", "a", ("a",), "model", "set", n_layers=1)
    >>> graph = AttributionGraph.build(nodes, np.array([1]), np.array([0]), np.array([2.0]), about)
    >>> packed = pack_graph(graph)
    >>> packed[:4], unpack_graph(packed)[0]["node_id"], unpack_graph(packed)[1]["effect"].tolist()
    (b'AGV1', ['0_7_0', 'E_5_0'], [2.0])
    """
    edges = graph.edges
    index_type = "<u2" if len(graph.nodes) < 2**16 else "<u4"
    header = _header(graph, graph_id or graph.graph_id, index_type) | {"n_edges": n_edges or len(edges)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(len(text) + 8) % 4)  # typed arrays in the browser must start at a multiple of four
    columns = (
        edges.effect.astype("<f4"), edges.share.astype("<f4"),
        edges.source.astype(index_type), edges.target.astype(index_type),
    )  # fmt: skip
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *(column.tobytes() for column in columns)])


def unpack_graph(packed: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the edge columns of a packed graph, as the browser sees them."""
    assert packed[:4] == MAGIC
    start = 8 + int.from_bytes(packed[4:8], "little")
    header = json.loads(packed[8:start])
    columns = {}
    for name, dtype in (("effect", "<f4"), ("share", "<f4"), ("source", header["index"]), ("target", header["index"])):
        columns[name] = np.frombuffer(packed, dtype, header["m"], start)
        start += columns[name].nbytes
    return header, columns


def _header(graph: AttributionGraph, graph_id: str, index_type: str) -> dict:
    about, nodes = graph.metadata, graph.nodes
    header = {name: getattr(about, name) for name in SHOWN_METADATA}
    header |= {"graph_id": graph_id, "tokens": list(about.tokens)}
    header |= {"pins": list(about.provenance.get("pins") or []), "supernodes": _supernodes(graph)}
    header |= {"n": len(nodes), "m": len(graph.edges), "index": index_type}
    header |= {name: nodes[name].tolist() for name in ("node_id", "layer", "position", "label", "label_note")}
    header |= {"kind": [KIND_NUMBER[kind] for kind in nodes["kind"]], "dictionary_index": nodes["index"].tolist()}
    return header | {name: _short(nodes[name]) for name in MEASURES}


def _supernodes(graph: AttributionGraph) -> list[dict]:
    groups = graph.metadata.provenance.get("supernodes") or []
    return [
        {"name": group["label"], "members": list(group["members"]), "by_hand": group.get("method") == BY_HAND}
        for group in groups
    ]


def _short(values) -> list[float | None]:
    """Numbers with few digits; JSON knows no NaN, so those become null."""
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None for value in values]
