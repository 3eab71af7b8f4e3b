"""The answer of a query on the Cypher page: as a table, a graph, a chart, or how the server would find it."""

import json
import time
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from app import cached
from app.charts import chart_columns, rows_chart
from app.component import net
from app.cypherwords import unknown_words
from app.frames import node_link, records_frame, returned_picture
from app.history import Past, default_history
from app.markdown import escaped, with_code
from app.params import VIEWS, Asked, blanks_of, value_of
from app.planhtml import cautions, plan_html
from app.running import RunningQuery
from app.theme import theme
from ingest.bolt import Rows
from ingest.labels import now
from ingest.queries import Query
from tracer.errors import QueryError, StoreError

MAX_ROWS = 1000
TIMEOUT_S = 30.0
PATIENCE_S = 1.0  # until a query that still runs is offered to be cancelled
MOST_DRAWN = 300  # nodes: more is a cloud
FIRST_VIEW = VIEWS[0]
VIEW_NAMES = {"table": "Table", "graph": "Graph", "chart": "Chart", "plan": "Plan"}


def show_answer(asked: Asked, query: Query | None, text: str) -> None:
    """The result of the query that the address holds.

    Args:
        query: The saved one, where it is one.
        text: What is in the editor by now.
    """
    blanks = blanks_of(asked.text, query)
    values = {blank.name: asked.values.get(blank.name, blank.default) for blank in blanks}
    missing = next((blank for blank in blanks if not values[blank.name]), None)
    if missing:
        wanted = f"Fill in ${missing.name}" + (f": {missing.meaning}" if missing.meaning else "")
        st.info(with_code(f"{wanted}."), icon=":material/edit:")
        return
    if text.strip() != asked.text:
        st.caption("The query was changed since; this is the answer of the one that was run.")
    try:
        params = {blank.name: value_of(blank, values[blank.name]) for blank in blanks}
        rows = None if asked.view == "plan" else answer(asked, params)
    except QueryError as error:
        show_mistake(asked.text, error)
        return show_unknown(asked.text)
    if rows is None and asked.view != "plan":
        return show_running()
    show_view(asked, params, rows)


def answer(asked: Asked, params: dict[str, Any]) -> Rows | None:
    """The answer, asked for once for each press of Run; None where it takes longer than a moment."""
    state, store = st.session_state, cached.store()
    which = asked.text, json.dumps(params, sort_keys=True), state.get("cypher_run", 0.0)
    before: RunningQuery | None = state.get("cypher_query")
    if before is None or before.which != which:
        if before:
            before.cancel()
        state.cypher_query = RunningQuery(
            which, lambda name: store.cypher(asked.text, params, MAX_ROWS, TIMEOUT_S, name), store.cancel
        )
    query: RunningQuery = state.cypher_query
    if not query.wait(PATIENCE_S):
        return None
    try:
        rows = query.answer()
    except StoreError as error:
        if isinstance(error, QueryError):
            note(asked, which, Past(now(), error=str(error)))
        else:  # Try again means to ask again
            del state.cypher_query
        raise
    note(asked, which, Past(now(), rows=len(rows), ms=rows.elapsed_ms))
    return rows


def note(asked: Asked, which: tuple[Any, ...], past: Past) -> None:
    """Put a query into the history, once each time that it was run."""
    if st.session_state.get("cypher_noted") != which:
        st.session_state.cypher_noted = which
        default_history().add(replace(past, params=asked.params()))


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


def show_view(asked: Asked, params: dict[str, Any], rows: Rows | None) -> None:
    """One way to look at it; a picture is offered where there is something to draw."""
    frame = records_frame(rows.columns, rows.records) if rows else pd.DataFrame()
    picture = returned_picture(rows.records) if rows else ([], [])
    offered = {"table": True, "graph": 0 < len(picture[0]) <= MOST_DRAWN, "chart": bool(chart_columns(frame)[1])}
    if rows is None:  # of a plan; nothing was run
        offered = dict.fromkeys(offered, True)
    views = [view for view in VIEWS if offered.get(view, True)]
    view = asked.view if asked.view in views else FIRST_VIEW
    left, right = st.columns([2, 3], vertical_alignment="center")
    chosen = left.segmented_control(
        "View", views, default=view, key=f"view {asked.params()} {views}", required=True,
        format_func=VIEW_NAMES.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    if chosen != view:
        show_instead(replace(asked, view=chosen))
    if rows is None:
        return show_plan(asked.text, params)
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.download_button("CSV", lambda: frame.to_csv(index=False), "rows.csv", on_click="ignore")
        st.download_button(
            "JSON", lambda: json.dumps(rows.records, ensure_ascii=False, indent=1), "rows.json", on_click="ignore"
        )
    if view == "graph":
        net(*picture, key="returned", height=520)
    elif view == "chart":
        show_chart(asked, frame)
    else:
        show_table(frame)
    st.caption(footer(rows))
    if not rows.records:
        show_unknown(asked.text)


def show_instead(asked: Asked) -> None:
    """The same answer, looked at in another way."""
    st.query_params.from_dict(asked.params())
    st.session_state.cypher_address = st.query_params.to_dict()
    st.rerun()


def show_table(frame: pd.DataFrame) -> None:
    """The rows; those of a graph get a link into it."""
    columns = {}
    if "graph_id" in frame and len(frame):
        frame.insert(0, "open", [node_link(row) for row in frame.to_dict("records")])
        columns["open"] = st.column_config.LinkColumn("", display_text="Open ↗", width="small")
    st.dataframe(frame, hide_index=True, column_config=columns, height=min(520, 38 + 35 * max(1, len(frame))))


def show_chart(asked: Asked, frame: pd.DataFrame) -> None:
    """Two columns of the rows against each other."""
    along, numbers, x, y = chart_columns(frame, asked.x, asked.y)
    left, right, _ = st.columns([1, 1, 2])
    chosen_x = left.selectbox("Along", along, index=along.index(x), key=f"x {asked.params()}")
    chosen_y = right.selectbox("Value", numbers, index=numbers.index(y), key=f"y {asked.params()}")
    if (chosen_x, chosen_y) != (x, y):
        show_instead(replace(asked, x=chosen_x, y=chosen_y))
    st.vega_lite_chart(spec=rows_chart(frame, x, y, theme()), key="rows chart")


def show_plan(text: str, params: dict[str, Any]) -> None:
    """How the server would find the answer, and what in that is slow."""
    try:
        top = cached.plan(text, params, cached.stamp()).top
    except QueryError as error:
        return show_mistake(text, error)
    if top is None:
        st.info("The server has no plan for this.", icon=":material/account_tree:")
        return
    for caution in cautions(top):
        st.caption(f":orange[{escaped(caution)}]")
    st.html(plan_html(top))
    st.caption("Rows as the planner expects them before it runs; read from below.")


def footer(rows: Rows) -> str:
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
    st.error(with_code(str(error)), icon=":material/error:")
    lines = text.splitlines()
    if error.line and error.line <= len(lines):
        st.code(f"{lines[error.line - 1]}\n{' ' * ((error.column or 1) - 1)}^", language=None)


def show_unknown(text: str) -> None:
    """Names that the database has not got, with what may have been meant."""
    for sentence in unknown_words(text, cached.vocabulary()):
        st.caption(escaped(sentence))
