"""The library: a folder of saved graphs, the record from which everything else can be made again."""

import os
import re
from typing import Any

import fsspec

from ingest.home import home
from tracer.errors import GraphFormatError, StoreError
from tracer.graph import METADATA_FILE, NODES_FILE, AttributionGraph

MARKS = ("pins", "supernodes")  # what people set in a graph, in its provenance


class Library:
    """Saved graphs below one folder or fsspec URL, each in a folder named by its graph_id."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = os.fspath(root)
        self._fs, self._path = fsspec.core.url_to_fs(self.root)

    def add(self, graph: AttributionGraph, replace: bool = False) -> str:
        """Keep a graph; returns its place. One that is kept already stays as it is, unless it is to be replaced.

        Args:
            replace: Take over labels, pins and names for people; what was computed is the same under one graph_id.

        Raises:
            StoreError: It cannot be written (no room, no rights); what was kept before is untouched.
        """
        place, known = self.place(graph.graph_id), graph.graph_id in self
        if known and not replace:
            return place
        # beside the old one, which stays whole until the new one is
        name = f"{graph.graph_id}.new" if known else graph.graph_id
        try:
            graph.save(f"{self.root.rstrip('/')}/{name}")
            if known:
                self._take_over(graph.graph_id)
        except OSError as error:
            self._drop_rest(name)
            raise StoreError(
                f"graph {graph.graph_id} ({graph.metadata.slug}) cannot be kept in {self.root}: "
                f"{error.strerror or error}; expected room and the right to write there. Make room, or name another "
                "folder with THROUGHLINE_LIBRARY or THROUGHLINE_HOME; all graphs kept before are still there."
            ) from error
        except BaseException:
            self._drop_rest(name)
            raise
        return place

    def is_current(self, graph: AttributionGraph) -> bool:
        """Whether this graph is kept with these labels, pins, supernodes and names for people."""
        try:
            return graph.graph_id in self and _marks(self.load(graph.graph_id)) == _marks(graph)
        except GraphFormatError:  # damaged, so better replaced
            return False

    def load(self, graph_id: str) -> AttributionGraph:
        """A kept graph. Raises GraphFormatError where there is none of this id, or its files are damaged."""
        return AttributionGraph.load(self.place(graph_id))

    def ids(self) -> list[str]:
        """The graph_id of every kept graph, sorted."""
        if not self._fs.exists(self._path):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in self._fs.ls(self._path, detail=False))
        return sorted(name for name in names if _ID.fullmatch(name) and name in self)

    def remove(self, graph_id: str) -> bool:
        """Delete a kept graph; False where there is none."""
        there = graph_id in self
        if there:
            self._fs.rm(f"{self._path}/{graph_id}/{METADATA_FILE}")  # first: without it there is no graph
            self._fs.rm(f"{self._path}/{graph_id}", recursive=True)
        return there

    def place(self, graph_id: str) -> str:
        """The folder of a graph, whether it is there or not. Raises GraphFormatError for what is no graph_id."""
        if not _ID.fullmatch(graph_id):
            raise GraphFormatError(
                f"{graph_id!r} is no graph_id; expected 16 hex digits such as 0123456789abcdef. "
                "`throughline query graphs` lists them."
            )
        return f"{self.root.rstrip('/')}/{graph_id}"

    def __contains__(self, graph_id: str) -> bool:
        return self._fs.exists(f"{self._path}/{graph_id}/{METADATA_FILE}")

    def _take_over(self, graph_id: str) -> None:
        """Move the files that may differ over the old ones, one by one: at any moment it is a whole graph."""
        new, old = f"{self._path}/{graph_id}.new", f"{self._path}/{graph_id}"
        for name in (NODES_FILE, METADATA_FILE):
            self._fs.mv(f"{new}/{name}", f"{old}/{name}")
        self._fs.rm(new, recursive=True)

    def _drop_rest(self, name: str) -> None:
        path = f"{self._path}/{name}"
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)


def _marks(graph: AttributionGraph) -> list[Any]:
    """What people can change in a graph without making it another one."""
    about = graph.metadata
    return [
        graph.nodes["label"].tolist(),
        *(about.provenance.get(name) or [] for name in MARKS),
        about.slug,
        about.prompt,
        about.roles,
    ]


_ID = re.compile("[0-9a-f]{16}")


def default_library() -> Library:
    """This user's library: THROUGHLINE_LIBRARY (a folder or URL, which a team can share), else in the home folder."""
    return Library(os.environ.get("THROUGHLINE_LIBRARY") or home() / "library")
