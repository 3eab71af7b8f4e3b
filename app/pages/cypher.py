"""Ask the database in its own language, read-only: an editor, what is filled in, and the answer below."""

import getpass
import time
from dataclasses import replace
from typing import Any

import streamlit as st

from app import cached
from app.component import cypher_editor
from app.cypheranswer import FIRST_VIEW, show_answer
from app.cypherside import show_history, show_saved, show_schema
from app.graphlist import caption
from app.markdown import escaped, with_code
from app.params import Asked, Blank, blanks_of, read_asked, value_of
from ingest.library import default_library
from ingest.own_queries import KIND, OwnQueries
from ingest.queries import Query, read_queries
from tracer.errors import QueryError, StoreError

FIRST = "graphs"  # the saved query to begin with


def main() -> None:
    own = cached.own_queries()
    queries = read_queries("explore") | own
    take_back_address()
    take_over_address(queries)
    asked = read_asked(st.query_params.to_dict(), queries)
    side, middle = st.columns([1.2, 4.2], gap="medium")
    with side:  # first, because a click here may put another text into the editor
        show_saved(queries)
        show_schema()
        show_history()
    with middle:
        text, wanted = edit()
        query = next((query for query in queries.values() if query.text == text.strip()), None)
        if query:
            st.caption(with_code(query.purpose))
        blanks = blanks_of(text, query)
        values = fields(blanks)
        with st.container(horizontal=True, vertical_alignment="center"):
            wanted |= st.button("Run", type="primary", shortcut="Ctrl+Enter", icon=":material/play_arrow:")
            keep_button(text, blanks, values)
            if query and query.kind == KIND:
                remove_button(query)
        if wanted:
            asked = run(text, query, values, asked)
        elif asked and not asked.values and asked.text == text.strip():
            asked = replace(asked, values=values)  # opened just now: with what the fields begin with
        if asked:
            show_answer(asked, queries.get(asked.name), text)


def take_back_address() -> None:
    """Coming from another page, which drops the address, be where one was."""
    state = st.session_state
    if not st.query_params and state.get("cypher_address"):
        st.query_params.from_dict(state.cypher_address)


def take_over_address(queries: dict[str, Query]) -> None:
    """Put the query of the address into the editor, once per address: a link, or Back in the browser."""
    state, given = st.session_state, st.query_params.to_dict()
    if "cypher_text" not in state:
        state.update(cypher_text=queries[FIRST].text, cypher_nonce=1, cypher_insert={"nonce": 0, "text": ""})
    asked = read_asked(given, queries)
    if not given or given == state.get("cypher_address"):
        return
    state.cypher_address = given
    if asked is None:
        return
    if asked.text != state.cypher_text.strip():
        state.cypher_text, state.cypher_nonce = asked.text, state.cypher_nonce + 1
    for name, value in asked.values.items():
        state[f"param_{name}"] = value


def edit() -> tuple[str, bool]:
    """The text as it is in the editor, and whether Ctrl+Enter was pressed there."""
    state = st.session_state
    state.cypher_text, ran = cypher_editor(
        state.cypher_text, state.cypher_nonce, cached.vocabulary(), state.cypher_insert, key="cypher_editor"
    )
    return state.cypher_text, ran


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


def run(text: str, query: Query | None, values: dict[str, str], before: Asked | None) -> Asked:
    """Put the query into the address, which is then answered."""
    state, view = st.session_state, before.view if before and before.text == text.strip() else FIRST_VIEW
    asked = Asked(text.strip(), query.name if query else "", values, view)
    st.query_params.from_dict(asked.params())
    state.cypher_address = st.query_params.to_dict()
    state.cypher_run = time.time()
    return asked


def keep_button(text: str, blanks: list[Blank], values: dict[str, str]) -> None:
    """A form that keeps the query under a name; `throughline query NAME` then runs it as well."""
    with st.popover("Keep", icon=":material/bookmark_add:"), st.form("keep query", border=False):
        name = st.text_input("Name", placeholder="texas_features", help="Small letters, digits and _")
        purpose = st.text_input("What does it ask?", placeholder="Which features speak of Texas?")
        st.caption("What is filled in becomes its defaults.")
        if not st.form_submit_button("Keep this query", type="primary"):
            return
        try:
            filled = {
                blank.name: value_of(blank, values[blank.name]) if values[blank.name] else None for blank in blanks
            }
            columns = cached.store().explain(text, filled).columns
            kept = OwnQueries(default_library()).keep((name or "").strip(), purpose or "", text, filled, columns)
        except (QueryError, StoreError) as error:
            st.error(with_code(str(error)), icon=":material/error:")
            return
    cached.own_queries.clear()
    st.toast(escaped(f"Kept as {kept.name}, for {getpass.getuser()} and whoever shares this library"))
    st.query_params.from_dict(Asked(kept.text, kept.name).params())
    st.rerun()


def remove_button(query: Query) -> None:
    """Forget a query that somebody kept; asks first."""
    with st.popover("Remove", icon=":material/delete:"):
        st.markdown(f"Remove the query **{escaped(query.name)}** from the library?")
        if st.button("Remove it", type="primary"):
            OwnQueries(default_library()).remove(query.name)
            cached.own_queries.clear()
            st.query_params.from_dict(Asked(query.text).params())
            st.rerun()


if __name__ == "__main__":
    main()
