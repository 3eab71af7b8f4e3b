"""The commands of supernodes: suggest, list, edit, export."""

import csv
import getpass
import io
import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from app.terminal import Format, print_rows, progress_bar, say
from ingest.replacing import replacing
from tracer.errors import PatternError

supernodes = App(name="supernodes", help="Groups of features that play one part; `supernode:NAME` in a pattern.")

COLUMNS = ["slug", "name", "size", "score", "promote", "same_sign", "method", "by", "graph_id", "members"]


@supernodes.command
def suggest(
    *graphs: str,
    least: Annotated[float, Parameter(validator=Number(gte=-1, lte=1))] = 0.5,
    most: Annotated[int, Parameter(validator=Number(gte=2))] = 500,
    by: str = "",
    dry_run: bool = False,
    format: Format = "table",
) -> None:
    """Group the features of graphs by what they read, write, are active with and are called, and keep the groups.

    Earlier suggestions are replaced; supernodes by hand and from files stay.

    Args:
        graphs: Their graph_id or slug; all of them tell which features are active together.
        least: Similarity that any two members have at least.
        most: Features of a graph to group, the most influential ones.
        by: Whose they are; your user name if not given.
        dry_run: Print them and change nothing.
        format: How rows are printed.
    """
    from ingest.grouping import suggest_supernodes
    from ingest.keep import graph_ids
    from ingest.library import default_library
    from ingest.store import open_store

    if not graphs:
        raise PatternError("no graph was given; expected graph_ids or slugs. Name at least one.")
    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        ids = graph_ids(list(graphs), store, library)
        found = suggest_supernodes(ids, store, library, least, most, by or getpass.getuser(), not dry_run)
        rows = list(found)
    print_rows(COLUMNS, rows, format)


@supernodes.command(name="list")
def list_supernodes(graph: str = "", *, format: Format = "table") -> None:
    """List supernodes with method, score and whose they are.

    Args:
        graph: Only those of this graph (graph_id or slug).
        format: How rows are printed.
    """
    print_rows(COLUMNS, _rows(graph), format)


@supernodes.command
def edit(graph: str, name: str, *members: str, rename: str = "", by: str = "", format: Format = "table") -> None:
    """Make a supernode of these nodes, in place of one of this name; without nodes it is taken away.

    Args:
        graph: Its graph_id or slug.
        name: Of the supernode.
        members: node_ids, as `throughline query graph_nodes` lists them.
        rename: A new name; without members it keeps those that it has.
        by: Whose it is; your user name if not given.
        format: How its row is printed.
    """
    from ingest.grouping import edit_supernode
    from ingest.keep import graph_ids
    from ingest.library import default_library
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        [graph_id] = graph_ids([graph], store, library)
        row = edit_supernode(graph_id, name, members, store, library, rename, by or getpass.getuser())
    if row is None:
        return say(f"Supernode {name!r} of {graph_id} is taken away.")
    print_rows(COLUMNS, [row], format)


@supernodes.command
def export(file: Path, *, graph: str = "") -> None:
    """Write supernodes as a table: a row for each member as CSV, or for each supernode as JSON lines.

    Args:
        file: The file to write: JSON lines where it ends in .jsonl, else CSV; one that is there is replaced.
        graph: Only those of this graph (graph_id or slug).
    """
    rows = _rows(graph)
    with replacing(file) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as out:
        if file.suffix == ".jsonl":
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            columns = ["graph_id", "slug", "name", "node_id", "score", "method", "by"]
            table = csv.DictWriter(
                out, columns, extrasaction="ignore", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
            )
            table.writeheader()
            table.writerows(row | {"node_id": node_id} for row in rows for node_id in row["members"])
    say(f"{file}: {len(rows)} supernodes")


def _rows(graph: str) -> list[dict]:
    from ingest.keep import graph_ids
    from ingest.library import default_library
    from ingest.store import open_store

    with progress_bar() as progress, open_store(progress) as store:
        named = graph_ids([graph], store, default_library())[0] if graph else ""
        return store.run("supernodes", graph_id=named).records
