"""What a feature's page draws in HTML: prompts shaded by activation, and neighbours with bars; pure, texts escaped."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from app.featurelink import FeatureKey
from app.figures import COLOURS
from app.frames import node_link

STYLE = """<style>
.tl-prompt, .tl-bar {color: inherit !important; text-decoration: none !important; font-size: .86rem}
.tl-prompt {display: grid; grid-template-columns: 3.4rem minmax(0, 1fr) 4.2rem; gap: .7rem; padding: .42rem .3rem;
  border-bottom: 1px solid rgba(128, 128, 128, .2)}
.tl-prompt:hover, a.tl-bar:hover {background: rgba(128, 128, 128, .1)}
.tl-prompt span span {white-space: pre-wrap; border-radius: 3px; padding: .1rem 0}
.tl-prompt b, .tl-prompt em, .tl-bar b {font-variant-numeric: tabular-nums; text-align: right; font-weight: 500}
.tl-prompt em, .tl-bar small, .tl-head {opacity: .68; font-style: normal; font-size: .78rem}
.tl-bar {display: grid; grid-template-columns: minmax(0, 1fr) auto 3.6rem; gap: .7rem; position: relative;
  padding: .16rem .5rem; align-items: baseline; border-radius: 4px; isolation: isolate}
.tl-bar i {position: absolute; inset: 1px auto 1px 0; border-radius: 4px; z-index: -1}
.tl-bar span {overflow: hidden; text-overflow: ellipsis; white-space: nowrap}
.tl-head {display: grid; grid-template-columns: 3.4rem minmax(0, 1fr) 4.2rem; gap: .7rem; padding: 0 .3rem;
  text-align: right} .tl-head :nth-child(2) {text-align: left}
</style>"""
SHADE = {"light": "245, 159, 0", "dark": "229, 185, 74"}  # the colour of a pin on the Graph page
BAR = {"light": 0.15, "dark": 0.34}  # opacity
FAINTEST, STRONGEST = 0.14, 0.74  # opacity of the smallest and the largest activation


def largest_activation(prompts: Sequence[Mapping[str, Any]]) -> float | None:
    """The largest value that any file told; None where none did."""
    told = [value for row in prompts for value in row["activations"] if value is not None and math.isfinite(value)]
    return max(told, default=None)


def prompts_html(prompts: Sequence[Mapping[str, Any]], theme: str) -> str:
    """The prompts of `feature_prompts`, a line each: largest activation, shaded text, influence; a link into the graph.

    Where no file told activations, tokens are shaded alike.
    """
    most = largest_activation(prompts)
    head = '<div class="tl-head"><span>activation</span><span>prompt</span><span>influence</span></div>'
    return head + "".join(_prompt(row, most, SHADE[theme]) for row in prompts)


def neighbours_html(rows: Sequence[Mapping[str, Any]], source_set: str, n_graphs: int, theme: str) -> str:
    """Rows of `feature_inputs` or `feature_outputs`, a bar each as wide as the mean share; features are links."""
    most = max((abs(row["mean_share"]) for row in rows), default=0) or 1.0
    return "".join(_bar(row, source_set, n_graphs, most, theme) for row in rows)


def neighbour_name(row: Mapping[str, Any]) -> str:
    """What to call a source or target.

    >>> neighbour_name({"kind": "feature", "layer": 22, "index": 1186, "label": ""})
    '#1186'
    """
    if row["kind"] == "error":
        return "error"
    label = " ".join(row["label"].split())
    return label or (f"#{row['index']}" if row["kind"] == "feature" else "␣")


def whereabouts(row: Mapping[str, Any]) -> str:
    """Its layer, or what it is instead of a feature."""
    kind = "output" if row["kind"] == "logit" else row["kind"]
    return kind if row["layer"] is None else f"L{row['layer']}"


def percent(share: float, signed: bool = True) -> str:
    """A share as percent, with a true minus; one decimal below ten percent.

    >>> percent(0.2126), percent(-0.0293), percent(0.5, signed=False)
    ('+21%', '−2.9%', '50%')
    """
    digits = 1 if abs(share) < 0.0995 else 0
    return ("−" if share < 0 else "+" if signed else "") + f"{100 * abs(share):.{digits}f}%"


def _prompt(row: Mapping[str, Any], most: float | None, colour: str) -> str:
    active = dict(zip(row["positions"], row["activations"], strict=True))
    told = [value for value in active.values() if value is not None and math.isfinite(value)]
    tokens = "".join(_token(token, position, active, most, colour) for position, token in enumerate(row["tokens"]))
    link = node_link({"graph_id": row["graph_id"], "node_id": row["node_ids"][0]})
    value, influence = f"{max(told):.2f}" if told else "", percent(row["influence"], signed=False)
    return (
        f'<a class="tl-prompt" href="{escape(link)}" target="_self" title="Open in graph"><b>{value}</b>'
        f"<span>{tokens}</span><em>{influence}</em></a>"
    )


def _token(token: str, position: int, active: Mapping[int, float | None], most: float | None, colour: str) -> str:
    text = escape(token.replace("\n", "⏎").replace("\t", "⇥"))
    if position not in active:
        return f"<span>{text}</span>"
    value = active[position]
    value = math.nan if value is None else value
    known = math.isfinite(value)
    part = max(0.0, value) / most if known and most else 1.0
    opacity = FAINTEST + (STRONGEST - FAINTEST) * part
    title = f' title="activation {value:.2f}"' if known else ""
    return f'<span style="background: rgba({colour}, {opacity:.2f})"{title}>{text}</span>'


def _bar(row: Mapping[str, Any], source_set: str, n_graphs: int, most: float, theme: str) -> str:
    share, name = row["mean_share"], neighbour_name(row)
    colour, width = COLOURS[theme]["positive" if share > 0 else "negative"], 100 * abs(share) / most
    note = (
        f"{name}\n{percent(share)} of the input, mean over {n_graphs} graphs\nfrom {percent(row['least_share'])} to "
        f"{percent(row['most_share'])} in the {row['graphs']} that have the link, {row['edges']} times\n"
        f"mean effect {row['mean_effect']:+.3g}"
    )
    content = (
        f'<i style="width: {width:.0f}%; background: {colour}; opacity: {BAR[theme]}"></i><span>{escape(name)}</span>'
        f"<small>{whereabouts(row)} · {row['graphs']} of {n_graphs}</small><b>{percent(share)}</b>"
    )
    if row["kind"] != "feature":
        return f'<div class="tl-bar" title="{escape(note)}">{content}</div>'
    link = FeatureKey(source_set, row["layer"], row["index"]).link
    return f'<a class="tl-bar" href="{escape(link)}" target="_self" title="{escape(note)}">{content}</a>'
