"""The library: a folder of saved graphs, the record from which everything else can be made again."""

import os
import re

import fsspec

from ingest.home import home
from tracer.errors import GraphFormatError, StoreError
from tracer.graph import METADATA_FILE, AttributionGraph


class Library:
    """Saved graphs below one folder or fsspec URL, each in a folder named by its graph_id."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = os.fspath(root)
        self._fs, self._path = fsspec.core.url_to_fs(self.root)

    def add(self, graph: AttributionGraph) -> str:
        """Keep a graph; returns its place. One that is kept already stays as it is.

        Raises:
            StoreError: It cannot be written (no room, no rights); what was kept before is untouched.
        """
        place = self.place(graph.graph_id)
        if graph.graph_id in self:
            return place
        try:
            graph.save(place)
        except OSError as error:
            self._drop_rest(graph.graph_id)
            raise StoreError(
                f"graph {graph.graph_id} ({graph.metadata.slug}) cannot be kept in {self.root}: "
                f"{error.strerror or error}; expected room and the right to write there. Make room, or name another "
                "folder with THROUGHLINE_LIBRARY or THROUGHLINE_HOME; all graphs kept before are still there."
            ) from error
        except BaseException:
            self._drop_rest(graph.graph_id)
            raise
        return place

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

    def _drop_rest(self, graph_id: str) -> None:
        path = f"{self._path}/{graph_id}"
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)


_ID = re.compile("[0-9a-f]{16}")


def default_library() -> Library:
    """This user's library: THROUGHLINE_LIBRARY (a folder or URL, which a team can share), else in the home folder."""
    return Library(os.environ.get("THROUGHLINE_LIBRARY") or home() / "library")
