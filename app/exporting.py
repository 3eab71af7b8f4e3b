"""A graph as a page hands it out to be saved: the part that is shown, with the pins and groups of the view; pure."""

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from app.part import part_to_show
from circuits.supernodes import BY_HAND
from ingest.export_formats import ExportFormat
from ingest.writers import LONG_AGO, write_graph
from tracer.errors import SettingError
from tracer.graph import AttributionGraph

FORMATS: tuple[ExportFormat, ...] = ("json", "graphml", "csv")
FOLDERS = ("csv",)  # formats of several files, which travel as an archive


def exported(
    graph: AttributionGraph, format: str, pins: Sequence[str], groups: Sequence[Mapping[str, Any]] | None
) -> tuple[bytes, str]:
    """The bytes of this format, and a name for the file: what `throughline export` writes, with the marks of a view.

    Args:
        pins: node_ids; shown even where pruning dropped them.
        groups: {name, members} in place of the graph's supernodes; None leaves those.

    Raises:
        SettingError: No page offers this format.
    """
    if format not in FORMATS:
        raise SettingError(
            f"format {format!r} is none that a page offers; expected one of {', '.join(FORMATS)}. Name one."
        )
    marked = with_marks(part_to_show(graph, pins), pins, groups)
    chosen = next(each for each in get_args(ExportFormat) if each == format)
    name = graph.metadata.slug or graph.graph_id
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"graph.{format}"
        write_graph(marked, path, chosen)
        return (_zipped(path), f"{name}.zip") if format in FOLDERS else (path.read_bytes(), f"{name}.{format}")


def marked_as_asked(graph: AttributionGraph, pins: str, groups: str, whole: bool) -> AttributionGraph:
    """The part of a graph to write, with pins and groups given as the address of the page Graph has them.

    Args:
        whole: It is not only the pruned graph that is written.

    Raises:
        SettingError: A node is not in the graph, or a group has no name.
    """
    from app.viewlink import NO_GROUPS, parse_view  # slow to import

    view, known = parse_view({"pins": pins, "groups": groups}), set(graph.nodes["node_id"])
    nameless = [text for text in groups.split(";") if text and ":" not in text and groups != NO_GROUPS]
    if nameless:
        raise SettingError(
            f"group {nameless[0]!r} has no name; expected name:node_id,node_id and ; between groups, or {NO_GROUPS}. "
            "Copy it from the address of the page Graph."
        )
    named = [*view["pins"], *(member for group in view["groups"] or [] for member in group["members"])]
    if unknown := [node_id for node_id in named if node_id not in known]:
        raise SettingError(
            f"node {unknown[0]!r} is not in graph {graph.graph_id}; expected a node_id. `throughline show` lists them."
        )
    return with_marks(graph if whole else part_to_show(graph, named), view["pins"], view["groups"])


def with_marks(
    graph: AttributionGraph, pins: Sequence[str], groups: Sequence[Mapping[str, Any]] | None
) -> AttributionGraph:
    """The graph with the pins of a view, and its groups in place of supernodes; without pins, or None, its own stay."""
    provenance = dict(graph.metadata.provenance)
    if pins:
        provenance["pins"] = list(pins)
    if groups is not None:
        known = {(group["label"], *sorted(group["members"])): group for group in provenance.get("supernodes") or []}
        provenance["supernodes"] = [
            known.get((group["name"], *sorted(group["members"])))
            or {"label": group["name"], "members": list(group["members"]), "method": BY_HAND}
            for group in groups
            if group["members"]
        ]
    return replace(graph, metadata=replace(graph.metadata, provenance=provenance))


def _zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, LONG_AGO), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
