"""Graphs from folders and files into the library and the database, one report for each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ingest.library import Library
from ingest.readers import read_graph_file
from ingest.store import GraphStore
from tracer.errors import CircuitError, GraphFormatError, StoreUnreachableError
from tracer.graph import METADATA_FILE, AttributionGraph

Progress = Callable[[int, int, str], None]  # done, total, what
FILE_ENDINGS = (".json", ".json.gz")


@dataclass(frozen=True)
class IngestReport:
    """What became of one file or saved graph."""

    path: str
    """As found below the path that was given."""
    status: Literal["ingested", "updated", "unchanged", "refused"]
    """`updated`: it was there with other labels, pins or names, and has those of this file now."""
    graph_id: str = ""
    """Empty where it was refused."""
    slug: str = ""
    """Its short name."""
    nodes: int = 0
    """Nodes of the whole graph."""
    edges: int = 0
    """Direct effects of the whole graph."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What had to be repaired, by kind, with counts."""
    reason: str = ""
    """Why it was refused."""


def ingest_paths(
    paths: Iterable[str | Path], store: GraphStore, library: Library, progress: Progress | None = None
) -> Iterator[IngestReport]:
    """Keep and store every graph below these paths; a bad one is reported and does not stop the rest.

    Args:
        paths: Saved graphs, graph files, or folders of either.
        progress: Told how many of how many are done.

    Raises:
        StoreUnreachableError: The database is gone, so nothing further can be stored.
    """
    found = [place for path in paths for place in graph_places(Path(path))]
    for done, place in enumerate(found):
        if progress:
            progress(done, len(found), f"loading {place.name}")
        yield _ingest(place, store, library)
    if progress:
        progress(len(found), len(found), "loaded")


def find_graph(name: str, library: Library) -> AttributionGraph:
    """The graph that a user means: a saved graph, a graph file, a folder with one graph below it, or a graph_id.

    Raises:
        GraphFormatError: There is none, there are several, or it cannot be read.
    """
    path = Path(name)
    if not path.exists() and name in library.ids():
        return library.load(name)
    places = graph_places(path)
    if len(places) > 1 and not (path / METADATA_FILE).exists():
        raise GraphFormatError(
            f"{name}: {len(places)} graphs are below this folder; expected one. Name one of them, such as {places[0]}."
        )
    return read_graph(path if len(places) != 1 else places[0])


def keep_graph(
    graph: AttributionGraph, store: GraphStore, library: Library
) -> Literal["ingested", "updated", "unchanged"]:
    """Put a graph into the library and the store, or take over its labels, pins and names where it is there.

    It goes to the library first, from which pages read, and then to the database, which tells them. After a crash in
    between, doing it again finishes it.

    Raises:
        StoreError: It cannot be stored or kept; what was there before is untouched.
    """
    if graph.graph_id not in library:
        library.add(graph)
        store.add(graph, replace=True)
        return "ingested"
    if library.is_current(graph):
        return store.add(graph)
    with library.replaced(graph):
        store.add(graph, replace=True)
    return "updated"


def graph_places(path: Path) -> list[Path]:
    """The saved graphs and graph files at or below a path, in order of name; the path itself where it is a file."""
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir())
    is_graph = (path / METADATA_FILE).exists()
    files = [entry for entry in inside if entry.is_file() and entry.name.lower().endswith(FILE_ENDINGS)]
    found = [path] if is_graph else files  # a saved graph has a file of JSON itself
    return found + [place for entry in inside if entry.is_dir() for place in graph_places(entry)]


def read_graph(place: Path) -> AttributionGraph:
    """The graph that is saved in this folder, or that this file of another tool holds.

    Raises:
        GraphFormatError: Nothing is there, or it cannot be read as a graph.
    """
    if place.is_dir():
        return AttributionGraph.load(str(place))
    if not place.exists():
        raise GraphFormatError(f"{place}: nothing is there; expected a graph file or a folder. Check the path.")
    try:
        return read_graph_file(place)
    except OSError as error:
        raise GraphFormatError(f"{place}: cannot be read ({error.strerror}). Check the file and its rights.") from error


def _ingest(place: Path, store: GraphStore, library: Library) -> IngestReport:
    try:
        graph = read_graph(place)
        status = keep_graph(graph, store, library)
    except StoreUnreachableError:
        raise
    except CircuitError as error:
        return IngestReport(str(place), "refused", reason=str(error))
    return IngestReport(
        str(place),
        status,
        graph.graph_id,
        graph.metadata.slug,
        len(graph.nodes),
        len(graph.edges),
        dict(graph.metadata.provenance.get("repairs", {})),
    )
