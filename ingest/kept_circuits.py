"""Kept circuits: a file each in the library, the record, and a (:Circuit) tied to its graphs in the database."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from circuits.kept import Kept, read_kept
from circuits.kept_formats import write_kept
from ingest.library import Library
from ingest.small_files import SmallFiles
from ingest.store import GraphStore
from tracer.errors import GraphFormatError, PatternError

FOLDER = "circuits"  # in the library
_ID = re.compile("[0-9a-f]{16}")


class KeptCircuits:
    """The kept circuits of a library, each in a JSON file named by its kept_id."""

    def __init__(self, library: Library):
        self._files = SmallFiles(library, FOLDER, ".json")

    def ids(self) -> list[str]:
        """The kept_id of every kept circuit, sorted."""
        return [name for name in self._files.names() if _ID.fullmatch(name)]

    def load(self, kept_id: str) -> Kept:
        """A kept circuit. Raises GraphFormatError where there is none of this id, or its file is damaged."""
        if kept_id not in self:
            raise GraphFormatError(
                f"there is no kept circuit {kept_id!r} in {self._files.root}; expected one of `throughline keep list`."
            )
        try:
            kept = read_kept(self._files.read(kept_id).decode("utf-8"))
            if kept.kept_id != kept_id:
                raise GraphFormatError(f"it holds circuit {kept.kept_id}; expected the one of its name. Keep it again.")
        except (GraphFormatError, UnicodeDecodeError) as error:
            raise GraphFormatError(f"{self.place(kept_id)}: {error}") from None
        return kept

    def add(self, kept: Kept) -> None:
        """Keep a circuit, whole or not at all; name and note of one that is kept already are replaced.

        Raises:
            StoreError: It cannot be written (no room, no rights); what was kept before is untouched.
        """
        what, remedy = f"circuit {kept.kept_id} ({kept.name})", "Make room; all circuits kept before are still there."
        self._files.write(kept.kept_id, write_kept(kept, "json").encode(), what, remedy)

    def remove(self, kept_id: str) -> bool:
        """Delete a kept circuit; False where there is none."""
        return kept_id in self and self._files.remove(kept_id)

    def place(self, kept_id: str) -> str:
        """The file of a circuit, whether it is there or not."""
        return self._files.place(kept_id)

    def __contains__(self, kept_id: str) -> bool:
        return bool(_ID.fullmatch(kept_id)) and kept_id in self._files


def keep_circuit(kept: Kept, store: GraphStore, library: Library) -> None:
    """Put a circuit into the library and then into the database; doing it again finishes what a crash left.

    Raises:
        StoreError: It cannot be written.
    """
    KeptCircuits(library).add(kept)
    store.keep_circuit(circuit_row(kept))


def replace_circuit(before: Kept, after: Kept, store: GraphStore, library: Library) -> None:
    """Keep one circuit in place of another; the old one goes last, so that a crash leaves both."""
    keep_circuit(after, store, library)
    if before.kept_id != after.kept_id:
        remove_circuit(before.kept_id, store, library)


def remove_circuit(kept_id: str, store: GraphStore, library: Library) -> bool:
    """Delete a circuit everywhere; False where there is none. The database goes first, as with graphs."""
    stored = store.remove_circuit(kept_id)
    return KeptCircuits(library).remove(kept_id) or stored


def kept_circuits(store: GraphStore, library: Library) -> list[dict[str, Any]]:
    """One row for each kept circuit as the query `kept_circuits` tells, newest first, and `where` it is.

    One that only the library has, after a crash, is listed too, with what its file says.
    """
    rows = store.run("kept_circuits").records
    stored, ids = {row["kept_id"] for row in rows}, set(KeptCircuits(library).ids())
    told = [row | {"where": "both" if row["kept_id"] in ids else "database"} for row in rows]
    for kept_id in sorted(ids - stored):
        row = circuit_row(KeptCircuits(library).load(kept_id))
        names = ("kept_id", "name", "pattern", "n", "mean", "spread", "made_at", "made_with", "note")
        told.append({name: row[name] for name in names} | {"found": row["n_found"], "gone": None, "where": "library"})
    return told


def named_circuit(name: str, store: GraphStore, library: Library) -> Kept:
    """The kept circuit of this kept_id or name, from the library, or from the database where it lacks the file.

    Raises:
        PatternError: There is none, or there are several of this name.
    """
    rows = kept_circuits(store, library)
    found = [row["kept_id"] for row in rows if name in (row["kept_id"], row["name"])]
    if len(found) != 1:
        seen = f"{len(found)} kept circuits are called {name!r} ({', '.join(found)})" if found else ""
        raise PatternError(
            f"{seen or f'there is no kept circuit {name!r}'}; expected a kept_id, or the name of one. "
            "`throughline keep list` shows them."
        )
    files = KeptCircuits(library)
    return files.load(found[0]) if found[0] in files else read_kept(store.circuit_record(found[0]))


def circuit_row(kept: Kept) -> dict[str, Any]:
    """The properties of (:Circuit): what is asked for, lists over its prompts, and the whole record as JSON."""
    prompts = kept.prompts
    steps = [
        (row["graph_id"], node_id, at, place)
        for at, row in enumerate(prompts)
        for place, node_id in enumerate(row.get("path", []))
    ]
    graph_ids, node_ids, rows, places = (list(column) for column in zip(*steps, strict=True)) if steps else ([],) * 4
    figures = {name: kept.figures.get(name) for name in ("mean", "spread")}
    return figures | {
        "kept_id": kept.kept_id,
        "name": kept.name,
        "pattern": kept.pattern,
        "note": kept.note,
        "made_at": kept.made_at,
        "made_with": kept.made_with,
        "method": json.dumps(kept.method, ensure_ascii=False, sort_keys=True),
        "n": len(prompts),
        "n_found": sum(row["found"] for row in prompts),
        "graph_ids": [row["graph_id"] for row in prompts],
        "flows": [row["flow"] for row in prompts],
        "found_in": [row["found"] for row in prompts],
        "failed": [row.get("failed", "") for row in prompts],
        "path_graph_ids": list(graph_ids),
        "path_node_ids": list(node_ids),
        "path_rows": list(rows),
        "path_places": list(places),
        "record": json.dumps(asdict(kept), ensure_ascii=False, sort_keys=True),
    }


def circuit_findings(store: GraphStore, library: Library) -> Iterator[str]:
    """Each difference between the kept circuits of database and library."""
    stored = {row["properties"]["kept_id"]: row for row in store.stored_circuits()}
    files = KeptCircuits(library)
    ids = files.ids()
    for kept_id in sorted(stored.keys() | set(ids)):
        row = stored.get(kept_id)
        if row is None or kept_id not in files:
            has, lacks = ("library", "database") if row is None else ("database", "library")
            yield f"kept circuit {kept_id}: the {has} has it, the {lacks} does not; expected it in both"
            continue
        try:
            expected = {name: value for name, value in circuit_row(files.load(kept_id)).items() if value is not None}
        except GraphFormatError as error:
            yield str(error)
            continue
        wrong = sorted(name for name in expected if row["properties"].get(name) != expected[name])
        if wrong or row["untied"]:
            what = f"{', '.join(wrong)} differ from the library" if wrong else f"{row['untied']} ties are missing"
            yield f"kept circuit {kept_id}: {what}"


def circuits_in_database_only(store: GraphStore, library: Library) -> list[str]:
    """The kept_id of each circuit of which the library has no file."""
    return sorted({row["properties"]["kept_id"] for row in store.stored_circuits()} - set(KeptCircuits(library).ids()))


def bring_circuits(store: GraphStore, library: Library) -> Iterator[str]:
    """Write the kept circuits of the library into the database; yields what could not be read."""
    files = KeptCircuits(library)
    for kept_id in files.ids():
        try:
            store.keep_circuit(circuit_row(files.load(kept_id)))
        except GraphFormatError as error:
            yield str(error)
