"""The commands that keep the library: list, info, remove, verify, rebuild, backup, restore."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from app.terminal import Format, print_json, print_rows, progress_bar, say
from tracer.errors import PatternError, StoreError


def list_graphs(*, format: Format = "table") -> None:
    """List all graphs with their size and date, and where they are.

    Args:
        format: How rows are printed.
    """
    from ingest.keep import kept_graphs
    from ingest.library import default_library
    from ingest.store import open_store

    with progress_bar() as progress, open_store(progress) as store:
        rows = [asdict(kept) for kept in kept_graphs(store, default_library())]
    columns = ["graph_id", "slug", "prompt", "model", "source_set", "nodes", "edges", "ingested_at", "where"]
    print_rows(columns, rows, format)


def info(graph: str, *, format: Format = "table") -> None:
    """Print what is known of a graph: metadata, scores, counts by kind, repairs, provenance.

    Args:
        graph: Its graph_id or slug.
        format: How it is printed.
    """
    from ingest.keep import graph_ids, graph_info
    from ingest.library import default_library
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        about = graph_info(graph_ids([graph], store, library)[0], store, library)
    if format == "json":
        return print_json(about)
    shown = {
        name: value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        for name, value in about.items()
    }
    rows = [{"name": name, "value": value} for name, value in shown.items()]
    print_rows(["name", "value"], rows, format)


def remove(*graphs: str, yes: bool = False) -> None:
    """Delete graphs from the library and the database.

    Args:
        graphs: Their graph_id or slug.
        yes: Do not ask.
    """
    from ingest.keep import graph_ids, remove_graph
    from ingest.library import default_library
    from ingest.store import open_store

    if not graphs:
        raise PatternError("no graph was given; expected graph_ids or slugs. Name at least one.")
    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        ids = graph_ids(list(graphs), store, library)
    if not yes and not confirmed(f"Delete {len(ids)} graphs ({', '.join(ids)}) from library and database?", "remove"):
        return say("Nothing was deleted.")
    with open_store() as store:
        for graph_id in ids:
            remove_graph(graph_id, store, library)
            say(f"{graph_id} is deleted.")


def verify(*, format: Format = "table") -> None:
    """Compare the database with the library's files: nodes, links, what is summed over all graphs; say what differs.

    Args:
        format: How differences are printed, one a row.
    """
    from ingest.keep import verify as verify_all
    from ingest.library import default_library
    from ingest.store import open_store

    with progress_bar() as progress, open_store(progress) as store:
        found = [asdict(finding) for finding in verify_all(store, default_library(), progress)]
    if found or format != "table":
        print_rows(["graph_id", "what"], found, format)
    if found:
        raise StoreError(
            f"{len(found)} differences between database and library were found; expected none. `throughline rebuild` "
            "makes the database anew from the library; damaged files come back from a backup, or by tracing or "
            "ingesting again."
        )
    if format == "table":
        say("The database is what the library says.")


def rebuild(*, drop: bool = False) -> None:
    """Make the database anew from the library; run again after an interruption, it goes on.

    Args:
        drop: Also drop graphs that only the database has.
    """
    from ingest.keep import rebuild as rebuild_all
    from ingest.library import default_library
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        damaged = list(rebuild_all(store, library, progress, drop))
        n_graphs = len(store.graphs())
    print_rows(["graph_id", "what"], [asdict(finding) for finding in damaged], "table") if damaged else None
    say(f"The database has {n_graphs} graphs again.")
    if damaged:
        raise StoreError(f"{len(damaged)} graphs of {library.root} cannot be read; restore them from a backup.")


def backup(file: Path) -> None:
    """Write all graphs, labels and kept circuits of the library into one archive with hashes; no database is needed.

    Args:
        file: The archive to write; one that is there is replaced when the new one is complete.
    """
    from ingest.archive import backup as backup_all
    from ingest.library import default_library

    with progress_bar() as progress:
        n_graphs = backup_all(default_library(), file, progress)
    say(f"{file}: {n_graphs} graphs")


def restore(file: Path, *, replace: bool = False, format: Format = "table") -> None:
    """Bring the graphs of an archive back into library and database; a damaged archive changes nothing.

    Args:
        file: What `throughline backup` wrote.
        replace: Labels, pins and names of graphs that are there become those of the archive.
        format: How the report is printed, one row a graph.
    """
    from ingest.archive import check_archive
    from ingest.archive import restore as restore_all
    from ingest.library import default_library
    from ingest.store import open_store

    check_archive(file)  # refused before a server is started
    with progress_bar() as progress, open_store(progress) as store:
        rows = [asdict(each) for each in restore_all(file, store, default_library(), progress, replace)]
    print_rows(["status", "graph_id", "slug"], rows, format)


def confirmed(question: str, command: str) -> bool:
    """Whether the user says yes. Raises PatternError where nobody is there to ask."""
    if not sys.stdin.isatty():
        raise PatternError(f"`{command}` deletes, and nobody is there to ask; expected --yes. Add it.")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


COMMANDS = {
    "list": list_graphs, "info": info, "remove": remove, "verify": verify, "rebuild": rebuild, "backup": backup,
    "restore": restore,
}  # fmt: skip
