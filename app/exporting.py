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
    marked = _marked(part_to_show(graph, pins), pins, groups)
    chosen = next(each for each in get_args(ExportFormat) if each == format)
    name = graph.metadata.slug or graph.graph_id
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"graph.{format}"
        write_graph(marked, path, chosen)
        return (_zipped(path), f"{name}.zip") if format in FOLDERS else (path.read_bytes(), f"{name}.{format}")


def _marked(
    graph: AttributionGraph, pins: Sequence[str], groups: Sequence[Mapping[str, Any]] | None
) -> AttributionGraph:
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
