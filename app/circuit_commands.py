"""The commands of kept circuits: keep, and keep list, show, rerun, remove, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.text import Text

from app.keep_commands import confirmed
from app.terminal import Format, new_console, print_json, print_rows, progress_bar, say
from circuits.config import SearchConfig
from tracer.errors import SettingError

if TYPE_CHECKING:
    from circuits.kept import Kept

KeptFormat = Literal["json", "csv", "graphml", "svg"]

LIST_COLUMNS = ["kept_id", "name", "pattern", "found", "n", "mean", "spread", "gone", "made_at", "note", "where"]
PROMPT_COLUMNS = ["found", "flow", "failed", "reason", "prompt", "graph_id", "loaded"]
CHANGE_COLUMNS = ["change", "before", "after", "slug", "graph_id"]

keep = App(name="keep", help="Keep circuits that were found, with a name and a note; list them, run them again.")


@keep.default
def keep_pattern(
    pattern: str,
    *,
    name: str = "",
    note: str = "",
    graphs: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    config: Annotated[SearchConfig | None, Parameter(name="*")] = None,
    set: str | None = None,
    needed: float = 0.0,
    align: Literal["feature", "label"] = "feature",
    roles: Path | None = None,
    format: Format = "table",
) -> None:
    """Look for a circuit as `circuits` does, and keep the result in library and database.

    Args:
        pattern: Waypoints in order, as for `circuits`.
        name: What to call it; the pattern if not given.
        note: What you think of it.
        graphs: Only in these graphs (graph_id or slug); all if not given.
        config: What counts, and what is in its picture.
        set: Prompts to look in instead, as for `circuits`; what chance gives is kept too.
        needed: With --set, flow from which on a prompt counts as having it; any at all if 0.
        align: With --set, label allows graphs of different dictionaries.
        roles: JSON file {role: [words]}; the demo's city, region and answer if not given.
        format: How the row is printed.
    """
    from app.across import read_members
    from app.roles import read_roles
    from ingest.circuit_runs import run_pattern, run_set
    from ingest.kept_circuits import keep_circuit
    from ingest.library import default_library
    from ingest.sets import find_set
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        if set is not None:
            prompts = find_set(set, open_store)
            prompts.check(pattern)
            members = list(read_members(prompts, progress))
            kept = run_set(pattern, members, prompts.name, config, needed, align, name, note)
        else:
            kept = run_pattern(pattern, store, library, graphs, read_roles(roles), config, name, note, progress)
        keep_circuit(kept, store, library)
    _print_kept(kept, format)


@keep.command(name="list")
def list_kept(*, format: Format = "table") -> None:
    """List kept circuits, newest first, with how many prompts have each and how many of its graphs are gone.

    Args:
        format: How rows are printed.
    """
    from ingest.kept_circuits import kept_circuits
    from ingest.library import default_library
    from ingest.store import open_store

    with progress_bar() as progress, open_store(progress) as store:
        rows = kept_circuits(store, default_library())
    print_rows(LIST_COLUMNS, rows, format)


@keep.command
def show(circuit: str, *, format: Format = "table") -> None:
    """Print a kept circuit: figures, how it was made, and what each prompt shows of it.

    Args:
        circuit: Its kept_id or name.
        format: How it is printed; json prints the record, csv its prompts.
    """
    from ingest.kept_circuits import named_circuit
    from ingest.library import default_library
    from ingest.store import open_store

    with progress_bar() as progress, open_store(progress) as store:
        kept = named_circuit(circuit, store, default_library())
        there = {row["graph_id"] for row in store.graphs()}
    if format == "json":
        return print_json(kept.as_row())
    rows = [row | {"loaded": row["graph_id"] in there} for row in kept.prompts]
    if format == "table":
        _print_kept(kept, format)
        say(f"by {kept.made_with}, {kept.made_at}; {settings_text(kept)}")
        say(kept.note) if kept.note else None
        gone = sorted({str(row["slug"]) for row in rows if not row["loaded"]})
        say(f"{len(gone)} of its graphs are gone: {', '.join(gone)}") if gone else None
    print_rows(PROMPT_COLUMNS, rows, format)


@keep.command
def rerun(circuit: str, *, replace: bool = False, format: Format = "table") -> None:
    """Run a kept circuit again on what is there now, and say what changed.

    Args:
        circuit: Its kept_id or name.
        replace: Keep the new result in place of the old one; else nothing is changed.
        format: How changes are printed, one row a prompt.
    """
    from circuits.kept import changes
    from ingest.circuit_runs import run_again
    from ingest.kept_circuits import named_circuit, replace_circuit
    from ingest.library import default_library
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        before = named_circuit(circuit, store, library)
        after = run_again(before, store, library, progress)
        if replace:
            replace_circuit(before, after, store, library)
    rows = changes(before, after)
    if format == "table":
        for each, when in ((before, "before"), (after, "now")):
            say(f"{when + ':':8}{figures_text(each)} ({each.made_with})")
        say(f"{len(rows)} of {len(after.prompts)} prompts changed." if rows else "No prompt changed.")
        say(f"Kept as {after.kept_id}.") if replace else None
    if rows or format != "table":
        print_rows(CHANGE_COLUMNS, rows, format)


@keep.command
def remove(*circuits: str, yes: bool = False) -> None:
    """Delete kept circuits from the library and the database; their graphs stay.

    Args:
        circuits: Their kept_id or name.
        yes: Do not ask.
    """
    from ingest.kept_circuits import named_circuit, remove_circuit
    from ingest.library import default_library
    from ingest.store import open_store

    library = default_library()
    with progress_bar() as progress, open_store(progress) as store:
        found = [named_circuit(name, store, library) for name in circuits]
        names = ", ".join(f"{kept.kept_id} {kept.name}" for kept in found)
        if not found or not (yes or confirmed(f"Delete {len(found)} kept circuits ({names})?", "keep remove")):
            return say("Nothing was deleted.")
        for kept in found:
            remove_circuit(kept.kept_id, store, library)
            say(f"{kept.kept_id} is deleted.")


@keep.command
def export(circuit: str, *, out: Path, format: KeptFormat | None = None) -> None:
    """Write a kept circuit as a file of its own.

    Args:
        circuit: Its kept_id or name.
        out: The file to write; one that is there is replaced.
        format: json (the record), csv (a row a prompt), graphml or svg (the paths of its strongest graph); by the
            ending of --out if not given.
    """
    from circuits.kept_formats import write_kept
    from ingest.kept_circuits import named_circuit
    from ingest.library import default_library
    from ingest.replacing import replacing
    from ingest.store import open_store

    chosen = format or _format_of(out)
    with progress_bar() as progress, open_store(progress) as store:
        kept = named_circuit(circuit, store, default_library())
    with replacing(out) as file:
        file.write(write_kept(kept, chosen).encode())
    say(f"{out}: {chosen} of kept circuit {kept.kept_id} ({kept.name})")


def figures_text(kept: "Kept") -> str:
    """`found in 5 of 24, flow 0.0123 on average, spread 0.004`."""
    told = kept.figures
    return f"found in {told['found']} of {told['n']}, flow {told['mean']:.4f} on average, spread {told['spread']:.4f}"


def settings_text(kept: "Kept") -> str:
    """How it was made, without what is long and without what was not asked for."""
    told: dict[str, Any] = {name: value for name, value in kept.method.items() if name not in ("roles", "graphs")}
    return ", ".join(f"{name} {value}" for name, value in told.items() if value not in (None, "", 0.0))


def _print_kept(kept: "Kept", format: Format) -> None:
    if format != "table":
        row = kept.as_row()
        return print_rows(["kept_id", "name", "pattern", "figures", "note", "made_at"], [row], format)
    new_console().print(Text(f"{kept.kept_id}  {kept.name}", "bold"), soft_wrap=True)
    say(f"{kept.pattern}\n{figures_text(kept)}")


def _format_of(path: Path) -> KeptFormat:
    endings: dict[str, KeptFormat] = {f".{each}": each for each in ("json", "csv", "graphml", "svg")}
    if path.suffix.lower() not in endings:
        raise SettingError(
            f"{path.name!r} does not say in which format to write; expected an ending of {', '.join(endings)}. "
            "Rename it, or choose with --format."
        )
    return endings[path.suffix.lower()]
