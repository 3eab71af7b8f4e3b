"""Beside the editor of the Cypher page: saved queries, what is in the database, and what was run before."""

import streamlit as st

from app import cached
from app.history import Past, default_history
from app.markdown import escaped, with_code
from app.params import Asked
from ingest.own_queries import KIND
from ingest.queries import Query

SHOWN_PAST = 15
LONGEST = 40  # letters of a title
VOCABULARY = (("labels", "Labels", ":"), ("types", "Relationships", ":"), ("properties", "Properties", ""))


def show_saved(queries: dict[str, Query]) -> None:
    """The kept and the shipped queries; a click puts one into the editor and into the address."""
    own = [query for query in queries.values() if query.kind == KIND]
    for title, chosen in (("Kept queries", own), ("Saved queries", [q for q in queries.values() if q not in own])):
        if not chosen:
            continue
        with st.expander(title, expanded=True), st.container(gap=None, key=f"narrow_list {title}"):
            for query in chosen:
                name = query.name.replace("_", " ")
                if st.button(name, key=f"saved {query.name}", type="tertiary", help=with_code(query.purpose)):
                    open_asked(Asked(query.text, query.name))


def show_schema() -> None:
    """Labels, relationship types and properties; a click puts one where the caret is."""
    words = cached.vocabulary()
    for names, title, sign in VOCABULARY:
        with (
            st.expander(f"{title} ({len(words[names])})", expanded=names == "labels"),
            st.container(gap=None, key=f"narrow_list {names}"),
        ):
            for name, n in words[names].items():
                count = f" :gray[{n:,}]" if n else ""
                if st.button(f"{sign}{escaped(name)}{count}", key=f"{names} {name}", type="tertiary"):
                    insert(sign + (name if name.isidentifier() else f"`{name}`"))


def show_history() -> None:
    """The queries that were run, newest first; a click asks one again."""
    history = default_history()
    past = history.newest(SHOWN_PAST)
    if not past:
        return
    with st.expander(f"History ({len(past)})", icon=":material/history:"):
        with st.container(gap=None, key="narrow_list past"):
            for at, each in enumerate(past):
                if st.button(told(each), key=f"past {at}", type="tertiary", help=details(each)):
                    open_asked_again(each)
        if st.button("Forget these", icon=":material/delete_sweep:"):
            history.clear()
            st.rerun()


def told(past: Past) -> str:
    """One line of the history."""
    title = past.title if len(past.title) <= LONGEST else past.title[: LONGEST - 1] + "…"
    outcome = ":red[failed]" if past.error else f":gray[{past.ms:,.0f} ms, rows: {past.rows:,}]"
    return f"{escaped(title)} {outcome}"


def details(past: Past) -> str:
    """What stands behind that line."""
    filled = [
        f"${name.removeprefix('param_')} = {value}" for name, value in past.params.items() if name[:6] == "param_"
    ]
    text = past.params.get("q") or past.params.get("name", "")
    parts = [escaped(part) for part in (past.when, text, ", ".join(filled)) if part]
    return " ".join([*parts, with_code(past.error)] if past.error else parts)


def insert(word: str) -> None:
    """Put a word into the editor."""
    state = st.session_state
    state.cypher_insert = {"nonce": state.cypher_insert["nonce"] + 1, "text": word}


def open_asked(asked: Asked) -> None:
    """Put a query into the address, and so into the editor, with nothing filled in that it does not say."""
    for name in [str(name) for name in st.session_state if str(name).startswith("param_")]:
        del st.session_state[name]
    st.query_params.from_dict(asked.params())
    st.rerun()


def open_asked_again(past: Past) -> None:
    """Go to the address of a query that was run."""
    st.query_params.from_dict(past.params)
    st.rerun()
