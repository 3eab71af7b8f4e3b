"""AttributionGraph: the one object that leaves the tracer, and how it is saved without pickle.

A saved graph is a folder (local, or any fsspec URL) with `nodes.parquet`, `edges.parquet` and, written last,
`metadata.json`: a folder without the last file is not a graph yet, so a crash leaves nothing half-readable.
"""

import dataclasses
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tracer import display
from tracer.errors import GraphFormatError, naming
from tracer.influence import start_weights
from tracer.schema import EDGE_COLUMNS, NODE_COLUMNS, SCHEMA_VERSION, NodeKind

if TYPE_CHECKING:
    import networkx

METADATA_FILE = "metadata.json"
NODES_FILE = "nodes.parquet"
EDGES_FILE = "edges.parquet"
FILES = (NODES_FILE, EDGES_FILE, METADATA_FILE)
PART = ".part"  # after the name of a file that is not written to its end
OUTLINE_COLUMNS = ["node_id", "kind", "layer", "position", "index", "label"]  # what patterns ask for


@dataclass(frozen=True)
class GraphMetadata:
    """What a graph is of, and everything needed to make it again."""

    slug: str
    """Short name for people; not unique."""
    prompt: str
    """The text that was traced, as given."""
    tokens: tuple[str, ...]
    """Text of each token, by position."""
    model: str
    """Name of the model."""
    source_set: str
    """Name of the feature dictionary; features are never joined across source sets."""
    n_layers: int
    """Number of layers of the model."""
    origin: str = "throughline"
    """What computed the effects: `throughline`, `circuit-tracer`, `anthropic`, ..."""
    complete: bool = True
    """Whether no node is missing that acts on what is explained. Where another tool left some out before shares were
    taken, shares are of what is left; where `max_feature_nodes` did, they are of all inputs."""
    target: str = "logit"
    """What is explained: outputs by `logit` (minus the mean logit) or `log-odds`, or a `feature`'s pre-activation."""
    replacement_score: float | None = None
    """Share of influence that starts at tokens and not at errors, 0 to 1, before pruning."""
    completeness_score: float | None = None
    """Share of input of nodes, weighted by influence, that does not come from errors, 0 to 1, before pruning."""
    inputs: str = ""
    """SHA-256 of everything that decides a traced graph (files, tokens, settings), from which its `graph_id` is taken;
    empty where the graph was read from a file or cut, and its content decides."""
    roles: dict[str, str] = field(default_factory=dict)
    """Known parts of the prompt where a benchmark tells them, e.g. {"city": "Dallas"}; empty otherwise."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Files, hashes, versions, configuration, wall time, peak memory; for an imported file also its repairs."""


@dataclass(frozen=True)
class Edges:
    """Direct effects as parallel arrays of length E, sorted by target, then source; columns as EDGE_COLUMNS."""

    source: np.ndarray
    target: np.ndarray
    effect: np.ndarray
    share: np.ndarray
    kept: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: np.ndarray) -> "Edges":
        """The edges at these positions or under this mask."""
        return Edges(*(getattr(self, name)[rows] for name in EDGE_COLUMNS))


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """The attribution graph of one prompt.

    Nodes stand in the order of `NodeKind` (features, errors, tokens, logits, biases); an edge goes from a lower layer
    to a strictly higher one, from a bias, which nothing enters, also within its layer; so the graph has no cycle.
    Build with `AttributionGraph.build`, which checks all this.
    """

    nodes: pd.DataFrame
    edges: Edges
    metadata: GraphMetadata

    def __repr__(self) -> str:
        size = f"{len(self.nodes):,} nodes, {len(self.edges.source):,} edges"
        return f"<AttributionGraph {self.metadata.slug!r}: {size}, of {self.metadata.source_set}>"

    @classmethod
    def build(
        cls,
        nodes: pd.DataFrame,
        source: np.ndarray,
        target: np.ndarray,
        effect: np.ndarray,
        metadata: GraphMetadata,
        kept: np.ndarray | None = None,
        size_N: np.ndarray | None = None,
    ) -> "AttributionGraph":
        """A checked graph: missing optional node columns filled, edges sorted, shares computed.

        Args:
            nodes: One row a node, in the order of NodeKind. Required columns: node_id, kind, layer, position, index.
            source: (E,) rows of `nodes`.
            target: (E,) rows of `nodes`.
            effect: (E,) signed direct effects; zeros are dropped.
            kept: (E,) mask of the pruned graph; all edges if not given.
            size_N: (N,) sum of the sizes of all effects into each node, where some of their sources are no nodes; of
                the effects given if not given.

        Raises:
            GraphFormatError: Ids collide, an edge points at no node or not to a higher layer, a value is not finite.

        >>> nodes = pd.DataFrame({"node_id": ["0_7_1", "E_5_1", "3_9_1"], "kind": ["feature", "token", "logit"],
        ...                       "layer": [0, -1, 2], "position": [1, 1, 1], "index": [7, 5, 9]})
        >>> about = GraphMetadata("demo", "a b", ("a", "b"), "model", "set", n_layers=2)
        >>> source, target, effect = np.array([1, 0, 1]), np.array([0, 2, 2]), np.array([2., 3., -1.])
        >>> graph = AttributionGraph.build(nodes, source, target, effect, about)
        >>> graph.edges.share.tolist()
        [1.0, 0.75, 0.25]
        """
        nodes = _complete_nodes(nodes)
        source, target = np.asarray(source, np.int32), np.asarray(target, np.int32)
        effect = np.asarray(effect, np.float32)
        kept = np.ones(len(source), bool) if kept is None else np.asarray(kept, bool)
        _check_edges(nodes, source, target, effect)
        if not (_sorted(source, target) and effect.all()):
            real = np.flatnonzero(effect)
            order = real[np.lexsort((source[real], target[real]))]
            source, target, effect, kept = source[order], target[order], effect[order], kept[order]
        edges = Edges(source, target, effect, shares(target, effect, len(nodes), size_N), kept)
        return cls(nodes, edges, metadata)

    @cached_property
    def graph_id(self) -> str:
        """16 hex digits: of the inputs of a traced graph, whatever machine traced it; else of the content."""
        return self.metadata.inputs[:16] or self.content_hash

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits of a SHA-256 over what was computed; labels, wall time and names for people stay out."""
        digest = hashlib.sha256()
        about = self.metadata
        identity = (SCHEMA_VERSION, about.model, about.source_set, about.n_layers, about.target, list(about.tokens))
        digest.update(json.dumps(identity).encode())
        for name in ("node_id", "kind"):
            digest.update("\0".join(self.nodes[name].tolist()).encode())
        for name in ("layer", "position", "index", "activation", "probability", "kept"):
            column = self.nodes[name].to_numpy(copy=True)
            if column.dtype.kind == "f":
                column[np.isnan(column)] = np.nan  # NaN has many bit patterns, and Parquet keeps one
            digest.update(np.ascontiguousarray(column).tobytes())
        for name in ("source", "target", "effect", "kept"):
            digest.update(np.ascontiguousarray(getattr(self.edges, name)).tobytes())
        return digest.hexdigest()[:16]

    def slice_of(self, kind: NodeKind) -> slice:
        """Where the nodes of this kind stand; they are contiguous."""
        return self._slices.get(kind, slice(0, 0))

    @cached_property
    def _slices(self) -> dict[str, slice]:
        kind_N = self.nodes["kind"].to_numpy(object)
        bounds = [0, *(np.flatnonzero(kind_N[1:] != kind_N[:-1]) + 1).tolist(), len(kind_N)]
        return {kind_N[begin]: slice(begin, end) for begin, end in pairwise(bounds) if begin < end}

    @property
    def logit_weight_N(self) -> np.ndarray:
        """(N,) probability of each output and weight of each feature that is explained, zero on other nodes; where not
        every output has a probability, all weigh the same."""
        return weights_of(self.nodes)

    @property
    def input_size_N(self) -> np.ndarray:
        """(N,) sum of the sizes of all effects into each node, of those too that are no edges here: what shares are
        parts of; zero where nothing comes in."""
        edges, n = self.edges, len(self.nodes)
        there_N = np.bincount(edges.target, np.abs(edges.effect, dtype=np.float64), n)
        share_N = np.bincount(edges.target, edges.share, n)
        return np.divide(there_N, share_N, out=np.zeros(n), where=share_N > 0)

    def row_of(self, node_id: str) -> int:
        """The row of this node. Raises GraphFormatError where the graph has none."""
        rows = np.flatnonzero((self.nodes["node_id"] == node_id).to_numpy())
        if not len(rows):
            raise GraphFormatError(
                f"graph {self.graph_id} ({self.metadata.slug}) has no node {node_id!r}; "
                f"expected an id such as {self.nodes['node_id'].iloc[0]!r}. Look it up in the nodes table."
            )
        return int(rows[0])

    def pruned(self) -> "AttributionGraph":
        """The kept nodes and edges alone, with the shares and influence of the whole graph."""
        keep = self.nodes["kept"].to_numpy()
        new_row = np.cumsum(keep) - 1
        edges = self.edges.take(self.edges.kept & keep[self.edges.source] & keep[self.edges.target])
        moved = dataclasses.replace(
            edges, source=new_row[edges.source].astype(np.int32), target=new_row[edges.target].astype(np.int32)
        )
        about = dataclasses.replace(self.metadata, complete=False, inputs="")
        return AttributionGraph(self.nodes.loc[keep].reset_index(drop=True), moved, about)

    def to_networkx(self) -> "networkx.DiGraph":
        """The graph as a `networkx.DiGraph`; see `tracer.display`."""
        return display.to_networkx(self)

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(nodes, edges) as tables; edges name their ends by node_id."""
        return display.to_pandas(self)

    def _repr_html_(self) -> str:
        """How a notebook shows the graph."""
        return display.to_html(self)

    def save(self, url: str) -> None:
        """Write the graph into the folder at this path or fsspec URL, replacing what is there.

        Raises:
            OSError: The folder cannot be written (no room, no rights); the graph that was there is still there.
        """
        fs, path = fsspec.core.url_to_fs(str(url))
        is_new = not fs.exists(path)
        fs.makedirs(path, exist_ok=True)
        try:
            with naming(url):
                self._write(fs, path, PART)
        except BaseException:
            for left in [path] if is_new else [f"{path}/{name}{PART}" for name in FILES]:
                if fs.exists(left):
                    fs.rm(left, recursive=True)
            raise
        try:
            _exchange(fs, path)
        except KeyboardInterrupt:
            _exchange(fs, path)  # to its end: between two files there is neither the old graph nor the new one
            raise

    def _write(self, fs: Any, path: str, ending: str) -> None:
        """Write the files of this graph, each with this ending, into a folder."""
        _write_table(fs, f"{path}/{NODES_FILE}{ending}", pa.Table.from_pandas(self.nodes, preserve_index=False))
        columns = {name: getattr(self.edges, name) for name in EDGE_COLUMNS}
        _write_table(fs, f"{path}/{EDGES_FILE}{ending}", pa.table(columns))
        about = {"schema_version": SCHEMA_VERSION, "graph_id": self.graph_id, "content_hash": self.content_hash}
        about |= dataclasses.asdict(self.metadata)
        with fs.open(f"{path}/{METADATA_FILE}{ending}", "w") as out:
            json.dump(about, out, indent=1, ensure_ascii=False)

    @classmethod
    def load(cls, url: str) -> "AttributionGraph":
        """Read a saved graph and check that it is what was saved.

        Raises:
            GraphFormatError: There is no graph at this place, another schema version wrote it, or its content does
                not have the hash it was saved with.
        """
        about, _, expected = _metadata_of(url)
        nodes = _complete_nodes(read_table(url, NODES_FILE).to_pandas())
        graph = cls(nodes, _read_edges(url), about)
        if graph.content_hash != expected:
            raise GraphFormatError(
                f"{url}: content has the hash {graph.content_hash}, the graph was saved as {expected}; "
                "the files were changed or damaged since. Trace or ingest the graph again."
            )
        return graph

    @classmethod
    def outline(cls, url: str) -> "AttributionGraph":
        """A saved graph without its edges and measures, to look at what its nodes are: read in a third of the time.

        Neither this nor `with_edges` checks the hash of the content, which takes all columns; a page of a file that was
        damaged is told by its own checksum.

        Raises:
            GraphFormatError: There is no graph at this place, or another schema version wrote it.
        """
        about, graph_id, _ = _metadata_of(url)
        about = dataclasses.replace(about, inputs=about.inputs or graph_id)  # its id cannot be taken from the content
        table = read_table(url, NODES_FILE, OUTLINE_COLUMNS)
        nodes = table.to_pandas(ignore_metadata=True, split_blocks=True)  # types tell enough, copies are not needed
        none = Edges(*(np.empty(0, column.dtype) for column in EDGE_COLUMNS.values()))
        return cls(nodes, none, about)

    def with_edges(self, url: str) -> "AttributionGraph":
        """The outline of the graph at this place with its edges: what flow and paths are computed on.

        Raises:
            GraphFormatError: The edges cannot be read, or are not of these nodes.
        """
        edges, n = _read_edges(url), len(self.nodes)
        if (
            len(edges)
            and not 0 <= min(edges.source.min(), edges.target.min()) <= max(edges.source.max(), edges.target.max()) < n
        ):
            raise GraphFormatError(
                f"{url}: an edge ends at no node; expected rows from 0 to {n - 1}. The files were changed or damaged "
                "since the graph was saved. Trace or ingest the graph again."
            )
        return dataclasses.replace(self, edges=edges)


def read_metadata(url: str) -> dict[str, Any]:
    """The metadata of a saved graph, with `graph_id` and `schema_version`, without reading its tables.

    Raises:
        GraphFormatError: There is no graph at this place, or another schema version wrote it.
    """
    fs, path = fsspec.core.url_to_fs(str(url))
    try:
        with fs.open(f"{path}/{METADATA_FILE}") as file:
            about = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        if _finished(fs, path):
            return read_metadata(url)
        raise GraphFormatError(
            f"{url}: no {METADATA_FILE} there; a saved graph is a folder with {NODES_FILE}, {EDGES_FILE} and "
            f"{METADATA_FILE}. Give the folder that `throughline trace --out` wrote."
        ) from None
    except ValueError as error:
        raise GraphFormatError(
            f"{url}/{METADATA_FILE}: not JSON ({error}); expected the metadata of a saved graph. Trace it again."
        ) from None
    if not isinstance(about, dict) or about.get("schema_version") != SCHEMA_VERSION:
        seen = about.get("schema_version") if isinstance(about, dict) else type(about).__name__
        raise GraphFormatError(
            f"{url}: schema version {seen}; this program reads version {SCHEMA_VERSION}. Trace or ingest it again."
        )
    return about


def _metadata_of(url: str) -> tuple[GraphMetadata, str, str]:
    """(metadata of a saved graph, its graph_id, hash of its content)."""
    about = read_metadata(url)
    graph_id = about.pop("graph_id", "")
    expected = about.pop("content_hash", graph_id)  # older graphs were all named after their content
    about.pop("schema_version")
    try:
        about["tokens"] = tuple(about["tokens"])
        return GraphMetadata(**about), graph_id, expected
    except (KeyError, TypeError) as error:
        raise _no_fields(url, error) from None


def _no_fields(url: str, error: Exception) -> GraphFormatError:
    return GraphFormatError(
        f"{url}: metadata or edges are not those of a saved graph ({error}); expected the fields of "
        "GraphMetadata and the columns of EDGE_COLUMNS. Trace or ingest the graph again."
    )


def weights_of(nodes: pd.DataFrame) -> np.ndarray:
    """(N,) weight of each node at which a walk may start; see `AttributionGraph.logit_weight_N`."""
    probability_N, logit_N = nodes["probability"].to_numpy(np.float64), (nodes["kind"] == NodeKind.LOGIT).to_numpy()
    weight_N = np.nan_to_num(probability_N)
    weight_N[logit_N] = start_weights(probability_N[logit_N])
    return weight_N


def shares(target: np.ndarray, effect: np.ndarray, n_nodes: int, total_N: np.ndarray | None = None) -> np.ndarray:
    """(E,) abs(effect) over the sum of abs(effect) into the same target, or over total_N; zero where nothing comes in.

    >>> shares(np.array([2, 2, 3]), np.array([3.0, -1.0, 0.5]), 4).tolist()
    [0.75, 0.25, 1.0]
    """
    share = np.abs(effect, dtype=np.float64)
    if total_N is None:
        total_N = np.bincount(target, weights=share, minlength=n_nodes)
    share /= np.maximum(total_N, 1e-10)[target]  # 1e-10: the peer's clamp
    return share.astype(np.float32)


def _complete_nodes(nodes: pd.DataFrame) -> pd.DataFrame:
    """Every column of NODE_COLUMNS in its type and order; checks ids and the order of kinds."""
    defaults: dict[str, Any] = {
        "label": "",
        "label_note": "",
        "activation": np.nan,
        "influence": 0.0,
        "probability": np.nan,
        "remainder": np.nan,
        "left_out": np.nan,
        "kept": True,
    }
    missing = [name for name in NODE_COLUMNS if name not in nodes and name not in defaults]
    if missing:
        raise GraphFormatError(
            f"nodes table lacks {', '.join(missing)}; expected {', '.join(NODE_COLUMNS)}. Add the columns."
        )
    types = {name: column.dtype for name, column in NODE_COLUMNS.items()}
    full, seen = nodes.copy(deep=False), {name: str(dtype) for name, dtype in nodes.dtypes.items()}
    if list(seen.items()) != list(types.items()) or not nodes.index.equals(pd.RangeIndex(len(nodes))):
        columns = {name: nodes[name] if name in nodes else np.full(len(nodes), defaults[name]) for name in types}
        full = pd.DataFrame({name: pd.Series(columns[name]).reset_index(drop=True) for name in types}).astype(types)
    if not full["node_id"].is_unique:
        twice = full.loc[full["node_id"].duplicated(), "node_id"].tolist()[0]
        raise GraphFormatError(
            f"node id {twice!r} names two nodes; ids must be unique in a graph. "
            "Give one of them another id (circuit-tracer 0.4 names errors and layer-0 features alike)."
        )
    known = [kind.value for kind in NodeKind]
    kinds = full["kind"].tolist()
    unknown = set(kinds) - set(known)
    if unknown:
        raise GraphFormatError(
            f"node kind {sorted(unknown)[0]!r} is unknown; expected one of {', '.join(NodeKind)}. Use one of these."
        )
    if kinds != sorted(kinds, key=known.index):
        raise GraphFormatError(
            f"nodes are not in the order {', '.join(NodeKind)}; expected all nodes of one kind together. Sort by kind."
        )
    return full


def _sorted(source: np.ndarray, target: np.ndarray) -> bool:
    """Whether edges are in order of their targets, and those into one target in order of their sources."""
    before, after = slice(None, -1), slice(1, None)
    rises = target[after] > target[before]
    return bool((rises | ((target[after] == target[before]) & (source[after] >= source[before]))).all())


def _check_edges(nodes: pd.DataFrame, source: np.ndarray, target: np.ndarray, effect: np.ndarray) -> None:
    n = len(nodes)
    if not len(source) == len(target) == len(effect):
        raise GraphFormatError(
            f"{len(source)} sources, {len(target)} targets and {len(effect)} effects; expected as many of each. "
            "Pass parallel arrays."
        )
    lowest, highest = (min(source.min(), target.min()), max(source.max(), target.max())) if len(source) else (0, -1)
    if lowest < 0 or highest >= n:
        raise GraphFormatError(
            f"an edge ends at row {highest if highest >= n else lowest}; the graph has {n} nodes. "
            "Drop edges to nodes that are not there."
        )
    if not np.isfinite(effect).all():
        at = int(np.flatnonzero(~np.isfinite(effect))[0])
        raise GraphFormatError(
            f"the effect of {nodes['node_id'].iloc[source[at]]} on {nodes['node_id'].iloc[target[at]]} is "
            f"{effect[at]}; expected a finite number. Look for NaN or overflow in the weights."
        )
    is_bias_N = (nodes["kind"] == NodeKind.BIAS).to_numpy()
    if is_bias_N[target].any():
        entered = nodes["node_id"].iloc[int(target[is_bias_N[target]][0])]
        raise GraphFormatError(f"an edge enters the bias {entered}; expected none: it is a constant. Drop the edge.")
    layer = nodes["layer"].to_numpy()
    after_N = layer - is_bias_N  # attention's bias acts in its layer
    backward = np.flatnonzero(after_N[source] >= layer[target])
    if len(backward):
        at = backward[0]
        raise GraphFormatError(
            f"an edge goes from {nodes['node_id'].iloc[source[at]]} (layer {layer[source[at]]}) to "
            f"{nodes['node_id'].iloc[target[at]]} (layer {layer[target[at]]}); expected a strictly higher layer. "
            "Check that rows are targets and columns are sources."
        )


def read_table(url: str, name: str, columns: list[str] | None = None) -> pa.Table:
    """A table of a saved graph, or these columns of it. Raises GraphFormatError where it cannot be read."""
    fs, path = fsspec.core.url_to_fs(str(url))
    try:
        whole = pa.BufferReader(fs.cat_file(f"{path}/{name}"))
        file = pq.ParquetFile(whole, page_checksum_verification=True)
        return file.read(columns, use_threads=False)  # milliseconds of work: starting threads takes longer
    except (OSError, pa.ArrowException) as error:
        raise GraphFormatError(
            f"{url}/{name} cannot be read ({' '.join(str(error).split())[:200]}); expected the table that was saved. "
            "Trace or ingest the graph again."
        ) from None


def _read_edges(url: str) -> Edges:
    table = read_table(url, EDGES_FILE)
    try:
        columns = (table[name].to_numpy().astype(column.dtype, copy=False) for name, column in EDGE_COLUMNS.items())
        return Edges(*columns)
    except KeyError as error:
        raise _no_fields(url, error) from None


def _exchange(fs: Any, path: str) -> None:
    """Let the files that were written take their places, as far as they have not."""
    if fs.exists(f"{path}/{METADATA_FILE}{PART}") and fs.exists(f"{path}/{METADATA_FILE}"):
        fs.rm(f"{path}/{METADATA_FILE}")  # without it there is no graph, so none of two halves
    for name in FILES:
        with suppress(FileNotFoundError):  # a reader may be finishing it at the same time
            fs.mv(f"{path}/{name}{PART}", f"{path}/{name}")


def _finished(fs: Any, path: str) -> bool:
    """Exchange the files of a graph that was written to its end and whose writer was killed before, or while, they took
    their places; False where there is none, or not to its end."""
    try:
        with fs.open(f"{path}/{METADATA_FILE}{PART}") as file:  # written last
            json.load(file)
        _exchange(fs, path)
        return fs.exists(f"{path}/{METADATA_FILE}")
    except (OSError, ValueError):
        return False


def _write_table(fs: Any, path: str, table: pa.Table) -> None:
    types = {field.name: field.type for field in table.schema}
    settings: Any = {
        # Numbers hardly repeat: a dictionary of them makes files larger. Rows of nodes rise: their steps are small.
        "use_dictionary": [name for name, type_ in types.items() if not pa.types.is_primitive(type_)],
        "column_encoding": {name: "DELTA_BINARY_PACKED" for name, type_ in types.items() if pa.types.is_integer(type_)},
        "compression": "lz4",  # by zstd files are an eighth smaller, and are read in twice the time
    }
    with fs.open(path, "wb") as out:
        pq.write_table(table, out, write_page_checksum=True, **settings)
