"""The commands that look across prompts: `compare`, `mine`, and `circuits --set`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from app import INTERRUPTED
from app.terminal import Format, ProgressCallback, new_console, notes, print_json, print_rows, progress_bar
from circuits.config import By

if TYPE_CHECKING:
    from circuits.promptset import Found, Member, PromptSet, Summary
    from tracer.graph import AttributionGraph

MOST_OTHERS = 8  # that two prompts are put beside, unless others are chosen
NO_OTHERS = "none"
NO_GROUPS = "Group the features of these graphs first: `throughline supernodes suggest GRAPH`, or edit."

FOUND_COLUMNS = ["found", "flow", "failed", "reason", "template", "prompt", "graph_id"]
CHANCE_COLUMNS = ["null", "observed", "expected", "lift", "superiority", "p", "q", "n"]
MINED_COLUMNS = ["size", "support", "mean_strength", "lift", "q", "circuit", "shares"]
COMPARED = {"nodes": ["name"], "links": ["source", "target"], "circuits": ["circuit"]}


def compare(
    a: str,
    b: str,
    *,
    by: By = "feature",
    among: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 10,
    format: Format = "table",
) -> None:
    """Put two prompts, or two groups of prompts, side by side: what is only in one, what is stronger in one.

    Args:
        a: A traced graph's folder, a graph file, the graph_id or slug of one in the library, a folder of several of
            these, or a set of prompts as for `mine`, such as "capitals.csv[language=fr]" for some of its rows.
        b: Likewise.
        by: What makes nodes of different graphs the same; graphs of different dictionaries need label.
        among: Other graphs; says how alike two graphs are beside how alike others are. If not given, some
            of the library with the same dictionary, as on the page; `none` for none.
        limit: Most nodes, links and circuits to show.
        format: How it is printed; csv prints the links.
    """
    from circuits.compare import compare as side_by_side

    sides = [_graphs(name) for name in (a, b)]
    found = side_by_side(*sides, by=by, among=_others(sides, among))
    if format == "json":
        return print_json(found.as_row(limit))
    row = found.as_row(limit)
    if format == "csv":
        return print_rows([*COMPARED["links"], "a", "b", "change", "where"], row["links"], "csv")
    console = new_console()
    rows = [{"of": name, **values} for name, values in row["similarity"].items()]
    print_rows(["of", "jaccard", "weighted", "null", "expected", "p", "n"], rows, "table")
    for name, columns in COMPARED.items():
        counts = ", ".join(f"{count} {place}" for place, count in row["counts"][name].items())
        console.print(Text(f"\n{name}: {counts}", "bold"))
        print_rows(["where", "a", "b", *columns], row[name], "table")


def _others(sides: "Sequence[Sequence[AttributionGraph]]", among: Sequence[str] | None) -> "list[AttributionGraph]":
    """What two prompts are put beside; groups have a null of their own."""
    from ingest.library import default_library

    if among is not None:
        return [graph for name in among if name != NO_OTHERS for graph in _graphs(name)]
    if any(len(side) > 1 for side in sides):
        return []
    library, used = default_library(), {graph.graph_id for side in sides for graph in side}
    sets = {graph.metadata.source_set for side in sides for graph in side}
    unused = (graph_id for graph_id in library.ids() if graph_id not in used)
    like = (graph_id for graph_id in unused if library.outline(graph_id).metadata.source_set in sets)
    return [library.load(graph_id) for graph_id in islice(like, MOST_OTHERS)]


def mine(
    *,
    set: str,
    by: By = "feature",
    sizes: tuple[int, int] = (3, 6),
    support: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.2,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 10,
    entity: str | None = None,
    format: Format = "table",
) -> int:
    """Find the circuits that recur in the prompts of a set, and how far chance, wording and entity explain them.

    Ctrl-C prints what is known until then, and that it is partial.

    Args:
        set: Table of prompts (.csv, .parquet, .json, .jsonl): a column that names the graph (graph_id, graph, slug,
            prompt), template, and roles; TABLE[column=value] for some rows; or Cypher that answers with such rows, as a
            .cypher file or as it is.
        by: What makes nodes of different graphs the same; graphs of different dictionaries need label.
        sizes: Fewest and most nodes of a circuit.
        support: Share of the prompts that have it, at least.
        limit: Circuits to show of each size.
        entity: A role, such as state: says of each circuit which value it goes with, within templates, and the
            converse.
        format: How rows are printed.
    """
    from circuits.aligned import link_tables
    from circuits.chance import q_values
    from circuits.mining import Mining, MiningConfig, owed_to
    from ingest.sets import find_set
    from ingest.store import open_store
    from tracer.errors import PatternError
    from tracer.schema import NodeKind

    prompts = find_set(set, open_store)
    if entity and not all(row.roles.get(entity) for row in prompts.rows):
        raise PatternError(f"{prompts.name}: role {entity} is empty in some row; expected it in each. Fill its column.")
    chosen: list[Member] = []
    partial = ""
    try:
        with progress_bar() as progress:
            for _ in _noted(read_members(prompts, progress), chosen):
                pass
    except KeyboardInterrupt:
        partial = f"Partial: {len(chosen)} of {len(prompts.rows)} prompts were read."
    kinds = (NodeKind.FEATURE, NodeKind.TOKEN, NodeKind.LOGIT)
    config = MiningConfig(min_size=sizes[0], max_size=sizes[1], min_support=support, limit=limit)
    mining = Mining(link_tables([member.graph for member in chosen], by, kinds), config)
    try:
        with progress_bar() as progress:
            mining.run(progress)
    except KeyboardInterrupt:
        partial = f"Partial: chance was counted in {mining.dealt} of {config.dealt} dealt tables."
    found = mining.found
    rows = [circuit.as_row() for circuit in found]
    columns = MINED_COLUMNS
    if entity and found:
        row_of = {member.graph.graph_id: member.row for member in chosen}
        known = [row_of[graph_id] for graph_id in found[0].graphs]
        entities, templates = [row.roles[entity] for row in known], [row.template for row in known]
        for name, owed in (
            (entity, owed_to(found, entities, templates)),
            ("template", owed_to(found, templates, entities)),
        ):
            q_of = q_values([each.p for each in owed])
            for row, each, q in zip(rows, owed, q_of, strict=True):
                row |= {name: each.label, f"{name}_lift": each.lift, f"{name}_q": q}
            columns = [*columns, name, f"{name}_lift", f"{name}_q"]
    print_rows(columns, rows, format)
    if partial:
        notes.print(partial, soft_wrap=True)
    elif not found:
        groups = by != "supernode" or any(member.graph.metadata.provenance.get("supernodes") for member in chosen)
        notes.print(
            f"No circuit of {sizes[0]} to {sizes[1]} nodes recurs by {by} in {support:.0%} of {len(chosen)} prompts. "
            + ("Ask for less support, or for other sizes." if groups else NO_GROUPS),
            soft_wrap=True,
        )
    return INTERRUPTED if partial else 0


def circuits_in_set(pattern: str, name: str, sign: str, needed: float, align: Any, format: Format) -> int:
    """Print where a pattern is found in the prompts of a set, how strongly, and what chance gives.

    Returns 130 where Ctrl-C ended it: what was found until then is printed, and that it is partial.
    """
    from circuits.chance import against_chance, chance_rows
    from circuits.promptset import Found, Member, find_in_set, summarise
    from ingest.sets import find_set
    from ingest.store import open_store

    prompts = find_set(name, open_store)
    prompts.check(pattern)
    chosen: list[Member] = []
    found: list[Found] = []
    nulls: list[dict[str, Any]] = []
    partial = ""
    try:
        with progress_bar() as progress:
            for each in find_in_set(pattern, _noted(read_members(prompts, progress), chosen), sign, needed, align):
                found.append(each)
            progress(0, 1, "comparing with chance")
            chances = against_chance(pattern, chosen, sign)
            progress(1, 1, "comparing with chance")
        nulls = chance_rows(chances)
    except KeyboardInterrupt:
        seen = f"{len(found)} of {len(prompts.rows)} prompts were searched"
        partial = f"Partial: {seen}, and nothing was compared with chance."
    if found:
        _print_set(pattern, found, summarise(pattern, found), nulls, partial, format)
    if partial:
        notes.print(partial, soft_wrap=True)
    return INTERRUPTED if partial else 0


def _print_set(
    pattern: str, found: "list[Found]", summary: "Summary", nulls: list[dict[str, Any]], partial: str, format: Format
) -> None:
    rows = [each.as_row() for each in found]
    if format == "json":
        told = {"summary": asdict(summary), "chance": nulls, "prompts": rows}
        return print_json(told | ({"partial": partial} if partial else {}))
    print_rows(FOUND_COLUMNS, rows, format)
    if format == "csv":
        return
    low, middle, high = summary.quartiles
    failed = "".join(f"; {name} fails in {count}" for name, count in summary.failed.items())
    new_console().print(
        Text(
            f"\nfound in {summary.found} of {summary.n}; flow {summary.mean:.4f} on average, "
            f"spread {summary.spread:.4f}, quartiles {low:.4f} {middle:.4f} {high:.4f}{failed}\n",
            "bold",
        ),
        soft_wrap=True,
    )
    if nulls:
        print_rows(CHANCE_COLUMNS, nulls, "table")


def _noted(members: "Iterator[Member]", chosen: "list[Member]") -> "Iterator[Member]":
    """These members, each put into a list as it comes."""
    for member in members:
        chosen.append(member)
        yield member


def read_members(prompts: "PromptSet", progress: ProgressCallback) -> Iterator["Member"]:
    """The prompts of a set with their graphs: from the place that is named, or of the library."""
    from circuits.promptset import members
    from ingest.library import default_library
    from ingest.load import find_graph

    library = default_library()
    id_of: dict[str, str] = {}
    known = {row.graph for row in prompts.rows if row.graph in library or Path(row.graph).exists()}
    if any(row.graph not in known for row in prompts.rows):
        id_of = _ids_by_name(library)
    for done, member in enumerate(members(prompts, lambda name: find_graph(id_of.get(name, name), library)), 1):
        progress(done, len(prompts.rows), "reading graphs")
        yield member


def _ids_by_name(library: Any) -> dict[str, str]:
    """Slug and prompt of each graph of the library to its graph_id."""
    from tracer.graph import read_metadata

    found = {}
    for graph_id in library.ids():
        about = read_metadata(library.place(graph_id))
        found |= {about["prompt"]: graph_id, about["slug"]: graph_id}
    return found


def _graphs(name: str) -> list[Any]:
    """The graph of this name, all below this folder, or those of this set."""
    from ingest.library import default_library
    from ingest.load import find_graph, graph_places, read_graph
    from ingest.sets import find_set, names_set
    from ingest.store import open_store
    from tracer.graph import METADATA_FILE

    place, library = Path(name), default_library()
    if place.is_dir() and not (place / METADATA_FILE).exists():
        return [read_graph(each) for each in graph_places(place)]
    if names_set(name):
        with progress_bar() as progress:
            return [member.graph for member in read_members(find_set(name, open_store), progress)]
    known = name in library or place.exists()
    return [find_graph(name if known else _ids_by_name(library).get(name, name), library)]
