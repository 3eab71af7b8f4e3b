"""Circuits as the command line prints them: one row a graph with its strongest path, and the Cypher behind it."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from app.terminal import Format, new_console, notes, print_rows
from circuits.inhibition import inhibitors, suppressors
from circuits.matters import NodeRole, bottlenecks, necessary_nodes
from circuits.pattern import Pattern, Roles, parse_pattern
from circuits.promptset import Found
from circuits.search import Circuit, bound_groups
from circuits.stability import stability
from tracer.errors import SettingError
from tracer.graph import AttributionGraph

ROW_COLUMNS = ["graph_id", "slug", "prompt", "flow", "positive", "negative", "share", "binding", "paths"]
N_TOLD = 5  # of each kind of thing that matters


def print_circuits(
    circuits: Sequence[Circuit],
    cypher: str,
    format: Format,
    matters: Sequence[dict[str, Any]] = (),
    why_none: str = "",
) -> None:
    """Print circuits, strongest first; JSON and CSV rows carry graph_id, slug, prompt, flow and paths.

    Args:
        matters: For each circuit `what_matters` of it; none if not asked for.
        why_none: What to say where there are no circuits.
    """
    rows = [circuit.as_row() for circuit in circuits]
    for row, told in zip(rows, matters, strict=False):
        row["matters"] = told
    if not rows:
        notes.print(why_none or "No graph has these waypoints in this order.", markup=False, soft_wrap=True)
    if format != "table":
        return print_rows([*ROW_COLUMNS, *(["matters"] if matters else [])], rows, format)
    console = new_console()
    for row in rows:
        bound = "  (" + ", ".join(row["binding"].values()) + ")" if row["binding"] else ""
        line = Text.assemble((f"{row['flow']:8.4f}  ", "bold"), row["prompt"], bound, (f"  [{row['slug']}]", "dim"))
        console.print(line, soft_wrap=True)
        for path in row["paths"][:1]:
            console.print(Text(f"          {path_text(path)}"), soft_wrap=True)
        if row["negative"]:
            parts = f"promoting {row['positive']:.4f}, inhibiting {row['negative']:.4f}"
            console.print(Text(f"          {parts}; {row['share']:.1%} of all that comes in", "dim"), soft_wrap=True)
        for text in matters_lines(row.get("matters", {})):
            console.print(Text(f"          {text}"), soft_wrap=True)
    if cypher:
        console.print(Text("\nThe same question in Cypher (throughline cypher -):", "dim"))
        console.print(Text(cypher, "dim"), soft_wrap=True)


def what_matters(
    pattern_text: str, roles: Roles, graph: AttributionGraph, circuit: Circuit, sign: str = "any"
) -> dict[str, Any]:
    """What a circuit hangs on, as plain data: the first few of each kind, nodes by node_id and name."""
    pattern = parse_pattern(pattern_text, roles)
    groups = bound_groups(pattern, graph, circuit.binding)
    asked = (graph, groups, sign, pattern.ways)
    nodes = graph.nodes
    columns = zip(*(nodes[name].tolist() for name in ("node_id", "kind", "label")), strict=True)
    names = [{"node_id": node_id, "name": node_name(vars_of(node_id, kind, label))} for node_id, kind, label in columns]
    necessary = [role for role in necessary_nodes(*asked) if role.waypoint is None or role.part < 1]
    found = stability(*asked)
    rows = sorted({row for path in circuit.paths for row in path.rows})
    try:
        rivals = suppressors(graph)
    except SettingError:  # one output alone has no runner-up
        rivals = []
    return {
        "necessary": [
            names[role.row]
            | {"part": role.part, "positive": role.positive, "waypoint": role.waypoint, "stretch": role.stretch}
            | {"role": role_text(role, pattern), "kept": float(found.node_N[role.row])}
            for role in necessary[:N_TOLD]
        ],
        "bottlenecks": [
            {
                "stretch": each.stretch,
                "capacity": each.capacity,
                "n_links": len(each.links),
                "links": [
                    {"source": names[link.source], "target": names[link.target], "share": link.share}
                    for link in each.links[:N_TOLD]
                ],
            }
            for each in bottlenecks(*asked)
        ],
        "inhibitors": [
            {"source": names[each.source], "target": names[each.target], "effect": each.effect, "weight": each.weight}
            for each in inhibitors(*asked)[:N_TOLD]
        ],
        "suppressors": [names[each.row] | {"on_rival": each.on_rival} for each in rivals[:N_TOLD]],
        "core": [names[row] for row in rows if found.node_N[row] == 1],
        "contingent": [names[row] | {"kept": float(found.node_N[row])} for row in rows if found.node_N[row] < 1],
        "flow_left": [float(found.flow_T.min()), float(found.flow_T.max())],
    }


def role_text(role: NodeRole, pattern: Pattern) -> str:
    """Where along the way a node serves."""
    texts = [waypoint.text for waypoint in pattern]
    if role.waypoint is not None:
        return f"step {role.waypoint + 1}, {texts[role.waypoint]}"
    return f"between {texts[role.stretch]} and {texts[role.stretch + 1]}"


def failure_lines(found: Sequence[Found]) -> list[str]:
    """Which waypoint fails, in how many graphs, and why, most first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in found:
        if each.failed:
            groups.setdefault((each.failed, each.reason), []).append(each.slug)
    lines = []
    for (failed, reason), slugs in sorted(groups.items(), key=lambda group: -len(group[1])):
        some = ", ".join(slugs[:3]) + (", …" if slugs[3:] else "")
        graphs = "1 graph" if len(slugs) == 1 else f"{len(slugs)} graphs"
        lines.append(f"{failed} fails in {graphs} ({some}): {reason}")
    return lines


def matters_lines(told: dict[str, Any]) -> list[str]:
    """What matters, a line a kind; none where nothing was told."""
    return [f"{name}: {text}" for name, text in matters_texts(told).items()]


def matters_texts(told: dict[str, Any]) -> dict[str, str]:
    """Kind of thing that matters -> those there are."""
    if not told:
        return {}
    told_nodes = [
        *told["necessary"], *told["suppressors"], *told["core"], *told["contingent"],
        *(each[end] for each in told["inhibitors"] for end in ("source", "target")),
        *(link[end] for each in told["bottlenecks"] for link in each["links"] for end in ("source", "target")),
    ]  # fmt: skip
    node_ids_of: dict[str, set[str]] = {}
    for each in told_nodes:
        node_ids_of.setdefault(each["name"], set()).add(each["node_id"])

    def name(node: dict[str, Any]) -> str:
        """A node's name, with its node_id where another node told of has that name too."""
        return f"{node['name']} ({node['node_id']})" if len(node_ids_of[node["name"]]) > 1 else node["name"]

    kept = ", ".join(f"{name(each)} ({each['kept']:.0%})" for each in told["contingent"])
    lines = {
        "without it, flow falls by": ", ".join(f"{name(each)} {each['part']:.0%}" for each in told["necessary"]),
        "along the way": ", ".join(f"{name(each)} is {each['role']}" for each in told["necessary"]),
        "inhibited by": ", ".join(
            f"{name(each['source'])} on {name(each['target'])} {each['weight']:.1%}" for each in told["inhibitors"]
        ),
        "the runner-up is held down by": ", ".join(
            f"{name(each)} {each['on_rival']:.3f}" for each in told["suppressors"]
        ),
        "in every pruning": ", ".join(name(each) for each in told["core"]),
        "in some prunings": kept,
        "flow that prunings leave": "{:.0%} to {:.0%}".format(*told["flow_left"]),
    }
    for each in told["bottlenecks"]:
        links = ", ".join(f"{name(link['source'])} -> {name(link['target'])}" for link in each["links"])
        more = f" and {each['n_links'] - len(each['links'])} more" if each["n_links"] > len(each["links"]) else ""
        lines[f"bottleneck of arrow {each['stretch'] + 1} (shares {each['capacity']:.2f})"] = links + more
    return {kind: text for kind, text in lines.items() if text}


def vars_of(node_id: str, kind: str, label: str) -> dict[str, str]:
    """The properties that `node_name` looks at."""
    return {"node_id": node_id, "kind": kind, "label": label}


def path_text(path: dict[str, Any]) -> str:
    """A path with the share of each edge, e.g. `Dallas --42%--> Texas --31%--> Austin  (strength 0.13)`.

    >>> path_text({"strength": 0.125, "nodes": [{"label": " Dallas", "kind": "token"}, {"label": "Texas",
    ...     "kind": "feature"}], "edges": [{"effect": -2.0, "share": 0.125}]})
    'Dallas --(−12%)--> Texas  (strength 0.125)'
    """
    names = [node_name(node) for node in path["nodes"]]
    arrows = [f" --({'−' if edge['effect'] < 0 else ''}{100 * edge['share']:.0f}%)--> " for edge in path["edges"]] + [
        ""
    ]
    walk = "".join(name + arrow for name, arrow in zip(names, arrows, strict=True))
    return f"{walk}  (strength {path['strength']:.3g})"


def node_name(node: dict[str, Any]) -> str:
    """What people call a node: its label, else its id; errors are named as such."""
    if node["kind"] == "error":
        return f"error {node['node_id']}"
    return node["label"].strip() or node["node_id"]
