"""What is put side by side on the Compare page, as an address holds it; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from app.across import MOST_OTHERS, NO_OTHERS
from app.graphlist import prompt_text
from circuits.aligned import By
from circuits.promptset import PromptRow, PromptSet

VIEWS = ("difference", "links", "circuits", "heat", "side")
ORDERS = ("alike", "layer")  # of the columns of the heat map


@dataclass(frozen=True)
class Versus:
    """Two sides, each some graphs, and how they are looked at."""

    a: tuple[str, ...] = ()
    """graph_ids."""
    b: tuple[str, ...] = ()
    a_like: str = ""
    """Also all graphs with these words in prompt, slug, model or dictionary; `-word`: not with it."""
    b_like: str = ""
    by: By = "feature"
    """What makes nodes of different graphs the same."""
    among: tuple[str, ...] | None = None
    """Other graphs, for what is to be expected; None: some are chosen."""
    groups: bool = False
    """Whether sides are groups."""
    view: str = VIEWS[0]
    order: str = ORDERS[0]
    """Of the columns of the heat map."""

    def params(self) -> dict[str, Any]:
        """As query parameters; what is at its default is left out.

        >>> Versus(("ab12",), ("cd34",), by="label").params()
        {'a': ['ab12'], 'b': ['cd34'], 'by': 'label'}
        """
        among = list(self.among) or [NO_OTHERS] if self.among is not None else []
        given = {"a": list(self.a), "b": list(self.b), "a_like": self.a_like, "b_like": self.b_like}
        given |= {"by": "" if self.by == "feature" else self.by, "among": among, "groups": "1" if self.groups else ""}
        given |= {"view": "" if self.view == VIEWS[0] else self.view}
        given |= {"order": "" if self.order == ORDERS[0] else self.order}
        return {name: value for name, value in given.items() if value}


def read_versus(given: Mapping[str, list[str]], rows: Sequence[Mapping[str, Any]]) -> Versus:
    """The sides of an address; graphs that are not there any more are left out, and a side that is empty is chosen.

    Args:
        given: Every query parameter with all its values.
        rows: The graphs there are; they may be named by graph_id or slug.
    """
    ids = {name: row["graph_id"] for row in reversed(rows) for name in (row["slug"], row["graph_id"])}

    def known(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ids[each] for each in given.get(name, []) if each in ids))

    def text(name: str) -> str:
        return (given.get(name) or [""])[-1]

    a, b, likes = known("a"), known("b"), (text("a_like").strip(), text("b_like").strip())
    groups = text("groups") == "1" or len(a) > 1 or len(b) > 1 or any(likes)
    if not groups:
        a = a or (_first_with_partner(rows),)
        b = b or (_partner(a[0], rows),)
    by = text("by") if text("by") in get_args(By) else "feature"
    view = text("view") if text("view") in VIEWS else VIEWS[0]
    order = text("order") if text("order") in ORDERS else ORDERS[0]
    among = known("among") if given.get("among") else None
    return Versus(a, b, *likes, by, among, groups, view, order)  # pyright: ignore[reportArgumentType]


def side_of(ids: Sequence[str], like: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The graphs of a side: those named, and those that the words fit."""
    fitting = [row["graph_id"] for row in rows if like.strip() and fits(like, row)]
    return list(dict.fromkeys([*ids, *fitting]))


def fits(like: str, row: Mapping[str, Any]) -> bool:
    """Whether every word stands in prompt, slug, model or dictionary of a graph, and no `-word` does.

    >>> row = {"prompt": "The capital of Texas", "slug": "x", "model": "m", "source_set": "s"}
    >>> fits("capital texas", row), fits("capital -Texas", row)
    (True, False)
    """
    text = " ".join((row["prompt"], row["slug"], row["model"], row["source_set"])).lower()
    words = like.lower().split()
    return all((word[1:] not in text) if word[0] == "-" and word[1:] else word in text for word in words)


def others_of(versus: Versus, sides: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those chosen to compare with, else some of the same dictionary; groups have a null of their own."""
    used = {graph_id for side in sides for graph_id in side}
    if versus.among is not None:
        return [graph_id for graph_id in versus.among if graph_id not in used]
    if versus.groups:
        return []
    source_sets = {row["source_set"] for row in rows if row["graph_id"] in used}
    return [row["graph_id"] for row in rows if row["graph_id"] not in used and row["source_set"] in source_sets][
        :MOST_OTHERS
    ]


def columns_of(prompts: PromptSet) -> dict[str, list[str]]:
    """What a prompt set can be divided by: group, template and roles, each with its values."""
    columns = {"group": [row.group for row in prompts.rows], "template": [row.template for row in prompts.rows]}
    for role in dict.fromkeys(role for row in prompts.rows for role in row.roles):
        columns[role] = [row.roles.get(role, "") for row in prompts.rows]
    found = {name: sorted({value for value in values if value}) for name, values in columns.items()}
    return {name: values for name, values in found.items() if len(values) > 1}


def with_value(prompts: PromptSet, column: str, value: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The graphs of the prompts that have this value there; those that are not loaded are left out."""
    names: dict[str, str] = {}
    for row in reversed(rows):
        names |= {row[name]: row["graph_id"] for name in ("prompt", "slug", "graph_id")}
        names[prompt_text(row["prompt"])] = row["graph_id"]
    chosen = [row for row in prompts.rows if _value(row, column) == value]
    return list(dict.fromkeys(names[row.graph] for row in chosen if row.graph in names))


def _value(row: PromptRow, column: str) -> str:
    return {"group": row.group, "template": row.template}.get(column) or row.roles.get(column, "")


def _first_with_partner(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first graph that can be compared with another, feature by feature; the first of all where none can."""
    sets = Counter(row["source_set"] for row in rows)
    return next((row["graph_id"] for row in rows if sets[row["source_set"]] > 1), rows[0]["graph_id"])


def _partner(graph_id: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Another graph of the same dictionary, with another prompt if there is one."""
    own = next(row for row in rows if row["graph_id"] == graph_id)
    others = [row for row in rows if row["graph_id"] != graph_id]
    others.sort(key=lambda row: (row["source_set"] != own["source_set"], row["prompt"] == own["prompt"]))
    return others[0]["graph_id"] if others else graph_id
