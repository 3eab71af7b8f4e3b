"""Two sides of a comparison -> data frames and pictures for the page; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from app.featurelink import FeatureKey
from app.figures import mini_path
from app.frames import node_link
from app.versus import ORDERS
from circuits.aligned import By, influence_of, names_of
from circuits.compare import KINDS, ONLY_A, ONLY_B, Comparison
from tracer.graph import AttributionGraph

BOTH = "both"
ARROW = " -> "
HEAT_COLUMNS, NAMED_OUTLIERS = 40, 10
NODE_COLUMNS = ("name", "graph_id", "node_id", "kind", "layer", "index", "label", "source_set")


@dataclass(frozen=True)
class Compared:
    """Two sides side by side, and what the names stand for."""

    found: Comparison
    a: pd.DataFrame
    """Of `named_nodes`."""
    b: pd.DataFrame
    elapsed_ms: float
    """Of the comparison itself."""


def named_nodes(graphs: Sequence[AttributionGraph], by: By) -> pd.DataFrame:
    """For each name of these graphs its most influential node, columns as NODE_COLUMNS."""
    parts = []
    for graph in graphs:
        nodes = graph.nodes[["node_id", "kind", "layer", "index", "label", "influence"]]
        nodes = nodes.assign(name=names_of(graph, by), graph_id=graph.graph_id, source_set=graph.metadata.source_set)
        parts.append(nodes[nodes["name"] != ""])
    every = pd.concat(parts, ignore_index=True).sort_values("influence", ascending=False, kind="stable")
    return every.drop_duplicates("name").reset_index(drop=True).loc[:, list(NODE_COLUMNS)]


def nodes_frame(nodes: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """`Comparison.nodes` with what people call a node, strengths in %, and links into A, into B, to the feature."""
    frame = _described(nodes, a, b)
    frame["place"] = np.select([frame["where"] == ONLY_A, frame["where"] == ONLY_B], [ONLY_A, ONLY_B], BOTH)
    return _in_percent(frame)


def links_frame(links: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """`Comparison.links` likewise; a link into a graph pins both ends."""
    source, target = (_described(links.rename(columns={end: "name"}), a, b) for end in ("source", "target"))
    frame = links.assign(source=source["called"], target=target["called"])
    for side, nodes in (("a", a), ("b", b)):
        pairs = zip(links["source"], links["target"], frame[side], strict=True)
        frame[f"open_{side}"] = _pair_links(nodes, pairs)
    return _in_percent(frame)


def circuits_frame(circuits: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame, theme: str) -> pd.DataFrame:
    """`Comparison.circuits` as pictures: blue where stronger in A, orange where stronger in B."""
    pictures, links = [], {"a": [], "b": []}
    known = {side: nodes.set_index("name") for side, nodes in (("a", a), ("b", b))}
    for row in circuits.to_dict("records"):
        names = row["circuit"].split(ARROW)
        nodes = [
            next((_chip(table, name) for table in known.values() if name in table.index), _plain(name))
            for name in names
        ]
        edge = {"effect": -1.0 if row["change"] > 0 else 1.0, "share": 0.15}
        pictures.append(mini_path(nodes, [edge] * (len(nodes) - 1), theme))
        for side, table in known.items():
            links[side].append(_pinned(table, names) if row[side] > 0 else "")
    frame = circuits.assign(
        picture=pictures, open_a=links["a"], open_b=links["b"], nodes=circuits["circuit"].str.count(ARROW) + 1
    )
    return _in_percent(frame)


def heat_frame(
    graphs: Mapping[str, AttributionGraph],
    titles: Mapping[str, str],
    by: By,
    known: pd.DataFrame,
    order: str = ORDERS[0],
) -> pd.DataFrame:
    """Influence by prompt and node, long: prompts that are alike stand together, and so do nodes.

    Args:
        graphs: By graph_id.
        titles: What to call each graph.
        known: Of `named_nodes` over all of them.
        order: Of nodes, of ORDERS: with those that are active in the same prompts, or by layer.
    """
    columns = {}
    for graph_id, graph in graphs.items():
        names, influence = influence_of(graph, by, KINDS)
        columns[graph_id] = pd.Series(influence, index=pd.Index(names, dtype=object))
    table = pd.DataFrame(columns).fillna(0.0)
    about = known.set_index("name").reindex(table.index)
    table = table.loc[(about["kind"] == "feature").to_numpy()]
    table = table.loc[table.sum(axis=1).nlargest(HEAT_COLUMNS).index]
    about = about.loc[table.index]
    places = np.argsort(about["layer"].to_numpy(), kind="stable")
    if order == "alike":
        strengths = table.to_numpy()
        places = _alike_together(strengths / strengths.max(axis=1, keepdims=True, initial=1e-12))
    table, about = table.iloc[places], about.iloc[places]
    values = table.T.to_numpy()
    rows = _alike_together(values)
    called = [f"{_called(row)} L{row['layer']}" for row in about.to_dict("records")]
    return pd.DataFrame(
        [
            {"prompt": titles[table.columns[at]], "row": place, "node": called[column], "name": table.index[column],
             "column": column, "influence": values[at, column]}
            for place, at in enumerate(rows)
            for column in range(len(called))
        ]
    )  # fmt: skip


def _alike_together(values: np.ndarray) -> np.ndarray:
    """An order of the rows in which those that are alike stand together."""
    if len(values) < 3:
        return np.arange(len(values))
    return leaves_list(linkage(values, "average", optimal_ordering=True))


def in_box(frame: pd.DataFrame, box: Mapping[str, Sequence[float]] | None) -> pd.DataFrame:
    """The rows inside a rectangle drawn in the picture; all without one."""
    if not box or "a" not in box or "b" not in box:
        return frame
    (a_least, a_most), (b_least, b_most) = sorted(box["a"]), sorted(box["b"])
    return frame.loc[frame["a"].between(a_least, a_most) & frame["b"].between(b_least, b_most)]


def _described(table: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The table with called, kind, layer, and links for the column `name`."""
    frame = table.reset_index(drop=True)
    sides = {
        side: nodes.set_index("name").reindex(frame["name"]).reset_index(drop=True)
        for side, nodes in (("a", a), ("b", b))
    }
    about = sides["a"].combine_first(sides["b"])
    records = about.to_dict("records")
    frame["called"] = [_called(row) for row in records]
    frame["kind"], frame["layer"] = about["kind"], about["layer"]
    frame["at"] = [_place(row) for row in records]
    for side, nodes in sides.items():
        there = zip(nodes.to_dict("records"), frame[side] if side in frame else [1] * len(frame), strict=True)
        frame[f"open_{side}"] = [
            node_link(row) if strength > 0 and isinstance(row["node_id"], str) else "" for row, strength in there
        ]
    frame["feature"] = [FeatureKey.of(row).link if row["kind"] == "feature" else "" for row in records]
    return frame


def _called(row: Mapping[str, Any]) -> str:
    label = " ".join(row["label"].split()) if isinstance(row["label"], str) else ""
    return label or (f"#{int(row['index'])}" if row["kind"] == "feature" else "␣")


def _place(row: Mapping[str, Any]) -> str:
    """The layer of a feature; what else it is."""
    return (
        f"L{int(row['layer'])}"
        if row["kind"] == "feature"
        else "output"
        if row["kind"] == "logit"
        else str(row["kind"])
    )


def _in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{name: 100 * frame[name] for name in ("a", "b", "change")})


def _pair_links(nodes: pd.DataFrame, pairs: Any) -> list[str]:
    table = nodes.set_index("name")
    at = {
        name: (graph_id, node_id)
        for name, graph_id, node_id in zip(table.index, table["graph_id"], table["node_id"], strict=True)
    }
    return [_one_graph([at.get(source), at.get(target)]) if strength > 0 else "" for source, target, strength in pairs]


def _pinned(table: pd.DataFrame, names: Sequence[str]) -> str:
    places = [tuple(table.loc[name, ["graph_id", "node_id"]]) if name in table.index else None for name in names]
    return _one_graph(places)


def _one_graph(places: Sequence[tuple[Any, Any] | None]) -> str:
    """The address that pins these nodes; empty where they are not of one graph, as may be in a group."""
    there = [place for place in places if place]
    if len(there) < len(places) or len({graph_id for graph_id, _ in there}) > 1:
        return ""
    return _pins(there[0][0], [node_id for _, node_id in there])


def _pins(graph_id: Any, node_ids: Sequence[Any]) -> str:
    return f"/?g={graph_id}&pins={','.join(node_ids)}"


def _chip(table: pd.DataFrame, name: str) -> dict[str, Any]:
    row = table.loc[name]
    return {"kind": row["kind"], "label": _called(row), "layer": row["layer"], "node_id": row["node_id"]}


def _plain(name: str) -> dict[str, Any]:
    return {"kind": "feature", "label": name, "layer": 0, "node_id": name}
