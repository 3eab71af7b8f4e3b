"""Ask the database in its own language, read-only: saved queries and your own, as a table or as a picture."""

import json
import time
from typing import Any

import pandas as pd
import streamlit as st

from app import cached
from app.component import net
from app.frames import node_link, records_frame, returned_picture
from app.graphlist import caption
from app.markdown import escaped
from app.params import Blank, blanks_of, query_params, value_of
from app.running import RunningQuery
from ingest.bolt import Rows
from ingest.queries import Query, read_queries
from tracer.errors import QueryError, StoreError

MAX_ROWS = 1000
TIMEOUT_S = 30.0
PATIENCE_S = 1.0  # until a query that still runs is offered to be cancelled
MOST_DRAWN = 300  # nodes: more is a cloud
FIRST = "graphs"  # the saved query to begin with
TABLE, GRAPH = "Table", "Graph"


def main() -> None:
    queries = read_queries("explore")
    take_over_address(queries)
    side, middle = st.columns([1.2, 4.2], gap="medium")
    with middle:
        text = st.text_area("Query", key="cypher_text", height="content", label_visibility="collapsed")
        query = next((query for query in queries.values() if query.text == text.strip()), None)
        if query:
            st.caption(query.purpose)
        values = fields(blanks_of(text, query))
        if st.button("Run", type="primary", shortcut="Ctrl+Enter", icon=":material/play_arrow:"):
            st.query_params.from_dict(query_params(text.strip(), query.name if query else "", values))
            st.session_state.cypher_address = st.query_params.to_dict()
            st.session_state.cypher_run = time.time()
        show_answer(text, blanks_of(text, query), values)
    with side:
        show_saved(queries)
        show_schema()


def take_over_address(queries: dict[str, Query]) -> None:
    """Put the query of the address into the editor, once per address: a link, or Back in the browser."""
    state, given = st.session_state, st.query_params.to_dict()
    if "cypher_text" not in state and not given:
        state.cypher_text = queries[FIRST].text if FIRST in queries else ""
    if not given or given == state.get("cypher_address"):
        return
    state.cypher_address = given
    state.cypher_text = queries[given["name"]].text if given.get("name") in queries else given.get("q", "")
    for name, value in given.items():
        if name.startswith("param_"):
            state[name] = value


def fields(blanks: list[Blank]) -> dict[str, str]:
    """What is filled in for each parameter, as text."""
    if not blanks:
        return {}
    columns = st.columns(max(3, min(len(blanks), 5)), vertical_alignment="bottom")
    return {blank.name: field(blank, columns[at % len(columns)]) for at, blank in enumerate(blanks)}


def field(blank: Blank, place: Any) -> str:
    """One field; a graph is chosen from those there are."""
    key, title = f"param_{blank.name}", f"${blank.name}"
    st.session_state.setdefault(key, blank.default)
    if blank.name == "graph_id":
        rows = {row["graph_id"]: row for row in cached.graphs()}
        if st.session_state[key] not in rows:
            st.session_state[key] = next(iter(rows), None)
        return (
            place.selectbox(title, list(rows), key=key, help=blank.meaning, format_func=lambda i: caption(rows[i]))
            or ""
        )
    kind = "" if blank.type == "any" else f" ({blank.type})"
    return place.text_input(title + kind, key=key, help=blank.meaning or "A number, JSON, or a text") or ""


def show_answer(text: str, blanks: list[Blank], values: dict[str, str]) -> None:
    """The result of the query that the address holds."""
    if not st.query_params.to_dict():
        return
    if any(not values[blank.name] for blank in blanks):
        missing = next(blank for blank in blanks if not values[blank.name])
        wanted = f"Fill in ${missing.name}" + (f": {missing.meaning}" if missing.meaning else "")
        st.info(escaped(f"{wanted}."), icon=":material/edit:")
        return
    try:
        rows = answer(text, {blank.name: value_of(blank, values[blank.name]) for blank in blanks})
    except QueryError as error:
        return show_mistake(text, error)
    if rows is None:
        return show_running()
    picture = returned_picture(rows.records)
    drawable = 0 < len(picture[0]) <= MOST_DRAWN
    view = choose_view(rows, drawable)
    if view == GRAPH:
        net(*picture, key="returned", height=520)
    else:
        show_table(records_frame(rows.columns, rows.records))
    st.caption(footer(rows))


def answer(text: str, params: dict[str, Any]) -> Rows | None:
    """The answer, asked for once for each press of Run; None where it takes longer than a moment."""
    state, store = st.session_state, cached.store()
    which = text, json.dumps(params, sort_keys=True), state.get("cypher_run", 0.0)
    before: RunningQuery | None = state.get("cypher_query")
    if before is None or before.which != which:
        if before:
            before.cancel()
        state.cypher_query = RunningQuery(
            which, lambda name: store.cypher(text, params, MAX_ROWS, TIMEOUT_S, name), store.cancel
        )
    query: RunningQuery = state.cypher_query
    if not query.wait(PATIENCE_S):
        return None
    try:
        return query.answer()
    except StoreError as error:
        if not isinstance(error, QueryError):  # Try again means to ask again
            del state.cypher_query
        raise


@st.fragment(run_every=0.3)
def show_running() -> None:
    """How long the query runs, and the way to end it; the page is drawn anew when it has ended."""
    query: RunningQuery = st.session_state.cypher_query
    if query.wait(0):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Cancel", icon=":material/stop_circle:"):
            query.cancel()
        st.caption(f"Running for {time.monotonic() - query.began:.0f} s…")


def choose_view(rows: Any, drawable: bool) -> str:
    """Table or Graph, and the files; a picture is offered where there is something to draw."""
    left, right = st.columns([2, 3], vertical_alignment="center")
    view = TABLE
    if drawable:
        view = left.segmented_control(
            "View", [TABLE, GRAPH], default=TABLE, key="cypher_view", required=True, label_visibility="collapsed"
        )
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "CSV", lambda: records_frame(rows.columns, rows.records).to_csv(index=False), "rows.csv", on_click="ignore"
        )
        st.download_button(
            "JSON", lambda: json.dumps(rows.records, ensure_ascii=False, indent=1), "rows.json", on_click="ignore"
        )
    return view


def show_table(frame: pd.DataFrame) -> None:
    """The rows; those of a graph get a link into it."""
    columns = {}
    if "graph_id" in frame and len(frame):
        frame.insert(0, "open", [node_link(row) for row in frame.to_dict("records")])
        columns["open"] = st.column_config.LinkColumn("", display_text="Open ↗", width="small")
    st.dataframe(frame, hide_index=True, column_config=columns, height=min(520, 38 + 35 * max(1, len(frame))))


def footer(rows: Any) -> str:
    """How many rows, how long, and under which limits."""
    count = f"{len(rows.records):,} row" + ("" if len(rows.records) == 1 else "s")
    limit = (
        f"first {MAX_ROWS:,} rows shown, there are more"
        if rows.truncated
        else f"limit {MAX_ROWS:,} rows, {TIMEOUT_S:.0f} s"
    )
    return f"{count} · {rows.elapsed_ms:.0f} ms · read-only · {limit}"


def show_mistake(text: str, error: QueryError) -> None:
    """What the database refused, with a caret under the place."""
    st.error(escaped(str(error)), icon=":material/error:")
    lines = text.splitlines()
    if error.line and error.line <= len(lines):
        st.code(f"{lines[error.line - 1]}\n{' ' * ((error.column or 1) - 1)}^", language=None)


def show_saved(queries: dict[str, Query]) -> None:
    """The shipped queries; a click puts one into the editor and into the address."""
    st.caption("Saved queries")
    with st.container(gap=None):
        for query in queries.values():
            if st.button(query.name.replace("_", " "), key=f"saved {query.name}", type="tertiary", help=query.purpose):
                open_saved(query)


def open_saved(query: Query) -> None:
    """Put a saved query into the address, and so into the editor, with nothing filled in."""
    for name in [str(name) for name in st.session_state if str(name).startswith("param_")]:
        del st.session_state[name]
    st.query_params.from_dict({"name": query.name})
    st.rerun()


def show_schema() -> None:
    """Labels and relationship types with their counts."""
    st.caption("In the database")
    counts = cached.schema_counts()
    frame = pd.DataFrame({"label or type": [f":{name}" for name in counts], "count": list(counts.values())})
    st.dataframe(frame, hide_index=True, column_config={"count": st.column_config.NumberColumn(format="localized")})


if __name__ == "__main__":
    main()
