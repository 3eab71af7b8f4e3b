"""A result worth keeping: pattern, prompts, figures, how it was made, as plain data that other programs read.

`Kept` is one record; `changes` compares two of one pattern.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal

from circuits.pattern import Pattern
from circuits.promptset import Found, PromptRow, Summary, look
from circuits.search import Circuit, rank
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph

Change = Literal["graph gone", "graph new", "found now", "lost now", "stronger", "weaker"]

_PROMPT = {"graph_id": str, "slug": str, "prompt": str, "roles": dict, "flow": float, "found": bool}
SAME_FLOW = 1e-6  # relative: flows are sums of single-precision shares


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
    """One row a prompt: graph_id, slug, prompt, template, roles, flow, found, failed, reason, and `path`, the node_ids
    of the strongest path."""
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
            _check(kept)
        except (TypeError, AttributeError) as error:
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
        circuits: Of the graphs that have it; the paths of the one with the largest flow make the picture, as those of
            many graphs are too many to read.
        figures: Beside those of the summary, e.g. what chance gives.
    """
    ranked = rank(circuits)
    nodes, links = picture(ranked[:1])
    path_of = {each.graph_id: [each.nodes[row].node_id for row in each.paths[0].rows] for each in ranked if each.paths}
    measured = asdict(summary) | {"picture_of": ranked[0].graph_id if ranked else ""} | (figures or {})
    rows = tuple(_plain(each.as_row() | {"path": path_of.get(each.graph_id, [])}) for each in found)
    return Kept(name, summary.pattern, rows, _plain(measured), _plain(method or {}), nodes, links, note)


def found_in(pattern: Pattern, graph: AttributionGraph, circuit: Circuit | None, sign: str) -> Found:
    """What a search has shown of one graph: its circuit, or the waypoint at which the pattern fails there."""
    about = graph.metadata
    row = PromptRow(graph.graph_id, dict(circuit.binding) if circuit else {})
    if circuit:
        return Found(graph.graph_id, about.slug, about.prompt, row, circuit.flow)
    _, failed, reason = look(pattern, graph, sign, 0.0)
    if not failed:  # each role has several terms, of which only different ones lie on a path
        failed, reason = pattern.text, "no path has the same term at each place of a role"
    return Found(graph.graph_id, about.slug, about.prompt, row, 0.0, failed, reason)


def changes(before: Kept, after: Kept) -> list[dict[str, Any]]:
    """The prompts of which two runs of a pattern tell different things: graph_id, slug, change, flow before and after.

    A graph that is there no more has no flow after, a new one none before.
    """
    old, new = _rows_by_prompt(before), _rows_by_prompt(after)
    told = []
    for key in old | new:
        was, now = old.get(key), new.get(key)
        change = _change(was, now)
        if change:
            told.append(
                {
                    "graph_id": key[0],
                    "slug": (now or was or {}).get("slug", ""),
                    "change": change,
                    "before": was and was["flow"],
                    "after": now and now["flow"],
                }
            )
    return told


def _check(kept: Kept) -> None:
    """Raise TypeError for a value of another type than its field."""
    texts = (kept.name, kept.pattern, kept.note, kept.made_with, kept.made_at)
    ends = {end for link in kept.links for end in (link.source, link.target)}
    if not all(isinstance(text, str) for text in texts) or not kept.pattern:
        raise TypeError("a text is none, or the pattern is empty")
    if not isinstance(kept.figures, dict) or not isinstance(kept.method, dict):
        raise TypeError("figures or method is no object")
    if not all(isinstance(row.get(name), kind) for row in kept.prompts for name, kind in _PROMPT.items()):
        raise TypeError(f"a prompt lacks one of {', '.join(_PROMPT)}")
    if not ends <= {node.name for node in kept.nodes}:
        raise TypeError("a link names a node that is not there")


def _change(was: dict[str, Any] | None, now: dict[str, Any] | None) -> Change | None:
    if was is None or now is None:
        return "graph new" if was is None else "graph gone"
    if was["found"] != now["found"]:
        return "found now" if now["found"] else "lost now"
    if math.isclose(was["flow"], now["flow"], rel_tol=SAME_FLOW):
        return None
    return "stronger" if now["flow"] > was["flow"] else "weaker"


def _rows_by_prompt(kept: Kept) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows by graph_id, and by roles in a set, which can name a graph twice; a search binds roles itself."""
    of_set = "set" in kept.method
    return {(row["graph_id"], json.dumps(row["roles"], sort_keys=True) if of_set else ""): row for row in kept.prompts}


def _plain(value: Any) -> Any:
    """As JSON gives it back, with None for what it has no number for."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value


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
