"""A result worth keeping: pattern, prompts, figures, how it was made, as plain data that other programs read.

`Kept` is one record; the functions below it write it as JSON, CSV (a row a prompt), GraphML and an SVG picture.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal
from xml.sax.saxutils import escape

import networkx as nx

from circuits.promptset import Found, Summary
from circuits.search import Circuit
from tracer.errors import GraphFormatError, SettingError

KeptFormat = Literal["json", "csv", "graphml", "svg"]

CSV_COLUMNS: tuple[str, ...] = ("graph_id", "slug", "prompt", "template", "roles", "flow", "found", "failed", "reason")
COLUMN_WIDTH, ROW_HEIGHT, MARGIN = 190, 46, 24  # of the picture, in pixels
MAX_LABEL = 24  # letters of a label in the picture
MAX_LINE = 8.0  # width of a link that gives everything


@dataclass(frozen=True)
class KeptNode:
    """A node of the circuit's picture."""

    name: str
    """Unique in the record."""
    label: str
    layer: int
    kind: str = "feature"


@dataclass(frozen=True)
class KeptLink:
    """A link of the circuit's picture."""

    source: str
    """Name of a node."""
    target: str
    share: float
    """Of the target's input, 0 to 1."""
    effect: float
    """Signed; the mean where several graphs have it."""


@dataclass(frozen=True)
class Kept:
    """A circuit that somebody named."""

    name: str
    """For people; need not be unique."""
    pattern: str
    """What was looked for, or the path that was found by mining."""
    prompts: tuple[dict[str, Any], ...] = ()
    """One row a prompt: graph_id, slug, prompt, template, roles, flow, found, failed, reason."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured, by name: numbers, texts, lists and objects of these."""
    method: dict[str, Any] = field(default_factory=dict)
    """How: function and every setting, so that it can be run again."""
    nodes: tuple[KeptNode, ...] = ()
    links: tuple[KeptLink, ...] = ()
    note: str = ""
    """What somebody thought of it."""
    made_with: str = field(default_factory=lambda: f"throughline {version('throughline')}")
    """Software and version."""
    made_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """UTC."""

    @property
    def kept_id(self) -> str:
        """16 hex digits of what was found and how; name, note and time are not part of it."""
        content = asdict(self)
        for name in ("name", "note", "made_at"):
            content.pop(name)
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_row(self) -> dict[str, Any]:
        """As plain data, ready for JSON, with `kept_id`."""
        return {"kept_id": self.kept_id} | json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Kept":
        """The record that `as_row` made.

        Raises:
            GraphFormatError: A field is missing or unknown, or the content is not that of its kept_id.
        """
        row = dict(row)
        kept_id = row.pop("kept_id", None)
        names = {each.name for each in fields(cls)}
        try:
            nodes = tuple(KeptNode(**node) for node in row.pop("nodes", ()))
            links = tuple(KeptLink(**link) for link in row.pop("links", ()))
            prompts = tuple(row.pop("prompts", ()))
            kept = cls(prompts=prompts, nodes=nodes, links=links, **row)
        except TypeError as error:
            raise GraphFormatError(
                f"the record of a kept circuit cannot be read ({error}); expected the fields "
                f"{', '.join(sorted(names))}. Keep the circuit again."
            ) from None
        if kept_id not in (None, kept.kept_id):
            raise GraphFormatError(
                f"kept circuit {kept_id} has content of the id {kept.kept_id}; it was changed since. Keep it again."
            )
        return kept


def keep(
    name: str,
    found: Sequence[Found],
    summary: Summary,
    circuits: Iterable[Circuit] = (),
    figures: dict[str, Any] | None = None,
    method: dict[str, Any] | None = None,
    note: str = "",
) -> Kept:
    """The record of a pattern over a set of prompts.

    Args:
        circuits: Of one graph or more; the paths of all make the picture.
        figures: Beside those of the summary, e.g. what chance gives.
    """
    nodes, links = picture(circuits)
    measured = asdict(summary) | {"quartiles": list(summary.quartiles)} | (figures or {})
    rows = tuple(each.as_row() for each in found)
    return Kept(name, summary.pattern, rows, measured, method or {}, nodes, links, note)


def picture(circuits: Iterable[Circuit]) -> tuple[tuple[KeptNode, ...], tuple[KeptLink, ...]]:
    """The nodes and links on the paths of these circuits, each once; a link of several graphs has its mean share."""
    nodes: dict[str, KeptNode] = {}
    links: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for circuit in circuits:
        seen = set()
        for path in circuit.paths:
            names = [circuit.nodes[row].node_id for row in path.rows]
            for row in path.rows:
                node = circuit.nodes[row]
                nodes.setdefault(node.node_id, KeptNode(node.node_id, node.label.strip(), node.layer, node.kind))
            for ends, share, effect in zip(pairwise(names), path.shares, path.effects, strict=True):
                if ends not in seen:
                    seen.add(ends)
                    links.setdefault(ends, []).append((share, effect))
    drawn = [
        KeptLink(*ends, fmean(share for share, _ in values), fmean(effect for _, effect in values))
        for ends, values in links.items()
    ]
    return tuple(nodes.values()), tuple(drawn)


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
    raise SettingError(f"format {format!r} is unknown; expected json, csv, graphml or svg. Use one of these.")


def read_kept(text: str) -> Kept:
    """The record that `write_kept` wrote as JSON.

    Raises:
        GraphFormatError: It is none.
    """
    try:
        row = json.loads(text)
    except ValueError as error:
        raise GraphFormatError(f"not JSON ({error}); expected the record of a kept circuit. Keep it again.") from None
    if not isinstance(row, dict):
        raise GraphFormatError(
            f"a {type(row).__name__}; expected an object, the record of a kept circuit. Keep it again."
        )
    return Kept.from_row(row)


def to_networkx(kept: Kept) -> "nx.DiGraph":
    """The circuit's nodes and links, with pattern, name, note and kept_id on the graph."""
    graph = nx.DiGraph(kept_id=kept.kept_id, name=kept.name, pattern=kept.pattern, note=kept.note)
    for node in kept.nodes:
        graph.add_node(node.name, label=node.label, layer=node.layer, kind=node.kind)
    for link in kept.links:
        graph.add_edge(link.source, link.target, share=link.share, effect=link.effect)
    return graph


def to_svg(kept: Kept) -> str:
    """A picture: layers from left to right, links as wide as their share; what inhibits is dashed."""
    layers = sorted({node.layer for node in kept.nodes})
    place: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        for row, node in enumerate(node for node in kept.nodes if node.layer == layer):
            place[node.name] = (MARGIN + column * COLUMN_WIDTH, 2 * MARGIN + row * ROW_HEIGHT)
    width = 2 * MARGIN + max(len(layers), 2) * COLUMN_WIDTH
    height = 3 * MARGIN + ROW_HEIGHT * max((sum(n.layer == layer for n in kept.nodes) for layer in layers), default=1)
    box = COLUMN_WIDTH - 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>{escape(kept.name)}</title>',
        f'<text x="{MARGIN}" y="{MARGIN}" font-weight="bold">{escape(kept.name)}: {escape(kept.pattern)}</text>',
    ]
    for link in kept.links:
        (x1, y1), (x2, y2) = place[link.source], place[link.target]
        x1, y1, y2 = x1 + box, y1 + 13, y2 + 13
        bend = (x2 - x1) / 2
        colour, dash = ("#2b6cb0", "") if link.effect >= 0 else ("#b83232", ' stroke-dasharray="5 3"')
        parts.append(
            f'<path d="M{x1} {y1} C{x1 + bend:g} {y1} {x2 - bend:g} {y2} {x2} {y2}" fill="none" stroke="{colour}" '
            f'stroke-width="{max(0.7, MAX_LINE * link.share):.2f}" stroke-opacity="0.7"{dash}>'
            f"<title>{link.share:.1%}</title></path>"
        )
    for node in kept.nodes:
        x, y = place[node.name]
        label = node.label or node.name
        short = label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"
        parts.append(
            f'<g><rect x="{x}" y="{y}" width="{box}" height="26" rx="5" fill="#f5f7fa" stroke="#4a5568"/>'
            f'<text x="{x + 8}" y="{y + 17}">{escape(short)}</text>'
            f"<title>{escape(f'{label} ({node.name})')}</title></g>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _csv(kept: Kept) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [*CSV_COLUMNS], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in kept.prompts:
        writer.writerow(row | {"roles": json.dumps(row.get("roles", {}), ensure_ascii=False)})
    return out.getvalue()
