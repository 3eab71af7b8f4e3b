"""A pattern run so that its result can be kept: on stored graphs or on a prompt set, and run again later."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from circuits.chance import against_chance, chance_rows
from circuits.config import SearchConfig
from circuits.kept import Kept, found_in, keep
from circuits.pattern import Roles, parse_pattern
from circuits.promptset import Align, Found, Member, PromptRow, bind, find_in_set, summarise
from circuits.search import Circuit, check_ways, find_circuit
from ingest.library import Library
from ingest.search import graph_of, graphs_to_search
from ingest.store import GraphStore
from ingest.writing import Progress
from tracer.errors import PatternError


def run_pattern(
    pattern_text: str,
    store: GraphStore,
    library: Library,
    graphs: Sequence[str] | None = None,
    roles: Roles | None = None,
    config: SearchConfig | None = None,
    name: str = "",
    note: str = "",
    progress: Progress | None = None,
) -> Kept:
    """The record of a pattern over the graphs of the store: each with its flow, or with the waypoint that fails in it.

    Args:
        graphs: Only these, by graph_id or slug; all of the store if None, also when it is run again.
        roles: The terms of each role that the pattern names; kept with it.
        config: What counts, and which paths of the strongest graph are in the picture.
        name: For people; the pattern if empty.

    Raises:
        PatternError: The pattern cannot be understood, a graph is not there, or there is none at all.
    """
    pattern, config = parse_pattern(pattern_text, roles), _drawn(config)
    check_ways(pattern, config.sign)
    ids = graphs_to_search(pattern, store, graphs)
    found: list[Found] = []
    circuits: list[Circuit] = []
    for done, graph_id in enumerate(ids):
        if progress:
            progress(done, len(ids), "searching graphs")
        graph = graph_of(graph_id, store, library)
        circuit = find_circuit(pattern, graph, config)
        found.append(found_in(pattern, graph, circuit, config.sign))
        circuits += [circuit] if circuit else []
    if progress:
        progress(len(ids), len(ids), "searching graphs")
    method = {
        "graphs": None if graphs is None else ids,
        "roles": {role: list((roles or {})[role]) for role in pattern.roles},
        **asdict(config),
    }
    return keep(name or pattern.text, found, summarise(pattern.text, found), circuits, None, method, note)


def run_set(
    pattern_text: str,
    chosen: Iterable[Member],
    set_name: str,
    config: SearchConfig | None = None,
    needed: float = 0.0,
    align: Align = "feature",
    name: str = "",
    note: str = "",
) -> Kept:
    """The record of a pattern over a prompt set, each prompt with its own roles, and what chance gives.

    Args:
        set_name: Of the set, for people; the record itself has its rows.
        needed: Flow from which on a prompt counts as having it; any at all if 0.
        align: `label` allows graphs of different dictionaries.
        name: For people; the pattern if empty.
    """
    config = _drawn(config)
    members = list(chosen)
    found = list(find_in_set(pattern_text, members, config.sign, needed, align))
    nulls = chance_rows(against_chance(pattern_text, members, config.sign))
    counted = (member for member, each in zip(members, found, strict=True) if each.is_found)
    circuits = [find_circuit(bind(pattern_text, member.row), member.graph, config) for member in counted]
    method: dict[str, Any] = {"set": set_name, "needed": needed, "align": align, **asdict(config)}
    summary = summarise(pattern_text, found)
    named = [circuit for circuit in circuits if circuit]
    return keep(name or pattern_text, found, summary, named, {"chance": nulls}, method, note)


def run_again(kept: Kept, store: GraphStore, library: Library, progress: Progress | None = None) -> Kept:
    """The same pattern with the same settings on what is there now, under the same name and note.

    Graphs that are gone are left out; a pattern that was looked for in all graphs is looked for in new ones too.

    Raises:
        PatternError: None of its graphs is there any more, or the record does not say how it was made.
    """
    there = {row["graph_id"] for row in store.graphs()}
    method = kept.method
    names: dict[str, Any] = {"name": kept.name, "note": kept.note}
    try:
        if "set" in method:
            members = list(_members(kept, there, store, library, progress))
            _check_some(kept, bool(members))
            settings = {key: method[key] for key in ("needed", "align")}
            return run_set(kept.pattern, members, method["set"], _config_of(method), **settings, **names)
        graphs = method["graphs"] if method["graphs"] is None else [each for each in method["graphs"] if each in there]
        _check_some(kept, bool(there if graphs is None else graphs))
        settings = {"roles": method["roles"], "config": _config_of(method)}
        return run_pattern(kept.pattern, store, library, graphs, **settings, **names, progress=progress)
    except KeyError as error:
        raise PatternError(
            f"kept circuit {kept.kept_id} ({kept.name}) does not say {error} of how it was made; expected every "
            "setting. It was not made by `throughline keep` or the page: search and keep it again."
        ) from None


def _drawn(config: SearchConfig | None) -> SearchConfig:
    """The same with a path at least: the record has a picture."""
    config = config or SearchConfig()
    return replace(config, k=config.k or 1)


def _config_of(method: dict[str, Any]) -> SearchConfig:
    hops = {name: method[name] for name in ("min_hops", "max_hops") if name in method}  # older sets lack them
    return SearchConfig(method["k"], method["sign"], **hops)


def _members(
    kept: Kept, there: set[str], store: GraphStore, library: Library, progress: Progress | None
) -> Iterator[Member]:
    for done, row in enumerate(kept.prompts, 1):
        if row["graph_id"] in there:
            roles = row["roles"]
            prompt = PromptRow(row["graph_id"], roles, row.get("template", ""), roles.get("answer", ""))
            yield Member(prompt, graph_of(row["graph_id"], store, library))
        if progress:
            progress(done, len(kept.prompts), "reading graphs")


def _check_some(kept: Kept, some: bool) -> None:
    if not some:
        raise PatternError(
            f"none of the {len(kept.prompts)} graphs of kept circuit {kept.kept_id} ({kept.name}) is in the store any "
            "more; expected at least one. Ingest them again, or look for the pattern in others."
        )
