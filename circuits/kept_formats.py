"""A kept circuit as text: JSON, CSV (a row a prompt), GraphML and a picture."""

import csv
import io
import json
import re
from typing import Literal, get_args
from xml.sax.saxutils import escape

import networkx as nx

from circuits.kept import Kept
from tracer.errors import SettingError

KeptFormat = Literal["json", "csv", "graphml", "svg"]

CSV_COLUMNS: tuple[str, ...] = (
    "graph_id", "slug", "prompt", "template", "roles", "flow", "found", "failed", "reason", "path",
)  # fmt: skip
BOX_WIDTH, COLUMN_WIDTH, BOX_HEIGHT, ROW_HEIGHT, MARGIN = 170, 250, 26, 46, 24  # of the picture, in pixels
MAX_LABEL, MAX_TITLE = 24, 60  # letters of a label, and of the head
LETTER = 7.2  # pixels; a wide letter at this size
MAX_LINE = 8.0  # width of a link that gives everything
STYLE = """<style>
.paper{fill:#ffffff}.box{fill:#f5f7fa;stroke:#4a5568}text{fill:#1a202c}.dim{fill:#5a6472}
.for{stroke:#2b6cb0}.against{stroke:#b83232;stroke-dasharray:5 3}
@media (prefers-color-scheme: dark){.paper{fill:#14171c}.box{fill:#242a33;stroke:#8793a6}text{fill:#e8ebf0}
.dim{fill:#a3adbb}.for{stroke:#63a4ff}.against{stroke:#ff7b72}}
</style>"""
_NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # what XML 1.0 cannot hold


def write_kept(kept: Kept, format: KeptFormat) -> str:
    """The record as text of this format.

    Raises:
        SettingError: The format is unknown.
    """
    match format:
        case "json":
            return json.dumps(kept.as_row(), indent=1, ensure_ascii=False) + "\n"
        case "csv":
            return _csv(kept)
        case "graphml":
            return "\n".join(nx.generate_graphml(to_networkx(kept))) + "\n"
        case "svg":
            return to_svg(kept)
    known = ", ".join(get_args(KeptFormat))
    raise SettingError(f"format {format!r} is unknown; expected one of {known}. Use one of these.")


def to_networkx(kept: Kept) -> "nx.DiGraph":
    """The circuit's nodes and links, with pattern, name, note and kept_id on the graph."""
    texts = {"name": kept.name, "pattern": kept.pattern, "note": kept.note, "made_with": kept.made_with}
    graph = nx.DiGraph(kept_id=kept.kept_id)
    graph.graph.update({key: _xml(text) for key, text in texts.items()})
    for node in kept.nodes:
        graph.add_node(_xml(node.name), label=_xml(node.label), layer=node.layer, kind=node.kind)
    for link in kept.links:
        graph.add_edge(_xml(link.source), _xml(link.target), share=link.share, effect=link.effect)
    return graph


def to_svg(kept: Kept) -> str:
    """A picture: layers from left to right, links as wide as their share; what inhibits is dashed.

    It has paper of its own, dark where the reader's system is, so that it can be read wherever it is shown.
    """
    layers = sorted({node.layer for node in kept.nodes})
    tallest = max((sum(node.layer == layer for node in kept.nodes) for layer in layers), default=1)
    top = 3 * MARGIN
    place: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        there = [node for node in kept.nodes if node.layer == layer]
        for row, node in enumerate(there):
            y = top + round((row + (tallest - len(there)) / 2) * ROW_HEIGHT)
            place[node.name] = (MARGIN + column * COLUMN_WIDTH, y)
    head = _short(f"{kept.name}: {kept.pattern}" if kept.name else kept.pattern, MAX_TITLE)
    width = 2 * MARGIN + max((len(layers) - 1) * COLUMN_WIDTH + BOX_WIDTH, round(MAX_TITLE * LETTER))
    height = top + tallest * ROW_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img"><title>{_escaped(head)}</title>',
        STYLE,
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
        f'<text x="{MARGIN}" y="{MARGIN}" font-weight="bold">{_escaped(head)}</text>',
        f'<text class="dim" x="{MARGIN}" y="{MARGIN + 18}">{_escaped(_figures(kept))}</text>',
    ]
    parts += [_line(link.share, link.effect, place[link.source], place[link.target]) for link in kept.links]
    parts += [_box(node.label or node.name, node.name, *place[node.name]) for node in kept.nodes]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(share: float, effect: float, start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2, end[0], end[1] + BOX_HEIGHT // 2
    bend = max(x2 - x1, COLUMN_WIDTH - BOX_WIDTH) / 2
    return (
        f'<path class="{"for" if effect >= 0 else "against"}" fill="none" stroke-opacity="0.75" '
        f'd="M{x1} {y1} C{x1 + bend:g} {y1} {x2 - bend:g} {y2} {x2} {y2}" '
        f'stroke-width="{max(0.7, MAX_LINE * share):.2f}"><title>{share:.1%}, effect {effect:+.3g}</title></path>'
    )


def _box(label: str, name: str, x: int, y: int) -> str:
    return (
        f'<g><rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text x="{x + 8}" y="{y + 17}">{_escaped(_short(label, MAX_LABEL))}</text>'
        f"<title>{_escaped(f'{label} ({name})')}</title></g>"
    )


def _figures(kept: Kept) -> str:
    told = kept.figures
    if not {"found", "n", "mean"} <= told.keys():
        return ""
    return f"found in {told['found']} of {told['n']} prompts, flow {told['mean']:.4f} on average"


def _csv(kept: Kept) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(
        out, [*CSV_COLUMNS], extrasaction="ignore", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )
    writer.writeheader()
    for row in kept.prompts:
        texts = {name: json.dumps(row[name], ensure_ascii=False) for name in ("roles", "path") if name in row}
        writer.writerow(row | texts)
    return out.getvalue()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _xml(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _escaped(text: str) -> str:
    return escape(_xml(text))
