"""Everything the pages read, kept between reruns: the only st.cache_* calls."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.circuits_report import what_matters
from app.compareframes import Compared, named_nodes
from app.featurelink import FeatureKey, place_in, words_query
from app.kept import KeptGraphs, KeptLibrary
from app.part import dropped_nodes, is_pruned_away, part_to_show, thinned
from app.roles import read_roles
from app.wire import pack_graph
from circuits.aligned import By
from circuits.compare import compare
from circuits.config import SearchConfig, Sign
from circuits.kept import Kept, found_in
from circuits.nearest import why_nothing as why_nothing_in
from circuits.pattern import match, parse_pattern
from circuits.search import find_circuit
from ingest.bolt import Plan
from ingest.kept_circuits import kept_circuits as kept_circuits_in
from ingest.kept_circuits import named_circuit
from ingest.labels import Label, LabelStore
from ingest.library import default_library
from ingest.own_queries import OwnQueries
from ingest.queries import Query
from ingest.search import FEW, MOST_EXPLAINED, CircuitSearch, cypher_behind
from ingest.store import GraphStore, open_store
from tracer.graph import AttributionGraph
from tracer.schema import NodeKind

SHORT_S = 5  # seconds until a list is asked for again: graphs may come in while the page is open
LONG_S = 60  # for what seldom changes
KEPT_PACKED = 24  # graphs as bytes
KEPT_EDGES = 30_000_000  # of whole graphs: about half a gigabyte
KEPT_ANSWERS = 64
KEPT_COMPARED = 24
MOST_FOUND = 200  # features of a search

Versions = tuple[tuple[str, str], ...]  # graph_id and version of each graph


@st.cache_resource(show_spinner=False)
def store() -> GraphStore:
    """The database, opened once. Raises StoreError where it cannot be reached; that is not kept."""
    return open_store()


def forget_store() -> None:
    """Open the database anew next time: after it was away, the handle at hand may be dead."""
    store.clear()
    graphs.clear()


@st.cache_data(ttl=SHORT_S, show_spinner=False)
def graphs() -> list[dict[str, Any]]:
    """The graphs in the database, sorted by model and prompt."""
    return sorted(store().graphs(), key=lambda row: (row["model"], row["source_set"], row["prompt"], row["slug"]))


@st.cache_resource(show_spinner=False)
def kept_graphs() -> KeptGraphs:
    """The memory that all sessions share."""
    return KeptGraphs(KEPT_EDGES)


def graph(graph_id: str, version: str) -> AttributionGraph:
    """The whole graph from the library, or its pruned part from the database where the library has not got it."""
    library = default_library()
    return kept_graphs().get(
        (graph_id, version), lambda: library.load(graph_id) if graph_id in library else store().fetch(graph_id)
    )


@st.cache_data(max_entries=KEPT_PACKED, show_spinner=False)
def packed(graph_id: str, version: str, node_ids: tuple[str, ...] = ()) -> bytes:
    """The pruned graph, with these nodes at all events, as the browser wants it."""
    part = part_to_show(graph(graph_id, version), node_ids)
    return pack_graph(thinned(part), graph_id, len(part.edges))


def pruned_away(graph_id: str, version: str, node_ids: Sequence[str]) -> bool:
    """Whether the pruned graph lacks one of these nodes or a link between them."""
    return bool(node_ids) and is_pruned_away(graph(graph_id, version), node_ids)


def dropped(graph_id: str, version: str, node_ids: Sequence[str]) -> bool:
    """Whether pruning dropped one of these nodes."""
    return bool(node_ids) and bool(dropped_nodes(graph(graph_id, version), node_ids))


@st.cache_data(show_spinner=False)
def roles() -> dict[str, list[str]]:
    """The roles that a pattern may name, with their terms: those of the demo's prompts."""
    return read_roles()


@st.cache_resource(max_entries=KEPT_ANSWERS, show_spinner=False)
def search(pattern: str, versions: Versions, everywhere: bool, config: SearchConfig) -> CircuitSearch:
    """The search for this pattern in these graphs, given as (graph_id, version), as far as anybody has taken it.

    Args:
        everywhere: These are all graphs.
    """
    named = None if everywhere else [graph_id for graph_id, _ in versions]
    return CircuitSearch(pattern, store(), kept_library(versions), named, roles(), config, len(versions))


def kept_library(versions: Versions) -> KeptLibrary:
    """The library, of which the memory keeps graphs in these versions."""
    version_of = dict(versions)
    return KeptLibrary(default_library().root, kept_graphs(), lambda graph_id: version_of.get(graph_id, ""))


@st.cache_data(ttl=SHORT_S, show_spinner=False)
def kept_circuits() -> list[dict[str, Any]]:
    """The kept circuits, newest first."""
    return kept_circuits_in(store(), default_library())


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def kept_circuit(kept_id: str) -> Kept:
    """One of them, with everything that was kept of it."""
    return named_circuit(kept_id, store(), default_library())


def forget_kept() -> None:
    """Ask for the kept circuits anew: one came, changed, or went."""
    kept_circuits.clear()
    kept_circuit.clear()


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def matters(pattern: str, graph_id: str, version: str, sign: Sign) -> dict[str, Any]:
    """What the circuit of this pattern in one graph hangs on; nothing where the graph does not have it."""
    searched = graph(graph_id, version)
    circuit = find_circuit(parse_pattern(pattern, roles()), searched, SearchConfig(sign=sign))
    return what_matters(pattern, roles(), searched, circuit, sign) if circuit else {}


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def failures(pattern: str, versions: Versions, sign: str) -> list[dict[str, Any]]:
    """For each of these graphs, up to as many as one looks at, the waypoint at which the pattern fails, and why."""
    parsed = parse_pattern(pattern, roles())
    return [found_in(parsed, graph(*version), None, sign).as_row() for version in versions[:FEW]]


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def why_nothing(pattern: str, versions: Versions) -> str:
    """Why none of these graphs has the pattern, with the nearest things there are."""
    outlines = (kept_library(versions).outline(graph_id) for graph_id, _ in versions[:MOST_EXPLAINED])
    return why_nothing_in(parse_pattern(pattern, roles()), outlines)


def circuits_as_cypher(pattern: str, sign: str, links: Sequence[int]) -> str:
    """The same question in Cypher, with so many links an arrow."""
    return cypher_behind(pattern, roles(), sign, links)


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def waypoint_counts(pattern: str, versions: Versions) -> list[tuple[str, int, int]]:
    """For each waypoint of a pattern: its text, in how many graphs a node fits it, and how many nodes there."""
    parsed = parse_pattern(pattern, roles())
    library = kept_library(versions)
    outlines = (library.outline(each) if each in library else graph(each, version) for each, version in versions)
    counts = np.array([[len(rows) for rows in match(parsed, outline)] for outline in outlines])
    return [
        (waypoint.text, int((column > 0).sum()), int(column.sum()))
        for waypoint, column in zip(parsed, counts.T, strict=True)
    ]


@st.cache_resource(max_entries=KEPT_COMPARED, show_spinner=False)
def compared(a: Versions, b: Versions, by: By, among: Versions) -> Compared:
    """Two sides, each graphs as (graph_id, version), side by side; kept, as others may look at the same."""
    sides = [[graph(*version) for version in versions] for versions in (a, b, among)]
    began = time.perf_counter()
    found = compare(sides[0], sides[1], by, sides[2])
    elapsed_ms = 1000 * (time.perf_counter() - began)
    return Compared(found, named_nodes(sides[0], by), named_nodes(sides[1], by), elapsed_ms)


def stamp() -> str:
    """Changes when a graph comes, goes, or shows other labels."""
    rows = graphs()
    return f"{len(rows)} {max((str(row['ingested_at']) for row in rows), default='')}"


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def feature_prompts(key: FeatureKey, version: str) -> list[dict[str, Any]]:
    """Where a feature occurs: rows of the query of this name."""
    return store().run("feature_prompts", **key.params).records


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def feature(key: FeatureKey, version: str) -> dict[str, list[dict[str, Any]]]:
    """Where a feature occurs, what feeds it and what it feeds: rows of the queries, by name."""
    run, about = store().run, key.params
    return {
        "prompts": feature_prompts(key, version),
        "inputs": run("feature_inputs", **about).records,
        "targets": run("feature_outputs", kinds=[NodeKind.FEATURE.value], **about).records,
        "outputs": run("feature_outputs", kinds=[NodeKind.LOGIT.value], **about).records,
    }


@st.cache_data(ttl=SHORT_S, max_entries=KEPT_ANSWERS, show_spinner=False)
def circuits_through(key: FeatureKey) -> list[dict[str, Any]]:
    """The kept circuits that go through a feature."""
    return store().run("feature_circuits", **key.params).records


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def features_found(text: str, version: str) -> list[dict[str, Any]]:
    """The features of which the label has these words, or else words that begin so; or those of this layer/index."""
    if place := place_in(text):
        return store().run("features_at", layer=place[0], index=place[1]).records
    rows = store().run("labels_search", text=words_query(text), limit=MOST_FOUND).records
    return rows or store().run("labels_search", text=words_query(text, pieces=True), limit=MOST_FOUND).records


@st.cache_data(max_entries=1, show_spinner=False)
def common_features(version: str) -> list[dict[str, Any]]:
    """The features that occur in the most graphs."""
    return store().run("common_features", min_graphs=1, limit=MOST_FOUND).records


@st.cache_data(ttl=SHORT_S, max_entries=KEPT_ANSWERS, show_spinner=False)
def labels_of(key: FeatureKey) -> list[Label]:
    """All labels of a feature in the order in which they came."""
    labels = LabelStore(default_library()).of(key.source_set)
    return [label for label in labels if label.feature == (key.layer, key.index)]


def forget_labels() -> None:
    """Read labels and graphs anew: one was edited."""
    labels_of.clear()
    graphs.clear()


@st.cache_data(ttl=LONG_S, show_spinner=False)
def vocabulary() -> dict[str, dict[str, int]]:
    """Labels, relationship types and properties in the database."""
    return store().vocabulary()


@st.cache_data(ttl=LONG_S, show_spinner=False)
def own_queries() -> dict[str, Query]:
    """The queries that people kept, by name."""
    return OwnQueries(default_library()).all()


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner=False)
def plan(text: str, params: dict[str, Any], version: str) -> Plan:
    """How the server would answer a query. Raises QueryError where it is wrong or refused."""
    return store().explain(text, params)
