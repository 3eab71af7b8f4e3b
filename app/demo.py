"""`throughline demo`: trace the shipped prompts, load them into Neo4j, say which of the known circuits are there."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.circuits_report import path_text
from app.roles import read_roles
from app.terminal import ProgressCallback, progress_bar, say
from app.trace import Prompt
from circuits.config import SearchConfig
from circuits.search import Circuit
from ingest.library import Library, default_library
from ingest.load import keep_graph
from ingest.search import search_circuits
from ingest.store import GraphStore, open_store
from tracer.config import TraceConfig
from tracer.demo import CLT_DIR, MODEL_DIR, PROMPTS_FILE
from tracer.graph import AttributionGraph

CIRCUIT = ("Dallas", "Texas", "Austin")
ROLES = ("city", "region", "answer")
NO_CIRCUIT = "-"
SEARCH = SearchConfig(k=0, sign="positive")  # an edge that argues against the answer is no step towards it
NEEDED_FLOW = 0.02  # from this flow on a middle step counts as used; `python -m bench hops` measures how often rightly
# Why this answer and no other: the log-odds of the token that the model prefers.
CONFIG = TraceConfig(target="log-odds")


@dataclass(frozen=True)
class DemoPrompt:
    """A shipped prompt with what is known about it."""

    prompt: Prompt
    """The text, its slug and roles."""
    family: str
    """`two-hop`, `two-cities` (another city is named first) or `idle-city` (a city whose region is not asked for)."""
    is_circuit: bool
    """Whether the model should go from this city over its region to the answer."""


def read_demo_prompts() -> list[DemoPrompt]:
    """The prompts that ship, in their order."""
    rows = [json.loads(line) for line in PROMPTS_FILE.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        DemoPrompt(Prompt(row["text"], row["slug"], row["roles"]), row["family"], row["expects"] == "found")
        for row in rows
    ]


def run_demo(open_app: bool) -> None:
    """Trace, load, search and print; every number comes from this run."""
    began = time.perf_counter()
    prompts, library = read_demo_prompts(), default_library()
    with progress_bar() as progress:  # each bar is gone before a line is printed: a terminal has room for one of them
        opened = open_store(progress)
    with opened as store:
        say(f"Neo4j is ready ({_since(began)})")
        step = time.perf_counter()
        with progress_bar() as progress:
            graphs = trace_all(prompts, progress)
        n_edges = sum(len(graph.edges) for graph in graphs)
        say(f"traced {len(graphs)} prompts with the model that ships: {n_edges:,} direct effects ({_since(step)})")
        step = time.perf_counter()
        with progress_bar() as progress:
            new = load_all(graphs, store, library, progress)
        say(f"loaded {new} graphs into Neo4j, {len(graphs) - new} were there ({_since(step)})")
        step = time.perf_counter()
        report_circuit(store, library, graphs)
        report_roles(store, library, graphs, prompts)
        say(f"\nsearched in {_since(step)}, all in {_since(began)}")
    if open_app:
        from app.serve import free_port, launch

        sys.exit(launch(free_port()))
    say("Open the dashboard: throughline app   (or: make app)")


def trace_all(prompts: Sequence[DemoPrompt], progress: ProgressCallback) -> list[AttributionGraph]:
    """The graphs of these prompts, in their order."""
    import tracer

    replacement = tracer.load(str(MODEL_DIR), str(CLT_DIR), progress=progress)
    graphs = []
    for done, each in enumerate(prompts):
        progress(done, len(prompts), "tracing prompts")
        prompt = each.prompt
        graphs.append(tracer.attribute(prompt.text, replacement, CONFIG, slug=prompt.slug, roles=prompt.roles))
    progress(len(prompts), len(prompts), "tracing prompts")
    return graphs


def load_all(
    graphs: Sequence[AttributionGraph], store: GraphStore, library: Library, progress: ProgressCallback
) -> int:
    """Put graphs into the library and the store; returns how many were new to the store."""
    new = 0
    for done, graph in enumerate(graphs, start=1):
        new += keep_graph(graph, store, library) == "ingested"
        progress(done, len(graphs), "loading into Neo4j")
    return new


def report_circuit(store: GraphStore, library: Library, graphs: Sequence[AttributionGraph]) -> None:
    """Print where the database has Dallas -> Texas -> Austin, and the exact flow there."""
    ids = {graph.graph_id for graph in graphs}
    answer = store.run("circuits_through", terms=list(CIRCUIT), limit=len(store.graphs()))
    rows = [row for row in answer.records if row["graph_id"] in ids]
    pattern = " -> ".join(CIRCUIT)
    flows = search_circuits(pattern, store, library, sorted(ids), config=SEARCH, limit=len(ids))
    flow_of = {circuit.graph_id: circuit.flow for circuit in flows}
    say(f"\n{pattern}   (throughline query circuits_through --param 'terms={pattern}')\n")
    for row in rows:
        say(f"  {row['prompt']}")
        say(f"    {path_text(_as_path(row))}, flow over all paths {flow_of.get(row['graph_id'], 0):.3f}")
    having = {row["graph_id"] for row in rows}
    for graph in graphs:
        if CIRCUIT[0] in graph.metadata.prompt and graph.graph_id not in having:
            say(f"  not in: {graph.metadata.prompt} (flow over all paths {flow_of.get(graph.graph_id, 0):.3f})")
    say(f"  in {len(rows)} of {len(graphs)} prompts")


def report_roles(
    store: GraphStore, library: Library, graphs: Sequence[AttributionGraph], prompts: Sequence[DemoPrompt]
) -> None:
    """Print for each prompt which city, region and answer carry the largest flow, and whether that is what is known.

    All cities, regions and answers of the demo's world compete; the search is not told which are the right ones.
    """
    pattern = " -> ".join(f"{{{role}}}" for role in ROLES)
    ids = [graph.graph_id for graph in graphs]
    found = search_circuits(pattern, store, library, ids, read_roles(), SEARCH, len(ids))
    circuit_of = {circuit.graph_id: circuit for circuit in found}
    say(f"\n{pattern}   (throughline circuits '{pattern}' --sign {SEARCH.sign})\n")
    right = 0
    for graph, each in zip(graphs, prompts, strict=True):
        seen, flow = strongest_binding(circuit_of.get(graph.graph_id))
        wanted = " -> ".join(each.prompt.roles[role] for role in ROLES) if each.is_circuit else NO_CIRCUIT
        right += seen == wanted
        say(f"  {'ok  ' if seen == wanted else 'MISS'} {flow:.3f}  {seen:46}  {each.prompt.text}")
    say(f"  {right} of {len(prompts)} as they should be (flow of at least {NEEDED_FLOW}, and the right three)")


def strongest_binding(circuit: Circuit | None) -> tuple[str, float]:
    """City, region and answer of the largest flow, or NO_CIRCUIT where that is too small; and the flow."""
    if circuit is None or circuit.flow < NEEDED_FLOW:
        return NO_CIRCUIT, circuit.flow if circuit else 0.0
    return " -> ".join(circuit.binding[role] for role in ROLES), circuit.flow


def _as_path(row: dict[str, Any]) -> dict[str, Any]:
    nodes = [
        {"node_id": node_id, "label": label, "kind": ""}
        for node_id, label in zip(row["node_ids"], row["labels"], strict=True)
    ]
    edges = [{"effect": effect, "share": share} for effect, share in zip(row["effects"], row["shares"], strict=True)]
    return {"strength": row["strength"], "nodes": nodes, "edges": edges}


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.1f} s"
