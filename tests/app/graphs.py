"""Small graphs for the tests of the dashboard, made by hand."""

import numpy as np
import pandas as pd

from tracer.graph import AttributionGraph, GraphMetadata


def capital_graph(city: str = "Dallas", region: str = "Texas", answer: str = "Austin") -> AttributionGraph:
    """City -> region -> answer in three layers, with an unlabelled feature, an error and a runner-up.

    Kept are all nodes but the feature 1_9_2, and all links but those of it and the weak link city -> say answer.
    """
    rows = [  # node_id, kind, layer, position, index, label, note, activation, influence, probability, kept
        ("0_7_2", "feature", 0, 2, 7, f"cities of {region}", "F1 0.98, n=212", 3.5, 0.6, np.nan, True),
        ("1_4_3", "feature", 1, 3, 4, region, "F1 0.95, n=80", 2.0, 0.5, np.nan, True),
        ("1_9_2", "feature", 1, 2, 9, "", "", 0.25, 0.05, np.nan, False),
        ("2_5_3", "feature", 2, 3, 5, "", "", 1.5, 0.4, np.nan, True),
        ("1_-1_3", "error", 1, 3, -1, "", "", np.nan, 0.1, np.nan, True),
        ("E_11_0", "token", -1, 0, 11, "<bos>", "", np.nan, 0.05, np.nan, True),
        ("E_12_1", "token", -1, 1, 12, " the", "", np.nan, 0.05, np.nan, True),
        ("E_13_2", "token", -1, 2, 13, f" {city}", "", np.nan, 0.7, np.nan, True),
        ("E_14_3", "token", -1, 3, 14, " is", "", np.nan, 0.1, np.nan, True),
        ("4_21_3", "logit", 3, 3, 21, f" {answer}", "", np.nan, 1.0, 0.8, True),
        ("4_22_3", "logit", 3, 3, 22, " <b>other</b>", "", np.nan, 0.2, 0.2, True),
    ]
    columns = ["node_id", "kind", "layer", "position", "index", "label", "label_note", "activation", "influence"]
    nodes = pd.DataFrame(rows, columns=[*columns, "probability", "kept"])  # pyright: ignore[reportArgumentType]
    row = {node_id: at for at, node_id in enumerate(nodes["node_id"])}
    edges = [  # source, target, effect, kept
        ("E_13_2", "0_7_2", 4.0, True), ("E_11_0", "0_7_2", -1.0, True),
        ("0_7_2", "1_4_3", 3.0, True), ("E_14_3", "1_4_3", 1.0, True),
        ("0_7_2", "1_9_2", 1.0, False), ("E_13_2", "1_9_2", 1.0, False),
        ("1_4_3", "2_5_3", 2.0, True), ("1_-1_3", "2_5_3", -0.5, True), ("E_13_2", "2_5_3", 0.1, False),
        ("1_9_2", "2_5_3", 0.4, False),
        ("2_5_3", "4_21_3", 2.0, True), ("1_4_3", "4_21_3", 1.0, True), ("E_14_3", "4_21_3", -1.0, True),
        ("2_5_3", "4_22_3", -1.0, True), ("E_14_3", "4_22_3", 1.0, True),
    ]  # fmt: skip
    source, target, effect, kept = zip(*edges, strict=True)
    about = GraphMetadata(
        f"{city.lower()}-demo", f"<bos> the {city} is", ("<bos>", " the", f" {city}", " is"), "tiny", "tiny/hand", 3,
        replacement_score=0.75, completeness_score=0.875,
    )  # fmt: skip
    start, end = (np.array([row[name] for name in names]) for names in (source, target))
    return AttributionGraph.build(nodes, start, end, np.array(effect), about, np.array(kept))


def odd_graphs() -> dict[str, AttributionGraph]:
    """Graphs at the edges of what can be: few nodes, few layers, no links, a long prompt of strange tokens."""
    return {
        "nothing": _plain_graph([], 3),
        "one token": _plain_graph([("token", -1, 0, "a")], 1),
        "only an output": _plain_graph([("logit", 1, 0, "")], 1),
        "one layer": _plain_graph([("feature", 0, 0, ""), ("token", -1, 0, "\n"), ("logit", 1, 0, "\t")], 1),
        "a bias": _plain_graph(
            [("feature", 0, 0, "f"), ("token", -1, 0, "a"), ("logit", 1, 0, "b"), ("bias", 0, 0, "biases of layer 0")],
            1,
        ),
        "a long prompt": _plain_graph(
            [("feature", at % 40, at, "x" * 200) for at in range(400)]
            + [("token", -1, at, "🙂" * 9) for at in range(400)],
            40,
        ),
    }


def _plain_graph(nodes: list[tuple[str, int, int, str]], n_layers: int) -> AttributionGraph:
    """Nodes given as (kind, layer, position, label), every layer linked to the next node above, nothing to a bias."""
    columns: dict[str, list] = {"kind": [], "layer": [], "position": [], "label": []}
    for node in nodes:
        for name, value in zip(columns, node, strict=True):
            columns[name].append(value)
    table = pd.DataFrame(columns).assign(node_id=[f"n{at}" for at in range(len(nodes))], index=range(len(nodes)))
    layer = np.array(columns["layer"], int)
    later = [(s, t) for s in range(len(nodes)) for t in range(max(0, s - 3), len(nodes)) if nodes[t][0] != "bias"]
    ends = [(s, t) for s, t in later if layer[s] < layer[t]][:2000]
    source, target = np.array(ends, int).reshape(-1, 2).T
    tokens = tuple(label for kind, _, _, label in nodes if kind == "token")
    about = GraphMetadata("odd", "".join(tokens), tokens, "tiny", "tiny/odd", n_layers, target="log-odds")
    return AttributionGraph.build(table, source, target, np.ones(len(source)), about)
