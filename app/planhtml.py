"""The plan of a query as a tree in HTML: what each operator does, and how many rows the planner expects; pure."""

from collections.abc import Iterator
from html import escape

from ingest.bolt import Step

STYLE = """<style>
.tl-plan, .tl-plan ul {list-style: none; margin: 0; padding: 0; font-size: .86rem}
.tl-plan ul {border-left: 2px solid rgba(128, 128, 128, .3); margin-left: .55rem; padding-left: .8rem}
.tl-plan div {display: grid; grid-template-columns: minmax(0, 1fr) 7.5rem; gap: 1rem; padding: .22rem .4rem;
  border-radius: 5px} .tl-plan div:hover {background: rgba(128, 128, 128, .1)}
.tl-plan b {font-weight: 600} .tl-plan code {font-size: .78rem; opacity: .78; overflow-wrap: anywhere}
.tl-plan em {font-style: normal; text-align: right; font-variant-numeric: tabular-nums; opacity: .78}
.tl-plan .warn b {color: #d9480f}
</style>"""
CAUTIONS = {
    "AllNodesScan": "Reads every node of the database. Name a label and a property that has an index.",
    "UndirectedAllRelationshipsScan": "Reads every relationship of the database. Start from a node.",
    "DirectedAllRelationshipsScan": "Reads every relationship of the database. Start from a node.",
    "CartesianProduct": "Joins every row with every row. Connect the two patterns.",
    "NodeByLabelScan": "Reads every node of a label. A property with an index, such as graph_id, is faster.",
}


def plan_html(step: Step) -> str:
    """The plan, top operator first, what it takes its rows from below it."""
    return f'{STYLE}<ul class="tl-plan">{_item(step)}</ul>'


def cautions(step: Step) -> list[str]:
    """What in a plan is slow on many graphs, once each."""
    return [f"{name}: {CAUTIONS[name]}" for name in dict.fromkeys(_names(step)) if name in CAUTIONS]


def plan_rows(step: Step, depth: int = 0) -> Iterator[dict[str, object]]:
    """The plan as rows for a terminal, indented by depth."""
    yield {"operator": "  " * depth + step.operator, "rows": _expected(step), "details": step.details}
    for source in step.sources:
        yield from plan_rows(source, depth + 1)


def _item(step: Step) -> str:
    """An operator and what is below it: a chain stays in line, only where rows come from several places is a branch."""
    warn = f' class="warn" title="{escape(CAUTIONS[step.operator])}"' if step.operator in CAUTIONS else ""
    head = f"<div{warn}><span><b>{escape(step.operator)}</b> <code>{escape(step.details)}</code></span>"
    below = [_item(source) for source in step.sources]
    return f"<li>{head}<em>{_expected(step)}</em></div>" + (
        "".join(f"<ul>{each}</ul>" for each in below) + "</li>" if len(below) > 1 else "</li>" + "".join(below)
    )


def _expected(step: Step) -> str:
    """The rows that the planner expects, as a text."""
    if step.rows is None:
        return ""
    return f"{step.rows:,.0f} row" + ("" if round(step.rows) == 1 else "s")


def _names(step: Step) -> Iterator[str]:
    yield step.operator
    for source in step.sources:
        yield from _names(source)
