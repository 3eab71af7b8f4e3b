"""Small pictures for tables: a path as chips joined by arrows, in SVG; pure."""

import html
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

LETTER, PADDING, ARROW, HEIGHT = 6.6, 14, 27, 32  # pixels: width of a letter, in a chip, between chips; of the picture
LONGEST = 22  # letters of a name
FULL_WIDTH_SHARE = 0.35  # from this share on an arrow is at its widest
COLOURS = {  # chips: (fill, border); arrows and text
    "light": {"token": ("#eceef2", "#eceef2"), "feature": ("#ffffff", "#aab0ba"), "error": ("#ffffff", "#c9cdd4"),
              "bias": ("#ffffff", "#c9cdd4"), "logit": ("#e6e6fa", "#8f8fe0"),
              "text": "#1c2024", "positive": "#1f6feb", "negative": "#d9480f"},
    "dark": {"token": ("#2a2e36", "#2a2e36"), "feature": ("#16191e", "#5c636e"), "error": ("#16191e", "#474d57"),
             "bias": ("#16191e", "#474d57"), "logit": ("#2b2b52", "#6f6fd0"),
             "text": "#e6e8ec", "positive": "#4f9dff", "negative": "#ff8552"},
}  # fmt: skip


def node_name(node: Mapping[str, Any]) -> str:
    """What people call a node of a circuit's row.

    >>> node_name({"kind": "token", "label": " Dallas", "node_id": "E_5_3", "layer": -1})
    'Dallas'
    >>> node_name({"kind": "feature", "label": "", "node_id": "20_15589_10", "layer": 20})
    'L20 #15589'
    """
    label = " ".join(node["label"].split())
    if node["kind"] == "error":
        return f"error L{node['layer']}"
    if node["kind"] == "feature" and not label:
        return f"L{node['layer']} #{node['node_id'].split('_')[1]}"
    return label or "␣"


def mini_path(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], theme: str) -> str:
    """A path as a data URI: a chip per node, arrows coloured by sign and as wide as the share.

    Args:
        nodes: With kind, label, node_id, layer.
        edges: With effect and share, one less than nodes.
        theme: "light" or "dark".
    """
    colours, x, parts = COLOURS[theme], 2.0, []
    for node, edge in zip(nodes, [*edges, None], strict=True):
        chip, x = _chip(node, x, colours)
        parts.append(chip)
        if edge is not None:
            parts.append(_arrow(edge, x, colours))
            x += ARROW
    full = round(x) + 4
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" width="{full}" height="{HEIGHT}" viewBox="0 0 {full} {HEIGHT}">'
    return "data:image/svg+xml;utf8," + urllib.parse.quote(picture + "".join(parts) + "</svg>")


def _chip(node: Mapping[str, Any], x: float, colours: Mapping[str, Any]) -> tuple[str, float]:
    name = node_name(node)
    name = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    width = len(name) * LETTER + PADDING
    fill, border = colours[node["kind"]]
    box = f'<rect x="{x:.0f}" y="6" width="{width:.0f}" height="20" rx="5" fill="{fill}" stroke="{border}"/>'
    text = (
        f'<text x="{x + width / 2:.0f}" y="20" font-family="system-ui,sans-serif" font-size="11.5" '
        f'fill="{colours["text"]}" text-anchor="middle">{html.escape(name)}</text>'
    )
    return box + text, x + width


def _arrow(edge: Mapping[str, Any], x: float, colours: Mapping[str, Any]) -> str:
    colour = colours["positive" if edge["effect"] > 0 else "negative"]
    stroke = 1 + 4 * min(1.0, edge["share"] / FULL_WIDTH_SHARE)
    line = f'<path d="M{x + 2:.0f} 16h16" stroke="{colour}" stroke-width="{stroke:.1f}"/>'
    return line + f'<path d="M{x + 18:.0f} 11.5l7 4.5l-7 4.5z" fill="{colour}"/>'
