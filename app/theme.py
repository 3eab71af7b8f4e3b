"""Whether the page is light or dark."""

import streamlit as st


def theme() -> str:
    """`light` or `dark`."""
    return "dark" if st.context.theme.type == "dark" else "light"
