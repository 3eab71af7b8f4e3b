"""Once for an installation: Java learns on made-up graphs what Neo4j needs, and keeps it for every later start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ingest.bulk import TOOL_CLASS, end_tool, run_tool, workplace
from ingest.home import jar_cache
from ingest.import_files import ImportFiles
from ingest.jars import Progress, fetch_jars
from ingest.java import KEPT, keep_command, kept_file, kept_folder, last_words
from ingest.rows import graph_rows
from ingest.server import MAIN_CLASS, SERVER_OPTIONS, LocalServer
from ingest.store import GraphStore
from tracer.errors import StoreError
from tracer.graph import AttributionGraph, GraphMetadata

N_GRAPHS = 8  # to import; a server that has met one of them has loaded what it needs
N_FEATURES, N_EDGES = 800, 35_000  # as a published graph has
N_LAYERS, TOKENS, OUTPUTS = 26, ("Fact", ":", " Dallas", " is"), (" Austin", " Texas")
ROOM_MB = 1000  # while it works
QUESTIONS = {
    "graphs": {},
    "graphs_with": {"term": "Texas"},
    "labels_search": {"text": "Texas"},
    "circuits_through": {"terms": ["Dallas", "Texas", "Austin"]},
    "common_features": {},
    "reused_edges": {},
    "three_node_motifs": {},
}
TOOL, SERVER = "tool", "server"  # folders to work in


def prepare(jars: Path | None = None, progress: Progress | None = None) -> list[Path]:
    """Let Java keep what it loads for the server and the import tool, and how to compile the latter.

    Works in a folder of its own, beside a server that may run. To be done again for another Java, other options
    (THROUGHLINE_JAVA_OPTIONS) or other jars; what was kept for them goes.

    Args:
        jars: Cache of jars; `home.jar_cache()` if not given.
        progress: Told steps done and steps in all.

    Returns:
        The files that are kept now, 230 MB.

    Raises:
        StoreError: A program failed, has not told what it learned, or there is no room; nothing has changed then.
    """
    if sys.platform == "win32":
        raise StoreError(
            "Java writes down what it has learned when a server is asked to end, which Windows cannot do (it ends "
            "programs by force); expected another system. Neo4j runs here as before."
        )
    report = progress or (lambda done, total, what: None)
    cache = jars or jar_cache()
    found = fetch_jars(cache, progress)
    folder = kept_folder(found)
    try:
        with workplace(folder / "learning", _end_what_was_left) as place:
            made = _learn(place, cache, found, report)
            for old in folder.glob(f"*{KEPT}"):
                old.unlink()
            for part, kept in made:
                part.replace(kept)
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: {error.strerror or error}; expected a folder of this user's own with room "
            f"for {ROOM_MB} MB. Free some, or choose another place with THROUGHLINE_JARS, and run the command again."
        ) from error
    return [kept for _, kept in made]


def _learn(place: Path, cache: Path, jars: list[Path], report: Progress) -> list[tuple[Path, Path]]:
    """What is to be kept of each program, and where."""
    tool, server = place / TOOL, place / SERVER
    total = 4
    graphs = [_made_graph(seed) for seed in range(N_GRAPHS)]
    report(0, total, "learning to import")
    _learn_to_import(graphs, tool, jars)
    report(1, total, "learning to serve")
    _learn_to_serve(graphs[0], server, cache)
    made = []
    for main_class, options, at in ((TOOL_CLASS, (), tool), (MAIN_CLASS, SERVER_OPTIONS, server)):
        report(2 + len(made), total, "keeping what was learned")
        kept = kept_file(jars, main_class, options)
        made.append((_keep(jars, options, _lesson(at), at.with_suffix(KEPT)), kept))
    report(total, total, "keeping what was learned")
    return made


def _end_what_was_left(place: Path) -> None:
    end_tool(place / TOOL)
    LocalServer(place / SERVER).stop()


def _lesson(folder: Path) -> Path:
    return folder.with_suffix(".lesson")


def _learn_to_import(graphs: list[AttributionGraph], folder: Path, jars: list[Path]) -> None:
    folder.mkdir()
    files = ImportFiles(folder)
    for graph in graphs:
        files.add(graph_rows(graph))
    run_tool(folder, files.finish(), jars, lesson=_lesson(folder))


def _learn_to_serve(graph: AttributionGraph, folder: Path, jars: Path) -> None:
    """Start a server and work with it."""
    server = LocalServer(folder, jars, _lesson(folder))
    try:
        with GraphStore(server.ensure()) as store:
            store.add(graph)
            for name, params in QUESTIONS.items():
                store.run(name, **params)
            store.fetch(graph.graph_id)
            store.remove(graph.graph_id)
    finally:
        server.stop()


def _keep(jars: list[Path], options: tuple[str, ...], lesson: Path, part: Path) -> Path:
    """Make the file to keep."""
    if not lesson.exists():
        raise StoreError(
            "Neo4j was ended by force, before it had written down what it learned; expected it to end within a minute. "
            "Run the command again on an idle machine."
        )
    done = subprocess.run(keep_command(jars, lesson, part, options), capture_output=True, text=True, check=False)
    if done.returncode or not part.exists():
        raise StoreError(f"Java could not keep what it has learned: {last_words(done.stdout + done.stderr)}")
    return part


def _made_graph(seed: int) -> AttributionGraph:
    """A graph of the usual size; half of its features are those of the others."""
    random = np.random.default_rng(seed)
    index = np.sort(random.choice(2 * N_FEATURES, N_FEATURES, replace=False))
    layer = np.concatenate([index % N_LAYERS, np.full(len(TOKENS), -1), np.full(len(OUTPUTS), N_LAYERS)])
    kind = ["feature"] * N_FEATURES + ["token"] * len(TOKENS) + ["logit"] * len(OUTPUTS)
    nodes = pd.DataFrame({"kind": kind, "layer": layer, "position": 0})
    nodes["index"] = [*index, *range(len(TOKENS)), *range(len(OUTPUTS))]
    nodes["node_id"] = [f"{name}{at}" for name, at in zip(kind, nodes["index"], strict=True)]
    labels = np.where(index % 10 == 0, "cities of Texas", "")
    nodes["label"] = [*labels, *TOKENS, *OUTPUTS]
    pairs = np.flatnonzero(layer[:, None] < layer[None, :])
    source, target = np.divmod(random.choice(pairs, N_EDGES, replace=False), len(nodes))
    about = GraphMetadata(f"made-up-{seed}", "made up", TOKENS, "none", "none", N_LAYERS)
    return AttributionGraph.build(nodes, source, target, random.standard_cauchy(N_EDGES), about)
