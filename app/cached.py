"""Everything the pages read, kept between reruns: the only st.cache_* calls."""

from typing import Any

import streamlit as st

from app.wire import pack_graph
from ingest.library import default_library
from ingest.store import GraphStore, open_store
from tracer.graph import AttributionGraph

SHORT_S = 5  # seconds until a list is asked for again: graphs may come in while the page is open
KEPT_GRAPHS = 24


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


@st.cache_resource(max_entries=KEPT_GRAPHS, show_spinner=False)
def graph(graph_id: str, version: str) -> AttributionGraph:
    """The pruned graph, from the library, or from the database where the library has not got it."""
    return default_library().load(graph_id).pruned()


@st.cache_data(max_entries=KEPT_GRAPHS, show_spinner=False)
def packed(graph_id: str, version: str) -> bytes:
    """The pruned graph as the browser wants it."""
    return pack_graph(graph(graph_id, version), graph_id)
