"""The library: a folder of saved graphs, the record from which everything else can be made again."""

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from ingest.home import home
from tracer.errors import GraphFormatError, StoreError
from tracer.graph import EDGES_FILE, FILES, METADATA_FILE, NODES_FILE, AttributionGraph, read_metadata, read_table

MARKS = ("pins", "supernodes")  # what people set in a graph, in its provenance
NAMES = ("slug", "prompt", "roles")  # for people, in its metadata
GRAPH_ID = re.compile("[0-9a-f]{16}")


class Library:
    """Saved graphs below one folder or fsspec URL, each in a folder named by its graph_id."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = os.fspath(root)
        self._fs, self._path = fsspec.core.url_to_fs(self.root)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Alone among the commands and pages of this machine that change graphs; other file systems have no locks.

        A graph is changed here and in the database within one such block, so that of two commands with the same graph
        one comes after the other.

        Raises:
            StoreError: Nothing can be written there.
        """
        with ExitStack() as held:
            try:
                held.enter_context(alone(self._fs, self._path))
            except OSError as error:
                raise self._refused("graphs", error) from error
            yield

    def add(self, graph: AttributionGraph) -> str:
        """Keep a graph; returns its place. One that is kept already stays as it is.

        Raises:
            StoreError: It cannot be written (no room, no rights); what was kept before is untouched.
        """
        if graph.graph_id not in self:
            self._save(graph, graph.graph_id)
        return self.place(graph.graph_id)

    def is_current(self, graph: AttributionGraph) -> bool:
        """Whether this graph is kept with these labels, pins, supernodes and names for people."""
        begun = self._fs.exists(f"{self._path}/{_new(graph)}")  # a replacement that was cut off
        kept = None if begun else self.intact(graph.graph_id)
        return kept is not None and _marks(kept) == _marks(graph)

    @contextmanager
    def replaced(self, graph: AttributionGraph) -> Iterator[None]:
        """Take over labels, pins and names of a kept graph; what was computed is the same under one graph_id.

        It is whole at every moment, and afterwards also where it was damaged before. Until the block ends without an
        error the graph does not count as current: a crash before others have heard of the change is made good by doing
        it again.

        Raises:
            StoreError: It cannot be written (no room, no rights); what was kept before is untouched.
        """
        name = _new(graph)
        self._save(graph, name)
        for file in FILES:  # the edges too, which may be damaged
            self._fs.mv(f"{self._path}/{name}/{file}", f"{self._path}/{graph.graph_id}/{file}")
        yield
        self._drop(name)

    def load(self, graph_id: str) -> AttributionGraph:
        """A kept graph. Raises GraphFormatError where there is none of this id, or its files are damaged."""
        return AttributionGraph.load(self.place(graph_id))

    def intact(self, graph_id: str) -> AttributionGraph | None:
        """A kept graph; None where there is none of this id, or its files are damaged, so better replaced."""
        try:
            return self.load(graph_id)
        except GraphFormatError:
            return None

    def salvaged(self, graph: AttributionGraph) -> AttributionGraph | None:
        """This graph with what people set in a damaged one of the same graph_id, as far as its files can be read.

        Pins, supernodes and names come from its metadata, labels from its nodes. None where the metadata are damaged.
        """
        place = self.place(graph.graph_id)
        try:
            kept = read_metadata(place)
            names = {name: kept[name] for name in NAMES}
            marks = {name: kept["provenance"][name] for name in (*MARKS, "taken") if name in kept["provenance"]}
        except (GraphFormatError, KeyError, TypeError):
            return None
        about = dataclasses.replace(graph.metadata, provenance=graph.metadata.provenance | marks, **names)
        return dataclasses.replace(graph, nodes=self._labelled(graph), metadata=about)

    def _labelled(self, graph: AttributionGraph) -> pd.DataFrame:
        """The nodes of this graph, with the labels of the kept one where these can be read."""
        columns = ["label", "label_note"]
        try:
            table = read_table(self.place(graph.graph_id), NODES_FILE, ["node_id", *columns])
            kept = table.to_pandas().set_index("node_id")
            return graph.nodes.assign(**kept.loc[graph.nodes["node_id"], columns].reset_index(drop=True))
        except (GraphFormatError, KeyError, ValueError):
            return graph.nodes

    def outline(self, graph_id: str) -> AttributionGraph:
        """What the nodes of a kept graph are, without its edges: see `AttributionGraph.outline`."""
        return AttributionGraph.outline(self.place(graph_id))

    def with_edges(self, outline: AttributionGraph) -> AttributionGraph:
        """The outline of a kept graph with its edges."""
        return outline.with_edges(self.place(outline.graph_id))

    def n_edges(self, graph_id: str) -> int:
        """How many edges a kept graph has, from the end of its file alone; 0 where it is damaged."""
        try:
            with self._fs.open(f"{self._path}/{graph_id}/{EDGES_FILE}", "rb") as file:
                return pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowException):
            return 0

    def ids(self) -> list[str]:
        """The graph_id of every kept graph, sorted."""
        if not self._fs.exists(self._path):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in self._fs.ls(self._path, detail=False))
        return sorted(name for name in names if GRAPH_ID.fullmatch(name) and name in self)

    def remove(self, graph_id: str) -> bool:
        """Delete a kept graph; False where there is none."""
        there = graph_id in self
        if there:
            self._fs.rm(f"{self._path}/{graph_id}/{METADATA_FILE}")  # first: without it there is no graph
            self._drop(graph_id)
        self._drop(f"{graph_id}.new")
        return there

    def place(self, graph_id: str) -> str:
        """The folder of a graph, whether it is there or not. Raises GraphFormatError for what is no graph_id."""
        if not GRAPH_ID.fullmatch(graph_id):
            raise GraphFormatError(
                f"{graph_id!r} is no graph_id; expected 16 hex digits such as 0123456789abcdef. "
                "`throughline query graphs` lists them."
            )
        return f"{self.root.rstrip('/')}/{graph_id}"

    def __contains__(self, graph_id: str) -> bool:
        return self._fs.exists(f"{self._path}/{graph_id}/{METADATA_FILE}")

    def _save(self, graph: AttributionGraph, name: str) -> None:
        """Write a graph into the folder of this name; nothing is left of it where that fails."""
        try:
            graph.save(f"{self.root.rstrip('/')}/{name}")
        except OSError as error:
            self._drop(name)
            raise self._refused(f"graph {graph.graph_id} ({graph.metadata.slug})", error) from error
        except BaseException:
            self._drop(name)
            raise

    def _refused(self, what: str, error: OSError) -> StoreError:
        return StoreError(
            f"{what} cannot be kept in {self.root}: {error.strerror or error}; expected room and the right to write "
            "there. Make room, or name another folder with THROUGHLINE_LIBRARY or THROUGHLINE_HOME; all graphs kept "
            "before are still there."
        )

    def _drop(self, name: str) -> None:
        path = f"{self._path}/{name}"
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)


@contextmanager
def alone(fs: fsspec.AbstractFileSystem, folder: str) -> Iterator[None]:
    """Alone in this folder among the processes of this machine; file systems that are not local have no locks."""
    if "file" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        yield
        return
    os.makedirs(folder, exist_ok=True)
    with FileLock(f"{folder}/.lock"):
        yield


def _new(graph: AttributionGraph) -> str:
    """The folder of a replacement while it is made, beside the old one; no graph_id, so it counts as no graph."""
    return f"{graph.graph_id}.new"


def _marks(graph: AttributionGraph) -> list[Any]:
    """What people can change in a graph without making it another one."""
    about = graph.metadata
    return [
        graph.nodes["label"].tolist(),
        *(about.provenance.get(name) or [] for name in MARKS),
        *(getattr(about, name) for name in NAMES),
    ]


def default_library() -> Library:
    """This user's library: THROUGHLINE_LIBRARY (a folder or URL, which a team can share), else in the home folder."""
    return Library(os.environ.get("THROUGHLINE_LIBRARY") or home() / "library")
