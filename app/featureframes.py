"""Rows about a feature -> data frames for its page; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from app.ask import kept_link
from app.featurehtml import largest_activation
from app.featurelink import FeatureKey
from app.frames import node_link
from app.graphlist import prompt_text
from ingest.labels import IMPORTED, Label

KINDS = {"note": "a note", "edit": "edited here", "graph": "came with a graph", "import": "imported"}
RULE = (
    "Shown is the newest edit; without one, in each graph what its own file says; without that, the newest import. A "
    "label of one graph is not shown in another: what a feature means in one prompt is a guess about another."
)


def found_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Features that a search found, with links to their pages."""
    columns = ["label", "layer", "index", "source_set", "graphs"]
    frame = pd.DataFrame([{name: row[name] for name in columns} for row in rows], columns=columns)
    frame.insert(0, "open", [FeatureKey.of(row).link for row in rows])
    return frame


def occurrences_frame(prompts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `feature_prompts`, one row an occurrence."""
    columns = ("node_ids", "positions", "activations", "influences")
    rows = [
        {
            "open": node_link({"graph_id": row["graph_id"], "node_id": node_id}),
            "prompt": prompt_text(row["prompt"]),
            "position": position,
            "token": row["tokens"][position],
            "activation": activation,
            "influence": influence,
            "slug": row["slug"],
            "graph_id": row["graph_id"],
            "node_id": node_id,
        }
        for row in prompts
        for node_id, position, activation, influence in zip(*(row[name] for name in columns), strict=True)
    ]
    return pd.DataFrame(rows)


def most_active(prompts: Sequence[Mapping[str, Any]], n_graphs: int, most: int = 6) -> dict[str, Any]:
    """Rows of `feature_prompts` as plain data: the prompts of the largest activation, with a link to its node in each.

    Args:
        n_graphs: Graphs of the same dictionary.
        most: How many prompts.
    """
    ranked = sorted(prompts, key=lambda row: (-(largest_activation([row]) or 0), -row["influence"]))
    rows = []
    for row in ranked[:most]:
        values = [None if value != value else value for value in row["activations"]]  # NaN, which JSON has not
        largest = max(range(len(values)), key=lambda at: values[at] or 0)
        at = [list(pair) for pair in zip(row["positions"], values, strict=True)]
        link = node_link({"graph_id": row["graph_id"], "node_id": row["node_ids"][largest]})
        rows.append({"graph_id": row["graph_id"], "link": link, "tokens": row["tokens"], "at": at})
    return {"n": len(prompts), "of": n_graphs, "prompts": rows}


def labels_frame(
    labels: Sequence[Label], prompts: Sequence[Mapping[str, Any]], slugs: Mapping[str, str]
) -> pd.DataFrame:
    """Every label of a feature, the newest first, with whose it is and in how many of its graphs it is shown.

    Args:
        prompts: The graphs that kept the feature.
        slugs: graph_id -> slug, of all graphs: a label may come from one that pruned the feature away.
    """
    counts = shown_in(labels, prompts)
    rows = [
        {
            "label": label.label or "(none)",
            "shown": f"in {count} of {len(prompts)} graphs" if count else "",
            "how": KINDS[label.kind],
            "by": label.by,
            "graph": slugs.get(label.graph_id, label.graph_id),
            "when": label.when[:10],
        }
        for label, count in zip(labels, counts, strict=True)
    ]
    return pd.DataFrame(rows[::-1], columns=["label", "shown", "how", "by", "graph", "when"])


def shown_in(labels: Sequence[Label], prompts: Sequence[Mapping[str, Any]]) -> list[int]:
    """In how many of these graphs each label is the one that is shown; labels stand in the order in which they came."""
    edits = [at for at, label in enumerate(labels) if label.kind == "edit"]
    imports = [at for at, label in enumerate(labels) if label.kind == "import"]
    counts = [0] * len(labels)
    for row in prompts:
        if edits:
            counts[edits[-1]] += 1
        elif row["label_note"].startswith(IMPORTED):
            for at in imports[-1:]:
                counts[at] += 1
        else:
            own = (
                at
                for at, label in enumerate(labels)
                if (label.graph_id, label.label) == (row["graph_id"], row["label"])
            )
            for at in list(own)[:1]:
                counts[at] += 1
    return counts


def effects_frame(outputs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `feature_outputs` for outputs: text, mean direct effect, graphs."""
    frame = pd.DataFrame(outputs, columns=["label", "mean_effect", "graphs"])
    return frame.rename(columns={"label": "output"}).sort_values("mean_effect", ascending=False, ignore_index=True)


def kept_frame(found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `feature_circuits` with links to the circuits."""
    rows = [
        {"open": kept_link(row["kept_id"]), "name": row["name"], "prompts": f"{row['prompts']} of {row['found']}",
         "pattern": row["pattern"]}
        for row in found
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["open", "name", "prompts", "pattern"])


def one_label(prompts: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(label, where it is from) as most graphs show it; empty where none has one."""
    told = Counter((row["label"], row["label_note"]) for row in prompts if row["label"])
    return told.most_common(1)[0][0] if told else ("", "")


def as_json(key: FeatureKey, about: Mapping[str, Any], labels: Sequence[Label]) -> dict[str, Any]:
    """All that the page shows, as plain data; values that no file told are null."""
    prompts = [
        dict(row) | {"activations": [value if value == value else None for value in row["activations"]]}
        for row in about["prompts"]
    ]
    return {"feature": key.params, "labels": [vars(label) for label in labels], **about, "prompts": prompts}
