"""Graphs from folders and files into the library and the database, one report for each."""

import dataclasses
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ingest.bulk import WORTH_WAITING, Waiting, bring
from ingest.documents import depth_of
from ingest.grouping import with_own_supernodes
from ingest.kept_circuits import bring_circuits
from ingest.labels import Label, LabelStore
from ingest.library import MARKS, Library
from ingest.readers import read_graph_file
from ingest.sources import ARCHIVE, ENDINGS, Source, members, text_of
from ingest.static_folder import graph_files
from ingest.store import GraphStore
from tracer.errors import CircuitError, GraphFormatError, StoreUnreachableError
from tracer.graph import FILES, METADATA_FILE, AttributionGraph, read_metadata

Progress = Callable[[int, int, str], None]  # done, total, what
Place = Path | Source
Store = GraphStore | Waiting

MOST_DEEP = 100  # that what a file says of itself may be nested
log = logging.getLogger("ingest")


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
    nodes_by_kind: dict[str, int] = field(default_factory=dict)
    """How many nodes of each kind."""
    edges_by_kind: dict[str, int] = field(default_factory=dict)
    """How many direct effects from each kind on each kind, as `feature -> logit`."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What had to be repaired, by kind, with counts."""
    reason: str = ""
    """Why it was refused."""


def ingest_paths(
    paths: Iterable[str | Path],
    store: GraphStore | None,
    library: Library,
    progress: Progress | None = None,
    strict: bool = False,
) -> Iterator[IngestReport]:
    """Keep and store every graph below these paths; a bad one is reported and does not stop the rest.

    Args:
        paths: Saved graphs, graph files, zip archives of both, or folders of all these.
        store: None for a dry run, which changes nothing and tells what would become of each file.
        progress: Told how many of how many are done.
        strict: Refuse what would have to be repaired.

    Raises:
        StoreUnreachableError: The database is gone, so nothing further can be stored.
    """
    found = [place for path in paths for place in graph_places(Path(path))]
    if store and _size(found) >= WORTH_WAITING and store.connection.folder and store.is_empty():
        yield from _ingest_first(found, store, library, progress, strict)
    else:
        yield from _ingest_each(found, store, library, progress, strict)
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
            f"{text_of(name)}: {len(places)} graphs are below this folder; expected one. Name one of them, such as "
            f"{text_of(places[0])}."
        )
    return read_graph(path if len(places) != 1 else places[0])


def keep_graph(
    graph: AttributionGraph, store: Store, library: Library, replace: bool = False
) -> Literal["ingested", "updated", "unchanged"]:
    """Put a graph into the library and the store, or take over its labels, pins and names where it is there.

    Its labels go to the label store, by whose rule those that are shown are chosen.

    It goes to the library first, from which pages read, and then to the database, which tells them. After a crash in
    between, doing it again finishes it.

    Args:
        replace: Leave out what earlier files of it said.

    Raises:
        StoreError: It cannot be stored or kept; what was there before is untouched.
    """
    labels = LabelStore(library)
    labels.take(graph)
    with library.changing():
        graph = labels.shown(graph if replace else _merged(graph, library))
        if graph.graph_id not in library:
            library.add(graph)
            store.add(graph, replace=True)
            return "ingested"
        if library.is_current(graph):
            return store.add(graph)
        with library.replaced(graph):
            store.add(graph, replace=True)
        return "updated"


def relabel(
    source_set: str,
    store: GraphStore,
    library: Library,
    progress: Progress | None = None,
    damaged: Callable[[str, GraphFormatError], object] | None = None,
) -> list[str]:
    """Show the labels that are kept of a dictionary in every graph of it; returns the graphs that changed.

    Where a label is shown that is not kept any more, the graph's own comes back.

    Args:
        damaged: Told each graph that cannot be read, which stops nothing; a warning is logged if not given.
    """
    labels, changed = LabelStore(library), []
    unshown, ids = labels.unshown(source_set), library.ids()
    gone = [label for some in unshown.values() for label in some]
    for done, graph_id in enumerate(ids, 1):
        if progress:
            progress(done, len(ids), "showing labels")
        with library.changing():
            try:
                if graph_id not in library or read_metadata(library.place(graph_id))["source_set"] != source_set:
                    continue
                graph = labels.shown(labels.without(library.load(graph_id), gone))
            except GraphFormatError as error:
                damaged(graph_id, error) if damaged else log.warning("labels are not shown in %s: %s", graph_id, error)
                continue
            if not library.is_current(graph):
                with library.replaced(graph):
                    store.set_labels(graph) if store.has(graph_id) else store.add(graph)
                changed.append(graph_id)
    labels.are_shown(unshown)
    return changed


def edit_label(
    source_set: str, edit: Label, store: GraphStore, library: Library, progress: Progress | None = None
) -> list[str]:
    """Keep an edit of a feature's label and show it wherever the feature occurs; returns the graphs that changed."""
    LabelStore(library).add(source_set, [edit])
    return relabel(source_set, store, library, progress)


def graph_places(path: Path) -> list[Place]:
    """The saved graphs and graph files at or below a path, in order of name; the path itself where it is a file.

    Links come last in their folder. They are followed, but not to where the path lies, and to no place twice.
    """
    if not path.is_dir():
        return _unpacked(path)
    real = path.resolve()
    return [*_below(path, {str(folder) for folder in (real, *real.parents)})]


def _below(folder: Path, seen: set[str]) -> Iterator[Place]:
    """The graphs of a folder, but for those that were seen already."""
    inside = graph_files(folder)  # beside them lie features and the like
    if inside is None:
        inside = sorted(folder.iterdir(), key=lambda entry: (entry.is_dir(), entry.is_symlink(), entry))
        if (folder / METADATA_FILE).exists():
            yield folder
            inside = [entry for entry in inside if entry.is_dir()]  # it has JSON itself
    for entry in inside:
        real = os.path.realpath(entry)
        if real not in seen:
            seen.add(real)
            yield from _below(entry, seen) if entry.is_dir() else _promised(entry)


def _promised(file: Path) -> list[Place]:
    """The graphs that the name of a file in a folder promises; a link that leads nowhere is one, to be refused."""
    return _unpacked(file) if file.name.lower().endswith(ENDINGS) or not file.exists() else []


def read_graph(place: Place, strict: bool = False) -> AttributionGraph:
    """The graph that is saved in this folder, or that this file of another tool holds.

    Raises:
        GraphFormatError: Nothing is there, or it cannot be read as a graph.
    """
    graph = _read(place, strict)
    if (depth := depth_of(graph.metadata.provenance)) > MOST_DEEP:
        raise GraphFormatError(
            f"{text_of(place)}: what it says of itself is nested {depth} deep; expected at most {MOST_DEEP}. Write the "
            "file again without it."
        )
    return graph


def _read(place: Place, strict: bool) -> AttributionGraph:
    if isinstance(place, Source):
        return _read_member(place, strict)
    if place.is_dir():
        return AttributionGraph.load(str(place))
    if not place.is_file():
        seen = "is no file, but a pipe or device" if place.exists() else "nothing is there"
        raise GraphFormatError(f"{place}: {seen}; expected a graph file or a folder. Check the path.")
    if place.suffix.lower() == ARCHIVE:  # damaged, else its members would stand here
        members(place)
    return read_graph_file(place, strict)


def _read_member(source: Source, strict: bool) -> AttributionGraph:
    if source.saved:
        return read_saved(source)
    if source.member.lower().endswith(ARCHIVE):
        raise GraphFormatError(
            f"{source}: an archive within an archive, which is not opened; expected graphs. Unpack the outer one, and "
            "give its folder."
        )
    return read_graph_file(source, strict)


def read_saved(source: Source) -> AttributionGraph:
    """The graph whose saved folder lies in an archive.

    Raises:
        GraphFormatError: A file of it cannot be read, or it is not what was saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            with source.beside(name).open() as packed, (Path(folder) / name).open("wb") as out:
                shutil.copyfileobj(packed, out)
        try:
            return AttributionGraph.load(folder)
        except GraphFormatError as error:
            raise GraphFormatError(str(error).replace(folder, str(source))) from None


def _unpacked(path: Path) -> list[Place]:
    """What is in an archive; what is none, is damaged, or holds no graph stands for itself."""
    if path.suffix.lower() != ARCHIVE or not path.is_file():
        return [path]
    try:
        return [*members(path)]
    except GraphFormatError:
        return [path]


def _merged(graph: AttributionGraph, library: Library) -> AttributionGraph:
    """The graph with what earlier files of it said: labels where this one has none, pins and supernodes of all.

    A file that was taken in before changes nothing. A saved graph, which comes from no file, replaces what was there.
    """
    digest = graph.metadata.provenance.get("sha256")
    kept = (library.intact(graph.graph_id) or library.salvaged(graph)) if digest else None
    if kept is None:
        return graph
    before, provenance = kept.metadata.provenance, graph.metadata.provenance
    taken = before.get("taken", [])
    if any(each.get("sha256") == digest for each in taken):
        return kept
    marks: dict[str, Any] = {name: [*before.get(name, [])] for name in MARKS}
    for name in MARKS:
        marks[name] += [mark for mark in provenance.get(name, []) if mark not in marks[name]]
    row_of = {node_id: row for row, node_id in enumerate(kept.nodes["node_id"])}
    rows = [row_of[node_id] for node_id in graph.nodes["node_id"]]  # the same nodes: the content is the same
    said = graph.nodes["label"].to_numpy(object) != ""
    columns = {
        name: np.where(said, graph.nodes[name].to_numpy(object), kept.nodes[name].to_numpy(object)[rows])
        for name in ("label", "label_note")
    }
    about = dataclasses.replace(
        graph.metadata, provenance=provenance | marks | {"taken": [*taken, *provenance.get("taken", [])]}
    )
    return dataclasses.replace(graph, nodes=graph.nodes.assign(**columns), metadata=about)


def _ingest_each(
    places: list[Place], store: Store | None, library: Library, progress: Progress | None, strict: bool
) -> Iterator[IngestReport]:
    for done, place in enumerate(places):
        if progress:
            progress(done, len(places), f"loading {text_of(place.name)}")
        yield _ingest(place, store, library, strict)


def _ingest_first(
    places: list[Place], store: GraphStore, library: Library, progress: Progress | None, strict: bool
) -> Iterator[IngestReport]:
    """All graphs into the library, then all into the empty store; only then what became of each is told."""
    waiting = Waiting()
    reports = list(_ingest_each(places, waiting, library, progress, strict))
    failed = dict(bring(list(waiting.ids), store, library, progress))
    for what in bring_circuits(store, library):
        log.warning("%s", what)
    for report in reports:
        error = failed.get(report.graph_id)
        yield IngestReport(report.path, "refused", reason=str(error)) if error else report


def _size(places: list[Place]) -> int:
    """Bytes, as they are on disk."""
    paths = {place.path if isinstance(place, Source) else place for place in places}
    files = (file for path in paths for file in (path.iterdir() if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files if file.is_file())


def _ingest(place: Place, store: Store | None, library: Library, strict: bool) -> IngestReport:
    try:
        graph = with_own_supernodes(read_graph(place, strict), library)
        status = keep_graph(graph, store, library) if store else _foreseen(graph, library)
    except StoreUnreachableError:
        raise
    except CircuitError as error:
        return IngestReport(text_of(place), "refused", reason=text_of(error))
    kind_N = graph.nodes["kind"].to_numpy(object)
    ends = zip(kind_N[graph.edges.source], kind_N[graph.edges.target], strict=True)
    return IngestReport(
        text_of(place),
        status,
        graph.graph_id,
        graph.metadata.slug,
        len(graph.nodes),
        len(graph.edges),
        dict(Counter(kind_N.tolist())),
        {f"{source} -> {target}": n for (source, target), n in sorted(Counter(ends).items())},
        dict(graph.metadata.provenance.get("repairs", {})),
    )


def _foreseen(graph: AttributionGraph, library: Library) -> Literal["ingested", "updated", "unchanged"]:
    """What `keep_graph` would make of it."""
    shown = LabelStore(library).shown(_merged(graph, library))
    if graph.graph_id not in library:
        return "ingested"
    return "unchanged" if library.is_current(shown) else "updated"
