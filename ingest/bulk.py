"""A first load of many graphs: into an empty local database by the import tool of Neo4j, else one by one.

The tool makes a data folder of its own from files, while the server runs on. The server then goes on with that folder
in place of its empty one, which comes back unless the new one is found to be complete: a crash at any moment leaves
the one or the other.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import psutil

from ingest import leash
from ingest.import_files import ImportFiles
from ingest.jars import fetch_jars
from ingest.java import java_command, last_words
from ingest.library import Library
from ingest.rows import graph_rows
from ingest.server import LocalServer
from ingest.store import GraphStore
from ingest.writing import Added, Progress
from tracer.errors import CircuitError, GraphFormatError, StoreError, StoreUnreachableError
from tracer.graph import AttributionGraph

BULK_FROM = 300_000  # edges; below that the restart of the server, 5 to 15 s, costs more than it saves
WORTH_WAITING = 8 << 20  # bytes of files, from which they are first all read: 80,000 links in JSON
TOOL_CLASS = "org.neo4j.cli.AdminTool"
TOOL_COMMAND = ("database", "import", "full", "neo4j", "--max-off-heap-memory=400m")
TOOL_STEPS = 80  # per cents that it prints, in steps of five, for each of its four stages
BEAT_S = 0.5

Failure = tuple[str, CircuitError]  # graph_id, why it is not stored

log = logging.getLogger("ingest")


class Waiting:
    """Takes graphs in place of an empty store, which gets them from the library when all are kept there."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}

    def add(self, graph: AttributionGraph, progress: Progress | None = None, replace: bool = False) -> Added:
        """As `GraphStore.add`."""
        there = graph.graph_id in self.ids
        self.ids[graph.graph_id] = None
        return "unchanged" if there and not replace else "ingested"


def bring(
    ids: list[str],
    store: GraphStore,
    library: Library,
    progress: Progress | None = None,
    beat: Callable[[], object] = lambda: None,
) -> Iterator[Failure]:
    """Store these graphs of the library, by import where that can be done and is worth it.

    Args:
        beat: Called again and again in the meantime; what it raises ends the work.

    Yields:
        Each graph that could not be read or stored, and why.

    Raises:
        StoreUnreachableError: The database is gone.
    """
    if store.connection.folder and is_worth_it(ids, library) and store.is_empty():
        try:
            return (yield from _import(ids, store, library, progress, beat))
        except (StoreError, OSError) as error:
            store.reopen(LocalServer(store.connection.folder).ensure(progress))
            log.warning("%d graphs are stored one by one, which takes longer: %s", len(ids), error)
    for done, graph_id in enumerate(ids):
        if progress:
            progress(done, len(ids), f"loading {graph_id}")
        beat()
        try:
            with library.changing():
                if graph_id in library:  # else it was removed in the meantime
                    store.add(library.load(graph_id))
        except StoreUnreachableError:
            raise
        except CircuitError as error:
            yield graph_id, error


def is_worth_it(ids: list[str], library: Library) -> bool:
    """Whether these graphs have BULK_FROM edges or more; no more files are looked at than it takes to tell."""
    n_edges = 0
    for graph_id in ids:
        n_edges += library.n_edges(graph_id)
        if n_edges >= BULK_FROM:
            return True
    return False


def _import(
    ids: list[str], store: GraphStore, library: Library, progress: Progress | None, beat: Callable[[], object]
) -> Iterator[Failure]:
    server = LocalServer(store.connection.folder)
    with store.held_empty():
        pass  # asked again when it matters; but here a refusal costs nothing yet
    with workplace(server.folder / "import") as folder:
        files = ImportFiles(folder)
        for done, graph_id in enumerate(ids):
            if progress:
                progress(done, len(ids), "preparing the import")
            beat()
            try:
                files.add(graph_rows(library.load(graph_id)))
            except GraphFormatError as error:
                if graph_id in library:
                    yield graph_id, error
        run_tool(folder, files.finish(), fetch_jars(server.jars), progress, beat)
        with (
            library.changing(),
            store.held_empty() as meta,
            server.exchanged(folder / "data", progress) as connection,
        ):
            if gone := sorted({graph["graph_id"] for graph in files.graphs} - set(library.ids())):
                raise StoreError(f"{len(gone)} graphs were removed in the meantime ({gone[0]}); the import was undone.")
            _complete(GraphStore(connection), files, meta)
    store.reopen(connection)


def _complete(made: GraphStore, files: ImportFiles, meta: dict) -> None:
    """Check that what the files have is there (indexes have checked that keys are unique), and add what they lack."""
    with made:
        seen = {name: n for name, n in made.schema_counts().items() if name != "Meta"}
        wrong = sorted(name for name in seen.keys() | files.counts.keys() if seen.get(name) != files.counts.get(name))
        if wrong:
            raise StoreError(
                f"the import made {seen.get(wrong[0], 0)} of {wrong[0]}, expected {files.counts.get(wrong[0], 0)}; it "
                "was undone."
            )
        made.complete(files.graphs, files.supernodes, meta)


@contextmanager
def workplace(folder: Path, end: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """An empty folder inside this one for one command at a time; what earlier ones left is removed.

    Args:
        end: How to end what a killed command may have left at work in such a folder; `end_tool` if not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / "one.lock").acquire(timeout=0):
            for left in folder.iterdir():
                if left.is_dir():
                    (end or end_tool)(left)
                    shutil.rmtree(left, ignore_errors=True)
            place = folder / str(uuid.uuid4())
            place.mkdir()
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
    except filelock.Timeout:
        raise StoreError(
            f"another command works in {folder}; expected to be the only one. Wait for it to end."
        ) from None


def run_tool(
    folder: Path,
    arguments: list[str],
    jars: list[Path],
    progress: Progress | None = None,
    beat: Callable[[], object] = lambda: None,
    lesson: Path | None = None,
) -> None:
    """Make the data folder.

    Args:
        arguments: What `ImportFiles` tells.
        lesson: Where the tool shall write down what it has learned; see `prepare`.

    Raises:
        StoreError: The tool failed; with the last lines that it said.
    """
    (folder / "conf").mkdir()
    (folder / "conf" / "neo4j.conf").touch()
    said = folder / "said.txt"
    home = {"NEO4J_HOME": str(folder), "NEO4J_CONF": str(folder / "conf")}
    command = java_command(jars, TOOL_CLASS, *TOOL_COMMAND, *arguments, lesson=lesson)
    with said.open("wb") as out:
        tool = subprocess.Popen(
            [sys.executable, leash.__file__, *command],  # else it would go on for minutes where this process is killed
            cwd=folder,
            env=os.environ | home,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            while tool.poll() is None:
                beat()
                if progress:
                    done = said.read_text("utf-8", "replace").count("% ")
                    progress(min(done, TOOL_STEPS), TOOL_STEPS, "importing")
                time.sleep(BEAT_S)
        finally:
            tool.communicate()  # lets go of the leash
    if tool.returncode:
        raise StoreError(f"the import tool of Neo4j failed: {last_words(said.read_text('utf-8', 'replace'))}")
    if progress:
        progress(TOOL_STEPS, TOOL_STEPS, "importing")


def end_tool(folder: Path) -> None:
    """End an import tool that works in this folder, and whose command has died."""
    for process in psutil.process_iter():
        try:
            if TOOL_CLASS in process.cmdline() and Path(process.cwd()) == folder:
                process.kill()
                process.wait()
        except (psutil.Error, OSError):
            continue
