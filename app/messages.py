"""What the pages say when there is nothing to show: no graphs yet, no database, something broken."""

import streamlit as st

from app import cached
from tracer.errors import CircuitError, QueryError, StoreError


def show_error(error: CircuitError) -> None:
    """The sentence of the error, with a way to try again; for a database that is away, also how to get it back."""
    away = isinstance(error, StoreError) and not isinstance(error, QueryError)
    with st.container(border=True):
        st.markdown("##### The database cannot be reached" if away else "##### This cannot be shown")
        st.text(str(error))
        if away:
            st.markdown("Start the local server, or set `THROUGHLINE_NEO4J_URI` to the address of yours:")
            st.code("throughline db start", language="bash")
        if st.button("Try again", icon=":material/refresh:"):
            if away:
                cached.forget_store()
            st.rerun()


def show_nothing_loaded() -> None:
    """No graph is in the database: which command puts some in."""
    with st.container(border=True):
        st.markdown("##### No graphs yet")
        st.markdown("The database is there and empty. Trace the shipped prompts with the shipped model:")
        st.code("throughline demo", language="bash")
        st.markdown("or load graphs that you have, of circuit-tracer, Neuronpedia or Anthropic's front end:")
        st.code("throughline ingest my-graphs/*.json", language="bash")
        if st.button("Look again", icon=":material/refresh:"):
            cached.forget_store()
            st.rerun()
