"""A search for circuits that takes a while: results as they come, and a button that ends it."""

import time
from typing import Any

import streamlit as st

from app.frames import circuits_frame
from ingest.search import CircuitSearch

QUIET_S = 0.7  # a search that ends sooner shows no progress
EVERY_S = 0.5  # between two pictures of what was found
STOPPED = "search that was stopped"  # in the session, the key of the question


def look(search: CircuitSearch, key: str, theme: str) -> list[dict[str, Any]]:
    """The circuits of this search as JSON rows, largest flow first, of the graphs seen until it ended or was stopped.

    Args:
        key: Of the question, by which the session remembers that it was stopped.
        theme: Of the pictures, `light` or `dark`.
    """
    began = time.monotonic()
    while st.session_state.get(STOPPED) != key and search.step():
        if time.monotonic() - began > QUIET_S:
            _look_aloud(search, key, theme)
    if not search.complete:
        st.warning(f"Stopped after {search.done:,} of {search.total:,} graphs. The rest was not searched.")
        st.button("Go on", icon=":material/play_arrow:", on_click=_go_on)
    return [circuit.as_row() for circuit in search.found]


def _look_aloud(search: CircuitSearch, key: str, theme: str) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0)
        st.button("Cancel", icon=":material/stop:", on_click=_stop, args=(key,))
        table, shown = st.empty(), 0.0
        while search.step():
            if time.monotonic() - shown > EVERY_S:  # a click on Cancel is heard at these calls
                text = f"{search.done:,} of {search.total:,} graphs searched, {search.having:,} have the circuit"
                bar.progress(search.done / search.total, text)
                rows = [circuit.as_row() for circuit in search.found[:10]]
                if rows:
                    columns = ["flow", "prompt"]
                    table.dataframe(circuits_frame(rows, theme)[columns], hide_index=True)
                shown = time.monotonic()
    place.empty()


def _stop(key: str) -> None:
    st.session_state[STOPPED] = key


def _go_on() -> None:
    st.session_state.pop(STOPPED, None)
