"""The dashboard: which pages there are, and what happens when one of them fails."""

from pathlib import Path

import streamlit as st

from app import cached
from app.messages import show_error
from tracer.errors import CircuitError

HERE = Path(__file__).parent
STYLE = """<style>
.stMainBlockContainer {padding: 4.2rem 1.2rem 1rem; max-width: none}
[class*="st-key-narrow_list"] button {min-height: 1.5rem; padding: 0 .2rem; text-align: left}
[class*="st-key-narrow_list"] button p {font-size: .84rem; white-space: normal; overflow-wrap: anywhere}
</style>"""


def main() -> None:
    st.set_page_config("Throughline", page_icon=str(HERE / "icon.svg"), layout="wide")
    st.html(STYLE)
    page = st.navigation(
        [
            st.Page("pages/graph.py", title="Graph", icon=":material/account_tree:", default=True),
            st.Page("pages/trace.py", title="Trace", icon=":material/play_circle:"),
            st.Page("pages/circuits.py", title="Circuits", icon=":material/route:"),
            st.Page("pages/compare.py", title="Compare", icon=":material/compare:"),
            st.Page("pages/feature.py", title="Feature", icon=":material/bubble_chart:"),
            st.Page("pages/cypher.py", title="Cypher", icon=":material/terminal:"),
        ],
        position="top",
    )
    try:
        with st.spinner("Opening the database…", show_time=True):  # the local server is started where it does not run
            cached.store()
        page.run()
    except CircuitError as error:
        show_error(error)


if __name__ == "__main__":
    main()
