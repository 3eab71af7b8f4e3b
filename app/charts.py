"""Charts of the Compare page in Vega-Lite, which Streamlit brings along: scatter of two sides, heat map; pure."""

import json
from math import cos, degrees, radians, sin, sqrt
from typing import Any

import pandas as pd

from app.figures import COLOURS
from circuits.compare import ONLY_A, ONLY_B

BOTH_COLOUR = {"light": "#5b5bd6", "dark": "#8e8cf0"}
HEAT = {"light": ["#eef0fb", "#9b9be6", "#2c2c86"], "dark": ["#1b1e2c", "#5757b8", "#c9c8ff"]}
LABELLED = 10
NAME_SIZE, SLANT = 11, radians(25)  # of the names in the scatter, in pixels and up to the right
USUAL_SIZE = (600, 380)  # of its inner part, where the window has 1,400 pixels
MOST_POINTS, MOST_BARS = 5_000, 60  # of a chart of any rows


def scatter(frame: pd.DataFrame, theme: str) -> dict[str, Any]:
    """Strength in A against strength in B, in %, roots as scale; the largest changes are named. `brush` selects."""
    colours = COLOURS[theme]
    most = max(0.01, float(frame[["a", "b"]].to_numpy().max(initial=0.0)) * 1.08)
    axis = {"type": "quantitative", "scale": {"type": "sqrt", "domain": [0, most]}}
    axes = {side: axis | {"field": side, "title": f"influence in {side.upper()}, %"} for side in ("a", "b")}
    colour = {
        "field": "place", "type": "nominal", "title": None, "legend": {"orient": "top"},
        "scale": {"domain": ["both", ONLY_A, ONLY_B],
                  "range": [BOTH_COLOUR[theme], colours["positive"], colours["negative"]]},
    }  # fmt: skip
    tooltip = [{"field": "called", "title": "node"}, {"field": "at", "title": "layer"}]
    tooltip += [{"field": side, "format": ".2f", "title": f"{side.upper()} %"} for side in ("a", "b")]
    points = frame.loc[:, ["called", "at", "a", "b", "place"]]
    largest = frame.sort_values("change", key=abs, ascending=False).index[:LABELLED]
    named = _names_apart(points.loc[largest], most)
    return {
        "height": 460,
        "layer": [
            {"data": {"values": [{"x": 0, "y": 0}, {"x": most, "y": most}]},
             "mark": {"type": "line", "strokeDash": [2, 4], "color": "#8b8d98", "strokeWidth": 1},
             "encoding": {"x": axis | {"field": "x"}, "y": axis | {"field": "y"}}},
            {"data": {"values": _records(points)},
             "params": [{"name": "brush", "select": "interval"}],
             "mark": {"type": "circle", "size": 46, "opacity": 0.66},
             "encoding": {"x": axes["a"], "y": axes["b"], "color": colour, "tooltip": tooltip}},
            {"data": {"values": _records(named)},  # right of the point: above it, names would run over the axis
             "mark": {"type": "text", "align": "left", "dx": 7, "dy": -3, "angle": -degrees(SLANT),
                      "fontSize": NAME_SIZE, "color": colours["text"], "opacity": 0.8},
             "encoding": {"x": axes["a"], "y": axes["b"], "text": {"field": "called"}}},
        ],
    }  # fmt: skip


def _names_apart(named: pd.DataFrame, most: float) -> pd.DataFrame:
    """The rows, the most important first, whose slanted names do not touch one before, in a picture of USUAL_SIZE."""
    kept: list[Any] = []
    placed: list[tuple[float, float, float]] = []  # begin and end along the slant, distance across it
    for row, name, a, b in zip(named.index, named["called"], named["a"], named["b"], strict=True):
        x, y = USUAL_SIZE[0] * sqrt(a / most), USUAL_SIZE[1] * sqrt(b / most)
        begin, across = x * cos(SLANT) + y * sin(SLANT), y * cos(SLANT) - x * sin(SLANT)
        end = begin + 0.6 * NAME_SIZE * len(name)
        if all(begin > theirs[1] or end < theirs[0] or abs(across - theirs[2]) > NAME_SIZE for theirs in placed):
            kept.append(row)
            placed.append((begin, end, across))
    return named.loc[kept]


def heat_map(frame: pd.DataFrame, theme: str) -> dict[str, Any]:
    """Influence of nodes (columns) in prompts (rows). `pick` selects a node."""
    nodes, prompts = frame.drop_duplicates("column"), frame.drop_duplicates("row")
    shown = frame.loc[frame["influence"] > 0].assign(percent=lambda rows: 100 * rows["influence"])
    called, titles = (
        dict(zip(nodes["column"], nodes["node"], strict=True)),
        dict(zip(prompts["row"], prompts["prompt"], strict=True)),
    )
    return {
        "data": {"values": _records(shown.loc[:, ["row", "column", "prompt", "node", "name", "percent"]])},
        "height": 26 * len(titles) + 110,  # names stand below
        "params": [{"name": "pick", "select": {"type": "point", "fields": ["name"]}}],
        "mark": {"type": "rect", "stroke": None, "cursor": "pointer"},
        "encoding": {
            "x": {"field": "column", "type": "ordinal", "title": None, "sort": sorted(called),
                  "axis": {"labelExpr": _lookup(called), "labelAngle": -50, "labelLimit": 150,
                           "labelOverlap": False, "ticks": False}},
            "y": {"field": "row", "type": "ordinal", "title": None, "sort": sorted(titles),
                  "scale": {"domain": sorted(titles)},  # a prompt without any of these features has a row as well
                  "axis": {"labelExpr": _lookup(titles), "labelLimit": 300, "labelOverlap": False, "ticks": False}},
            "color": {"field": "percent", "type": "quantitative", "title": "%",
                      "scale": {"range": HEAT[theme], "type": "sqrt"}},
            "opacity": {"condition": {"param": "pick", "value": 1}, "value": 0.45},
            "tooltip": [{"field": "node"}, {"field": "prompt"},
                        {"field": "percent", "format": ".2f", "title": "influence, %"}],
        },
    }  # fmt: skip


def chart_columns(frame: pd.DataFrame, x: str = "", y: str = "") -> tuple[list[str], list[str], str, str]:
    """What a chart of any rows can have along x and along y, and the chosen or else fitting ones.

    >>> chart_columns(pd.DataFrame({"slug": ["a"], "n": [1], "share": [0.5]}))
    (['slug', 'n', 'share'], ['n', 'share'], 'slug', 'n')
    """
    along = [str(name) for name, known in frame.notna().any().items() if known]
    numbers = [name for name in along if pd.api.types.is_numeric_dtype(frame[name])]
    texts = [name for name in along if name not in numbers]
    x = x if x in along else next(iter([*texts, *along]), "")
    y = y if y in numbers else next((name for name in numbers if name != x), next(iter(numbers), ""))
    return along, numbers, x, y


def rows_chart(frame: pd.DataFrame, x: str, y: str, theme: str) -> dict[str, Any]:
    """Two columns of any rows: bars where x is a text, each text once with its mean, else points."""
    texts = not pd.api.types.is_numeric_dtype(frame[x])
    rows = pd.DataFrame({"x": frame[x].astype(str) if texts else frame[x], "y": frame[y].astype(float)})
    rows = rows.dropna().head(MOST_POINTS)
    if texts:
        rows = rows.groupby("x", sort=False, as_index=False).agg(y=("y", "mean"), n=("y", "size"))
        rows = rows.head(MOST_BARS)
    tooltip = [{"field": "x", "title": x}, {"field": "y", "title": y, "format": ".4~g"}]
    across = {"field": "y", "type": "quantitative", "title": y}
    colour = BOTH_COLOUR[theme]
    values = {"values": _records(rows)}
    if not texts:
        along = {"field": "x", "type": "quantitative", "title": x, "scale": {"zero": False}}
        mark = {"type": "circle", "size": 46, "opacity": 0.66, "color": colour}
        return {"data": values, "height": 420, "mark": mark, "encoding": {"x": along, "y": across, "tooltip": tooltip}}
    called = {"field": "x", "type": "nominal", "title": x, "sort": None, "axis": {"labelLimit": 320}}
    tooltip.append({"field": "n", "title": "rows, whose mean it is"})
    return {
        "data": values, "height": {"step": 22}, "mark": {"type": "bar", "color": colour, "cornerRadiusEnd": 3},
        "encoding": {"y": called, "x": across, "tooltip": tooltip},
    }  # fmt: skip


def _lookup(names: dict[int, str]) -> str:
    """An expression of Vega that turns a number into its name; quoting makes every name a plain text."""
    return f"{json.dumps([names[number] for number in sorted(names)])}[datum.value]"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain data; JSON knows no NaN."""
    plain = frame.astype(object).where(frame.notna(), None)
    return plain.to_dict("records")
