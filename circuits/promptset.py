"""Prompt sets: a pattern on many prompts of which the roles are known; where it is found, how strongly, why not."""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from circuits.flow import flow
from circuits.pattern import How, Pattern, match, parse_pattern
from circuits.walks import Way
from tracer.errors import GraphFormatError, PatternError, SettingError
from tracer.graph import AttributionGraph

Align = Literal["feature", "label"]

GRAPH_COLUMNS = ("graph_id", "graph", "slug", "prompt", "text")  # what may name the graph, the surest first
OTHER_COLUMNS = ("roles", "template", "family", "split", "asks", "expects", "note", "other", "group")  # never roles


@dataclass(frozen=True)
class PromptRow:
    """One prompt of a set, with what is known about it."""

    graph: str
    """The graph_id, path or slug of its graph, or the prompt itself."""
    roles: dict[str, str]
    """What stands for each role; the right answer is the role `answer`."""
    template: str = ""
    """Which wording it has."""
    answer: str = ""
    """The right answer, or empty."""
    group: str = ""
    """What a comparison may divide the set by, e.g. a language."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts in which one pattern is looked for."""

    rows: tuple[PromptRow, ...]
    name: str = "set"
    """Of the file, for messages."""

    @classmethod
    def of(
        cls,
        table: Iterable[Mapping[str, Any]] | pd.DataFrame,
        name: str = "set",
        where: Mapping[str, str] | None = None,
    ) -> "PromptSet":
        """The set in this table, such as the rows of a query.

        Args:
            table: Rows with one of the columns graph_id, graph, slug, prompt; optionally template, answer and group.
                Every other column is a role; a column `roles` may hold them as an object or as JSON.
            where: Only the rows with these values, by column or role.

        Raises:
            PatternError: No row, none with these values, or none of the columns that name a graph.

        >>> prompts = PromptSet.of([{"slug": "a", "city": "Dallas", "template": "1", "answer": "Austin"}])
        >>> prompts.rows[0].roles
        {'city': 'Dallas', 'answer': 'Austin'}
        """
        rows = table.to_dict("records") if isinstance(table, pd.DataFrame) else [dict(row) for row in table]
        if not rows:
            raise PatternError(f"{name} has no rows; expected one a prompt. Add prompts.")
        known = [(_row(row, number, name), _values(row, number, name)) for number, row in enumerate(rows, 1)]
        for column, value in (where or {}).items():
            known = _with_value(known, column, value, name)
        return cls(tuple(row for row, _ in known), name)

    @classmethod
    def read(cls, path: str | Path, where: Mapping[str, str] | None = None) -> "PromptSet":
        """The set in a file: .csv, .parquet, .json (a list of objects) or .jsonl.

        Args:
            where: Only the rows with these values, by column or role.

        Raises:
            PatternError: It cannot be read, or is not such a table.
        """
        path = Path(path)
        try:
            return cls.of(_table(path), path.name, where)
        except (OSError, ValueError) as error:
            raise PatternError(
                f"{path}: {' '.join(str(error).split())[:200]}; expected a table of prompts with a header, as .csv, "
                ".parquet, .json or .jsonl. Check it."
            ) from None

    def check(self, pattern: str) -> None:
        """Refuse a pattern with a role that a prompt of the set lacks."""
        there = list(dict.fromkeys(role for row in self.rows for role in row.roles))
        parsed = parse_pattern(pattern, {role: [role] for role in there})  # names roles that no prompt has
        for role in parsed.roles:
            lacking = [number for number, row in enumerate(self.rows, 1) if not row.roles.get(role)]
            if lacking:
                numbers = ", ".join(map(str, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
                raise PatternError(
                    f"{self.name}: role {{{role}}} is empty in {len(lacking)} of {len(self.rows)} rows "
                    f"(row {numbers}); expected a word in each, as the pattern names it. Fill the column {role}, or "
                    "drop these rows."
                )


@dataclass(frozen=True)
class Member:
    """A prompt of a set with its graph."""

    row: PromptRow
    graph: AttributionGraph


@dataclass(frozen=True)
class Found:
    """What one prompt shows of a pattern."""

    graph_id: str
    slug: str
    prompt: str
    row: PromptRow
    flow: float
    """Through all waypoints in order, with the prompt's own roles."""
    failed: str = ""
    """The waypoint at which the pattern fails, as written and bound; empty where it is found."""
    reason: str = ""
    """Why it fails there."""

    @property
    def is_found(self) -> bool:
        """Whether the flow is as large as was asked for."""
        return not self.failed

    def as_row(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return {
            "graph_id": self.graph_id,
            "slug": self.slug,
            "prompt": self.prompt,
            "template": self.row.template,
            "roles": self.row.roles,
            "flow": self.flow,
            "found": self.is_found,
            "failed": self.failed,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Summary:
    """A pattern over a set, in figures."""

    pattern: str
    n: int
    """Prompts."""
    found: int
    """Prompts in which it is found."""
    mean: float
    """Of the flow over all prompts."""
    spread: float
    """Standard deviation of the flow."""
    quartiles: tuple[float, float, float]
    failed: dict[str, int] = field(default_factory=dict)
    """Waypoint of the pattern, as typed, to the number of prompts in which it fails there."""


def members(prompts: PromptSet, graph_of: Callable[[str], AttributionGraph]) -> Iterator[Member]:
    """Each prompt with its graph, which `graph_of` finds by what the row names it by."""
    for row in prompts.rows:
        yield Member(row, graph_of(row.graph))


def graphs_by_name(graphs: Iterable[AttributionGraph]) -> Callable[[str], AttributionGraph]:
    """A finder of these graphs by graph_id, slug or prompt."""
    there: dict[str, AttributionGraph] = {}
    for graph in graphs:
        for name in (graph.metadata.prompt, graph.metadata.slug, graph.graph_id):
            there[name] = graph

    def find(name: str) -> AttributionGraph:
        if name not in there:
            some = ", ".join(sorted({graph.metadata.slug for graph in there.values()})[:5]) or "none at all"
            raise GraphFormatError(
                f"the set names {name!r}, of which there is no graph; there are {some}. Trace or ingest it, or drop "
                "the row."
            )
        return there[name]

    return find


def find_in_set(
    pattern: str,
    chosen: Iterable[Member],
    sign: str = "any",
    needed: float = 0.0,
    align: Align = "feature",
) -> Iterator[Found]:
    """What each prompt shows of the pattern, with its own roles in it, one by one.

    Args:
        pattern: May name roles: `{city} -> {state} -> {capital}`.
        sign: `any`, or `positive` for paths of positive effects alone.
        needed: Flow from which on it counts as found; any flow at all if 0.
        align: `label` allows graphs of different dictionaries; features cannot be named then.

    Raises:
        GraphFormatError: The graphs are of different dictionaries, and `align` is not `label`.
    """
    dictionaries: dict[str, str] = {}
    for member in chosen:
        about, row = member.graph.metadata, member.row
        dictionaries.setdefault(about.source_set, about.slug)
        bound = bind(pattern, row)
        check_dictionaries(dictionaries, align, bound)
        amount, failed, reason = look(bound, member.graph, sign, needed)
        yield Found(member.graph.graph_id, about.slug, about.prompt, row, amount, failed, reason)


def bind(pattern: str, row: PromptRow) -> Pattern:
    """The pattern with the roles of this prompt."""
    return parse_pattern(pattern, {role: [text] for role, text in row.roles.items() if text})


def look(pattern: Pattern, graph: AttributionGraph, sign: str, needed: float) -> tuple[float, str, str]:
    """(flow, waypoint that fails, why); the texts are empty where the flow is there.

    A waypoint fails that matches no node, or that no path reaches from those before it; where flow is only too small,
    it is the middle waypoint without which there would be the most.
    """
    groups = match(pattern, graph)
    for waypoint, group in zip(pattern, groups, strict=True):
        if not len(group):
            return 0.0, waypoint.text, "no node of the graph is that"
    ways = list(pattern.ways) or [Way()] * (len(groups) - 1)
    amount = flow(graph, groups, sign, ways)
    if amount > 0 and amount >= needed:
        return amount, "", ""
    if amount == 0:
        reached = (p for p in range(2, len(groups)) if not flow(graph, groups[:p], sign, ways[: p - 1]))
        place = next(reached, len(groups)) - 1
        return 0.0, pattern.waypoints[place].text, f"no path reaches it from {pattern.waypoints[place - 1].text}"
    without = {
        place: flow(
            graph, [*groups[:place], *groups[place + 1 :]], sign, [*ways[: place - 1], Way(), *ways[place + 1 :]]
        )
        for place in range(1, len(groups) - 1)
    }
    place = max(without, key=lambda place: without[place], default=len(groups) - 1)
    around = f", and {without[place]:.3g} without it" if without else ""
    return amount, pattern.waypoints[place].text, f"the flow is {amount:.3g}, less than {needed:g}{around}"


def summarise(pattern: str, found: Sequence[Found]) -> Summary:
    """Found in how many, how strongly, with what spread, and where it fails.

    Raises:
        PatternError: Nothing was looked at.
    """
    if not found:
        raise PatternError(f"pattern {pattern!r} was looked for in no prompt; expected at least one. Add prompts.")
    flows = np.array([each.flow for each in found])
    failed = Counter(each.failed for each in found if each.failed)
    low, middle, high = (float(value) for value in np.quantile(flows, (0.25, 0.5, 0.75)))
    n_found = sum(each.is_found for each in found)
    spread = float(flows.std(ddof=1)) if len(flows) > 1 else 0.0
    return Summary(
        pattern, len(flows), n_found, float(flows.mean()), spread, (low, middle, high), dict(failed.most_common())
    )


def check_dictionaries(source_sets: Iterable[str], align: Align, pattern: Pattern | None = None) -> None:
    """Refuse features of different dictionaries side by side, unless labels are compared.

    Raises:
        SettingError: `align` is unknown.
        GraphFormatError: There are several dictionaries, and features would be compared.
    """
    if align not in ("feature", "label"):
        raise SettingError(f"align is {align!r}; expected feature or label. Use one of these.")
    names = sorted(set(source_sets))
    if len(names) < 2:
        return
    if align == "feature":
        raise GraphFormatError(
            f"the graphs are of {len(names)} dictionaries ({', '.join(names[:3])}); expected one, as features of "
            "different dictionaries have nothing in common but a number. Choose graphs of one, or align by label."
        )
    feature = next((waypoint for waypoint in pattern or () if waypoint.how is How.FEATURE), None)
    if feature:
        raise GraphFormatError(
            f"the pattern names feature {feature.text}, and the graphs are of {len(names)} dictionaries "
            f"({', '.join(names[:3])}); expected a label there. Write the feature's label."
        )


def _row(row: Mapping[str, Any], number: int, name: str) -> PromptRow:
    values = {str(key): _text(value) for key, value in row.items() if key != "roles"}
    graph = next((values[column] for column in GRAPH_COLUMNS if values.get(column)), "")
    if not graph:
        raise PatternError(
            f"{name}: row {number} does not say which graph it is of; expected one of the columns "
            f"{', '.join(GRAPH_COLUMNS)}. There are {', '.join(values) or 'none'}: rename or add one."
        )
    own = {key: text for key, text in values.items() if key not in (*GRAPH_COLUMNS, *OTHER_COLUMNS)}
    roles = own | {key: _text(text) for key, text in _roles(row.get("roles"), number, name).items()}
    template = values.get("template", "")
    return PromptRow(graph, roles, template, roles.get("answer", ""), values.get("group", ""))


def _values(row: Mapping[str, Any], number: int, name: str) -> dict[str, str]:
    """Everything that rows can be chosen by: columns, and roles from within the column of roles."""
    columns = {str(key): _text(value) for key, value in row.items() if key != "roles"}
    return columns | {key: _text(text) for key, text in _roles(row.get("roles"), number, name).items()}


def _with_value(
    rows: list[tuple[PromptRow, dict[str, str]]], column: str, value: str, name: str
) -> list[tuple[PromptRow, dict[str, str]]]:
    there = list(dict.fromkeys(values.get(column, "") for _, values in rows if column in values))
    if not there:
        columns = ", ".join(dict.fromkeys(key for _, values in rows for key in values))
        raise PatternError(f"{name} has no column {column!r}; expected one of {columns}. Choose rows by one of these.")
    if value not in there:
        near = difflib.get_close_matches(value, there, 3) or there[:5]
        raise PatternError(
            f"{name}: no row has {value!r} in column {column}; expected one of its values, such as {', '.join(near)}. "
            "Choose one of these."
        )
    return [(row, values) for row, values in rows if values.get(column) == value]


def _roles(value: Any, number: int, name: str) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    elif not isinstance(value, dict):
        return {}
    if not isinstance(value, dict):
        raise PatternError(
            f'{name}: row {number} has roles that are no object; expected {{"city": "Dallas", ...}}. Correct it.'
        )
    return {key: text for key, text in value.items() if text is not None}


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return value if isinstance(value, str) else str(value)


def _table(path: Path) -> Any:
    match path.suffix.lower():
        case ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        case ".parquet":
            return pd.read_parquet(path)
        case ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        case ending:
            raise ValueError(f"the ending {ending!r} is not known")
